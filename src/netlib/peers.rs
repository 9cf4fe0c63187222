//! Which other servers may connect, and how servers recognise each other.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::options::ListenOptions;
use super::tls;
use super::transport::MakeTransport;
use crate::base::allow_list::AllowList;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};

/// The name in the certificates of all servers of an installation: that the authority of
/// `PeerTlsCa` has signed it is what counts, not on which machine it is.
pub const PEER_NAME: &str = "teamtalk";

/// Who may connect to a listener for other servers: from where, and with which certificate.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// From where.
    pub allow: AllowList,
    /// How both sides prove who they are; `None` for servers of the original, which cannot.
    pub tls: Option<PeerTls>,
}

/// The proof of a server that it belongs to this installation.
#[derive(Clone)]
pub struct PeerTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of every log.
        f.write_str("PeerTls")
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed={} peer_tls={}", self.allow, self.tls.is_some())
    }
}

impl Peers {
    /// Reads the allowed addresses from `allow_key`, and [`PeerTls`].
    ///
    /// # Errors
    /// A value is wrong, or a file cannot be read.
    pub fn read(config: &mut ConfigFileReader, allow_key: &str) -> Result<Self, ConfigError> {
        let allow = config.get_opt(allow_key)?.unwrap_or_default();
        Ok(Self { allow, tls: PeerTls::read(config)? })
    }

    /// The same listener for these peers only.
    pub fn only(&self, options: ListenOptions) -> ListenOptions {
        let transport = self.tls.as_ref().map(PeerTls::accepting);
        ListenOptions { allow: self.allow.clone(), transport, ..options }
    }
}

impl PeerTls {
    /// Reads `PeerTlsCertificate`, `PeerTlsKey` and `PeerTlsCa`, names of PEM files; `None` if none
    /// of them is there.
    ///
    /// # Errors
    /// One of them is missing, cannot be read, or does not fit the others.
    pub fn read(config: &mut ConfigFileReader) -> Result<Option<Self>, ConfigError> {
        const KEYS: [&str; 3] = ["PeerTlsCertificate", "PeerTlsKey", "PeerTlsCa"];
        let mut found = 0;
        for key in KEYS {
            found += usize::from(config.get_opt::<String>(key)?.is_some());
        }
        if found == 0 {
            return Ok(None);
        }
        let [certificate, key, ca]: [String; 3] =
            [config.get(KEYS[0])?, config.get(KEYS[1])?, config.get(KEYS[2])?];
        let certificates = |path: &str| {
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>)
        };
        let expected = "a PEM file of certificates";
        let chain = certificates(&certificate)
            .map_err(|error| config.bad_value(KEYS[0], &format!("{expected} ({error})")))?;
        let authorities = certificates(&ca)
            .map_err(|error| config.bad_value(KEYS[2], &format!("{expected} ({error})")))?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
            config.bad_value(KEYS[1], &format!("a PEM file of a key ({error})"))
        })?;
        Self::new(chain, key, authorities)
            .map(Some)
            .map_err(|error| config.bad_value(KEYS[0], &format!("what fits key and CA ({error})")))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider.clone())
                .build()?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }

    fn accepting(&self) -> MakeTransport {
        tls::accepting(&self.server)
    }

    /// For the connections to other servers.
    pub fn connecting(&self) -> MakeTransport {
        let client = Arc::clone(&self.client);
        MakeTransport::new(move || {
            let name = ServerName::try_from(PEER_NAME).expect("a name of letters");
            tls::connecting(&client, name)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::netlib::tls::with_tls_files;

    /// Files of an authority and of a server it has signed, as the keys of a configuration.
    fn files(directory: &Path) -> String {
        let text = "PeerTlsCertificate=conf/peer.crt\nPeerTlsKey=conf/peer.key\n\
                    PeerTlsCa=conf/ca.crt\n";
        with_tls_files(text, directory)
    }

    fn read(text: &str) -> Result<Option<PeerTls>, String> {
        let mut config = ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes());
        PeerTls::read(&mut config).map_err(|error| error.to_string())
    }

    /// Lets the two ends of a connection talk until one of them gives up or both are silent.
    fn talk(client: MakeTransport, server: MakeTransport) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (mut client, mut server) = (client.make(), server.make());
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.send(b"from the client", &mut to_server);
        server.send(b"from the server", &mut to_client);
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        while !to_server.is_empty() || !to_client.is_empty() {
            let wire = std::mem::take(&mut to_server);
            server
                .receive(&wire, &mut at_server, &mut to_client)
                .map_err(|error| format!("server: {error}"))?;
            let wire = std::mem::take(&mut to_client);
            client
                .receive(&wire, &mut at_client, &mut to_server)
                .map_err(|error| format!("client: {error}"))?;
        }
        Ok((at_server, at_client))
    }

    #[test]
    fn f10_servers_of_one_installation_recognise_each_other_and_nobody_else() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tls = read(&files(ours.path())).unwrap().unwrap();
        let (at_server, at_client) = talk(tls.connecting(), tls.accepting()).unwrap();
        assert_eq!(
            (&at_server[..], &at_client[..]),
            (&b"from the client"[..], &b"from the server"[..])
        );
        let stranger = read(&files(theirs.path())).unwrap().unwrap();
        let error = talk(stranger.connecting(), tls.accepting()).unwrap_err();
        assert!(error.starts_with("client: "), "it does not believe us: {error}");
        // One that believes everybody, but is not believed.
        let mixed = PeerTls { server: tls.server.clone(), client: tls.client.clone() };
        let liar = PeerTls { client: trusting_liar(ours.path(), theirs.path()), ..mixed };
        let error = talk(liar.connecting(), tls.accepting()).unwrap_err();
        assert!(error.starts_with("server: "), "{error}");
    }

    /// Knows our authority, but has a certificate of another one.
    fn trusting_liar(ours: &Path, theirs: &Path) -> Arc<ClientConfig> {
        let ca = CertificateDer::from_pem_file(ours.join("ca.crt")).unwrap();
        let certificate = CertificateDer::from_pem_file(theirs.join("peer.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(theirs.join("peer.key")).unwrap();
        PeerTls::new(vec![certificate], key, vec![ca]).unwrap().client
    }

    #[test]
    fn f10_a_configuration_that_cannot_work_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let text = files(directory.path());
        assert!(read("").unwrap().is_none());
        for key in ["PeerTlsCertificate", "PeerTlsKey", "PeerTlsCa"] {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            let error = read(&text.replace(line, "")).unwrap_err();
            assert!(error.contains(&format!("key {key} is missing")), "{error}");
            let error = read(&text.replace(line, &format!("{key}=/nowhere"))).unwrap_err();
            assert!(error.contains("a PEM file"), "{error}");
        }
    }
}
