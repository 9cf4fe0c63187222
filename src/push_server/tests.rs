//! A push_server without sockets: what msg_servers ask and are answered. What providers do is
//! played by hand.

mod sample;

use std::net::TcpListener;
use std::path::Path;

use super::push_session::{Outcome, PushDone, PushSession};
use super::testing::token;
use super::*;
use crate::base::im_pdu::{ImPdu, PduError};
use crate::netlib::NetHandle;
use crate::netlib::keepalive::SERVER_TIMEOUT_MS;
use crate::netlib::testing::TestBed;
use crate::pb::base_define::{ClientType, UserTokenInfo};
use crate::pb::cmd::*;
use crate::pb::server::{ImPushToUserReq, ImPushToUserRsp};

const NOW: u32 = 1_700_000_000;

fn config(more: &str) -> Result<PushServerConfig, ConfigError> {
    let text = format!("{more}ListenIP=127.0.0.1\nListenPort=0\n");
    PushServerConfig::read(&mut ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes()))
}

fn bed(more: &str) -> TestBed<PushServer> {
    let (_, srv, _) = PushServer::dispatch(&config(more).unwrap(), || NOW).unwrap();
    let mut bed = TestBed::new(srv);
    PushServer::init(&mut bed.net);
    bed
}

fn info(user_id: u32, client_type: ClientType) -> UserTokenInfo {
    UserTokenInfo {
        user_id,
        user_type: client_type.into(),
        token: token(user_id),
        push_count: 3,
        push_type: 1,
    }
}

fn ask(bed: &mut TestBed<PushServer>, conn: NetHandle, seq_num: u16, list: Vec<UserTokenInfo>) {
    let msg = ImPushToUserReq {
        flash: "hello".into(),
        data: r#"{"from_id":7}"#.to_owned(),
        user_token_list: list,
    };
    let pdu = ImPdu::encode(SID_OTHER, CID_OTHER_PUSH_TO_USER_REQ, seq_num, &msg);
    bed.receive::<PushSession>(conn, &pdu).unwrap();
}

/// Sequence number and result codes of each answer.
fn answers(bed: &mut TestBed<PushServer>, conn: NetHandle) -> Vec<(u16, Vec<u32>)> {
    let codes = |pdu: &ImPdu| {
        let pdu = pdu.as_pdu();
        assert_eq!(pdu.command_id(), CID_OTHER_PUSH_TO_USER_RSP);
        let msg: ImPushToUserRsp = pdu.decode().unwrap();
        let codes = msg.push_result_list.iter().map(|result| result.result_code).collect();
        (pdu.seq_num(), codes)
    };
    bed.sent(conn).iter().map(codes).collect()
}

/// The sender of iPhones, played by the test: a webhook that nobody hears.
const UNHEARD: &str = "IosProvider=webhook\nWebhookUrl=http://127.0.0.1:9/\nConcurrency=1\n";

fn say(bed: &mut TestBed<PushServer>, session: NetHandle, request: u64, user: u32, as_: Outcome) {
    let mut job = testing::job(user);
    job.ticket = push_session::Ticket { session, request, index: user as usize - 1 };
    bed.srv.responses.push(PushDone::of(job, as_));
    push_session::push_loop_callback(&mut bed.cx());
}

#[test]
fn f133_a_heartbeat_is_echoed_at_once() {
    let mut bed = bed("IosProvider=dry\n");
    let conn = bed.accept::<PushSession>();
    let beat = ImPdu::encode(7, CID_OTHER_HEARTBEAT, 9, &());
    bed.receive::<PushSession>(conn, &beat).unwrap();
    assert_eq!(bed.sent_bytes(conn), beat.as_pdu().as_bytes());
    bed.receive::<PushSession>(conn, &ImPdu::encode(7, CID_OTHER_ROLE_SET, 1, &())).unwrap();
    assert!(bed.net.is_open(conn) && bed.sent(conn).is_empty());
}

#[test]
fn a_dry_server_takes_everything_for_iphones_and_nothing_for_others() {
    let mut bed = bed("IosProvider=dry\n");
    let conn = bed.accept::<PushSession>();
    let kinds = [ClientType::Ios, ClientType::Android, ClientType::Windows, ClientType::Ios];
    ask(&mut bed, conn, 5, kinds.into_iter().map(|kind| info(1, kind)).collect());
    assert_eq!(answers(&mut bed, conn), [(5, vec![0, 1, 1, 0])]);
    ask(&mut bed, conn, 6, Vec::new());
    assert_eq!(answers(&mut bed, conn), [(6, vec![])]);
}

#[test]
fn f131_the_answer_comes_when_everything_is_known_and_is_true() {
    let mut bed = bed(UNHEARD);
    let conn = bed.accept::<PushSession>();
    let phones = |users: &[u32]| users.iter().map(|&user| info(user, ClientType::Ios)).collect();
    ask(&mut bed, conn, 5, phones(&[1, 2, 3]));
    ask(&mut bed, conn, 6, phones(&[1]));
    say(&mut bed, conn, 1, 2, Outcome::TokenDead);
    say(&mut bed, conn, 1, 1, Outcome::Accepted);
    assert_eq!(answers(&mut bed, conn), []);
    say(&mut bed, conn, 2, 1, Outcome::Refused);
    assert_eq!(answers(&mut bed, conn), [(6, vec![1])]);
    say(&mut bed, conn, 1, 3, Outcome::Accepted);
    assert_eq!(answers(&mut bed, conn), [(5, vec![0, 2, 0])]);
}

#[test]
fn a_dead_token_is_told_to_another_msg_server_when_the_first_is_gone() {
    let mut bed = bed(UNHEARD);
    let [conn, other] = [(); 2].map(|()| bed.accept::<PushSession>());
    ask(&mut bed, conn, 5, vec![info(1, ClientType::Ios)]);
    bed.lose(conn);
    say(&mut bed, conn, 1, 1, Outcome::TokenDead);
    let pdus = bed.sent(other);
    let msg: ImPushToUserRsp = pdus[0].as_pdu().decode().unwrap();
    assert_eq!(msg.push_result_list[0].user_token, token(1));
    assert_eq!(msg.push_result_list[0].result_code, 2);
    // What else becomes of its notifications is nobody's business any more.
    say(&mut bed, conn, 1, 1, Outcome::Accepted);
    assert!(bed.sent(other).is_empty());
    bed.lose(other);
    say(&mut bed, conn, 1, 1, Outcome::TokenDead);
    assert!(bed.srv.push_sessions.is_empty());
}

#[test]
fn f137_a_silent_msg_server_is_given_up() {
    let mut bed = bed("IosProvider=dry\n");
    let [silent, alive] = [(); 2].map(|()| bed.accept::<PushSession>());
    bed.pass_ms(SERVER_TIMEOUT_MS);
    bed.receive::<PushSession>(alive, &ImPdu::encode(7, CID_OTHER_HEARTBEAT, 1, &())).unwrap();
    bed.pass_ms(5_000);
    assert!(!bed.net.is_open(silent) && bed.net.is_open(alive));
}

#[test]
fn f27_what_cannot_be_read_is_dropped() {
    let mut bed = bed("IosProvider=dry\n");
    let conn = bed.accept::<PushSession>();
    let header = crate::base::im_pdu::PduHeader::new(SID_OTHER, CID_OTHER_PUSH_TO_USER_REQ, 1);
    let result = bed.receive::<PushSession>(conn, &ImPdu::with_body(header, b"\xff\xff"));
    assert!(matches!(result, Err(PduError::Decode { .. })));
    assert!(bed.net.is_open(conn) && bed.srv.push_sessions.get(conn).is_some());
}

#[test]
fn f135_a_stop_refuses_what_is_new_and_waits_a_few_seconds_for_the_rest() {
    // It takes requests and answers none.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", deaf.local_addr().unwrap());
    let mut bed = bed(&format!("IosProvider=webhook\nWebhookUrl={url}\n"));
    let conn = bed.accept::<PushSession>();
    on_signal(&mut bed.cx(), Signal::Hangup);
    assert!(bed.net.is_running() && bed.srv.stop_at.is_none());
    ask(&mut bed, conn, 4, vec![info(1, ClientType::Ios)]);
    // It is under way, no longer in the queue.
    let _taken = deaf.accept().unwrap();
    on_signal(&mut bed.cx(), Signal::Terminate);
    ask(&mut bed, conn, 5, vec![info(1, ClientType::Ios)]);
    assert_eq!(answers(&mut bed, conn), [(5, vec![1])]);
    bed.pass_ms(STOP_MS - 1);
    assert!(bed.net.is_running());
    bed.pass_ms(1);
    assert!(!bed.net.is_running() && bed.srv.left() == 1);
}
