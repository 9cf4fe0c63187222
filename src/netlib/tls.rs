//! TLS below the framing, for listeners of clients that can speak it.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::event_dispatch::EventDispatch;
use super::im_conn::ConnHandler;
use super::options::ListenOptions;
use super::transport::{MakeTransport, Transport};
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};

/// Certificate and key of a server.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of every log.
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads `TlsCertificate` and `TlsKey`, names of PEM files; `None` if neither is there.
    ///
    /// # Errors
    /// One of them is missing, cannot be read, or does not fit the other.
    pub fn read(config: &mut ConfigFileReader) -> Result<Option<Self>, ConfigError> {
        let certificate: Option<String> = config.get_opt("TlsCertificate")?;
        let key: Option<String> = config.get_opt("TlsKey")?;
        if certificate.is_none() && key.is_none() {
            return Ok(None);
        }
        let certificate: String = config.get("TlsCertificate")?;
        let key: String = config.get("TlsKey")?;
        let chain = CertificateDer::pem_file_iter(&certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| {
                config.bad_value("TlsCertificate", &format!("a PEM file of certificates ({error})"))
            })?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
            config.bad_value("TlsKey", &format!("a PEM file of a key ({error})"))
        })?;
        // The provider is named, so that no other crate of the program can choose another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| config.bad_value("TlsKey", &error.to_string()))?;
        let server =
            builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| {
                config.bad_value("TlsKey", &format!("the key of TlsCertificate ({error})"))
            })?;
        Ok(Some(Self(Arc::new(server))))
    }

    /// The same listener over TLS.
    pub fn over(&self, options: ListenOptions) -> ListenOptions {
        ListenOptions { transport: Some(accepting(&self.0)), ..options }
    }
}

/// Where clients are listened for: in the clear, over TLS, or both.
#[derive(Clone, Debug)]
pub struct ClientListener {
    /// Addresses or host names, separated by `;`.
    pub hosts: String,
    /// In the clear; `None` if clients have to use TLS.
    pub port: Option<u16>,
    /// Over TLS.
    pub tls: Option<(u16, Tls)>,
}

impl ClientListener {
    /// Reads the addresses from `host_key`, the port from `port_key`, that for TLS from `Tls` and
    /// `port_key`, and whether there is to be a listener in the clear from `PlainListen`.
    ///
    /// # Errors
    /// A key is missing or its value is wrong, or nothing would be listened on.
    pub fn read(
        config: &mut ConfigFileReader,
        hosts: String,
        port_key: &str,
    ) -> Result<Self, ConfigError> {
        let port = config.get(port_key)?;
        let plain = config.get_or("PlainListen", true)?;
        let tls_key = format!("Tls{port_key}");
        let tls = match (config.get_opt(&tls_key)?, Tls::read(config)?) {
            (Some(tls_port), Some(tls)) => Some((tls_port, tls)),
            (Some(_), None) => {
                return Err(config.bad_value(&tls_key, "TlsCertificate and TlsKey beside it"));
            }
            (None, _) => None,
        };
        if !plain && tls.is_none() {
            return Err(config.bad_value("PlainListen", &format!("1, or {tls_key} beside it")));
        }
        Ok(Self { hosts, port: plain.then_some(port), tls })
    }

    /// Listens, and tells the addresses: first those in the clear, then those over TLS.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn listen<H: ConnHandler>(
        &self,
        dispatch: &mut EventDispatch<H::Server>,
        options: &ListenOptions,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut addrs = Vec::new();
        if let Some(port) = self.port {
            addrs.extend(dispatch.listen_on::<H>(&self.hosts, port, options.clone())?);
        }
        if let Some((port, tls)) = &self.tls {
            let options = tls.over(options.clone());
            addrs.extend(dispatch.listen_on::<H>(&self.hosts, *port, options)?);
        }
        Ok(addrs)
    }

    /// Whether this port is the one for TLS, for the log.
    pub fn is_tls(&self, port: u16) -> bool {
        self.tls.as_ref().is_some_and(|(tls_port, _)| *tls_port == port)
    }
}

/// What lies under connections that are accepted.
pub(super) fn accepting(config: &Arc<ServerConfig>) -> MakeTransport {
    let config = Arc::clone(config);
    MakeTransport::new(move || {
        let conn = ServerConnection::new(Arc::clone(&config));
        Box::new(TlsTransport::new(conn.map(Connection::Server)))
    })
}

/// What lies under a connection to a server of this name.
pub(super) fn connecting(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Box<dyn Transport> {
    let conn = ClientConnection::new(Arc::clone(config), name);
    Box::new(TlsTransport::new(conn.map(Connection::Client)))
}

/// One connection's state.
#[derive(Debug)]
enum TlsTransport {
    Open(Box<Connection>),
    /// The connection cannot be served, for want of memory for instance.
    Broken(rustls::Error),
}

impl TlsTransport {
    fn new(conn: Result<Connection, rustls::Error>) -> Self {
        match conn {
            Ok(mut conn) => {
                // What is queued before the handshake ends is bounded by the connection's limit.
                conn.set_buffer_limit(None);
                Self::Open(Box::new(conn))
            }
            Err(error) => Self::Broken(error),
        }
    }
}

/// Writing to a `Vec` cannot fail, so there is nothing to report.
fn write_out(conn: &mut Connection, wire: &mut Vec<u8>) {
    while conn.wants_write() && conn.write_tls(wire).is_ok_and(|length| length > 0) {}
}

impl Transport for TlsTransport {
    fn receive(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let conn = match self {
            Self::Open(conn) => conn,
            Self::Broken(error) => return Err(error.clone().into()),
        };
        while !wire.is_empty() {
            conn.read_tls(&mut wire)?;
            let processed = conn.process_new_packets();
            // An alert that tells the peer what was wrong goes out as well.
            write_out(conn, reply);
            let length = processed?.plaintext_bytes_to_read();
            let start = plain.len();
            plain.resize(start + length, 0);
            conn.reader().read_exact(&mut plain[start..])?;
        }
        Ok(())
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let Self::Open(conn) = self else { return };
        // Without a limit the buffer takes everything.
        if conn.writer().write_all(plain).is_ok() {
            write_out(conn, wire);
        }
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        let Self::Open(conn) = self else { return };
        conn.send_close_notify();
        write_out(conn, wire);
    }
}

/// The text of a sample configuration, with the certificates and keys it names made in this
/// directory.
#[cfg(test)]
pub(crate) fn with_tls_files(text: &str, directory: &std::path::Path) -> String {
    use super::peers::PEER_NAME;

    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, ca_key);
    let peer_key = rcgen::KeyPair::generate().unwrap();
    let peer = rcgen::CertificateParams::new([PEER_NAME.to_owned()]).unwrap();
    let peer = peer.signed_by(&peer_key, &issuer).unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut text = text.to_owned();
    for (name, content) in [
        ("ca.crt", ca.pem()),
        ("peer.crt", peer.pem()),
        ("peer.key", peer_key.serialize_pem()),
        ("tls.crt", own.cert.pem()),
        ("tls.key", own.signing_key.serialize_pem()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        text = text.replace(&format!("=conf/{name}"), &format!("={}", path.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::RootCertStore;

    use super::*;

    /// The keys of a configuration, and a client that trusts its certificate.
    fn files(directory: &Path) -> (String, Arc<ClientConfig>) {
        let text = "TlsCertificate=conf/tls.crt\nTlsKey=conf/tls.key\n";
        let text = with_tls_files(text, directory);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(directory.join("tls.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (text, Arc::new(client))
    }

    fn read<T>(
        text: &str,
        read: impl FnOnce(&mut ConfigFileReader) -> Result<T, ConfigError>,
    ) -> Result<T, String> {
        let mut config = ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes());
        read(&mut config).map_err(|error| error.to_string())
    }

    #[test]
    fn f17_bytes_go_in_and_out_encrypted() {
        let directory = tempfile::tempdir().unwrap();
        let (text, client) = files(directory.path());
        let tls = read(&text, Tls::read).unwrap().unwrap();
        let mut server = accepting(&tls.0).make();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(client, name).unwrap();
        let (mut to_client, mut plain) = (Vec::new(), Vec::new());
        // Before the handshake: it waits.
        server.send(b"welcome", &mut to_client);
        assert!(to_client.is_empty());
        client.writer().write_all(b"hello").unwrap();
        while plain.is_empty() || client.wants_write() {
            let mut to_server = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut to_server).unwrap();
            }
            assert!(!to_server.windows(5).any(|bytes| bytes == b"hello"));
            // In pieces as a network makes them.
            for piece in to_server.chunks(7) {
                server.receive(piece, &mut plain, &mut to_client).unwrap();
            }
            let mut wire = &std::mem::take(&mut to_client)[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert_eq!(plain, b"hello");
        let large = vec![7; 100_000];
        server.send(&large, &mut to_client);
        server.close(&mut to_client);
        let (mut wire, mut heard) = (&to_client[..], Vec::new());
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
            let mut buf = [0; 40_000];
            while let Ok(length @ 1..) = client.reader().read(&mut buf) {
                heard.extend_from_slice(&buf[..length]);
            }
        }
        assert_eq!(heard, [&b"welcome"[..], &large].concat());
    }

    #[test]
    fn f17_garbage_ends_the_connection_with_an_alert() {
        let directory = tempfile::tempdir().unwrap();
        let tls = read(&files(directory.path()).0, Tls::read).unwrap().unwrap();
        let mut server = accepting(&tls.0).make();
        let (mut plain, mut reply) = (Vec::new(), Vec::new());
        let error = server.receive(b"GET / HTTP/1.1\r\n\r\n", &mut plain, &mut reply).unwrap_err();
        assert!(!error.to_string().is_empty() && plain.is_empty());
        assert_eq!(reply.first(), Some(&21), "an alert");
    }

    #[test]
    fn f17_a_configuration_that_cannot_work_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (text, _) = files(directory.path());
        let listener = |more: &str| {
            read(&format!("Port=1\n{more}"), |config| {
                ClientListener::read(config, "127.0.0.1".to_owned(), "Port")
            })
        };
        assert!(listener("").unwrap().tls.is_none());
        let both = listener(&format!("{text}TlsPort=2\n")).unwrap();
        assert_eq!((both.port, both.tls.unwrap().0), (Some(1), 2));
        assert_eq!(listener(&format!("{text}TlsPort=2\nPlainListen=0\n")).unwrap().port, None);
        for (more, told) in [
            ("TlsPort=2\n", "TlsCertificate"),
            ("PlainListen=0\n", "PlainListen"),
            ("TlsCertificate=/nowhere\n", "TlsKey is missing"),
            ("TlsCertificate=/nowhere\nTlsKey=/nowhere\n", "a PEM file of certificates"),
        ] {
            let error = listener(more).unwrap_err();
            assert!(error.contains(told), "{more}: {error}");
        }
        let stranger = tempfile::tempdir().unwrap();
        let (foreign, _) = files(stranger.path());
        let mixed =
            text.lines().next().unwrap().to_owned() + "\n" + foreign.lines().nth(1).unwrap();
        assert!(listener(&mixed).unwrap_err().contains("the key of TlsCertificate"));
    }
}
