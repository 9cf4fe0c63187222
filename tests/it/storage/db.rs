//! What every database driver does, run on both.

use std::thread;

use teamtalk::storage::sql::placeholders;
use teamtalk::storage::{
    Counters, DbConn, DbError, InsertRows, Merge, OnConflict, ResultSet, Transaction, Value,
};

use super::{OpenDb, on_each_db, strange_texts};

const MESSAGES: InsertRows<'_> = InsertRows {
    table: "IMMessage_0",
    columns: &[
        "relateId", "fromId", "toId", "msgId", "content", "type", "status", "updated", "created",
    ],
    conflict: OnConflict::Fail,
};

const SESSIONS: InsertRows<'_> = InsertRows {
    table: "IMRecentSession",
    columns: &["userId", "peerId", "type", "status", "created", "updated"],
    conflict: OnConflict::Update {
        key: &["userId", "peerId", "type"],
        set: &[("status", Merge::New), ("updated", Merge::Greater)],
    },
};

fn message(relate_id: u32, msg_id: u32, content: &str) -> [Value; 9] {
    let numbers = |number: u32| Value::from(number);
    let (from, to, now) = (numbers(1), numbers(2), numbers(1_500_000_000));
    let content = content.into();
    [relate_id.into(), from, to, msg_id.into(), content, numbers(1), numbers(0), now.clone(), now]
}

fn session(user_id: u32, status: u32, updated: u32) -> [Value; 6] {
    [user_id, 2, 1, status, updated, updated].map(Value::from)
}

fn add_user(conn: &mut dyn DbConn, name: &str, nick: &str) -> Result<u64, DbError> {
    let sql = "insert into IMUser (name, nick, departId, created, updated) values (?, ?, 1, 1, 1)";
    conn.execute_update(sql, &[name.into(), nick.into()])
}

fn numbers(found: &ResultSet, column: &str) -> Vec<u32> {
    found.rows().map(|row| row.get(column).unwrap()).collect()
}

#[test]
fn texts_come_back_as_they_were_stored() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let texts = strange_texts();
        for (msg_id, text) in (1..).zip(&texts) {
            MESSAGES.execute(&mut *conn, &message(1000, msg_id, text)).unwrap();
            let sql = "select msgId from IMMessage_0 where relateId=? and content=? and msgId=?";
            let params = [1000_u32.into(), text.as_str().into(), msg_id.into()];
            assert_eq!(conn.execute_query(sql, &params).unwrap().len(), 1, "{text:.20}");
        }
        let sql = "select content from IMMessage_0 where relateId=? order by msgId";
        let found = conn.execute_query(sql, &[1000_u32.into()]).unwrap();
        let found: Vec<&str> = found.rows().map(|row| row.get("content").unwrap()).collect();
        assert_eq!(found, texts);
    }
    on_each_db(contract);
}

#[test]
fn f4_a_value_is_never_read_as_sql() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        add_user(&mut *conn, "f4_somebody", "").unwrap();
        let sql = "select id from IMUser where name=? and status=0";
        for name in ["' or '1'='1", "x' or 1=1 -- ", r"\' or 1=1 -- ", "f4_somebody'-- "] {
            assert!(conn.execute_query(sql, &[name.into()]).unwrap().is_empty(), "{name}");
        }
        assert_eq!(conn.execute_query(sql, &["f4_somebody".into()]).unwrap().len(), 1);
    }
    on_each_db(contract);
}

#[test]
fn f30_s23_what_does_not_fit_is_refused_and_never_cut() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        add_user(&mut *conn, "s23_fits", &"😀".repeat(32)).unwrap();
        let error = add_user(&mut *conn, "s23_long", &"x".repeat(33)).unwrap_err();
        assert!(matches!(&error, DbError::TooLong { column } if column == "nick"), "{error}");
        let sql = "update IMUser set sign_info=? where name='s23_fits'";
        let error = conn.execute_update(sql, &["x".repeat(129).into()]).unwrap_err();
        assert!(matches!(&error, DbError::TooLong { column } if column == "sign_info"), "{error}");
        let found = conn.execute_query("select sign_info from IMUser where name='s23_long'", &[]);
        assert!(found.unwrap().is_empty());
        let long = "x".repeat(100_000);
        MESSAGES.execute(&mut *conn, &message(1008, 1, &long)).unwrap();
        let sql = "select content from IMMessage_0 where relateId=1008";
        let found = conn.execute_query(sql, &[]).unwrap();
        assert_eq!(found.first().unwrap().get::<&str>("content").unwrap().len(), long.len());
    }
    on_each_db(contract);
}

#[test]
fn numbers_out_of_range_and_values_of_another_type_are_refused() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let wrong = [Value::Int(-1), Value::Int(1 << 32), Value::from("many"), Value::Null];
        for value in wrong {
            let mut row = message(1016, 1, "");
            row[3] = value.clone();
            let error = MESSAGES.execute(&mut *conn, &row).unwrap_err();
            assert!(matches!(error, DbError::BadValue { .. }), "{value:?}: {error}");
        }
        let mut row = message(1016, 1, "");
        row[3] = u32::MAX.into();
        MESSAGES.execute(&mut *conn, &row).unwrap();
        let found = conn.execute_query("select msgId from IMMessage_0 where relateId=1016", &[]);
        assert_eq!(numbers(&found.unwrap(), "msgId"), [u32::MAX]);
    }
    on_each_db(contract);
}

#[test]
fn f101_s10_a_second_row_with_the_same_key_is_a_duplicate() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        MESSAGES.execute(&mut *conn, &message(1024, 1, "first")).unwrap();
        let error = MESSAGES.execute(&mut *conn, &message(1024, 1, "second")).unwrap_err();
        assert!(matches!(error, DbError::Duplicate { .. }), "{error}");
        add_user(&mut *conn, "s10_name", "").unwrap();
        let error = add_user(&mut *conn, "s10_name", "").unwrap_err();
        assert!(error.is_refused_value() && !error.to_string().contains("s10_name"), "{error}");
    }
    on_each_db(contract);
}

#[test]
fn f94_a_row_that_has_the_new_values_already_counts() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        SESSIONS.execute(&mut *conn, &session(1032, 0, 7)).unwrap();
        let sql = "update IMRecentSession set updated=7 where userId=?";
        assert_eq!(conn.execute_update(sql, &[1032_u32.into()]).unwrap(), 1);
        assert_eq!(conn.execute_update(sql, &[1_u32.into()]).unwrap(), 0);
    }
    on_each_db(contract);
}

#[test]
fn f94_an_upsert_revives_a_row_twice_in_a_second() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        SESSIONS.execute(&mut *conn, &session(1040, 1, 100)).unwrap();
        for updated in [200, 200, 150] {
            SESSIONS.execute(&mut *conn, &session(1040, 0, updated)).unwrap();
        }
        let sql = "select status, created, updated from IMRecentSession where userId=1040";
        let found = conn.execute_query(sql, &[]).unwrap();
        assert_eq!(found.len(), 1);
        for (column, expected) in [("status", 0), ("created", 100), ("updated", 200)] {
            assert_eq!(numbers(&found, column), [expected], "{column}");
        }
    }
    on_each_db(contract);
}

#[test]
fn upserts_merge_each_column_in_its_way() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let merge = InsertRows {
            table: "IMGroupMember",
            columns: &["groupId", "userId", "status", "created", "updated"],
            conflict: OnConflict::Update {
                key: &["groupId", "userId"],
                set: &[("status", Merge::New), ("created", Merge::Stored), ("updated", Merge::Sum)],
            },
        };
        let row = |status: u32, created: u32, updated: u32| {
            [1048, 1, status, created, updated].map(Value::from)
        };
        merge.execute(&mut *conn, &[row(1, 10, 5), row(0, 20, 6)].concat()).unwrap();
        let sql = "select status, created, updated from IMGroupMember where groupId=1048";
        let found = conn.execute_query(sql, &[]).unwrap();
        let row = found.first().unwrap();
        let values = ["status", "created", "updated"].map(|name| row.get::<u32>(name).unwrap());
        assert_eq!(values, [0, 10, 11]);
    }
    on_each_db(contract);
}

#[test]
fn a_transaction_that_is_not_committed_leaves_nothing() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let mut transaction = Transaction::begin(&mut *conn).unwrap();
        MESSAGES.execute(&mut *transaction, &message(1056, 1, "gone")).unwrap();
        assert!(transaction.in_transaction());
        drop(transaction);
        assert!(!conn.in_transaction());
        let mut transaction = Transaction::begin(&mut *conn).unwrap();
        MESSAGES.execute(&mut *transaction, &message(1056, 2, "stays")).unwrap();
        assert!(MESSAGES.execute(&mut *transaction, &message(1056, 2, "twice")).is_err());
        MESSAGES.execute(&mut *transaction, &message(1056, 3, "stays")).unwrap();
        transaction.commit().unwrap();
        let mut other = open();
        let sql = "select msgId from IMMessage_0 where relateId=1056 order by msgId";
        assert_eq!(numbers(&other.execute_query(sql, &[]).unwrap(), "msgId"), [2, 3]);
        assert!(conn.commit().is_err(), "nothing is open");
        conn.begin().unwrap();
        assert!(conn.begin().is_err(), "one is open");
        conn.rollback().unwrap();
    }
    on_each_db(contract);
}

#[test]
fn who_locks_a_row_is_alone_with_it() {
    fn contract(open: OpenDb<'_>) {
        let sql = "insert into IMRelationShip (smallId, bigId) values (1064, 1065)";
        let mut conn = open();
        conn.execute_update(sql, &[]).unwrap();
        let relate_id = u32::try_from(conn.insert_id()).unwrap();
        let store_one = |conn: &mut dyn DbConn| {
            let mut transaction = Transaction::begin(conn).unwrap();
            let lock = transaction.dialect().for_update();
            let sql = format!("select id from IMRelationShip where id=?{lock}");
            transaction.execute_query(&sql, &[relate_id.into()]).unwrap();
            let sql = "select max(msgId) as latest from IMMessage_0 where relateId=1064";
            let found = transaction.execute_query(sql, &[]).unwrap();
            let latest: u32 = found.first().unwrap().get_or_default("latest").unwrap();
            MESSAGES.execute(&mut *transaction, &message(1064, latest + 1, "")).unwrap();
            transaction.commit().unwrap();
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut conn = open();
                    (0..10).for_each(|_| store_one(&mut *conn));
                });
            }
        });
        let sql = "select msgId from IMMessage_0 where relateId=1064 order by id";
        let ids = numbers(&conn.execute_query(sql, &[]).unwrap(), "msgId");
        assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    }
    on_each_db(contract);
}

#[test]
fn an_insert_tells_the_id_of_its_row() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        add_user(&mut *conn, "with id", "").unwrap();
        let id = conn.insert_id();
        let found = conn.execute_query("select id from IMUser where name='with id'", &[]).unwrap();
        assert_eq!(found.first().unwrap().get::<u64>("id").unwrap(), id);
    }
    on_each_db(contract);
}

#[test]
fn hundreds_of_rows_are_a_few_statements() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let rows: Vec<Value> = (1..=600).flat_map(|id| message(1072, id, "x")).collect();
        let before = conn.counters();
        assert_eq!(MESSAGES.execute(&mut *conn, &rows).unwrap(), 600);
        assert_eq!(conn.counters().since(before).statements, 3);
        let sql = format!(
            "select sum(msgId) as total, count(*) as many, max(msgId) as latest from IMMessage_0 \
             where relateId=1072 and msgId in ({})",
            placeholders(3)
        );
        let ids = [1_u32, 2, 600].map(Value::from);
        let found = conn.execute_query(&sql, &ids).unwrap();
        let row = found.first().unwrap();
        assert_eq!(row.get::<u64>("total").unwrap(), 603);
        assert_eq!(row.get::<u32>("many").unwrap(), 3);
        assert_eq!(row.get::<u32>("latest").unwrap(), 600);
        assert!(matches!(MESSAGES.execute(&mut *conn, &rows[1..]), Err(DbError::Misuse(_))));
        assert_eq!(MESSAGES.execute(&mut *conn, &[]).unwrap(), 0);
    }
    on_each_db(contract);
}

#[test]
fn the_index_of_the_message_list_can_be_asked_for() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let rows: Vec<Value> = (1..=3).flat_map(|id| message(1080, id, "x")).collect();
        MESSAGES.execute(&mut *conn, &rows).unwrap();
        let hint = conn.index_hint("IMMessage_0", "idx_relateId_status_created");
        let sql = format!(
            "select * from IMMessage_0{hint} where relateId=? and status=0 and msgId<=? \
             order by created desc, id desc limit 2"
        );
        let found = conn.execute_query(&sql, &[1080_u32.into(), 3_u32.into()]).unwrap();
        assert_eq!(numbers(&found, "msgId"), [3, 2]);
    }
    on_each_db(contract);
}

#[test]
fn f103_s13_null_and_large_numbers_are_values() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        add_user(&mut *conn, "s13_null", "").unwrap();
        let sql = "update IMUser set avatar=null, updated=4294967295 where name='s13_null'";
        conn.execute_update(sql, &[]).unwrap();
        let sql = "select avatar, updated from IMUser where name=?";
        let found = conn.execute_query(sql, &["s13_null".into()]).unwrap();
        let row = found.first().unwrap();
        assert_eq!(row.get::<Option<&str>>("avatar").unwrap(), None);
        assert_eq!(row.get_or_default::<String>("avatar").unwrap(), "");
        assert!(matches!(row.get::<&str>("avatar"), Err(DbError::WrongType { .. })));
        assert_eq!(row.get::<u32>("updated").unwrap(), u32::MAX);
        let found = conn.execute_query("select max(id) as id from IMAudio", &[]).unwrap();
        assert_eq!(found.first().unwrap().get_or_default::<u32>("id").unwrap(), 0);
    }
    on_each_db(contract);
}

#[test]
fn a_wrong_statement_is_an_error_and_the_connection_goes_on() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        assert!(conn.execute_query("select from where", &[]).is_err());
        let error = conn.execute_query("select id from NoTable where a=?", &[1_u32.into()]);
        assert!(matches!(error, Err(DbError::Other { .. })));
        let error = conn.execute_query("select id from IMUser where id=?", &[]).map(|_| ());
        assert!(error.is_err(), "a value is missing");
        assert!(!conn.is_broken());
        conn.ping().unwrap();
    }
    on_each_db(contract);
}

/// What a batch of 64 messages of one table costs: the models above build on this.
#[test]
fn a_batch_of_messages_costs_two_statements_and_one_commit() {
    fn contract(open: OpenDb<'_>) {
        let mut conn = open();
        let mut store_batch = |first: u32| {
            let before = conn.counters();
            let mut transaction = Transaction::begin(&mut *conn).unwrap();
            let rows: Vec<Value> = (0..64).flat_map(|n| message(1088, first + n, "x")).collect();
            MESSAGES.execute(&mut *transaction, &rows).unwrap();
            let rows: Vec<Value> = (0..64).flat_map(|n| session(2000 + n, 0, first)).collect();
            SESSIONS.execute(&mut *transaction, &rows).unwrap();
            transaction.commit().unwrap();
            conn.counters().since(before)
        };
        store_batch(1);
        let did = store_batch(65);
        assert_eq!(did, Counters { statements: 2, commits: 1, round_trips: 4 });
    }
    on_each_db(contract);
}
