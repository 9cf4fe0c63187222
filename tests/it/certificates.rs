//! Certificates for servers of a test, as the keys of their configurations.

use std::fs;
use std::path::Path;

use teamtalk::netlib::peers::PEER_NAME;

/// A certificate for `localhost`, for clients; `tls.crt` is what they have to trust.
pub fn tls_keys(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("TlsCertificate={}\nTlsKey={}\n", certificate.display(), key.display())
}

/// A certificate that the servers of an installation recognise each other by.
pub fn peer_tls_keys(directory: &Path) -> String {
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let peer = rcgen::CertificateParams::new([PEER_NAME.to_owned()]).unwrap();
    let peer = peer.signed_by(&key, &issuer).unwrap();
    let files = [
        ("PeerTlsCertificate", "peer.crt", peer.pem()),
        ("PeerTlsKey", "peer.key", key.serialize_pem()),
        ("PeerTlsCa", "ca.crt", ca.pem()),
    ];
    let line = |(key, name, content): (&str, &str, String)| {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        format!("{key}={}\n", path.display())
    };
    files.map(line).concat()
}
