//! The cluster's certificates: an authority of its own for each start, and what it signs.
//!
//! In: names and addresses. Out: PEM files in the folder `pki` of the state.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::layout::{API_SERVICE_IP, NODE, NODE_IP};

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Everything the daemons show each other.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The authority's certificate.
    pub authority: String,
    /// The administrator: the group system:masters.
    pub admin: Identity,
    /// The kubelet, as client and as server.
    pub node: Identity,
}

/// Makes all of it and writes it into `folder`.
pub fn create(folder: &Path) -> Result<Pki> {
    fs::create_dir_all(folder)?;
    let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
    write(&folder.join("ca.crt"), &authority.pem())?;
    write(&folder.join("ca.key"), &authority.key().serialize_pem())?;
    let issue = |name: &str, subject: &[(DnType, &str)], names: &[&str]| -> Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = leaf(subject, names)?.signed_by(&key, &authority)?;
        let identity = Identity { certificate: certificate.pem(), key: key.serialize_pem() };
        write(&folder.join(format!("{name}.crt")), &identity.certificate)?;
        write(&folder.join(format!("{name}.key")), &identity.key)?;
        Ok(identity)
    };
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses =
        ["kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", NODE_IP, API_SERVICE_IP];
    issue("apiserver", &[(DnType::CommonName, "kube-apiserver")], &[&service[..], &addresses].concat())?;
    let masters = [(DnType::OrganizationName, "system:masters"), (DnType::CommonName, "admin")];
    let admin = issue("admin", &masters, &[])?;
    let user = format!("system:node:{NODE}");
    let nodes = [(DnType::OrganizationName, "system:nodes"), (DnType::CommonName, user.as_str())];
    let node = issue("node", &nodes, &[NODE, NODE_IP])?;
    // Service accounts' tokens are signed by a key without a certificate.
    let key = KeyPair::generate()?;
    write(&folder.join("sa.key"), &key.serialize_pem())?;
    write(&folder.join("sa.pub"), &key.public_key_pem())?;
    Ok(Pki { authority: authority.pem(), admin, node })
}

fn authority() -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "sockspan-k8s");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(subject: &[(DnType, &str)], names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).context("a name that no certificate can hold")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Writes what only we may read.
pub fn write(path: &Path, text: &str) -> Result<()> {
    // The mode comes before the secret.
    let file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
