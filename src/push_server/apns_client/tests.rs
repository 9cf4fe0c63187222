use std::path::Path;

use super::*;
use crate::push_server::testing::{notification, p8};

fn read(text: &str) -> Result<ApnsClient, String> {
    let mut config = ConfigFileReader::parse(Path::new("pushserver.conf"), text.as_bytes());
    ApnsClient::read(&mut config).map_err(|error| error.to_string())
}

/// A directory with a key, a certificate, and what is needed to use them.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let own = rcgen::generate_simple_self_signed(["app".to_owned()]).unwrap();
        files.write("token.p8", &p8());
        files.write("cert.pem", &own.cert.pem());
        files.write("key.pem", &own.signing_key.serialize_pem());
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn with_token(&self) -> String {
        let path = self.path("token.p8");
        format!("ApnsKeyPath={path}\nApnsKeyId=KEY\nApnsTeamId=TEAM\nApnsTopic=com.example.app\n")
    }

    fn with_certificate(&self) -> String {
        format!("CertPath={}\nKeyPath={}\n", self.path("cert.pem"), self.path("key.pem"))
    }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn f130_a_notification_is_one_request_of_the_provider_api() {
    let mut apns = read(&Files::new().with_token()).unwrap();
    let push = notification(5);
    let request = apns.request(&push, 1_700_000_000).unwrap();
    assert_eq!(request.url, format!("https://api.push.apple.com:443/3/device/{}", push.token));
    for (name, value) in [
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
        ("apns-expiration", "1700003600"),
        ("apns-topic", "com.example.app"),
        ("apns-id", &push.id.to_string()),
    ] {
        assert_eq!(header(&request, name), Some(value));
    }
    assert_eq!(header(&request, "apns-collapse-id"), None);
    let bearer = header(&request, "authorization").unwrap();
    assert_eq!(bearer.strip_prefix("bearer ").unwrap().split('.').count(), 3);
    assert_eq!(request.body, apns_msg::build_payload(&push, "bingbong.aiff").unwrap());
    // The token is not made anew for each.
    let again = apns.request(&push, 1_700_000_001).unwrap();
    assert_eq!(header(&again, "authorization"), Some(bearer));
}

#[test]
fn a_silent_push_may_wait_and_only_the_last_badge_counts() {
    let mut apns = read(&Files::new().with_token()).unwrap();
    let push = Notification { silent: true, ..notification(5) };
    let request = apns.request(&push, 0).unwrap();
    assert_eq!(header(&request, "apns-priority"), Some("5"));
    assert_eq!(header(&request, "apns-collapse-id"), Some("badge"));
    let files = Files::new();
    let text = files.with_token() + "ApnsCollapse=1\nApnsSound=x.aiff\n";
    let mut apns = read(&text).unwrap();
    let request = apns.request(&notification(5), 0).unwrap();
    assert_eq!(header(&request, "apns-collapse-id"), Some("user-7"));
    assert!(String::from_utf8(request.body).unwrap().contains("x.aiff"));
}

#[test]
fn f134_what_apple_cannot_take_is_not_sent() {
    let mut apns = read(&Files::new().with_token()).unwrap();
    for token in ["", "../../x", "zz"] {
        let push = Notification { token: token.to_owned(), ..notification(5) };
        assert!(apns.request(&push, 0).unwrap_err().contains("token"));
    }
    let push = Notification { data: "x".repeat(5000).into(), ..notification(5) };
    assert!(apns.request(&push, 0).unwrap_err().contains("too long"));
}

#[test]
fn f131_each_answer_of_apple_has_its_meaning() {
    let mut apns = read(&Files::new().with_token()).unwrap();
    let mut verdict = |status, reason: &str| {
        let body = format!(r#"{{"reason":"{reason}"}}"#).into_bytes();
        apns.verdict(&HttpAnswer { status, retry_after: None, body })
    };
    assert_eq!(verdict(200, ""), Verdict::Accepted);
    for (status, reason) in [(410, "Unregistered"), (410, "ExpiredToken"), (400, "BadDeviceToken")]
    {
        assert_eq!(verdict(status, reason), Verdict::TokenDead(format!("{status} {reason}")));
    }
    for (status, reason) in [
        (400, "IdleTimeout"),
        (429, "TooManyRequests"),
        (429, "TooManyProviderTokenUpdates"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (503, "Shutdown"),
    ] {
        assert_eq!(verdict(status, reason), Verdict::Retry(format!("{status} {reason}"), None));
    }
    for (status, reason) in [
        // Another app, or the other of Apple's two worlds: phones are not at fault.
        (400, "DeviceTokenNotForTopic"),
        (400, "BadCollapseId"),
        (400, "BadExpirationDate"),
        (400, "BadMessageId"),
        (400, "BadPriority"),
        (400, "BadTopic"),
        (400, "DuplicateHeaders"),
        (400, "InvalidPushType"),
        (400, "MissingDeviceToken"),
        (400, "MissingTopic"),
        (400, "PayloadEmpty"),
        (400, "TopicDisallowed"),
        (403, "BadCertificate"),
        (403, "BadCertificateEnvironment"),
        (403, "Forbidden"),
        (403, "InvalidProviderToken"),
        (403, "MissingProviderToken"),
        (404, "BadPath"),
        (405, "MethodNotAllowed"),
        (413, "PayloadTooLarge"),
    ] {
        assert_eq!(verdict(status, reason), Verdict::Refused(format!("{status} {reason}")));
    }
    let answer = HttpAnswer { status: 418, body: b"no JSON".to_vec(), ..HttpAnswer::default() };
    assert_eq!(apns.verdict(&answer), Verdict::Refused("418 ".to_owned()));
    let retry_after = Some(Duration::from_secs(7));
    let answer = HttpAnswer { status: 503, retry_after, body: Vec::new() };
    assert_eq!(apns.verdict(&answer), Verdict::Retry("503 ".to_owned(), retry_after));
}

#[test]
fn a_provider_token_that_apple_calls_old_is_made_anew_and_the_push_goes_again_at_once() {
    let mut apns = read(&Files::new().with_token()).unwrap();
    let bearer = |apns: &mut ApnsClient| {
        let request = apns.request(&notification(5), 1_700_000_000).unwrap();
        header(&request, "authorization").unwrap().to_owned()
    };
    let first = bearer(&mut apns);
    assert_eq!(bearer(&mut apns), first);
    let body = br#"{"reason":"ExpiredProviderToken"}"#.to_vec();
    let answer = HttpAnswer { status: 403, retry_after: None, body };
    let expected = Verdict::Retry("403 ExpiredProviderToken".to_owned(), Some(Duration::ZERO));
    assert_eq!(apns.verdict(&answer), expected);
    let request = apns.request(&notification(5), 1_700_000_100).unwrap();
    assert_ne!(header(&request, "authorization"), Some(first.as_str()));
}

#[test]
fn a_certificate_of_the_original_is_shown_and_may_imply_the_topic() {
    let files = Files::new();
    let mut apns = read(&(files.with_certificate() + "SandBox=1\n")).unwrap();
    let (certificate, key) = apns.tls().identity.clone().unwrap();
    assert_eq!(certificate.display().to_string(), files.path("cert.pem"));
    assert_eq!(key.display().to_string(), files.path("key.pem"));
    let request = apns.request(&notification(5), 0).unwrap();
    assert!(request.url.starts_with("https://api.sandbox.push.apple.com:443/3/device/"));
    assert_eq!((header(&request, "apns-topic"), header(&request, "authorization")), (None, None));
}

#[test]
fn an_encrypted_key_is_decrypted_in_memory() {
    let files = Files::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let info = pkcs8::PrivateKeyInfoRef::try_from(key.serialized_der()).unwrap();
    let salt = [7; 16];
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1000, &salt, [9; 16]);
    let encrypted = info.encrypt_with_params(parameters.unwrap(), "secret").unwrap();
    let label = "ENCRYPTED PRIVATE KEY";
    files.write("key.pem", &encrypted.to_pem(label, pkcs8::LineEnding::LF).unwrap());
    let text = files.with_certificate();
    let apns = read(&(text.clone() + "KeyPassword=secret\n")).unwrap();
    let (_, path) = apns.tls().identity.clone().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), key.serialize_pem().replace("\r\n", "\n"));
    assert!(read(&text).unwrap_err().contains("KeyPassword"));
    assert!(read(&(text + "KeyPassword=wrong\n")).unwrap_err().contains("KeyPassword"));
}

#[test]
fn f21_f132_what_cannot_be_used_is_told_at_the_start() {
    let files = Files::new();
    let (token, certificate) = (files.with_token(), files.with_certificate());
    files.write("old.pem", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n");
    let old_key = certificate.replace("key.pem", "old.pem");
    for (text, wrong) in [
        (String::new(), "CertPath is missing"),
        (token.replace("ApnsTopic", "#"), "ApnsTopic is missing"),
        (token.replace("ApnsTeamId", "#"), "ApnsTeamId is missing"),
        (token.replace("token.p8", "absent"), "ApnsKeyPath"),
        (token.replace("token.p8", "cert.pem"), "ApnsKeyPath"),
        (token.clone() + "ApnsHost=a/b\n", "ApnsHost"),
        (certificate.replace("cert.pem", "absent"), "CertPath"),
        (certificate.replace("cert.pem", "key.pem"), "CertPath"),
        (certificate.replace("key.pem", "absent"), "KeyPath"),
        (certificate.replace("key.pem", "cert.pem"), "KeyPath"),
        (old_key, "openssl pkcs8"),
        (certificate + "KeyPassword=tt@mogujie\n", "KeyPassword"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
    let shown = format!("{:?}", read(&token).unwrap());
    assert!(!shown.contains("KEY"), "{shown}");
}
