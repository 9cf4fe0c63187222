//! The command of the later variant with which somebody makes himself an account.

use log::info;

use super::login_failures::{self, FAILURE_WINDOW_S};
use super::password::StoredPassword;
use super::user_model::{self, NewUser};
use super::{Answer, Business, HandlerError, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::ResultType;
use crate::pb::cmd::{CID_LOGIN_RES_REGIST, SID_LOGIN};
use crate::pb::login::{ImRegistReq, ImRegistRes};
use crate::storage::DbError;

/// So many attempts from one class of address are looked at within [`FAILURE_WINDOW_S`]. Each of
/// them tells whether a name is taken, so those that fail count as well.
pub const REGISTRATIONS_MAX: usize = 10;

/// Of md5 in hex, which is what clients send of a password.
const PASSWORD_LEN: usize = 32;

/// Makes a user, with the password in the form that logins are checked against.
///
/// C++: msg_server/MsgConn.h CMsgConn::_HandleRegistRequest
/// Differs: the variant that has it parses the request, logs the password and forgets it (F140).
pub fn do_regist(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImRegistReq = pdu.decode()?;
    let (result_code, text, user_id) = match register(business, &msg)? {
        Ok(user_id) => (ResultType::RefuseReasonNone, "成功", Some(user_id)),
        Err(text) => (ResultType::RefuseReasonDbValidateFailed, text, None),
    };
    let answer = ImRegistRes {
        user_name: msg.user_name,
        result_code: result_code.into(),
        result_string: Some(text.to_owned()),
        user_id,
        attach_data: msg.attach_data,
    };
    reply(SID_LOGIN, CID_LOGIN_RES_REGIST, pdu, &answer)
}

/// The id of the new user, or what his client is told instead.
fn register(
    business: &Business,
    msg: &ImRegistReq,
) -> Result<Result<u32, &'static str>, HandlerError> {
    let Some(mut user) = new_user(msg) else {
        return Ok(Err("用户名、密码或资料不符合要求"));
    };
    let now = business.now();
    // Not without the cache: what is not counted would have no limit.
    let origin = login_failures::origin(msg.attach_data.as_deref().unwrap_or_default());
    if login_failures::count_registration(business, origin, now)? > REGISTRATIONS_MAX {
        info!("registration refused: more than {REGISTRATIONS_MAX} within {FAILURE_WINDOW_S} s");
        return Ok(Err("注册过于频繁"));
    }
    user.password = StoredPassword::new(&msg.password, business.password_form)
        .map_err(HandlerError::Password)?;
    match user_model::insert_user(&mut *business.master()?, &user, now) {
        Err(DbError::Duplicate { .. }) => Ok(Err("用户名已存在")),
        result => {
            let user_id = result?;
            info!("user={user_id} registered");
            Ok(Ok(user_id))
        }
    }
}

/// The user somebody wants to be, without password, if everything is as it should be.
fn new_user(msg: &ImRegistReq) -> Option<NewUser> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let nick = text(&msg.nick);
    let user = NewUser {
        name: msg.user_name.clone(),
        nick: if nick.is_empty() { msg.user_name.clone() } else { nick },
        sex: msg.sex.unwrap_or_default(),
        phone: text(&msg.phone),
        email: text(&msg.email),
        avatar: text(&msg.avatar),
        ..NewUser::default()
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let good = user.mistakes().is_empty()
        && user.sex <= 2
        && msg.password.len() == PASSWORD_LEN
        && msg.password.bytes().all(is_hex);
    good.then_some(user)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::base::attach_data::PduAttachData;
    use crate::base::md5::md5_hex;
    use crate::db_proxy_server::business::tests::{Bed, NOW, bed};

    fn request(name: &str) -> ImRegistReq {
        ImRegistReq {
            user_name: name.to_owned(),
            password: md5_hex(b"secret"),
            ..ImRegistReq::default()
        }
    }

    fn ask_from(bed: &Bed, origin: &str, msg: &ImRegistReq) -> (i32, Option<u32>, String) {
        let attach = PduAttachData::new(1, 7, origin.as_bytes()).encode();
        let msg = ImRegistReq { attach_data: Some(attach.into()), ..msg.clone() };
        let (command_id, answer) = bed.ask::<ImRegistRes>(do_regist, &msg);
        assert_eq!(command_id, CID_LOGIN_RES_REGIST);
        assert_eq!((&answer.user_name, &answer.attach_data), (&msg.user_name, &msg.attach_data));
        (answer.result_code, answer.user_id, answer.result_string.unwrap())
    }

    /// The result code of an attempt from a place of its own.
    fn ask(bed: &Bed, number: usize, msg: &ImRegistReq) -> i32 {
        ask_from(bed, &format!("192.0.{number}.0/24"), msg).0
    }

    #[test]
    fn f140_who_has_registered_can_log_in_and_a_name_is_given_once() {
        let bed = bed();
        let msg = ImRegistReq {
            sex: Some(2),
            nick: Some("爱丽丝".to_owned()),
            email: Some("a@b".to_owned()),
            avatar: Some("/g0/a.png".to_owned()),
            ..request("alice")
        };
        assert_eq!(ask_from(&bed, "", &msg), (0, Some(1), "成功".to_owned()));
        let user = bed.login("alice", "secret").user_info.unwrap();
        assert_eq!((user.user_nick_name.as_str(), user.user_gender), ("爱丽丝", 2));
        assert_eq!((user.email.as_str(), &user.avatar_url[..]), ("a@b", &b"/g0/a.png"[..]));
        assert_ne!(bed.login("alice", "Secret").result_code, 0);
        let other = ImRegistReq { password: md5_hex(b"other"), ..msg };
        assert_eq!(ask_from(&bed, "", &other), (6, None, "用户名已存在".to_owned()));
        assert_eq!(bed.login("alice", "secret").result_code, 0, "it is still hers");
    }

    #[test]
    fn f140_what_is_not_as_it_should_be_is_refused() {
        let bed = bed();
        let long = "x".repeat(65);
        for name in ["", " alice", "alice\n", "a\0b", "12345", &long] {
            assert_eq!(ask(&bed, 0, &request(name)), 6, "{name:?}");
        }
        let good = request("alice");
        for msg in [
            ImRegistReq { password: "secret".to_owned(), ..good.clone() },
            ImRegistReq { password: md5_hex(b"secret").to_uppercase(), ..good.clone() },
            ImRegistReq { password: "é".repeat(16), ..good.clone() },
            ImRegistReq { sex: Some(3), ..good.clone() },
            ImRegistReq { nick: Some("n".repeat(33)), ..good.clone() },
            ImRegistReq { phone: Some("1\t2".to_owned()), ..good.clone() },
            ImRegistReq { email: Some("nowhere".to_owned()), ..good.clone() },
            ImRegistReq { avatar: Some("a".repeat(256)), ..good.clone() },
        ] {
            assert_eq!(ask(&bed, 0, &msg), 6, "{msg:?}");
        }
        // None of these was an attempt: none has told anything about a name.
        assert_eq!(ask(&bed, 0, &good), 0);
    }

    #[test]
    fn f140_from_one_place_there_are_so_many_attempts() {
        static NOW_IS: AtomicU32 = AtomicU32::new(NOW);
        let mut bed = bed();
        bed.business.clock = || NOW_IS.load(Ordering::Relaxed);
        let here = |bed: &Bed, name: &str| ask_from(bed, "198.51.100.0/24", &request(name));
        assert_eq!(here(&bed, "alice").0, 0);
        for _ in 1..REGISTRATIONS_MAX {
            assert_eq!(here(&bed, "alice").2, "用户名已存在");
        }
        assert_eq!(here(&bed, "bob"), (6, None, "注册过于频繁".to_owned()));
        assert_eq!(ask(&bed, 1, &request("bob")), 0);
        NOW_IS.store(NOW + FAILURE_WINDOW_S + 61, Ordering::Relaxed);
        assert_eq!(here(&bed, "carol").0, 0);
    }
}
