//! Why the exporter can't start.

use super::settings::Problems;
use std::{io, path::PathBuf};

/// Why the exporter can't start, in words that name the variable to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Values that are not understood.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// A file that can't be read.
    #[error("{variable}: can't read {}: {source}", path.display())]
    File {
        /// The variable that names it.
        variable: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that was read but can't be used.
    #[error("{variable}: {}: {reason}", path.display())]
    Certificate {
        /// The variable that names it.
        variable: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// https without any certificate to trust.
    #[error(
        "the endpoint is https, but this system has no trusted certificates: install ca-certificates, or name \
         the server's authority by OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoRoots,
    /// The library behind the transport refused.
    #[error("can't set up the OTLP connection: {0}")]
    Transport(String),
}
