//! A certificate authority of the tests' own, and files of what it signed.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};

/// PEM texts, and the files that settings can name.
pub(super) struct Certificates {
    directory: PathBuf,
    pub(super) authority: String,
    pub(super) server: (String, String),
}

impl Certificates {
    /// New ones in a new directory named after the test.
    pub(super) fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sockspan-export-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let server = sign(&issuer, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let client = sign(&issuer, "agent", ExtendedKeyUsagePurpose::ClientAuth);
        let other = sign(&issuer, "other", ExtendedKeyUsagePurpose::ClientAuth);
        for (name, text) in [
            ("ca.pem", &authority),
            ("client.pem", &client.0),
            ("client.key", &client.1),
            ("other.key", &other.1),
            ("empty.pem", &String::new()),
        ] {
            std::fs::write(directory.join(name), text).unwrap();
        }
        Self { directory, authority, server }
    }

    /// The path of one of `ca.pem`, `client.pem`, `client.key`, `other.key`, `empty.pem`.
    pub(super) fn path(&self, name: &str) -> String {
        self.directory.join(Path::new(name)).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

fn sign(issuer: &Issuer<'_, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}
