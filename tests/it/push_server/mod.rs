//! push_server between msg_servers and push services.

mod apple;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use teamtalk::base::im_pdu::ImPdu;
use teamtalk::base::unix_time::unix_time;
use teamtalk::client::Session;
use teamtalk::netlib::open_files::raise_open_files_limit;
use teamtalk::pb::base_define::{ClientType, UserTokenInfo};
use teamtalk::pb::cmd::*;
use teamtalk::pb::server::{
    ImGetDeviceTokenReq, ImGetDeviceTokenRsp, ImPushToUserReq, ImPushToUserRsp,
};
use teamtalk::push_server::sender::RetryPolicy;
use teamtalk::push_server::{PushServer, PushServerConfig};

use crate::running::{Peer, Running, config, free_port};
use crate::site::*;
use apple::{Apple, OK, Reply, Seen, make_certificates};

/// A push_server and the msg_server that asks it.
struct Bed {
    server: Running,
    msg_server: Peer,
    seq_num: u16,
}

/// Attempts where the last one is to succeed: on a busy machine one may fail.
const PATIENT: u32 = 10;

fn start(text: &str, attempts_max: u32) -> Running {
    let text = format!("{text}ListenIP=127.0.0.1\nListenPort=0\n");
    let mut config = config(&text, PushServerConfig::read);
    let (first, longest) = (Duration::from_millis(1), Duration::from_millis(20));
    config.retry = RetryPolicy { first, longest, attempts_max };
    Running::start(PushServer::dispatch(&config, unix_time).unwrap())
}

/// The keys for this Apple, with a token.
fn keys(apple: &Apple, directory: &Path) -> String {
    format!(
        "ApnsHost=localhost:{}\nApnsCaPath={1}/ca.crt\nApnsKeyPath={1}/token.p8\nApnsKeyId=KEY\n\
         ApnsTeamId=TEAM\nApnsTopic=com.example.app\n",
        apple.addr.port(),
        directory.display()
    )
}

impl Bed {
    fn new(text: &str, attempts_max: u32) -> Self {
        let server = start(text, attempts_max);
        Self { msg_server: server.peer(), server, seq_num: 0 }
    }

    /// Pushes to the phones of these users, in one request.
    fn push(&mut self, client_type: ClientType, users: &[u32]) -> u16 {
        self.seq_num += 1;
        let info = |&user_id: &u32| UserTokenInfo {
            user_id,
            user_type: client_type.into(),
            token: token(user_id),
            push_count: 2,
            push_type: 1,
        };
        let msg = ImPushToUserReq {
            flash: "小明: hello".into(),
            data: r#"{"msg_type":1,"from_id":7}"#.to_owned(),
            user_token_list: users.iter().map(info).collect(),
        };
        let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_PUSH_TO_USER_REQ, self.seq_num, &msg);
        self.msg_server.send(&pdu);
        self.seq_num
    }

    /// Sequence number and result codes of the next answer.
    #[track_caller]
    fn answer(&mut self) -> (u16, Vec<u32>) {
        let pdu = self.msg_server.receive();
        let pdu = pdu.as_pdu();
        assert_eq!(pdu.command_id(), CID_OTHER_PUSH_TO_USER_RSP);
        let msg: ImPushToUserRsp = pdu.decode().unwrap();
        (pdu.seq_num(), msg.push_result_list.iter().map(|result| result.result_code).collect())
    }

    #[track_caller]
    fn result(&mut self, client_type: ClientType, user: u32) -> u32 {
        let seq_num = self.push(client_type, &[user]);
        let (answered, codes) = self.answer();
        assert_eq!((answered, codes.len()), (seq_num, 1));
        codes[0]
    }
}

fn token(user_id: u32) -> String {
    format!("{user_id:064x}")
}

fn user_of(seen: &Seen) -> u32 {
    u32::from_str_radix(seen.token(), 16).unwrap()
}

#[test]
fn f130_f20_a_push_reaches_apple_over_http2_and_tls() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |_| OK);
    let mut bed = Bed::new(&keys(&apple, directory.path()), PATIENT);
    assert_eq!(bed.result(ClientType::Ios, 5), 0);
    let seen = apple.next();
    assert_eq!(seen.token(), token(5));
    for (name, value) in [
        ("apns-topic", "com.example.app"),
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen.header(name), value);
    }
    let expiration: u32 = seen.header("apns-expiration").parse().unwrap();
    assert!((1..=3600).contains(&(expiration - unix_time())));
    assert!(seen.header("authorization").starts_with("bearer "));
    assert_eq!(
        seen.body,
        json!({
            "aps": { "alert": { "body": "小明: hello" }, "badge": 2, "sound": "bingbong.aiff" },
            "custom": r#"{"msg_type":1,"from_id":7}"#,
        })
    );
    // Nobody but iPhones is Apple's.
    assert_eq!(bed.result(ClientType::Android, 6), 1);
    assert!(apple.try_next().is_none());
}

#[test]
fn f131_every_answer_of_apple_has_its_result() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    // What each user's phone is answered; from the second time on, it goes well.
    const ANSWERS: [(u16, &str, u32); 15] = [
        (410, "Unregistered", 2),
        (410, "ExpiredToken", 2),
        (400, "BadDeviceToken", 2),
        (400, "DeviceTokenNotForTopic", 1),
        (400, "BadTopic", 1),
        (403, "InvalidProviderToken", 1),
        (403, "BadCertificate", 1),
        (404, "BadPath", 1),
        (405, "MethodNotAllowed", 1),
        (413, "PayloadTooLarge", 1),
        (403, "ExpiredProviderToken", 0),
        (429, "TooManyRequests", 0),
        (500, "InternalServerError", 0),
        (503, "ServiceUnavailable", 0),
        (503, "Shutdown", 0),
    ];
    let tried = Mutex::new(BTreeMap::new());
    let apple = Apple::start(directory.path(), move |seen| {
        let user = user_of(seen);
        let mut tried = tried.lock().unwrap();
        let first = tried.insert(user, ()).is_none();
        match ANSWERS.get(user as usize) {
            Some((status, reason, _)) if first => Reply::Status(*status, reason),
            None if first => Reply::Reset,
            _ => OK,
        }
    });
    let mut bed = Bed::new(&keys(&apple, directory.path()), 3);
    let users: Vec<u32> = (0..=ANSWERS.len() as u32).collect();
    let seq_num = bed.push(ClientType::Ios, &users);
    let mut expected: Vec<u32> = ANSWERS.iter().map(|(_, _, result)| *result).collect();
    expected.push(0);
    assert_eq!(bed.answer(), (seq_num, expected));
    // What goes again is the same notification.
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..users.len() + 6 {
        let seen = apple.next();
        ids.entry(seen.token().to_owned()).or_default().push(seen.header("apns-id").to_owned());
    }
    assert!(ids.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "{ids:?}");
    assert!(apple.try_next().is_none());
}

#[test]
fn what_fails_again_and_again_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |_| Reply::Status(503, "ServiceUnavailable"));
    let mut bed = Bed::new(&keys(&apple, directory.path()), 3);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
    (0..3).for_each(|_| drop(apple.next()));
    assert!(apple.try_next().is_none());
}

#[test]
fn f20_nobody_else_is_taken_for_apple() {
    let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    make_certificates(ours.path());
    make_certificates(theirs.path());
    let apple = Apple::start(theirs.path(), |_| OK);
    // An authority that nobody has heard of.
    let text = keys(&apple, theirs.path());
    let ca = |directory: &Path| format!("{}/ca.crt", directory.display());
    let mut bed = Bed::new(&text.replace(&ca(theirs.path()), &ca(ours.path())), 2);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
    // Another name than that of the certificate.
    let mut bed = Bed::new(&text.replace("localhost", "127.0.0.1"), 2);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
    // The authorities of the system do not know it either.
    let mut bed = Bed::new(&text.replace("ApnsCaPath", "#"), 2);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
    assert!(apple.try_next().is_none());
    let mut bed = Bed::new(&text, PATIENT);
    assert_eq!(bed.result(ClientType::Ios, 5), 0);
}

#[test]
fn a_certificate_proves_whose_the_app_is() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::with_client_certificates(directory.path());
    // Encrypted, as the keys of the original are.
    let pem = std::fs::read_to_string(directory.path().join("app.key")).unwrap();
    let (_, key) = pkcs8::SecretDocument::from_pem(&pem).unwrap();
    let key = pkcs8::PrivateKeyInfoRef::try_from(key.as_bytes()).unwrap();
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1000, &[7; 16], [9; 16]);
    let encrypted = key.encrypt_with_params(parameters.unwrap(), "secret").unwrap();
    let pem = encrypted.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).unwrap();
    std::fs::write(directory.path().join("encrypted.key"), pem).unwrap();
    for key in ["app.key", "encrypted.key"] {
        let text = format!(
            "ApnsHost=localhost:{}\nApnsCaPath={1}/ca.crt\nCertPath={1}/app.crt\n\
             KeyPath={1}/{key}\nKeyPassword=secret\n",
            apple.addr.port(),
            directory.path().display()
        );
        let mut bed = Bed::new(&text, PATIENT);
        assert_eq!(bed.result(ClientType::Ios, 5), 0);
        let seen = apple.next();
        assert_eq!((seen.header("authorization"), seen.header("apns-topic")), ("", ""));
    }
    // Without a certificate nobody gets in.
    let mut bed = Bed::new(&keys(&apple, directory.path()), 2);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
}

#[test]
fn many_pushes_share_a_few_connections() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |_| OK);
    let mut bed = Bed::new(&keys(&apple, directory.path()), PATIENT);
    let users: Vec<u32> = (1..=500).collect();
    let seq_num = bed.push(ClientType::Ios, &users);
    assert_eq!(bed.answer(), (seq_num, vec![0; 500]));
    let seen: Vec<Seen> = users.iter().map(|_| apple.next()).collect();
    assert!(seen.iter().all(|seen| seen.connection < 4));
    assert_eq!(seen.iter().map(user_of).collect::<std::collections::BTreeSet<_>>().len(), 500);
}

#[test]
fn f132_apple_may_be_away_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    // A port that nobody else is given while Apple is away.
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let text = keys(&Apple::start_at(addr, directory.path()), directory.path());
    let mut bed = Bed::new(&text, 1_000_000);
    let seq_num = bed.push(ClientType::Ios, &[1, 2, 3]);
    let retried = |srv: &PushServer| srv.retried();
    while bed.server.look(retried) == 0 {}
    let apple = Apple::start_at(addr, directory.path());
    assert_eq!(bed.answer(), (seq_num, vec![0; 3]));
    let users: std::collections::BTreeSet<u32> = (0..3).map(|_| user_of(&apple.next())).collect();
    assert_eq!(users, [1, 2, 3].into());
}

#[test]
fn what_waits_has_a_limit_and_the_oldest_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |_| OK);
    apple.hold();
    let text = keys(&apple, directory.path()) + "QueueMax=2\nConcurrency=1\n";
    let mut bed = Bed::new(&text, 3);
    bed.push(ClientType::Ios, &[1]);
    apple.next();
    // One is under way, two may wait.
    let asked: Vec<u16> = (2..=5).map(|user| bed.push(ClientType::Ios, &[user])).collect();
    assert_eq!(bed.answer(), (asked[0], vec![1]));
    assert_eq!(bed.answer(), (asked[1], vec![1]));
    apple.answer(3);
    let rest: Vec<_> = (0..3).map(|_| bed.answer()).collect();
    assert_eq!(rest, [(1, vec![0]), (asked[2], vec![0]), (asked[3], vec![0])]);
}

/// A program that takes notifications: what came, and what it answers.
fn webhook(answers: &'static [u16]) -> (String, thread::JoinHandle<Vec<(String, Value)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/push", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let mut seen = Vec::new();
        for status in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0);
            }
            let lower = head.to_ascii_lowercase();
            let len = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; len.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            seen.push((lower, serde_json::from_slice(&body).unwrap()));
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        seen
    });
    (url, thread)
}

#[test]
fn f131_phones_with_android_are_told_through_a_webhook() {
    let (url, thread) = webhook(&[200, 503, 202, 410, 400]);
    let text =
        format!("IosProvider=none\nAndroidProvider=webhook\nWebhookUrl={url}\nWebhookSecret=abc\n");
    let mut bed = Bed::new(&text, 3);
    let results = [1, 2, 3, 4].map(|user| bed.result(ClientType::Android, user));
    assert_eq!(results, [0, 0, 2, 1]);
    assert_eq!(bed.result(ClientType::Ios, 5), 1);
    let seen = thread.join().unwrap();
    let (head, body) = &seen[0];
    assert!(head.starts_with("post /push http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer abc\r\n"), "{head}");
    assert_eq!(
        (&body["platform"], &body["token"], &body["user_id"]),
        (&json!("android"), &json!(token(1)), &json!(1))
    );
    assert_eq!(body["payload"]["aps"]["badge"], 2);
    assert_eq!(seen[1].1["push_id"], seen[2].1["push_id"]);
}

#[test]
fn f133_a_heartbeat_alone_is_answered_and_no_length_is_believed() {
    let server = start("IosProvider=dry\n", 1);
    let mut peer = server.peer();
    let beat = ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 3, &());
    peer.send(&beat);
    assert_eq!(peer.receive().as_pdu().as_bytes(), beat.as_pdu().as_bytes());
    for len in [0, 15, u32::MAX] {
        let mut hostile = server.peer();
        hostile.send_bytes(&[&len.to_be_bytes()[..], &[0; 12]].concat());
        assert!(hostile.try_receive().is_err());
    }
    peer.send(&beat);
    assert_eq!(peer.receive().as_pdu().seq_num(), 3);
}

#[test]
fn a_message_is_pushed_to_who_is_away_and_a_dead_token_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |seen| match seen.token() {
        dead if dead == token(3) => Reply::Status(410, "Unregistered"),
        _ => OK,
    });
    let push_server = start(&keys(&apple, directory.path()), 3);
    let site = Site::new(1);
    let port = push_server.addrs[0].port();
    let server =
        site.msg_server_with(&format!("PushServerIP1=127.0.0.1\nPushServerPort1={port}\n"));
    let addr = server.addrs[0];
    for user in [2, 3] {
        let mut phone = log_in(addr, user, ClientType::Ios);
        phone.set_device_token(&token(user)).unwrap();
    }
    let mut one = log_in(addr, 1, ClientType::Windows);
    // Until msg_server has found push_server.
    let mut push_to = |user| loop {
        one.send_text(Session::User(user), "你好").unwrap();
        pause();
        if let Some(seen) = apple.try_next() {
            break seen;
        }
    };
    let seen = push_to(2);
    assert_eq!(seen.token(), token(2));
    assert_eq!(seen.body["aps"]["alert"]["body"], "nick1:你好");
    assert!(seen.body["aps"]["badge"].as_u64().unwrap() >= 1);
    let custom: Value = serde_json::from_str(seen.body["custom"].as_str().unwrap()).unwrap();
    assert_eq!(custom, json!({ "msg_type": 1, "from_id": 1 }));
    while push_to(3).token() != token(3) {}
    let mut db = site.db.peer();
    let tokens = |db: &mut Peer, user_id| {
        let msg = ImGetDeviceTokenReq { user_id: vec![user_id], attach_data: None };
        db.send(&ImPdu::encode(SID_OTHER, CID_OTHER_GET_DEVICE_TOKEN_REQ, 1, &msg));
        loop {
            let pdu = db.receive();
            if pdu.as_pdu().command_id() == CID_OTHER_GET_DEVICE_TOKEN_RSP {
                let rsp: ImGetDeviceTokenRsp = pdu.as_pdu().decode().unwrap();
                break rsp.user_token_info.len();
            }
        }
    };
    while tokens(&mut db, 3) > 0 {
        pause();
    }
    assert_eq!(tokens(&mut db, 2), 1);
}

/// `select` would not do: .cargo/config.toml tells libcurl to use `poll`.
#[test]
fn many_open_files_keep_no_push_back() {
    raise_open_files_limit().unwrap();
    let _files: Vec<File> = (0..1_100).map(|_| File::open("/dev/null").unwrap()).collect();
    let directory = tempfile::tempdir().unwrap();
    make_certificates(directory.path());
    let apple = Apple::start(directory.path(), |_| OK);
    let mut bed = Bed::new(&keys(&apple, directory.path()), 2);
    let result = bed.result(ClientType::Ios, 5);
    assert_eq!(result, 0, "if CFLAGS is set, it needs -DHAVE_POLL");
}
