//! Certificates: the files that the settings name, read and checked, for both transports.

use crate::export::{
    error::Error,
    settings::{FileSetting, Otlp},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// A file's bytes with the setting that named it.
struct Pem<'a> {
    setting: &'a FileSetting,
    bytes: Vec<u8>,
}

impl<'a> Pem<'a> {
    fn read(setting: &'a FileSetting) -> Result<Self, Error> {
        std::fs::read(&setting.path).map(|bytes| Self { setting, bytes }).map_err(|source| Error::File {
            variable: setting.variable,
            path: setting.path.clone(),
            source,
        })
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Certificate {
            variable: self.setting.variable,
            path: self.setting.path.clone(),
            reason: reason.into(),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            Ok(_) => Err(self.error("no PEM certificate in it")),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.bytes)
            .map_err(|_| self.error("no PEM private key (PKCS#8, PKCS#1 or SEC1) in it"))
    }
}

/// For tonic. The files are checked by building the same configuration for rustls first.
///
/// # Errors
/// A file that can't be read or used; no trusted certificates at all.
pub(super) fn for_grpc(otlp: &Otlp) -> Result<ClientTlsConfig, Error> {
    for_http(otlp)?;
    let mut tls = ClientTlsConfig::new();
    tls = match &otlp.certificate {
        Some(setting) => tls.ca_certificate(Certificate::from_pem(Pem::read(setting)?.bytes)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = &otlp.identity {
        tls = tls.identity(Identity::from_pem(Pem::read(certificate)?.bytes, Pem::read(key)?.bytes));
    }
    Ok(tls)
}

/// For reqwest, with ring for the cryptography.
///
/// # Errors
/// A file that can't be read or used; no trusted certificates at all.
pub(super) fn for_http(otlp: &Otlp) -> Result<ClientConfig, Error> {
    let roots = match &otlp.certificate {
        Some(setting) => named_roots(&Pem::read(setting)?)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &otlp.identity else { return Ok(builder.with_no_client_auth()) };
    let (certificate, key) = (Pem::read(certificate)?, Pem::read(key)?);
    builder
        .with_client_auth_cert(certificate.certificates()?, key.key()?)
        .map_err(|error| key.error(format!("does not go with the client certificate: {error}")))
}

fn named_roots(pem: &Pem<'_>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        roots.add(certificate).map_err(|error| pem.error(error.to_string()))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::NoRoots);
    }
    Ok(roots)
}

/// For a connection that is not encrypted: trusts nothing, so that the client never looks for system roots.
///
/// # Errors
/// None that are known; the library may find its own cipher suites wanting.
pub(super) fn none() -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Transport(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
