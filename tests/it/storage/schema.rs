//! Databases that an original server created and filled.

use std::thread;

use teamtalk::storage::mysql::MySqlConn;
use teamtalk::storage::schema::migrate;
use teamtalk::storage::{DbConn, DbError};

use crate::backends::MariaDb;

const MESSAGE: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, \
    `relateId` int(11) unsigned NOT NULL, \
    `fromId` int(11) unsigned NOT NULL, `toId` int(11) unsigned NOT NULL, \
    `msgId` int(11) unsigned NOT NULL, \
    `content` varchar(4096) COLLATE utf8mb4_bin DEFAULT '' COMMENT '消息内容', \
    `type` tinyint(2) unsigned NOT NULL DEFAULT '1', \
    `status` tinyint(1) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL, `created` int(11) unsigned NOT NULL, PRIMARY KEY (`id`), \
    KEY `idx_relateId_status_created` (`relateId`,`status`,`created`), \
    KEY `idx_relateId_status_msgId_created` (`relateId`,`status`,`msgId`,`created`), \
    KEY `idx_fromId_toId_created` (`fromId`,`toId`,`status`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const GROUP_MESSAGE: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, \
    `groupId` int(11) unsigned NOT NULL, `userId` int(11) unsigned NOT NULL, \
    `msgId` int(11) unsigned NOT NULL, \
    `content` varchar(4096) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `type` tinyint(3) unsigned NOT NULL DEFAULT '2', \
    `status` int(11) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL DEFAULT '0', \
    `created` int(11) unsigned NOT NULL DEFAULT '0', PRIMARY KEY (`id`), \
    KEY `idx_groupId_status_created` (`groupId`,`status`,`created`), \
    KEY `idx_groupId_msgId_status_created` (`groupId`,`msgId`,`status`,`created`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

/// An older form, without `push_shield_status` and with a shorter `sign_info`.
const USER: &str = "(`id` int(11) unsigned NOT NULL AUTO_INCREMENT, \
    `sex` tinyint(1) unsigned NOT NULL DEFAULT '0', \
    `name` varchar(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `domain` varchar(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `nick` varchar(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `password` varchar(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `salt` varchar(4) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `phone` varchar(11) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `email` varchar(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `avatar` varchar(255) COLLATE utf8mb4_bin DEFAULT '', `departId` int(11) unsigned NOT NULL, \
    `status` tinyint(2) unsigned DEFAULT '0', `created` int(11) unsigned NOT NULL, \
    `updated` int(11) unsigned NOT NULL, \
    `sign_info` varchar(32) COLLATE utf8mb4_bin NOT NULL DEFAULT '', PRIMARY KEY (`id`), \
    KEY `idx_domain` (`domain`), KEY `idx_name` (`name`), KEY `idx_phone` (`phone`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const SESSION: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, `userId` int(11) unsigned NOT NULL, \
    `peerId` int(11) unsigned NOT NULL, `type` tinyint(1) unsigned DEFAULT '0', \
    `status` tinyint(1) unsigned DEFAULT '0', `created` int(11) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL DEFAULT '0', PRIMARY KEY (`id`), \
    KEY `idx_userId_peerId_status_updated` (`userId`,`peerId`,`status`,`updated`), \
    KEY `idx_userId_peerId_type` (`userId`,`peerId`,`type`)) ENGINE=InnoDB DEFAULT CHARSET=utf8";

const RELATION: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, \
    `smallId` int(11) unsigned NOT NULL, \
    `bigId` int(11) unsigned NOT NULL, `status` tinyint(1) unsigned DEFAULT '0', \
    `created` int(11) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL DEFAULT '0', PRIMARY KEY (`id`), \
    KEY `idx_smallId_bigId_status_updated` (`smallId`,`bigId`,`status`,`updated`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8";

const MEMBER: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, `groupId` int(11) unsigned NOT NULL, \
    `userId` int(11) unsigned NOT NULL, `status` tinyint(4) unsigned NOT NULL DEFAULT '1', \
    `created` int(11) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL DEFAULT '0', PRIMARY KEY (`id`), \
    KEY `idx_groupId_userId_status` (`groupId`,`userId`,`status`), \
    KEY `idx_userId_status_updated` (`userId`,`status`,`updated`), \
    KEY `idx_groupId_updated` (`groupId`,`updated`)) ENGINE=InnoDB DEFAULT CHARSET=utf8";

const GROUP: &str = "(`id` int(11) NOT NULL AUTO_INCREMENT, \
    `name` varchar(256) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `avatar` varchar(256) COLLATE utf8mb4_bin NOT NULL DEFAULT '', \
    `creator` int(11) unsigned NOT NULL DEFAULT '0', \
    `type` tinyint(3) unsigned NOT NULL DEFAULT '1', \
    `userCnt` int(11) unsigned NOT NULL DEFAULT '0', \
    `status` tinyint(3) unsigned NOT NULL DEFAULT '1', \
    `version` int(11) unsigned NOT NULL DEFAULT '1', \
    `lastChated` int(11) unsigned NOT NULL DEFAULT '0', \
    `updated` int(11) unsigned NOT NULL DEFAULT '0', \
    `created` int(11) unsigned NOT NULL DEFAULT '0', PRIMARY KEY (`id`), \
    KEY `idx_name` (`name`(191)), KEY `idx_creator` (`creator`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

/// The statements with which the original stores, values in place of its question marks.
const ORIGINAL_INSERTS: [&str; 5] = [
    "insert into IMMessage_3 (`relateId`, `fromId`, `toId`, `msgId`, `content`, `status`, `type`, \
     `created`, `updated`) values(3, 1, 2, 900, 'new', 0, 1, 9, 9)",
    "insert into IMGroupMessage_4 (`groupId`, `userId`, `msgId`, `content`, `type`, `status`, \
     `updated`, `created`) values(4, 1, 900, 'new', 17, 0, 9, 9)",
    "insert into IMRecentSession (`userId`,`peerId`,`type`,`status`,`created`,`updated`) \
     values(900,2,1,0,9,9)",
    "insert into IMRelationShip (`smallId`,`bigId`,`status`,`created`,`updated`) \
     values(900,901,0,9,9)",
    "insert into IMGroupMember(`groupId`, `userId`, `status`, `created`, `updated`) \
     values(900,1,0,9,9)",
];

fn run(conn: &mut dyn DbConn, sql: &str) {
    conn.execute_update(sql, &[]).unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// All rows as text, as in `1 2|3 4`.
fn rows(conn: &mut dyn DbConn, columns: &[&str], rest: &str) -> String {
    let sql = format!("select concat_ws(' ', {}) as line {rest}", columns.join(", "));
    let found = conn.execute_query(&sql, &[]).unwrap();
    found.rows().map(|row| row.get::<String>("line").unwrap()).collect::<Vec<_>>().join("|")
}

/// The tables that messages need, as an original server has them.
pub fn create_original(conn: &mut dyn DbConn) {
    for shard in 0..8 {
        run(conn, &format!("create table IMMessage_{shard} {MESSAGE}"));
        run(conn, &format!("create table IMGroupMessage_{shard} {GROUP_MESSAGE}"));
    }
    let tables = [
        ("IMUser", USER),
        ("IMRecentSession", SESSION),
        ("IMRelationShip", RELATION),
        ("IMGroupMember", MEMBER),
        ("IMGroup", GROUP),
    ];
    for (table, columns) in tables {
        run(conn, &format!("create table {table} {columns}"));
    }
}

/// With everything twice that its missing keys let in.
pub fn fill_original(conn: &mut dyn DbConn) {
    let user = "insert into IMUser (id, name, nick, avatar, departId, status, created, updated)";
    run(conn, &format!("{user} values (1, 'anna', 'a😀', null, 1, 0, 1, 1)"));
    run(conn, &format!("{user} values (2, 'anna', 'b', '', 1, 0, 2, 2)"));
    run(conn, &format!("{user} values (3, 'anna', 'c', '', 1, 3, 3, 3)"));
    run(conn, &format!("{user} values (4, 'bert', 'd', '', 1, null, 4, 4)"));
    // Relation 3 exists again as 12 and 11; both tables have messages. Their numbers begin at 1.
    let relation = "insert into IMRelationShip (id, smallId, bigId, status, created, updated)";
    run(conn, &format!("{relation} values (3,1,2,1,10,20), (11,1,2,0,11,15), (12,1,2,null,12,30)"));
    run(conn, &format!("{relation} values (5,1,3,0,10,10)"));
    let message = |table: u32, relation: u32, id: u32, content: &str, created: u32| {
        format!(
            "insert into IMMessage_{table} (relateId, fromId, toId, msgId, content, updated, \
             created) values ({relation}, 1, 2, {id}, '{content}', {created}, {created})"
        )
    };
    run(conn, &message(3, 3, 1, "first", 100));
    run(conn, &message(3, 3, 2, "second", 101));
    run(conn, &message(3, 11, 1, "fourth", 103));
    run(conn, &message(4, 12, 1, "third 😀", 102));
    run(conn, &message(4, 12, 2, "fifth", 104));
    // Redis forgot, and failed once.
    run(conn, &message(5, 5, 1, "one", 200));
    run(conn, &message(5, 5, 2, "two", 201));
    run(conn, &message(5, 5, 1, "three", 202));
    run(conn, &message(5, 5, u32::MAX, "four", 203));
    let group = "insert into IMGroupMessage_7 (groupId, userId, msgId, content, created)";
    run(
        conn,
        &format!("{group} values (7,1,1,'a',1), (7,1,2,'b',2), (7,1,2,'c',3), (15,1,1,'d',1)"),
    );
    let session = "insert into IMRecentSession (userId, peerId, type, status, created, updated)";
    run(conn, &format!("{session} values (1,2,1,1,10,20), (1,2,1,0,11,15), (1,2,2,1,12,12)"));
    run(conn, &format!("{session} values (2,1,null,null,10,20), (2,1,0,1,10,21)"));
    let member = "insert into IMGroupMember (groupId, userId, status, created, updated)";
    run(conn, &format!("{member} values (7,1,1,10,10), (7,1,0,20,20), (7,2,1,30,30)"));
}

/// What has become of it.
pub fn check_upgraded(conn: &mut dyn DbConn) {
    let users = rows(conn, &["id", "name", "nick"], "from IMUser order by id");
    assert_eq!(users, "1 anna#1 a😀|2 anna b|3 anna#3 c|4 bert d");
    let columns = ["id", "smallId", "bigId", "status", "created", "updated"];
    let relations = rows(conn, &columns, "from IMRelationShip order by id");
    assert_eq!(relations, "3 1 2 0 10 30|5 1 3 0 10 10");
    let columns = ["relateId", "msgId", "content"];
    let messages = rows(conn, &columns, "from IMMessage_3 order by msgId");
    assert_eq!(messages, "3 1 first|3 2 second|3 3 third 😀|3 4 fourth|3 5 fifth");
    assert_eq!(rows(conn, &columns, "from IMMessage_4"), "");
    let messages = rows(conn, &columns, "from IMMessage_5 order by msgId");
    assert_eq!(messages, "5 1 one|5 2 two|5 3 three|5 4 four");
    let columns = ["groupId", "msgId", "content"];
    let messages = rows(conn, &columns, "from IMGroupMessage_7 order by groupId, msgId");
    assert_eq!(messages, "7 1 a|7 2 b|7 3 c|15 1 d");
    let columns = ["userId", "peerId", "type", "status", "created", "updated"];
    let sessions = rows(conn, &columns, "from IMRecentSession order by userId, type");
    assert_eq!(sessions, "1 2 1 0 10 20|1 2 2 1 12 12|2 1 0 0 10 21");
    let columns = ["groupId", "userId", "status", "created", "updated"];
    let members = rows(conn, &columns, "from IMGroupMember order by userId");
    assert_eq!(members, "7 1 0 10 20|7 2 1 30 30");
}

#[test]
fn f101_s10_a_database_of_the_original_is_upgraded_without_losing_a_message() {
    let config = MariaDb::shared().database("original");
    let mut conn = MySqlConn::open_patient(&config).unwrap();
    create_original(&mut conn);
    fill_original(&mut conn);
    assert_eq!(migrate(&mut conn).unwrap(), 6);
    check_upgraded(&mut conn);

    // An original server beside this one goes on with its statements.
    for insert in ORIGINAL_INSERTS {
        run(&mut conn, insert);
        let error = conn.execute_update(insert, &[]).unwrap_err();
        assert!(matches!(error, DbError::Duplicate { .. }), "{error}");
    }
    // What the older form of the tables lacked is there.
    run(&mut conn, "update IMUser set push_shield_status=1, sign_info=repeat('x', 128)");
    run(
        &mut conn,
        "insert into IMTransmitFile (fromId, toId, fileName, taskId, updated, created) \
                    values (1, 2, '文件', 't', 1, 1)",
    );
    let content = "😀".repeat(1_000_000);
    let sql = "update IMMessage_3 set content=? where msgId=1";
    conn.execute_update(sql, &[content.as_str().into()]).unwrap();
    let sql = "select content from IMMessage_3 where msgId=1";
    let found = conn.execute_query(sql, &[]).unwrap();
    assert!(found.first().unwrap().get::<&str>("content").unwrap() == content);
}

#[test]
fn an_interrupted_upgrade_begins_again() {
    let config = MariaDb::shared().database("interrupted");
    let mut conn = MySqlConn::open_patient(&config).unwrap();
    create_original(&mut conn);
    fill_original(&mut conn);
    migrate(&mut conn).unwrap();
    // As if it had been killed before it wrote down what it had done.
    run(&mut conn, "delete from IMSchemaVersion where version>1");
    run(&mut conn, "alter table IMMessage_5 drop key uk_relateId_msgId");
    run(
        &mut conn,
        "alter table IMMessage_7 add key idx_fromId_toId_created (fromId, toId), \
         add key idx_relateId_status_msgId_created (relateId, status)",
    );
    assert_eq!(migrate(&mut conn).unwrap(), 5);
    check_upgraded(&mut conn);
    let key = "select 1 from information_schema.statistics where table_schema=database() \
               and table_name='IMMessage_5' and index_name='uk_relateId_msgId'";
    assert_eq!(conn.execute_query(key, &[]).unwrap().len(), 2);
}

#[test]
fn two_servers_may_start_at_once() {
    let config = MariaDb::shared().database("two_at_once");
    let applied: usize = thread::scope(|scope| {
        let server = || migrate(&mut MySqlConn::open_patient(&config).unwrap()).unwrap();
        let servers: Vec<_> = (0..2).map(|_| scope.spawn(server)).collect();
        servers.into_iter().map(|server| server.join().unwrap()).sum()
    });
    assert_eq!(applied, 6, "each migration once, by one of them");
    let mut conn = MySqlConn::open(&config).unwrap();
    run(&mut conn, "insert into IMSchemaVersion values (99, 'later')");
    let error = migrate(&mut conn).unwrap_err();
    assert!(matches!(error, DbError::SchemaTooNew { found: 99, known: 6 }), "{error}");
    // The refusal leaves no lock behind.
    assert!(migrate(&mut MySqlConn::open(&config).unwrap()).is_err());
}
