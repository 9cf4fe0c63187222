//! The commands on the embedded driver, without sockets.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use prost::Message;

use super::login_failures::{
    FAILURE_WINDOW_S, FAILURES_MAX, FAILURES_PER_NAME_MAX, UNKNOWN_NAMES_MAX, UnknownLogins,
};
use super::msg_ids::MsgIds;
use super::password::{PasswordForm, StoredPassword};
use super::refusal::refusal;
use super::relation_model::Relations;
use super::user_model::{NewUser, insert_user, user_of_name};
use super::{Business, depart_action, login, user_action};
use crate::base::attach_data::PduAttachData;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::enc_dec::Aes;
use crate::base::http_client::HttpClient;
use crate::base::im_pdu::{ImPdu, PduHeader, PduRef};
use crate::base::md5::md5_hex;
use crate::db_proxy_server::DbProxyServer;
use crate::db_proxy_server::figures::WorkerFigures;
use crate::db_proxy_server::handler_map::{PduHandler, handler};
use crate::db_proxy_server::proxy_task::{ProxyTask, ResponsePdu, run};
use crate::netlib::EventDispatch;
use crate::netlib::testing::handles;
use crate::pb::buddy::*;
use crate::pb::cmd::*;
use crate::pb::group::{ImGroupChangeMemberReq, ImGroupChangeMemberRsp};
use crate::pb::login::*;
use crate::pb::server::{ImValidateReq, ImValidateRsp};
use crate::storage::{CacheManager, DbError, DbManager, Value};

pub(super) const NOW: u32 = 1_700_000_000;
const SEQ_NUM: u16 = 77;

/// Storage in a directory of its own.
pub(super) struct Bed {
    pub(super) business: Business,
    directory: tempfile::TempDir,
}

pub(super) fn bed() -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(PRIMARY);
    let business = business(&path, &path);
    business.db.migrate().unwrap();
    Bed { business, directory }
}

const PRIMARY: &str = "teamtalk.db";

fn business(primary: &Path, replica: &Path) -> Business {
    let mut text =
        "DBInstances=teamtalk_master,teamtalk_slave\nCacheInstances=token,unread\n".to_owned();
    for (name, driver, path) in [
        ("teamtalk_master", "sqlite", primary),
        ("teamtalk_slave", "sqlite", replica),
        ("token", "embedded", primary),
        ("unread", "embedded", primary),
    ] {
        text += &format!("{name}_driver={driver}\n{name}_path={}\n", path.display());
    }
    let mut config = ConfigFileReader::parse(Path::new("test.conf"), text.as_bytes());
    Business {
        db: DbManager::from_config(&mut config).unwrap(),
        cache: CacheManager::from_config(&mut config).unwrap(),
        unknown_logins: UnknownLogins::default(),
        msg_len_max: 1 << 20,
        aes: Aes::new(b"12345678901234567890123456789012").unwrap(),
        msfs_site: "http://127.0.0.1:1/".to_owned(),
        http: HttpClient::default(),
        sounds: Default::default(),
        relations: Relations::default(),
        msg_ids: MsgIds::default(),
        clock: || NOW,
        quiet_hours: Default::default(),
        zone: Default::default(),
        password_form: Default::default(),
    }
}

impl Bed {
    /// From now on there is a replica that has what is stored now, and nothing that comes later.
    pub(super) fn make_late_replica(&mut self) -> DbManager {
        let replica = self.directory.path().join("replica.db");
        self.execute("vacuum into ?", &[replica.to_str().unwrap().into()]);
        self.business = business(&self.directory.path().join(PRIMARY), &replica);
        business(&replica, &replica).db
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value]) {
        self.business.master().unwrap().execute_update(sql, values).unwrap();
    }

    pub(super) fn add_user(&self, id: u32, name: &str, updated: u32) {
        let password = md5_hex(format!("{}1234", md5_hex(b"secret")).as_bytes());
        self.execute(
            "insert into IMUser \
             (id, name, nick, password, salt, departId, status, created, updated) \
             values (?,?,?,?,?,?,?,?,?)",
            &[
                id.into(),
                name.into(),
                format!("nick of {name}").into(),
                password.into(),
                "1234".into(),
                7.into(),
                0.into(),
                1.into(),
                updated.into(),
            ],
        );
    }

    /// The answer of a handler, with everything every answer must have checked.
    pub(super) fn ask<A: Message + Default>(
        &self,
        handler: PduHandler,
        msg: &impl Message,
    ) -> (u16, A) {
        let request = ImPdu::encode_with(PduHeader::new(7, 0, SEQ_NUM), msg);
        let answer = handler(&self.business, request.as_pdu()).unwrap().unwrap();
        assert_eq!(answer.as_pdu().seq_num(), SEQ_NUM);
        (answer.as_pdu().command_id(), answer.as_pdu().decode().unwrap())
    }

    /// As an msg_server of the original has it checked.
    pub(super) fn login(&self, name: &str, password: &str) -> ImValidateRsp {
        self.login_with(name, password, b"mine")
    }

    /// As our msg_server has it checked for a client of this class of address.
    fn login_from(&self, origin: &str, name: &str, password: &str) -> u32 {
        let attach = PduAttachData::new(1, 7, origin.as_bytes()).encode();
        self.login_with(name, password, &attach).result_code
    }

    fn login_with(&self, name: &str, password: &str, attach: &[u8]) -> ImValidateRsp {
        let msg = ImValidateReq {
            user_name: name.to_owned(),
            password: md5_hex(password.as_bytes()),
            attach_data: Some(attach.to_vec().into()),
        };
        let (command_id, answer) = self.ask::<ImValidateRsp>(login::do_login, &msg);
        assert_eq!(command_id, CID_OTHER_VALIDATE_RSP);
        assert_eq!(
            (answer.user_name.as_str(), answer.attach_data.as_deref()),
            (name, Some(attach))
        );
        answer
    }
}

#[test]
fn f3_the_password_is_checked() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let answer = bed.login("alice", "secret");
    assert_eq!((answer.result_code, answer.result_string.as_deref()), (0, Some("成功")));
    let user = answer.user_info.unwrap();
    assert_eq!((user.user_id, user.user_real_name.as_str(), user.department_id), (5, "alice", 7));
    for (name, password) in [("alice", "Secret"), ("alice", ""), ("nobody", "secret")] {
        let answer = bed.login(name, password);
        assert_eq!(answer.result_code, 1, "{name} {password}");
        assert_eq!(answer.result_string.as_deref(), Some("用户名/密码错误"));
        assert_eq!(answer.user_info, None);
    }
}

#[test]
fn f4_a_login_name_is_a_value() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let long = "x".repeat(10_000);
    for name in ["' or '1'='1", "alice'--", "alice\\", "al%", "", "a\0lice", "alice\0", "😀", &long]
    {
        assert_eq!(bed.login(name, "secret").result_code, 1, "{name:?}");
    }
    bed.add_user(6, "O'Brien \\ \"😀\"", 10);
    assert_eq!(bed.login("O'Brien \\ \"😀\"", "secret").user_info.unwrap().user_id, 6);
    assert_eq!(bed.login("ALICE", "secret").result_code, 1, "names differ by case");
}

#[test]
fn who_left_the_company_cannot_log_in() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    bed.execute("update IMUser set status=? where id=?", &[3.into(), 5.into()]);
    assert_eq!(bed.login("alice", "secret").result_code, 1);
}

#[test]
fn f11_more_than_ten_failures_in_half_an_hour_are_too_many() {
    static NOW_IS: AtomicU32 = AtomicU32::new(NOW);
    let mut bed = bed();
    bed.business.clock = || NOW_IS.load(Ordering::Relaxed);
    bed.add_user(5, "alice", 10);
    for name in ["alice", "nobody"] {
        NOW_IS.store(NOW, Ordering::Relaxed);
        for _ in 0..=FAILURES_MAX {
            assert_eq!(bed.login(name, "wrong").result_code, 1);
        }
        let answer = bed.login(name, "secret");
        assert_eq!(answer.result_code, 6, "{name}");
        assert_eq!(answer.result_string.as_deref(), Some("用户名/密码错误次数太多"));
        NOW_IS.store(NOW + FAILURE_WINDOW_S + 61, Ordering::Relaxed);
        assert_ne!(bed.login(name, "secret").result_code, 6, "{name}");
    }
}

#[test]
fn f11_a_login_that_succeeds_clears_the_failures() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    for _ in 0..3 {
        for _ in 0..FAILURES_MAX {
            assert_eq!(bed.login("alice", "wrong").result_code, 1);
        }
        assert_eq!(bed.login("alice", "secret").result_code, 0);
    }
}

#[test]
fn f11_who_guesses_passwords_locks_out_himself_and_not_the_owner() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    for name in ["alice", "nobody"] {
        for _ in 0..=FAILURES_MAX {
            assert_eq!(bed.login_from("192.0.2.0/24", name, "wrong"), 1);
        }
        assert_eq!(bed.login_from("192.0.2.0/24", name, "secret"), 6, "{name}");
        assert_ne!(bed.login_from("198.51.100.0/24", name, "secret"), 6, "{name}");
        assert_ne!(bed.login(name, "secret").result_code, 6, "{name}");
        // That the owner logs in elsewhere forgives nothing.
        assert_eq!(bed.login_from("192.0.2.0/24", name, "secret"), 6, "{name}");
    }
}

#[test]
fn f11_guesses_from_many_places_are_too_many_together() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    for name in ["alice", "nobody"] {
        for place in 0..=FAILURES_PER_NAME_MAX {
            assert_eq!(bed.login_from(&format!("192.0.{place}.0/24"), name, "wrong"), 1);
        }
        assert_eq!(bed.login_from("198.51.100.0/24", name, "secret"), 6, "{name}");
    }
}

#[test]
fn f11_names_that_nobody_has_are_remembered_within_bounds() {
    let unknown = UnknownLogins::default();
    let is_known = |name: &str| unknown.are_too_many(name, "", NOW);
    for _ in 0..=FAILURES_MAX {
        unknown.add("first", "", NOW);
    }
    (1..UNKNOWN_NAMES_MAX).for_each(|at| unknown.add(&format!("name {at}"), "", NOW));
    assert!(is_known("first"));
    unknown.add("one more", "", NOW);
    assert!(!is_known("first"), "rather forgotten than kept for ever");
}

#[test]
fn f11_a_database_that_fails_counts_for_nobody() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    bed.execute("alter table IMUser rename to away", &[]);
    for _ in 0..=FAILURES_MAX + 1 {
        let answer = bed.login("alice", "secret");
        assert_eq!(
            (answer.result_code, answer.result_string.as_deref()),
            (2, Some("服务端内部错误"))
        );
    }
    bed.execute("alter table away rename to IMUser", &[]);
    assert_eq!(bed.login("alice", "secret").result_code, 0);
}

#[test]
fn f18_a_password_changes_its_form_at_the_next_login() {
    let mut bed = bed();
    bed.add_user(5, "alice", 1);
    bed.business.password_form = PasswordForm::Argon2id;
    let stored = |bed: &Bed| {
        let sql = "select password, passwordHash, updated from IMUser where id=5";
        let found = bed.business.master().unwrap().execute_query(sql, &[]).unwrap();
        let row = found.first().unwrap();
        let text = |column| row.get::<String>(column).unwrap();
        assert_eq!(row.get::<u32>("updated").unwrap(), 1, "nobody has to fetch him again");
        (text("password").is_empty(), text("passwordHash").is_empty())
    };
    assert_eq!((bed.login("alice", "Secret").result_code, stored(&bed)), (1, (false, true)));
    assert_eq!((bed.login("alice", "secret").result_code, stored(&bed)), (0, (true, false)));
    assert_eq!(bed.login("alice", "secret").result_code, 0);
    assert_eq!(bed.login("alice", "Secret").result_code, 1);
    assert_eq!(bed.login("bob", "secret").result_code, 1);
    // There is no way back, and none is needed.
    bed.business.password_form = PasswordForm::Md5;
    assert_eq!(bed.login("alice", "secret").result_code, 0);
    // The administration sets another password, in the form it knows.
    let password = md5_hex(format!("{}77", md5_hex(b"new")).as_bytes());
    bed.execute("update IMUser set password=?, salt='77'", &[password.into()]);
    assert_eq!(bed.login("alice", "new").result_code, 0);
    assert_eq!(bed.login("alice", "secret").result_code, 1);
}

#[test]
fn users_are_found_by_id_and_unknown_ids_are_left_out() {
    let bed = bed();
    (1..=3).for_each(|id| bed.add_user(id, &format!("user{id}"), 10));
    let mut user_id_list: Vec<u32> = (4..2_600).collect();
    user_id_list.extend([3, 1]);
    let msg = ImUsersInfoReq { user_id: 1, user_id_list, attach_data: None };
    let (_, answer) = bed.ask::<ImUsersInfoRsp>(user_action::get_user_info, &msg);
    let mut ids: Vec<u32> = answer.user_info_list.iter().map(|user| user.user_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 3]);
    let none = ImUsersInfoReq { user_id: 1, ..ImUsersInfoReq::default() };
    let (_, answer) = bed.ask::<ImUsersInfoRsp>(user_action::get_user_info, &none);
    assert_eq!(answer.user_info_list, []);
}

#[test]
fn f100_s16_changed_users_are_those_since_the_cursor() {
    let bed = bed();
    bed.add_user(1, "old", 100);
    bed.add_user(2, "new", 200);
    bed.execute("update IMUser set status=3 where id=?", &[1.into()]);
    let changed = |latest_update_time| {
        let msg = ImAllUserReq { user_id: 9, latest_update_time, attach_data: None };
        let (_, answer) = bed.ask::<ImAllUserRsp>(user_action::get_changed_user, &msg);
        let mut ids: Vec<u32> = answer.user_list.iter().map(|user| user.user_id).collect();
        ids.sort_unstable();
        (ids, answer.latest_update_time)
    };
    assert_eq!(changed(0), (vec![2], 200), "who left is not told to a new client");
    assert_eq!(changed(99), (vec![1, 2], 200));
    assert_eq!(changed(150), (vec![2], 200));
    assert_eq!(changed(200), (vec![], 200));
    // What changes within this second may not be all of it yet: it is told again.
    bed.execute("update IMUser set updated=? where id=2", &[NOW.into()]);
    assert_eq!(changed(200), (vec![2], NOW - 1));
    assert_eq!(changed(NOW - 1), (vec![2], NOW - 1));
}

#[test]
fn a_signature_is_stored_as_it_is_or_refused() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let change = |user_id, sign_info: &str| {
        let sign_info = sign_info.to_owned();
        let msg = ImChangeSignInfoReq { user_id, sign_info, attach_data: None };
        let (_, answer) = bed.ask::<ImChangeSignInfoRsp>(user_action::change_user_sign_info, &msg);
        (answer.result_code, answer.sign_info)
    };
    for text in ["", "it's \"me\" \\ % _ ; --", "笑 😀", &"x".repeat(128)] {
        assert_eq!(change(5, text), (0, Some(text.to_owned())));
        let msg = ImUsersInfoReq { user_id: 5, user_id_list: vec![5], attach_data: None };
        let (_, answer) = bed.ask::<ImUsersInfoRsp>(user_action::get_user_info, &msg);
        assert_eq!(answer.user_info_list[0].sign_info.as_deref(), Some(text));
    }
    // The same once more is no failure (F94).
    assert_eq!(change(5, "same").0, 0);
    assert_eq!(change(5, "same").0, 0);
    assert_eq!(change(5, &"x".repeat(129)), (1, None));
    assert_eq!(change(6, "nobody"), (1, None));
}

#[test]
fn f77_an_avatar_can_be_changed() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let change = |user_id, avatar: &'static [u8]| {
        let msg = ImChangeAvatarReq { user_id, avatar_url: avatar.into(), attach_data: None };
        bed.ask::<ImChangeAvatarRsp>(user_action::change_user_avatar, &msg)
    };
    let (command_id, answer) = change(5, b"http://msfs/g0/a.png");
    assert_eq!((command_id, answer.result_code), (CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE, 0));
    assert_eq!(change(6, b"http://x").1.result_code, 1);
    assert_eq!(change(5, b"\xff").1.result_code, 1);
    let msg = ImAllUserReq { user_id: 9, latest_update_time: 10, attach_data: None };
    let (_, answer) = bed.ask::<ImAllUserRsp>(user_action::get_changed_user, &msg);
    assert_eq!(answer.user_list[0].avatar_url, "http://msfs/g0/a.png");
}

#[test]
fn f94_quiet_hours_can_be_set_twice_and_asked_for() {
    let bed = bed();
    bed.add_user(5, "alice", 10);
    let query = |user_id| {
        let msg = ImQueryPushShieldReq { user_id, attach_data: None };
        let (_, answer) = bed.ask::<ImQueryPushShieldRsp>(user_action::do_query_push_shield, &msg);
        (answer.result_code, answer.shield_status)
    };
    let set = |user_id, shield_status| {
        let msg = ImPushShieldReq { user_id, shield_status, attach_data: None };
        bed.ask::<ImPushShieldRsp>(user_action::do_push_shield, &msg).1.result_code
    };
    assert_eq!(query(5), (0, Some(0)));
    assert_eq!((set(5, 1), set(5, 1), query(5)), (0, 0, (0, Some(1))));
    assert_eq!((set(6, 1), query(6)), (1, (1, None)));
}

#[test]
fn departments_are_told_with_those_that_are_gone() {
    let bed = bed();
    for (id, status, updated) in [(1, 0, 100), (2, 1, 200)] {
        bed.execute(
            "insert into IMDepart (id, departName, priority, parentId, status, created, updated) \
             values (?,?,?,?,?,?,?)",
            &[
                id.into(),
                "研发".into(),
                4.into(),
                0.into(),
                status.into(),
                1.into(),
                updated.into(),
            ],
        );
    }
    let changed = |latest_update_time| {
        let msg = ImDepartmentReq { user_id: 9, latest_update_time, attach_data: None };
        bed.ask::<ImDepartmentRsp>(depart_action::get_chged_depart, &msg).1
    };
    let answer = changed(0);
    let departs: Vec<_> =
        answer.dept_list.iter().map(|d| (d.dept_id, d.dept_name.as_str(), d.dept_status)).collect();
    assert_eq!(departs, [(1, "研发", 0), (2, "研发", 1)]);
    assert_eq!(answer.latest_update_time, 200);
    assert_eq!(changed(100).dept_list.len(), 1);
    assert_eq!(changed(200).dept_list, []);
}

#[test]
fn f105_garbage_is_an_error_of_every_handler_and_has_no_answer() {
    let bed = bed();
    for (command_id, name) in COMMANDS {
        let request = ImPdu::with_body(PduHeader::new(7, *command_id, 0), &[0x08, 0xff]);
        let pdu: PduRef<'_> = request.as_pdu();
        let Some(handler) = handler(*command_id) else { continue };
        assert!(matches!(handler(&bed.business, pdu), Ok(None) | Err(_)), "{name}");
        assert!(matches!(refusal(pdu), Ok(None) | Err(_)), "{name}");
    }
}

#[test]
fn what_fails_is_refused_where_the_protocol_can() {
    let refused = |command_id, msg: Vec<u8>, answer: u16| {
        let request = ImPdu::with_body(PduHeader::new(7, command_id, SEQ_NUM), &msg);
        let refused = refusal(request.as_pdu()).unwrap().unwrap();
        assert_eq!((refused.as_pdu().command_id(), refused.as_pdu().seq_num()), (answer, SEQ_NUM));
        refused
    };
    let attach_data = || Some(b"mine".as_slice().into());
    let msg = ImGroupChangeMemberReq {
        user_id: 1,
        change_type: 1,
        group_id: 5,
        member_id_list: vec![2],
        attach_data: attach_data(),
    };
    let answer = refused(
        CID_GROUP_CHANGE_MEMBER_REQUEST,
        msg.encode_to_vec(),
        CID_GROUP_CHANGE_MEMBER_RESPONSE,
    );
    let answer: ImGroupChangeMemberRsp = answer.as_pdu().decode().unwrap();
    assert_eq!((answer.result_code, answer.group_id, answer.attach_data), (1, 5, attach_data()));
    let msg = ImChangeSignInfoReq { user_id: 1, sign_info: "x".into(), attach_data: attach_data() };
    let answer = refused(
        CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST,
        msg.encode_to_vec(),
        CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE,
    );
    let answer: ImChangeSignInfoRsp = answer.as_pdu().decode().unwrap();
    assert_eq!((answer.result_code, answer.attach_data), (1, attach_data()));
    // A list that cannot be read is not an empty list.
    let msg = ImUsersInfoReq { user_id: 1, user_id_list: vec![1], attach_data: None };
    let request = ImPdu::encode(7, CID_BUDDY_LIST_USER_INFO_REQUEST, 0, &msg);
    assert!(refusal(request.as_pdu()).unwrap().is_none());
}

#[test]
fn a_handler_that_panics_is_refused_and_the_others_go_on() {
    let bed = bed();
    let dispatch = EventDispatch::<DbProxyServer>::new().unwrap();
    let responses = dispatch.response_list();
    let [conn] = handles();
    let task = |handler: PduHandler, seq_num| {
        let msg = ImChangeSignInfoReq { user_id: 1, sign_info: "x".into(), attach_data: None };
        let pdu =
            ImPdu::encode(SID_BUDDY_LIST, CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST, seq_num, &msg);
        ProxyTask { conn, handler, pdu }
    };
    bed.add_user(1, "alice", 1);
    let panics: PduHandler = |_, _| panic!("as the test wants it");
    let good: PduHandler = user_action::change_user_sign_info;
    let tasks = vec![task(good, 1), task(panics, 2), task(good, 3)];
    run(&bed.business, &WorkerFigures::default(), &responses, tasks);
    let answer = |response: ResponsePdu| {
        let pdu = response.pdu.unwrap();
        let answer: ImChangeSignInfoRsp = pdu.as_pdu().decode().unwrap();
        (pdu.as_pdu().seq_num(), answer.result_code)
    };
    let answers: Vec<_> = responses.take().into_iter().map(answer).collect();
    assert_eq!(answers, [(1, 0), (2, 1), (3, 0)]);
}

#[test]
fn s21_a_user_is_made_with_all_his_values() {
    let bed = bed();
    let user = NewUser {
        name: "alice".to_owned(),
        nick: "Alice".to_owned(),
        sex: 2,
        depart_id: 7,
        phone: "+49 1".to_owned(),
        email: "a@b".to_owned(),
        avatar: "/g0/a.png".to_owned(),
        password: StoredPassword::new(&md5_hex(b"secret"), PasswordForm::Md5).unwrap(),
    };
    let insert = || insert_user(&mut *bed.business.master().unwrap(), &user, NOW);
    assert_eq!(insert().unwrap(), 1);
    assert!(matches!(insert(), Err(DbError::Duplicate { .. })));
    let found = user_of_name(&bed.business, "alice").unwrap().unwrap();
    let info = &found.user_info;
    assert_eq!(
        (info.user_nick_name.as_str(), info.user_gender, info.department_id),
        ("Alice", 2, 7)
    );
    assert_eq!((info.user_tel.as_str(), info.email.as_str(), info.status), ("+49 1", "a@b", 0));
    assert_eq!(info.avatar_url, "/g0/a.png");
    assert_eq!((found.created, found.updated, found.push_shield), (NOW, NOW, false));
    assert!(user_of_name(&bed.business, "Alice").unwrap().is_none(), "names are compared exactly");
    assert_eq!(bed.login("alice", "secret").result_code, 0);
}
