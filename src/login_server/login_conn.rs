//! The PDU connections: clients that ask once, and msg_servers that stay.
//!
//! C++ has one class with a type; here each listener has a class of its own, so that a client
//! cannot even name what only a msg_server may do.

use log::{Level, debug, info, log, warn};

use super::msg_serv_info::{MsgServInfo, NoMsgServ};
use super::{Cx, LoginServer};
use crate::base::im_pdu::{PduError, PduHeader, PduRef};
use crate::base::public_define::USER_CNT_INC;
use crate::netlib::keepalive::{self, CLIENT_TIMEOUT_MS};
use crate::netlib::{ConnHandler, NetHandle, Netlib, PduFraming, PduHandler};
use crate::pb::base_define::ResultType;
use crate::pb::cmd::*;
use crate::pb::login::{ImMsgServReq, ImMsgServRsp};
use crate::pb::server::{ImMsgServInfo, ImUserCntUpdate};

/// How often heartbeats and time-outs are looked at.
const TIMER_MS: u64 = 1_000;

/// C++: login_server/LoginConn.cpp init_login_conn
pub(super) fn init_login_conn(net: &mut Netlib<LoginServer>) {
    net.register_timer(login_conn_timer_callback, TIMER_MS);
}

/// C++: login_server/LoginConn.cpp login_conn_timer_callback
fn login_conn_timer_callback(cx: &mut Cx<'_>) {
    for conn in cx.srv.client_conns.handles().collect::<Vec<_>>() {
        keepalive::check_timeout(cx, conn, CLIENT_TIMEOUT_MS);
    }
    for conn in cx.srv.msg_serv_conns.handles().collect::<Vec<_>>() {
        keepalive::on_server_timer::<MsgServConn>(cx, conn);
    }
}

/// A client that wants to know where to log in.
///
/// C++: login_server/LoginConn.h CLoginConn
#[derive(Debug)]
pub struct ClientConn;

impl ConnHandler for ClientConn {
    type Server = LoginServer;
    type Framing = PduFraming;

    /// C++: login_server/LoginConn.cpp CLoginConn::OnConnect2
    /// Differs: the client is in a map, so that it is read, answered and timed out (F53).
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        cx.srv.client_conns.insert(this, Self);
    }

    /// C++: login_server/LoginConn.cpp CLoginConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for ClientConn {
    /// C++: login_server/LoginConn.cpp CLoginConn::HandlePdu
    /// Differs: only a msg_server may register or count users (F10).
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_LOGIN_REQ_MSGSERVER => Self::handle_msg_serv_request(cx, this, pdu)?,
            command_id @ (CID_OTHER_MSG_SERV_INFO | CID_OTHER_USER_CNT_UPDATE) => {
                return Err(PduError::Refused { command_id, reason: "from a client" });
            }
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl ClientConn {
    /// C++: login_server/LoginConn.cpp CLoginConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if cx.srv.client_conns.remove(this).is_some() {
            cx.net.close(this);
        }
    }

    /// C++: login_server/LoginConn.cpp CLoginConn::_HandleMsgServRequest
    /// Differs: the answer arrives before the connection ends (F58), and the nearer address comes
    /// first as in the answer to HTTP (F57).
    fn handle_msg_serv_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let _: ImMsgServReq = pdu.decode()?;
        let answer = match LoginServer::choose_msg_serv(cx, this) {
            Ok(addr) => {
                debug!("conn={this} msg_server={}:{}", addr.prior_ip, addr.port);
                ImMsgServRsp {
                    result_code: ResultType::RefuseReasonNone.into(),
                    prior_ip: Some(addr.prior_ip),
                    backip_ip: Some(addr.backup_ip),
                    port: Some(addr.port.into()),
                }
            }
            Err(reason) => {
                debug!("conn={this} refused: {reason}");
                let result_code = match reason {
                    NoMsgServ::Unregistered => ResultType::RefuseReasonNoMsgServer,
                    NoMsgServ::Full => ResultType::RefuseReasonMsgServerFull,
                };
                ImMsgServRsp { result_code: result_code.into(), ..ImMsgServRsp::default() }
            }
        };
        let header = PduHeader::new(SID_LOGIN, CID_LOGIN_RES_MSGSERVER, pdu.seq_num());
        cx.net.send_msg(this, header, &answer);
        Self::close(cx, this);
        Ok(())
    }
}

/// A msg_server that reports its users.
///
/// C++: login_server/LoginConn.h CLoginConn
#[derive(Debug, Default)]
pub struct MsgServConn {
    /// What it has registered with.
    ///
    /// C++: login_server/LoginConn.cpp g_msg_serv_info
    pub(super) info: Option<MsgServInfo>,
}

impl ConnHandler for MsgServConn {
    type Server = LoginServer;
    type Framing = PduFraming;

    /// C++: login_server/LoginConn.cpp CLoginConn::OnConnect2
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(peer) = cx.net.peer_addr(this) {
            info!("conn={this} peer={peer} connected");
        }
        cx.srv.msg_serv_conns.insert(this, Self::default());
    }

    /// C++: login_server/LoginConn.cpp CLoginConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }
}

impl PduHandler for MsgServConn {
    /// C++: login_server/LoginConn.cpp CLoginConn::HandlePdu
    fn handle_pdu(cx: &mut Cx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        match pdu.command_id() {
            // Its arrival is all there is to it.
            CID_OTHER_HEARTBEAT => {}
            CID_OTHER_MSG_SERV_INFO => Self::handle_msg_serv_info(cx, this, pdu)?,
            CID_OTHER_USER_CNT_UPDATE => Self::handle_user_cnt_update(cx, this, pdu)?,
            command_id => debug!("conn={this} cmd={command_id:#06x} ignored: unknown command"),
        }
        Ok(())
    }
}

impl MsgServConn {
    /// No client is sent there any more.
    ///
    /// C++: login_server/LoginConn.cpp CLoginConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        let Some(conn) = cx.srv.msg_serv_conns.remove(this) else {
            return;
        };
        let hostname = conn.info.map_or_else(|| "unknown".to_owned(), |info| info.hostname);
        let total = cx.srv.total_online_user_cnt();
        info!("conn={this} msg_server={hostname:?} lost total_users={total}");
        cx.net.close(this);
    }

    /// C++: login_server/LoginConn.cpp CLoginConn::_HandleMsgServInfo
    /// Differs: a second registration replaces the first, also one on an older connection whose end
    /// has not been noticed yet (F54).
    fn handle_msg_serv_info(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImMsgServInfo = pdu.decode()?;
        let port = msg.port;
        let Some(mut info) = MsgServInfo::new(msg) else {
            warn!("conn={this} registration dropped: no client could use it, port={port}");
            return Ok(());
        };
        let conns = &mut cx.srv.msg_serv_conns;
        let is_older =
            |conn: NetHandle, old: &MsgServInfo| conn == this || info.is_same_server(old);
        let older = conns
            .iter_mut()
            .filter_map(|(handle, conn)| conn.info.take_if(|old| is_older(handle, old)))
            .reduce(|_, newer| newer);
        // Repeated every minute, so that a wrong count does not last.
        let level = if older.is_some() { Level::Debug } else { Level::Info };
        log!(
            level,
            "conn={this} registered msg_server={:?} ips={:?},{:?} port={port} users={} max={}",
            info.hostname,
            info.ip_addr1,
            info.ip_addr2,
            info.cur_conn_cnt,
            info.max_conn_cnt
        );
        if let Some(older) = older {
            info.continue_from(older);
        }
        if let Some(conn) = conns.get_mut(this) {
            conn.info = Some(info);
        }
        Ok(())
    }

    /// C++: login_server/LoginConn.cpp CLoginConn::_HandleUserCntUpdate
    /// Differs: a counter stops at 0 instead of turning into four billion users (F54).
    fn handle_user_cnt_update(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImUserCntUpdate = pdu.decode()?;
        let conn = cx.srv.msg_serv_conns.get_mut(this);
        let Some(info) = conn.and_then(|conn| conn.info.as_mut()) else {
            debug!("conn={this} cmd={:#06x} ignored: not registered", pdu.command_id());
            return Ok(());
        };
        if msg.user_action == USER_CNT_INC {
            info.add_user();
        } else {
            info.remove_user();
        }
        debug!("conn={this} user={} users={}", msg.user_id, info.cur_conn_cnt);
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::im_pdu::ImPdu;
    use crate::login_server::tests::test_bed;
    use crate::netlib::keepalive::{SERVER_HEARTBEAT_INTERVAL_MS, SERVER_TIMEOUT_MS};
    use crate::netlib::testing::TestBed;
    use crate::pb::other::ImHeartBeat;

    type Bed = TestBed<LoginServer>;

    pub(in crate::login_server) fn registration(name: &str, max: u32, users: u32) -> ImPdu {
        let msg = ImMsgServInfo {
            ip1: format!("{name}.telecom"),
            ip2: format!("{name}.unicom"),
            port: 8000,
            max_conn_cnt: max,
            cur_conn_cnt: users,
            host_name: name.to_owned(),
        };
        ImPdu::encode(SID_OTHER, CID_OTHER_MSG_SERV_INFO, 0, &msg)
    }

    fn user_cnt_update(user_action: u32) -> ImPdu {
        let msg = ImUserCntUpdate { user_action, user_id: 7 };
        ImPdu::encode(SID_OTHER, CID_OTHER_USER_CNT_UPDATE, 0, &msg)
    }

    /// A msg_server that has registered.
    pub(in crate::login_server) fn msg_serv(
        bed: &mut Bed,
        name: &str,
        max: u32,
        users: u32,
    ) -> NetHandle {
        let conn = bed.accept::<MsgServConn>();
        bed.receive::<MsgServConn>(conn, &registration(name, max, users)).unwrap();
        conn
    }

    fn request() -> ImPdu {
        ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_MSGSERVER, 42, &ImMsgServReq::default())
    }

    /// What a new client is answered; the connection is closed afterwards.
    fn ask(bed: &mut Bed) -> ImMsgServRsp {
        let conn = bed.accept::<ClientConn>();
        ask_on(bed, conn)
    }

    fn ask_on(bed: &mut Bed, conn: NetHandle) -> ImMsgServRsp {
        bed.receive::<ClientConn>(conn, &request()).unwrap();
        let sent = bed.sent(conn);
        assert_eq!(sent.len(), 1);
        let pdu = sent[0].as_pdu();
        let header = PduHeader::new(SID_LOGIN, CID_LOGIN_RES_MSGSERVER, 42);
        assert_eq!(*pdu.header(), PduHeader { length: pdu.header().length, ..header });
        assert!(!bed.net.is_open(conn) && bed.srv.client_conns.get(conn).is_none());
        pdu.decode().unwrap()
    }

    fn refused(result_code: ResultType) -> ImMsgServRsp {
        ImMsgServRsp { result_code: result_code.into(), ..ImMsgServRsp::default() }
    }

    fn sent_to(name: &str) -> ImMsgServRsp {
        ImMsgServRsp {
            result_code: ResultType::RefuseReasonNone.into(),
            prior_ip: Some(format!("{name}.telecom")),
            backip_ip: Some(format!("{name}.unicom")),
            port: Some(8000),
        }
    }

    fn users(bed: &Bed, conn: NetHandle) -> Option<u32> {
        let conn = bed.srv.msg_serv_conns.get(conn)?;
        conn.info.as_ref().map(|info| info.cur_conn_cnt)
    }

    #[test]
    fn f53_a_client_is_answered() {
        let mut bed = test_bed("");
        assert_eq!(ask(&mut bed), refused(ResultType::RefuseReasonNoMsgServer));
        let a = msg_serv(&mut bed, "a", 2, 1);
        assert_eq!(ask(&mut bed), sent_to("a"));
        bed.receive::<MsgServConn>(a, &user_cnt_update(1)).unwrap();
        assert_eq!(ask(&mut bed), refused(ResultType::RefuseReasonMsgServerFull));
        bed.receive::<MsgServConn>(a, &user_cnt_update(2)).unwrap();
        assert_eq!(ask(&mut bed), sent_to("a"));
    }

    #[test]
    fn f53_a_client_that_asks_nothing_is_closed_after_two_minutes() {
        let mut bed = test_bed("");
        let [silent, alive] = [(); 2].map(|()| bed.accept::<ClientConn>());
        bed.pass_ms(60_000);
        let heartbeat = ImPdu::encode(SID_OTHER, CID_OTHER_HEARTBEAT, 0, &ImHeartBeat::default());
        bed.receive::<ClientConn>(alive, &heartbeat).unwrap();
        bed.pass_ms(60_000);
        assert!(bed.net.is_open(silent));
        bed.pass_ms(1_000);
        assert!(!bed.net.is_open(silent) && bed.net.is_open(alive));
        assert_eq!(bed.srv.client_conns.len(), 1);
        assert_eq!(bed.sent(alive).len(), 0);
    }

    #[test]
    fn f10_a_client_can_neither_register_nor_count_users() {
        let mut bed = test_bed("");
        for pdu in [registration("evil", 1_000_000, 0), user_cnt_update(2)] {
            let client = bed.accept::<ClientConn>();
            let result = bed.receive::<ClientConn>(client, &pdu);
            assert!(matches!(result, Err(PduError::Refused { .. })), "{result:?}");
        }
        assert_eq!(ask(&mut bed), refused(ResultType::RefuseReasonNoMsgServer));
    }

    #[test]
    fn f54_a_second_registration_replaces_the_first() {
        let mut bed = test_bed("");
        let a = msg_serv(&mut bed, "a", 100, 5);
        bed.receive::<MsgServConn>(a, &registration("b", 100, 3)).unwrap();
        assert_eq!(users(&bed, a), Some(3));
        assert_eq!(bed.srv.total_online_user_cnt(), 3);
        assert_eq!(ask(&mut bed), sent_to("b"));
    }

    #[test]
    fn f54_a_registration_on_a_new_connection_ends_the_one_on_the_old() {
        let mut bed = test_bed("");
        let old = msg_serv(&mut bed, "a", 100, 5);
        let other = msg_serv(&mut bed, "b", 100, 5);
        let new = msg_serv(&mut bed, "a", 100, 4);
        assert_eq!([old, other, new].map(|conn| users(&bed, conn)), [None, Some(5), Some(4)]);
        bed.receive::<MsgServConn>(old, &user_cnt_update(2)).unwrap();
        bed.lose(old);
        assert_eq!(bed.srv.total_online_user_cnt(), 9);
    }

    #[test]
    fn f55_clients_on_their_way_survive_a_renewed_registration() {
        let mut bed = test_bed("");
        let a = msg_serv(&mut bed, "a", 100, 0);
        msg_serv(&mut bed, "b", 100, 1);
        assert_eq!(ask(&mut bed), sent_to("a"));
        assert_eq!(ask(&mut bed), sent_to("a"));
        bed.receive::<MsgServConn>(a, &registration("a", 100, 0)).unwrap();
        assert_eq!(ask(&mut bed), sent_to("b"));
    }

    #[test]
    fn f54_a_counter_does_not_fall_below_zero() {
        let mut bed = test_bed("");
        let a = msg_serv(&mut bed, "a", 100, 1);
        for _ in 0..3 {
            bed.receive::<MsgServConn>(a, &user_cnt_update(2)).unwrap();
        }
        assert_eq!(users(&bed, a), Some(0));
        bed.receive::<MsgServConn>(a, &user_cnt_update(1)).unwrap();
        assert_eq!(users(&bed, a), Some(1));
        assert_eq!(ask(&mut bed), sent_to("a"));
    }

    #[test]
    fn f55_a_burst_of_clients_is_spread_until_the_reservations_end() {
        let mut bed = test_bed("");
        for name in ["a", "b", "c"] {
            msg_serv(&mut bed, name, 10_000, 20);
        }
        let mut count = |name: &str| (0..900).filter(|_| ask(&mut bed) == sent_to(name)).count();
        assert_eq!([count("a"), count("b"), count("c")], [300; 3]);
        bed.pass_ms(15_000);
        assert_eq!(ask(&mut bed), sent_to("a"));
    }

    #[test]
    fn f57_the_nearer_address_comes_first() {
        let mut bed = test_bed("TelecomIP=192.0.2.0/24\n");
        msg_serv(&mut bed, "a", 100, 0);
        let [near, far] = [(); 2].map(|()| bed.accept::<ClientConn>());
        bed.set_peer(near, "192.0.2.7");
        bed.set_peer(far, "203.0.113.9");
        assert_eq!(ask_on(&mut bed, near), sent_to("a"));
        let answer = ask_on(&mut bed, far);
        assert_eq!(answer.prior_ip.as_deref(), Some("a.unicom"));
        assert_eq!(answer.backip_ip.as_deref(), Some("a.telecom"));
    }

    #[test]
    fn a_lost_msg_server_is_not_handed_out_any_more() {
        let mut bed = test_bed("");
        let a = msg_serv(&mut bed, "a", 100, 1);
        msg_serv(&mut bed, "b", 100, 50);
        assert_eq!(ask(&mut bed), sent_to("a"));
        bed.lose(a);
        assert_eq!(ask(&mut bed), sent_to("b"));
        assert_eq!(bed.srv.total_online_user_cnt(), 50);
    }

    #[test]
    fn a_msg_server_is_sent_heartbeats_and_given_up_after_thirty_silent_seconds() {
        let mut bed = test_bed("");
        let a = msg_serv(&mut bed, "a", 100, 1);
        bed.pass_ms(SERVER_HEARTBEAT_INTERVAL_MS + 1);
        let sent = bed.sent(a);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].as_pdu().command_id(), CID_OTHER_HEARTBEAT);
        bed.pass_ms(SERVER_TIMEOUT_MS);
        assert!(!bed.net.is_open(a));
        assert_eq!(ask(&mut bed), refused(ResultType::RefuseReasonNoMsgServer));
    }

    #[test]
    fn a_msg_server_that_says_nonsense_changes_nothing() {
        let mut bed = test_bed("");
        let a = bed.accept::<MsgServConn>();
        bed.receive::<MsgServConn>(a, &user_cnt_update(1)).unwrap();
        assert_eq!(ask(&mut bed), refused(ResultType::RefuseReasonNoMsgServer));
        bed.receive::<MsgServConn>(a, &registration("a", 100, 1)).unwrap();
        for command_id in [CID_OTHER_MSG_SERV_INFO, CID_OTHER_USER_CNT_UPDATE] {
            let bad = ImPdu::with_body(PduHeader::new(SID_OTHER, command_id, 0), &[0x0a, 0xff]);
            let result = bed.receive::<MsgServConn>(a, &bad);
            assert!(matches!(result, Err(PduError::Decode { .. })), "{result:?}");
        }
        let empty = ImPdu::with_body(PduHeader::new(SID_OTHER, CID_OTHER_MSG_SERV_INFO, 0), b"");
        bed.receive::<MsgServConn>(a, &empty).unwrap();
        bed.receive::<MsgServConn>(a, &request()).unwrap();
        assert_eq!(bed.sent(a).len(), 0);
        assert_eq!(ask(&mut bed), sent_to("a"));
    }
}
