//! The sample configuration, and one of the original.

use super::*;
use crate::base::command_line::CommonOptions;
use crate::netlib::tls::with_tls_files;

const SAMPLE: &str = include_str!("../../../conf/pushserver.conf");

fn read(text: &str) -> PushServerConfig {
    let mut config = ConfigFileReader::parse(Path::new("pushserver.conf"), text.as_bytes());
    CommonOptions::read(&mut config).unwrap();
    let read = PushServerConfig::read(&mut config).unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    read
}

#[test]
fn f10_f21_the_sample_configuration_listens_on_loopback_and_holds_no_secret() {
    let safe = read(SAMPLE);
    assert_eq!((safe.listen_ip.as_str(), safe.listen_port), ("127.0.0.1", 8500));
    assert!(matches!((&safe.ios, &safe.android), (ProviderConfig::Dry, ProviderConfig::Nobody)));
    assert_eq!((safe.queue_max, safe.concurrency), (QUEUE_MAX, CONCURRENCY));
}

/// Two variants, since a key and a certificate exclude each other.
#[test]
fn the_sample_configuration_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let own = rcgen::generate_simple_self_signed(["app".to_owned()]).unwrap();
    std::fs::write(path("AuthKey.p8"), testing::p8()).unwrap();
    std::fs::write(path("apns-cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(path("apns-key.pem"), own.signing_key.serialize_pem()).unwrap();
    let text: Vec<_> = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        })
        .collect();
    let text = with_tls_files(&text.join("\n"), directory.path())
        .replace("conf/AuthKey.p8", &path("AuthKey.p8"))
        .replace("conf/apns-cert.pem", &path("apns-cert.pem"))
        .replace("conf/apns-key.pem", &path("apns-key.pem"))
        .replace("IosProvider=dry", "IosProvider=apns")
        .replace("AndroidProvider=none", "AndroidProvider=webhook");
    let without = |keys: &[&str]| -> String {
        let is_left = |line: &&str| !keys.iter().any(|key| line.starts_with(key));
        text.lines().filter(is_left).map(|line| line.to_owned() + "\n").collect()
    };
    let with_key = read(&without(&["CertPath=", "KeyPath=", "KeyPassword="]));
    let with_certificate = read(&without(&["ApnsKeyPath=", "ApnsKeyId=", "ApnsTeamId="]));
    for config in [with_key, with_certificate] {
        assert!(matches!(config.ios, ProviderConfig::Apns(_)));
        assert!(matches!(config.android, ProviderConfig::Webhook(_)));
        assert!(config.msg_servers.tls.is_some());
    }
}

#[test]
fn a_configuration_of_the_original_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["app".to_owned()]).unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("cert"), own.cert.pem()).unwrap();
    std::fs::write(path("key"), own.signing_key.serialize_pem()).unwrap();
    let text = format!(
        "ListenIP=127.0.0.1\nListenPort=8500\nCertPath={}\nKeyPath={}\nKeyPassword=own\n\
         SandBox=1\n",
        path("cert"),
        path("key")
    );
    assert!(matches!(read(&text).ios, ProviderConfig::Apns(_)));
}

#[test]
fn a_provider_that_there_is_not_is_refused() {
    for (more, wrong) in [
        ("IosProvider=fcm\n", "apns, webhook, dry or none"),
        ("IosProvider=none\nAndroidProvider=apns\n", "webhook, dry or none"),
        ("", "CertPath is missing"),
        ("IosProvider=webhook\n", "WebhookUrl is missing"),
        ("IosProvider=dry\nQueueMax=0\n", "a number from 1"),
        ("IosProvider=dry\nConcurrency=0\n", "a number from 1"),
    ] {
        let error = config(more).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}
