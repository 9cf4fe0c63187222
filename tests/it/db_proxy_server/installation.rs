//! Handlers on both kinds of storage, without sockets: one contract for the two.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::tz::{Offset, TimeZone};
use prost::Message;
use teamtalk::base::enc_dec::Aes;
use teamtalk::base::http_client::HttpClient;
use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::db_proxy_server::business::Business;
use teamtalk::db_proxy_server::business::quiet_hours::Zone;
use teamtalk::db_proxy_server::handler_map::handler;
use teamtalk::pb::base_define::{GroupType, MsgType, SessionType};
use teamtalk::pb::cmd::*;
use teamtalk::pb::group::{ImGroupCreateReq, ImGroupCreateRsp};
use teamtalk::pb::message::{ImMsgData, ImMsgDataReadAck, ImUnreadMsgCntReq, ImUnreadMsgCntRsp};
use teamtalk::storage::mysql::MySqlConfig;
use teamtalk::storage::redis::RedisConfig;
use teamtalk::storage::{CacheManager, DbManager, Value};

use crate::backends::{MariaDb, Redis};
use crate::running::config;

pub const NOW: u32 = 1_700_000_000;

const DBS: [&str; 2] = ["teamtalk_master", "teamtalk_slave"];
const CACHES: [&str; 5] = ["unread", "group_set", "token", "sync", "group_member"];

/// Hours from Greenwich at which it is noon at `NOW`.
const NOON: i8 = -10;

/// A place so many hours from Greenwich.
pub fn zone(hours: i8) -> Zone {
    Zone(TimeZone::fixed(Offset::constant(hours)))
}

/// The keys of the pools, all in one file.
pub fn embedded_pools(directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("teamtalk.db");
    let pool =
        |name: &str, driver| format!("{name}_driver={driver}\n{name}_path={}\n", path.display());
    let dbs = DBS.map(|name| pool(name, "sqlite"));
    let caches = CACHES.map(|name| pool(name, "embedded"));
    instances() + &dbs.concat() + &caches.concat()
}

/// The keys of the pools, on servers, as the original has them.
pub fn server_pools(db: &MySqlConfig, cache: &RedisConfig) -> String {
    let dbs = DBS.map(|name| {
        format!(
            "{name}_host={}\n{name}_port={}\n{name}_dbname={}\n{name}_username={}\n\
             {name}_password={}\n{name}_maxconncnt=8\n",
            db.host, db.port, db.dbname, db.username, db.password
        )
    });
    let password = cache.password.as_deref().unwrap();
    let caches = CACHES.map(|name| {
        format!(
            "{name}_host={}\n{name}_port={}\n{name}_db={}\n{name}_password={password}\n\
             {name}_maxconncnt=8\n",
            cache.host, cache.port, cache.db
        )
    });
    instances() + &dbs.concat() + &caches.concat()
}

fn instances() -> String {
    format!("DBInstances={}\nCacheInstances={}\n", DBS.join(","), CACHES.join(","))
}

/// Handlers and their storage. Tests work side by side on one database, so each has ids of its own.
pub struct Installation {
    pub business: Business,
    pub first_id: u32,
    pub is_embedded: bool,
}

/// Runs a part of the contract on both kinds of storage.
pub fn on_each(contract: fn(&Installation)) {
    let directory = tempfile::tempdir().unwrap();
    contract(&Installation::new(&embedded_pools(&directory), true));
    static DB: OnceLock<MySqlConfig> = OnceLock::new();
    let db = DB.get_or_init(|| MariaDb::shared().database("handlers"));
    contract(&Installation::new(&server_pools(db, &Redis::shared().config(63)), false));
}

impl Installation {
    pub fn new(pools: &str, is_embedded: bool) -> Self {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1_000);
        let business = Business {
            db: config(pools, DbManager::from_config),
            cache: config(pools, CacheManager::from_config),
            unknown_logins: Default::default(),
            msg_len_max: 1 << 20,
            aes: Aes::new(b"12345678901234567890123456789012").unwrap(),
            msfs_site: "http://127.0.0.1:1/".to_owned(),
            http: HttpClient::default(),
            sounds: Default::default(),
            relations: Default::default(),
            msg_ids: Default::default(),
            clock: || NOW,
            quiet_hours: Default::default(),
            zone: zone(NOON),
            password_form: Default::default(),
        };
        business.db.migrate().unwrap();
        Self { business, first_id: NEXT_ID.fetch_add(1_000, Ordering::Relaxed), is_embedded }
    }

    /// An id nobody else uses.
    pub fn id(&self, n: u32) -> u32 {
        assert!(n < 1_000);
        self.first_id + n
    }

    pub fn ids<const N: usize>(&self, ns: [u32; N]) -> [u32; N] {
        ns.map(|n| self.id(n))
    }

    /// The small number of an id.
    pub fn n(&self, id: u32) -> u32 {
        id - self.first_id
    }

    /// What the handler of a command answers.
    #[track_caller]
    pub fn ask<A: Message + Default>(&self, command_id: u16, msg: &impl Message) -> A {
        self.try_ask(command_id, msg).unwrap().unwrap().as_pdu().decode().unwrap()
    }

    pub fn try_ask(&self, command_id: u16, msg: &impl Message) -> Result<Option<ImPdu>, String> {
        let pdu = ImPdu::encode_with(PduHeader::new(1, command_id, 7), msg);
        let answer = handler(command_id).unwrap()(&self.business, pdu.as_pdu());
        answer.map_err(|error| error.to_string())
    }

    pub fn execute(&self, sql: &str, values: &[Value]) -> u64 {
        self.business.master().unwrap().execute_update(sql, values).unwrap()
    }

    pub fn number(&self, sql: &str, values: &[Value]) -> Option<u32> {
        let found = self.business.master().unwrap().execute_query(sql, values).unwrap();
        found.first().map(|row| row.get_or_default("n").unwrap())
    }

    pub fn add_user(&self, n: u32) {
        self.execute(
            "insert into IMUser (id, name, departId, created, updated) values (?,?,1,1,1)",
            &[self.id(n).into(), format!("user{}", self.id(n)).into()],
        );
    }

    /// A group of these users, the first of whom makes it.
    #[track_caller]
    pub fn group(&self, group_type: GroupType, members: &[u32]) -> u32 {
        let member_id_list: Vec<u32> = members.iter().map(|&n| self.id(n)).collect();
        let answer = self.create(member_id_list[0], group_type, "name", &member_id_list);
        assert_eq!(answer.result_code, 0);
        answer.group_id.unwrap()
    }

    pub fn create(
        &self,
        user_id: u32,
        group_type: GroupType,
        name: &str,
        members: &[u32],
    ) -> ImGroupCreateRsp {
        let msg = ImGroupCreateReq {
            user_id,
            group_type: group_type.into(),
            group_name: name.to_owned(),
            group_avatar: "avatar".to_owned(),
            member_id_list: members.to_vec(),
            attach_data: None,
        };
        self.ask(CID_GROUP_CREATE_REQUEST, &msg)
    }

    /// The number a message gets.
    pub fn send(&self, from_user_id: u32, to: u32, msg_type: MsgType, text: &str) -> u32 {
        let msg = ImMsgData {
            from_user_id,
            to_session_id: to,
            msg_id: 0,
            create_time: NOW,
            msg_type: msg_type.into(),
            msg_data: text.as_bytes().to_vec().into(),
            attach_data: None,
        };
        self.ask::<ImMsgData>(CID_MSG_DATA, &msg).msg_id
    }

    pub fn send_to_group(&self, n: u32, group_id: u32) -> u32 {
        self.send(self.id(n), group_id, MsgType::GroupText, "text")
    }

    pub fn send_to_user(&self, n: u32, to: u32) -> u32 {
        self.send(self.id(n), self.id(to), MsgType::SingleText, "text")
    }

    pub fn read(&self, n: u32, session_id: u32, session_type: SessionType) {
        let msg = ImMsgDataReadAck {
            user_id: self.id(n),
            session_id,
            msg_id: 0,
            session_type: session_type.into(),
        };
        assert!(self.try_ask(CID_MSG_READ_ACK, &msg).unwrap().is_none());
    }

    /// Kind of session, its id, and how much is unread in it.
    pub fn unread(&self, n: u32) -> Vec<(SessionType, u32, u32)> {
        let msg = ImUnreadMsgCntReq { user_id: self.id(n), attach_data: None };
        let answer: ImUnreadMsgCntRsp = self.ask(CID_MSG_UNREAD_CNT_REQUEST, &msg);
        let mut unread: Vec<_> = answer
            .unreadinfo_list
            .iter()
            .map(|info| (info.session_type(), info.session_id, info.unread_cnt))
            .collect();
        assert_eq!(answer.total_cnt, unread.iter().map(|unread| unread.2).sum::<u32>());
        unread.sort();
        unread
    }
}
