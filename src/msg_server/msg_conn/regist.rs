//! Accounts that clients make for themselves.

use log::{debug, info};

use super::login::login_attach;
use super::{MsgConn, State};
use crate::base::attach_data::DbAttachData;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::msg_server::Cx;
use crate::msg_server::db_serv_conn::{DbRange, send_to_db};
use crate::netlib::NetHandle;
use crate::pb::base_define::ResultType;
use crate::pb::cmd::*;
use crate::pb::login::{ImRegistReq, ImRegistRes};

impl MsgConn {
    /// Asks db_proxy_server to make an account, if the configuration allows it. Whoever has one
    /// then may log in on the same connection.
    ///
    /// C++: msg_server/MsgConn.h CMsgConn::_HandleRegistRequest
    /// Differs: answered, if the configuration wants it (F140).
    pub(super) fn handle_regist_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        let msg: ImRegistReq = pdu.decode()?;
        let user_name = msg.user_name.clone();
        let req = ImRegistReq { attach_data: Some(login_attach(cx, this).into()), ..msg };
        let req = ImPdu::encode(SID_LOGIN, CID_LOGIN_REQ_REGIST, pdu.seq_num(), &req);
        let db_conn = send_to_db(cx, DbRange::Login, &req);
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return Ok(());
        };
        // Without a connection the refusal follows at once.
        let nobody = NetHandle::from_u32(0);
        conn.state = State::Registering {
            db_conn: db_conn.unwrap_or(nobody),
            seq_num: pdu.seq_num(),
            user_name: user_name.into(),
        };
        if db_conn.is_none() {
            info!("conn={this} registration refused: no database");
            Self::refuse_regist(cx, this);
        }
        Ok(())
    }

    /// Answers a registration that is in progress: nobody knows what has become of it.
    pub(super) fn refuse_regist(cx: &mut Cx<'_>, this: NetHandle) {
        let res = ImRegistRes {
            result_code: ResultType::RefuseReasonNoDbServer.into(),
            result_string: Some("服务端异常".to_owned()),
            ..ImRegistRes::default()
        };
        Self::answer_regist(cx, this, res);
    }

    fn answer_regist(cx: &mut Cx<'_>, this: NetHandle, res: ImRegistRes) {
        let Some(conn) = cx.srv.msg_conns.get_mut(this) else {
            return;
        };
        let State::Registering { seq_num, user_name, .. } = &conn.state else {
            return;
        };
        let msg = ImRegistRes { user_name: (**user_name).to_owned(), attach_data: None, ..res };
        cx.net.send_msg(this, PduHeader::new(SID_LOGIN, CID_LOGIN_RES_REGIST, *seq_num), &msg);
        // It still has to log in, within the time of a new connection.
        conn.state = State::New;
    }
}

/// db_proxy_server has made an account, or not.
pub(in crate::msg_server) fn handle_regist_response(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImRegistRes = pdu.decode()?;
    let attach = DbAttachData::parse(msg.attach_data.as_deref().unwrap_or_default());
    let this = NetHandle::from_u32(attach.map_err(PduError::from)?.handle);
    let conn = cx.srv.msg_conns.get(this);
    // A handle may come back one day; name and handle together do not.
    match conn.map(|conn| &conn.state) {
        Some(State::Registering { user_name, .. }) if **user_name == *msg.user_name => {
            info!("conn={this} registration result={}", msg.result_code);
            MsgConn::answer_regist(cx, this, msg);
        }
        _ => debug!("conn={this} gone before its registration was answered"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::attach_data::PduAttachData;
    use crate::msg_server::msg_conn::TIMEOUT_WAIT_LOGIN_RESPONSE_MS;
    use crate::msg_server::tests::*;

    const ALLOWED: &str = "AllowRegister=1\n";

    fn regist_req(name: &str) -> ImRegistReq {
        ImRegistReq {
            user_name: name.to_owned(),
            password: "0123456789abcdef0123456789abcdef".to_owned(),
            attach_data: Some(b"\0\0\0\0\0\0\0\0forged"[..].into()),
            ..ImRegistReq::default()
        }
    }

    /// A client that waits, and what db_proxy_server was asked.
    fn registering(bed: &mut Bed) -> (NetHandle, ImRegistReq) {
        let (conn, db) = (bed.client(), bed.db[0]);
        bed.set_peer(conn, "192.0.2.7");
        bed.ask(conn, CID_LOGIN_REQ_REGIST, &regist_req("alice")).unwrap();
        (conn, bed.one(db, CID_LOGIN_REQ_REGIST))
    }

    fn answer(req: ImRegistReq, result_code: ResultType) -> ImRegistRes {
        ImRegistRes {
            user_name: req.user_name,
            result_code: result_code.into(),
            result_string: None,
            user_id: Some(7),
            attach_data: req.attach_data,
        }
    }

    #[test]
    fn f140_nobody_registers_unless_the_configuration_says_so() {
        let mut bed = bed();
        let (conn, db) = (bed.client(), bed.db[0]);
        bed.ask(conn, CID_LOGIN_REQ_REGIST, &regist_req("alice")).unwrap();
        bed.assert_silent(db);
        bed.assert_silent(conn);
        // Nor does who is somebody already.
        let mut bed = bed_with(ALLOWED);
        let (pc, db) = (bed.log_in(5, WINDOWS), bed.db[0]);
        bed.ask(pc, CID_LOGIN_REQ_REGIST, &regist_req("alice")).unwrap();
        bed.assert_silent(db);
        bed.assert_silent(pc);
    }

    #[test]
    fn f140_a_registration_is_answered_and_a_login_may_follow() {
        let mut bed = bed_with(ALLOWED);
        let (conn, req) = registering(&mut bed);
        let attach_data = req.attach_data.clone().unwrap();
        let attach = PduAttachData::parse(&attach_data).unwrap();
        assert_eq!((attach.handle, attach.pdu), (conn.to_u32(), &b"192.0.2.0/24"[..]));
        // One after the other.
        for (command_id, answered) in [(CID_LOGIN_REQ_REGIST, false), (CID_MSG_DATA, true)] {
            assert_eq!(bed.ask(conn, command_id, &regist_req("bob")).is_err(), answered);
        }
        let wrong = ImRegistReq { user_name: "bob".to_owned(), ..req.clone() };
        bed.db_says(CID_LOGIN_RES_REGIST, &answer(wrong, ResultType::RefuseReasonNone));
        bed.assert_silent(conn);
        let res = answer(req, ResultType::RefuseReasonNone);
        bed.db_says(CID_LOGIN_RES_REGIST, &res);
        bed.db_says(CID_LOGIN_RES_REGIST, &res);
        let told = bed.one_pdu(conn, CID_LOGIN_RES_REGIST);
        assert_eq!(told.as_pdu().seq_num(), 42);
        let told: ImRegistRes = told.as_pdu().decode().unwrap();
        assert_eq!(told, ImRegistRes { attach_data: None, ..res });
        let db = bed.db[0];
        bed.ask(conn, CID_LOGIN_REQ_USERLOGIN, &login_req(7, WINDOWS)).unwrap();
        bed.one_pdu(db, CID_OTHER_VALIDATE_REQ);
    }

    #[test]
    fn f140_a_registration_without_a_database_is_refused() {
        let no_db = i32::from(ResultType::RefuseReasonNoDbServer);
        let mut bed = bed_with(ALLOWED);
        let (conn, _) = registering(&mut bed);
        let (late, _) = registering(&mut bed);
        bed.pass_ms(TIMEOUT_WAIT_LOGIN_RESPONSE_MS + 1);
        for conn in [conn, late] {
            let res: ImRegistRes = bed.one(conn, CID_LOGIN_RES_REGIST);
            assert_eq!((res.result_code, res.user_name.as_str()), (no_db, "alice"));
            assert!(!bed.net.is_open(conn), "it had its time");
        }
        bed.forget_sent();
        let (conn, _) = registering(&mut bed);
        let db = bed.db[0];
        bed.lose(db);
        let res: ImRegistRes = bed.one(conn, CID_LOGIN_RES_REGIST);
        assert_eq!(res.result_code, no_db);
        bed.ask(conn, CID_LOGIN_REQ_REGIST, &regist_req("alice")).unwrap();
        let res: ImRegistRes = bed.one(conn, CID_LOGIN_RES_REGIST);
        assert_eq!(res.result_code, no_db);
    }
}
