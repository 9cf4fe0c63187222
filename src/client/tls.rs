//! TLS towards servers that offer it.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::ClientError;

/// Whom a client trusts.
#[derive(Clone, Debug)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Trusts the certificates in this PEM file, and those they have signed.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn with_roots(path: &Path) -> Result<Self, ClientError> {
        let wrong = |error: &dyn std::fmt::Display| ClientError::Tls(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&format!("no certificate in {}", path.display())));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// A connection to this host, which has to show a certificate of that name.
    pub(super) fn connection(&self, host: &str) -> Result<ClientConnection, ClientError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| ClientError::Tls(error.to_string()))
    }
}
