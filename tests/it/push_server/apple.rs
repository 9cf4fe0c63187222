//! Apple, as far as a push_server can tell: HTTP/2 over TLS, with answers that a test chooses.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use prost::bytes::Bytes;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::running::PATIENCE;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// Which of the connections it came on.
    pub connection: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn token(&self) -> &str {
        self.path.strip_prefix("/3/device/").unwrap()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16, &'static str),
    /// The stream is reset.
    Reset,
}

pub const OK: Reply = Reply::Status(200, "");

type Replies = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Shared {
    tls: TlsAcceptor,
    replies: Box<Replies>,
    seen: mpsc::Sender<Seen>,
    /// A permit for each answer.
    gate: Semaphore,
    connections: AtomicUsize,
}

/// Dropping it ends its connections.
pub struct Apple {
    pub addr: SocketAddr,
    seen: mpsc::Receiver<Seen>,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// Certificates: `ca.crt` is who signs, `apple.crt` is Apple's, for `localhost`, and `app.crt` that
/// of the app.
pub fn make_certificates(directory: &Path) {
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap();
    fs::write(directory.join("ca.crt"), ca.pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, ca_key);
    for (name, subject) in [("apple", "localhost"), ("app", "com.example.app")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new([subject.to_owned()]).unwrap();
        let made = made.signed_by(&key, &issuer).unwrap();
        fs::write(directory.join(format!("{name}.crt")), made.pem()).unwrap();
        fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    fs::write(directory.join("token.p8"), key.serialize_pem()).unwrap();
}

fn tls(directory: &Path, wants_certificate: bool) -> TlsAcceptor {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        let read = CertificateDer::pem_file_iter(directory.join(name)).unwrap();
        read.map(Result::unwrap).collect()
    };
    let key = PrivateKeyDer::from_pem_file(directory.join("apple.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if wants_certificate {
        let mut roots = RootCertStore::empty();
        certificates("ca.crt").into_iter().for_each(|ca| roots.add(ca).unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(certificates("apple.crt"), key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

impl Apple {
    pub fn start(
        directory: &Path,
        replies: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, tls(directory, false), replies)
    }

    /// One that lets in only who shows a certificate.
    pub fn with_client_certificates(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, tls(directory, true), |_| OK)
    }

    pub fn start_at(addr: SocketAddr, directory: &Path) -> Self {
        Self::serve(TcpListener::bind(addr).unwrap(), tls(directory, false), |_| OK)
    }

    fn serve(
        listener: TcpListener,
        tls: TlsAcceptor,
        replies: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (sender, seen) = mpsc::channel();
        let shared = Arc::new(Shared {
            tls,
            replies: Box::new(replies),
            seen: sender,
            gate: Semaphore::new(1 << 20),
            connections: AtomicUsize::new(0),
        });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_io().build().unwrap();
        let accepting = Arc::clone(&shared);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let connection = accepting.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve_connection(Arc::clone(&accepting), tcp, connection));
            }
        });
        Self { addr, seen, shared, _runtime: runtime }
    }

    /// From here on, nothing is answered that [`Self::answer`] does not let through.
    pub fn hold(&self) {
        let held = self.shared.gate.forget_permits(1 << 20);
        assert_eq!(held, 1 << 20);
    }

    /// Lets so many answers through.
    pub fn answer(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }

    /// The next request.
    #[track_caller]
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// The next request, if it has come already.
    pub fn try_next(&self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }
}

async fn serve_connection(shared: Arc<Shared>, tcp: TcpStream, connection: usize) {
    let Ok(tls) = shared.tls.accept(tcp).await else { return };
    let Ok(mut http2) = h2::server::handshake(tls).await else { return };
    while let Some(Ok((request, respond))) = http2.accept().await {
        tokio::spawn(serve_request(Arc::clone(&shared), request, respond, connection));
    }
}

async fn serve_request(
    shared: Arc<Shared>,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
) {
    assert_eq!(request.method(), "POST");
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = stream.data().await {
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        body.extend_from_slice(&chunk);
    }
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let seen = Seen {
        path: head.uri.path().to_owned(),
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap(),
        connection,
    };
    let reply = (shared.replies)(&seen);
    let _ = shared.seen.send(seen);
    shared.gate.acquire().await.unwrap().forget();
    match reply {
        Reply::Reset => respond.send_reset(Reason::REFUSED_STREAM),
        Reply::Status(status, reason) => {
            let response = Response::builder().status(status).body(()).unwrap();
            // Who asked may be gone.
            if let Ok(mut send) = respond.send_response(response, reason.is_empty())
                && !reason.is_empty()
            {
                let body = format!(r#"{{"reason":"{reason}"}}"#);
                let _ = send.send_data(body.into(), true);
            }
        }
    }
}
