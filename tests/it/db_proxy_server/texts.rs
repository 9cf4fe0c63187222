//! Texts that something on the way may take for something else, in every place that keeps text.

use teamtalk::base::md5::md5_hex;
use teamtalk::db_proxy_server::business::user_model::SIGN_INFO_LEN_MAX;
use teamtalk::pb::base_define::{GroupType, GroupVersionInfo, MsgType};
use teamtalk::pb::buddy::*;
use teamtalk::pb::cmd::*;
use teamtalk::pb::group::{ImGroupInfoListReq, ImGroupInfoListRsp};
use teamtalk::pb::message::{ImGetMsgListReq, ImGetMsgListRsp};
use teamtalk::pb::server::{ImValidateReq, ImValidateRsp};

use super::installation::{Installation, on_each};
use crate::storage::strange_texts;

impl Installation {
    fn login(&self, user_name: &str) -> u32 {
        let msg = ImValidateReq {
            user_name: user_name.to_owned(),
            password: md5_hex(b"secret"),
            attach_data: None,
        };
        self.ask::<ImValidateRsp>(CID_OTHER_VALIDATE_REQ, &msg).result_code
    }

    fn sign_info(&self, n: u32) -> String {
        let user_id = self.id(n);
        let msg = ImUsersInfoReq { user_id, user_id_list: vec![user_id], attach_data: None };
        let mut answer: ImUsersInfoRsp = self.ask(CID_BUDDY_LIST_USER_INFO_REQUEST, &msg);
        answer.user_info_list.remove(0).sign_info.unwrap()
    }
}

#[test]
fn f4_a_login_name_is_any_text_and_never_sql() {
    on_each(|on| {
        let password = md5_hex(format!("{}7", md5_hex(b"secret")).as_bytes());
        for (n, name) in (1..).zip(strange_texts()) {
            assert_eq!(on.login(&format!("{name}{}", on.id(n))), 1, "{name:?}: nobody");
            let name = format!("{}{}", name.chars().take(40).collect::<String>(), on.id(n));
            on.execute(
                "insert into IMUser (id, name, password, salt, departId, created, updated) \
                 values (?,?,?,'7',1,1,1)",
                &[on.id(n).into(), name.as_str().into(), password.as_str().into()],
            );
            // NUL ends a name in the clients, so nobody can be called so.
            assert_eq!(on.login(&name), u32::from(name.contains('\0')), "{name:?}");
        }
    });
}

#[test]
fn signatures_are_kept_as_they_are_or_refused() {
    on_each(|on| {
        on.add_user(1);
        for sign_info in strange_texts() {
            let before = on.sign_info(1);
            let msg = ImChangeSignInfoReq {
                user_id: on.id(1),
                sign_info: sign_info.clone(),
                attach_data: None,
            };
            let answer: ImChangeSignInfoRsp = on.ask(CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST, &msg);
            if sign_info.len() <= SIGN_INFO_LEN_MAX {
                assert_eq!((answer.result_code, on.sign_info(1)), (0, sign_info));
            } else {
                assert_eq!((answer.result_code, on.sign_info(1)), (1, before), "not cut");
            }
        }
    });
}

#[test]
fn names_of_groups_are_kept_as_they_are_or_refused() {
    on_each(|on| {
        for name in strange_texts().into_iter().filter(|name| !name.is_empty()) {
            if name.chars().count() > 256 {
                let members = on.ids([1]);
                let msg = teamtalk::pb::group::ImGroupCreateReq {
                    user_id: on.id(1),
                    group_type: GroupType::Tmp.into(),
                    group_name: name,
                    member_id_list: members.to_vec(),
                    ..Default::default()
                };
                let error = on.try_ask(CID_GROUP_CREATE_REQUEST, &msg).unwrap_err();
                assert!(error.contains("too long"), "{error}");
                continue;
            }
            let group_id =
                on.create(on.id(1), GroupType::Tmp, &name, &on.ids([1])).group_id.unwrap();
            let msg = ImGroupInfoListReq {
                user_id: on.id(1),
                group_version_list: vec![GroupVersionInfo { group_id, version: 0 }],
                attach_data: None,
            };
            let answer: ImGroupInfoListRsp = on.ask(CID_GROUP_INFO_REQUEST, &msg);
            assert_eq!(answer.group_info_list[0].group_name, name);
        }
    });
}

#[test]
fn messages_are_kept_as_they_are() {
    on_each(|on| {
        let texts: Vec<String> =
            strange_texts().into_iter().filter(|text| !text.is_empty()).collect();
        for text in &texts {
            assert_ne!(on.send(on.id(1), on.id(2), MsgType::SingleText, text), 0);
        }
        let msg = ImGetMsgListReq {
            user_id: on.id(2),
            session_type: 1,
            session_id: on.id(1),
            msg_id_begin: 0,
            msg_cnt: 100,
            attach_data: None,
        };
        let answer: ImGetMsgListRsp = on.ask(CID_MSG_LIST_REQUEST, &msg);
        let read = answer.msg_list.iter().rev().map(|info| info.msg_data.to_vec());
        assert!(read.eq(texts.iter().map(|text| text.clone().into_bytes())));
    });
}
