//! Requests of one kind that a worker finds waiting, and answers together.

use super::login_failures::FAILURES_MAX;
use super::tests::{Bed, bed};
use crate::base::im_pdu::{ImPdu, PduHeader};
use crate::base::md5::md5_hex;
use crate::db_proxy_server::handler_map::{BatchKind, batch_kind};
use crate::pb::base_define::{ClientType, ShieldStatus};
use crate::pb::cmd::*;
use crate::pb::server::*;
use crate::storage::cache_pool::TOKEN;
use crate::storage::db_pool::{TEAMTALK_MASTER, TEAMTALK_SLAVE};

fn login(name: &str, password: &str) -> ImPdu {
    let msg = ImValidateReq {
        user_name: name.to_owned(),
        password: md5_hex(password.as_bytes()),
        attach_data: Some(name.to_owned().into_bytes().into()),
    };
    ImPdu::encode(SID_OTHER, CID_OTHER_VALIDATE_REQ, 7, &msg)
}

impl Bed {
    fn together(&self, kind: BatchKind, pdus: &[ImPdu]) -> Vec<ImPdu> {
        let requests: Vec<_> = pdus.iter().map(ImPdu::as_pdu).collect();
        assert!(requests.iter().all(|pdu| batch_kind(pdu.command_id()) == Some(kind)));
        let answers = kind.handle(&self.business, &requests).into_iter();
        answers.map(|answer| answer.unwrap().unwrap()).collect()
    }

    /// The results and user ids of logins that are checked together.
    fn log_in(&self, pdus: &[ImPdu]) -> Vec<(u32, u32)> {
        let answers = self.together(BatchKind::Logins, pdus).into_iter().zip(pdus);
        let outcome = |(answer, request): (ImPdu, &ImPdu)| {
            let asked: ImValidateReq = request.as_pdu().decode().unwrap();
            let answer: ImValidateRsp = answer.as_pdu().decode().unwrap();
            assert_eq!(answer.user_name, asked.user_name);
            assert_eq!(answer.attach_data, asked.attach_data);
            (answer.result_code, answer.user_info.map_or(0, |user| user.user_id))
        };
        answers.map(outcome).collect()
    }
}

#[test]
fn logins_together_are_answered_as_alone() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    bed.add_user(6, "bob", 10);
    let pdus = [
        login("alice", "secret"),
        login("ALICE", "secret"),
        login("bob", "wrong"),
        login("nobody", "secret"),
        login("", "secret"),
        login("bob", "secret"),
        login("alice", "secret"),
    ];
    let outcomes = [(0, 5), (1, 0), (1, 0), (1, 0), (1, 0), (0, 6), (0, 5)];
    assert_eq!(bed.log_in(&pdus), outcomes);
}

#[test]
fn f11_guesses_that_come_together_count_one_by_one() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    for name in ["alice", "nobody"] {
        let mut pdus = vec![login(name, "wrong"); FAILURES_MAX + 1];
        pdus.push(login(name, "secret"));
        let outcomes = bed.log_in(&pdus);
        let (last, wrong) = outcomes.split_last().unwrap();
        assert!(wrong.iter().all(|outcome| *outcome == (1, 0)), "{name}: {outcomes:?}");
        assert_eq!(*last, (6, 0), "{name}");
    }
}

#[test]
fn a_login_that_does_not_parse_costs_itself_only() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let header = PduHeader::new(SID_OTHER, CID_OTHER_VALIDATE_REQ, 7);
    let (broken, good) = (ImPdu::with_body(header, &[0xff]), login("alice", "secret"));
    let answers = BatchKind::Logins.handle(&bed.business, &[broken.as_pdu(), good.as_pdu()]);
    assert!(answers[0].is_err());
    let answer: ImValidateRsp =
        answers[1].as_ref().unwrap().as_ref().unwrap().as_pdu().decode().unwrap();
    assert_eq!(answer.result_code, 0);
}

#[test]
fn logins_together_cost_one_query_and_one_round_trip() {
    let bed = bed();
    let names: Vec<String> = (1..=64).map(|number| format!("user{number}")).collect();
    for (id, name) in (1..).zip(&names) {
        bed.add_user(id, name, 10);
    }
    let pdus: Vec<ImPdu> = names.iter().map(|name| login(name, "secret")).collect();
    let cost = |count: usize| {
        let pools = || {
            let db = bed.business.db.pool(TEAMTALK_SLAVE).unwrap().counters();
            (db, bed.business.cache.pool(TOKEN).unwrap().counters())
        };
        let (db, cache) = pools();
        assert!(bed.log_in(&pdus[..count]).iter().all(|(code, _)| *code == 0));
        let (db_after, cache_after) = pools();
        (db_after.since(db).statements, cache_after.since(cache).round_trips)
    };
    assert_eq!((cost(1), cost(3), cost(64)), ((1, 1), (1, 1), (1, 1)));
}

#[test]
fn who_wants_pushes_is_asked_once_for_all_messages_of_a_group() {
    let bed = bed();
    for (group_id, user_id, status) in [(9, 1, 0), (9, 2, 1), (8, 1, 1)] {
        bed.join(group_id, user_id);
        bed.execute(
            "update IMGroupMember set shieldStatus=? where groupId=? and userId=?",
            &[status.into(), group_id.into(), user_id.into()],
        );
    }
    let question = |group_id: u32, user_id: &[u32], attach: &'static [u8]| {
        let (user_id, attach_data) = (user_id.to_vec(), Some(attach.into()));
        let msg = ImGroupGetShieldReq { group_id, user_id, attach_data };
        ImPdu::encode(SID_OTHER, CID_OTHER_GET_SHIELD_REQ, 7, &msg)
    };
    let pdus = [
        question(9, &[1, 2], b"first"),
        question(9, &[1, 2], b"second"),
        question(9, &[2], b"third"),
        question(8, &[1], b"fourth"),
    ];
    let statements = || bed.business.db.pool(TEAMTALK_MASTER).unwrap().counters().statements;
    let before = statements();
    let answers = bed.together(BatchKind::GroupPushes, &pdus);
    assert_eq!(statements() - before, 3);
    let status =
        |group_id, user_id, shield_status| ShieldStatus { user_id, group_id, shield_status };
    let both = vec![status(9, 1, 0), status(9, 2, 1)];
    let expected: [(&[u8], _); 4] = [
        (b"first", both.clone()),
        (b"second", both),
        (b"third", vec![status(9, 2, 1)]),
        (b"fourth", vec![status(8, 1, 1)]),
    ];
    for (answer, (attach, list)) in answers.iter().zip(expected) {
        let answer: ImGroupGetShieldRsp = answer.as_pdu().decode().unwrap();
        assert_eq!(
            (answer.attach_data.as_deref(), answer.shield_status_list),
            (Some(attach), list)
        );
    }
}

#[test]
fn where_phones_are_is_asked_once_for_all_messages_of_a_group() {
    let bed = bed();
    for user_id in 1..=2 {
        let token = format!("{user_id:064}");
        super::device_tokens::set(&bed.business, user_id, &token, Some(ClientType::Ios.into()))
            .unwrap();
    }
    let question = |user_id: &[u32], attach: &'static [u8]| {
        let (user_id, attach_data) = (user_id.to_vec(), Some(attach.into()));
        let msg = ImGetDeviceTokenReq { user_id, attach_data };
        ImPdu::encode(SID_OTHER, CID_OTHER_GET_DEVICE_TOKEN_REQ, 7, &msg)
    };
    let pdus =
        [question(&[1, 2], b"first"), question(&[1, 2], b"second"), question(&[2], b"third")];
    let round_trips = || bed.business.cache.pool(TOKEN).unwrap().counters().round_trips;
    let before = round_trips();
    let answers = bed.together(BatchKind::DeviceTokens, &pdus);
    assert_eq!(round_trips() - before, 2);
    let expected: [(&[u8], &[u32]); 3] =
        [(b"first", &[1, 2]), (b"second", &[1, 2]), (b"third", &[2])];
    for (answer, (attach, users)) in answers.iter().zip(expected) {
        let answer: ImGetDeviceTokenRsp = answer.as_pdu().decode().unwrap();
        let told: Vec<u32> = answer.user_token_info.iter().map(|info| info.user_id).collect();
        assert_eq!((answer.attach_data.as_deref(), told.as_slice()), (Some(attach), users));
    }
}
