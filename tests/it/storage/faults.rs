//! Servers that die, come back, or hang.

use std::thread;
use std::time::{Duration, Instant};

use teamtalk::base::config_file_reader::ConfigFileReader;
use teamtalk::storage::mysql::{MySqlConfig, MySqlConn};
use teamtalk::storage::pool::Pool;
use teamtalk::storage::redis::RedisConn;
use teamtalk::storage::{CacheConn, CacheError, CacheManager, DbConn, DbError, Transaction};

use crate::backends::{MariaDb, Redis};

/// Nothing here takes longer on any machine, and nothing waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries until it works, as requests that come one after the other do.
#[expect(clippy::disallowed_methods, reason = "a test with a real server waits in real time")]
fn eventually<T, E: std::fmt::Display>(mut try_it: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match try_it() {
            Ok(done) => return done,
            Err(error) => assert!(start.elapsed() < PATIENCE, "still: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test with a real server waits in real time")]
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = what();
    (done, start.elapsed())
}

fn cache_manager(redis: &Redis) -> CacheManager {
    let config = redis.config(1);
    let text = format!(
        "CacheInstances=unread\nunread_host=127.0.0.1\nunread_port={}\nunread_db=1\n\
         unread_maxconncnt=4\nunread_password={}\n",
        config.port,
        config.password.unwrap()
    );
    let path = std::path::Path::new("test.conf");
    CacheManager::from_config(&mut ConfigFileReader::parse(path, text.as_bytes())).unwrap()
}

#[test]
fn f88_f89_a_redis_that_was_killed_is_used_again_when_it_is_back() {
    let redis = Redis::start();
    let caches = cache_manager(&redis);
    caches.cache_conn("unread").unwrap().set("k", "1").unwrap();
    redis.server.kill();
    assert!(caches.cache_conn("unread").and_then(|mut conn| conn.get("k")).is_err());
    let error = caches.cache_conn("unread").and_then(|mut conn| conn.incr_by("n", 1)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    redis.server.start_again();
    let sum = eventually(|| caches.cache_conn("unread")?.incr_by("n", 1));
    assert_eq!(sum, 1, "it came back empty");
    assert_eq!(caches.cache_conn("unread").unwrap().get("k").unwrap(), None);
}

#[test]
fn f89_reads_survive_a_restart_on_the_same_connection() {
    let redis = Redis::start();
    let mut conn = RedisConn::open(&redis.config(0)).unwrap();
    conn.set("k", "1").unwrap();
    redis.server.kill();
    redis.server.start_again();
    redis.wait();
    assert_eq!(conn.get("k").unwrap(), None);
    assert!(!conn.is_broken());
}

#[test]
fn f88_a_redis_that_hangs_is_an_error_within_its_timeout() {
    let redis = Redis::start();
    let caches = cache_manager(&redis);
    let mut conn = caches.cache_conn("unread").unwrap();
    conn.set("k", "1").unwrap();
    redis.server.pause();
    let (result, elapsed) = timed(|| conn.incr_by("n", 1));
    assert!(matches!(result, Err(CacheError::ConnectionLost(_))));
    assert!(conn.is_broken());
    drop(conn);
    let (result, connecting) = timed(|| caches.cache_conn("unread").map(drop));
    assert!(result.is_err(), "the log-in gets no answer either");
    for elapsed in [elapsed, connecting] {
        assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    }
    redis.server.go_on();
    // The first increment was on its way and is carried out after all: that is what "lost" means.
    assert!(eventually(|| caches.cache_conn("unread")?.incr_by("n", 1)) >= 1);
    assert_eq!(caches.cache_conn("unread").unwrap().get("k").unwrap().as_deref(), Some("1"));
}

#[test]
fn f88_a_wrong_password_is_told() {
    let redis = Redis::shared();
    let mut config = redis.config(0);
    config.password = Some("wrong".to_owned());
    let error = RedisConn::open(&config).err().unwrap();
    assert!(matches!(error, CacheError::Connect { .. }), "{error}");
    assert!(!error.to_string().contains("wrong\""), "{error}");
    config.password = None;
    let error = RedisConn::open(&config).err().unwrap();
    assert!(matches!(error, CacheError::Connect { .. }), "{error}");
}

fn with_table(maria: &MariaDb) -> MySqlConfig {
    let config = maria.database("faults");
    let mut conn = MySqlConn::open(&config).unwrap();
    conn.execute_update("create table T (id int primary key) engine=InnoDB", &[]).unwrap();
    config
}

fn insert(conn: &mut dyn DbConn, id: u32) -> Result<u64, DbError> {
    conn.execute_update("insert into T (id) values (?)", &[id.into()])
}

fn ids(conn: &mut dyn DbConn) -> Vec<u32> {
    let found = conn.execute_query("select id from T where id>=? order by id", &[0_u32.into()]);
    found.unwrap().rows().map(|row| row.get("id").unwrap()).collect()
}

#[test]
fn f104_a_mariadb_that_was_killed_is_used_again_when_it_is_back() {
    let maria = MariaDb::start();
    let config = with_table(&maria);
    let mut reader = MySqlConn::open(&config).unwrap();
    let mut beginner = MySqlConn::open(&config).unwrap();
    let mut writer = MySqlConn::open(&config).unwrap();
    let mut in_transaction = MySqlConn::open(&config).unwrap();
    assert!(ids(&mut reader).is_empty());
    insert(&mut writer, 1).unwrap();
    in_transaction.begin().unwrap();
    insert(&mut in_transaction, 2).unwrap();
    let pool = Pool::<dyn DbConn>::new("test", 2, move || Ok(Box::new(MySqlConn::open(&config)?)));
    insert(&mut *pool.get().unwrap(), 3).unwrap();

    maria.server.kill();
    maria.server.start_again();
    maria.wait();

    assert_eq!(ids(&mut reader), [1, 3], "reading is tried again, statements are prepared again");
    let mut transaction = Transaction::begin(&mut beginner).unwrap();
    insert(&mut *transaction, 4).unwrap();
    transaction.commit().unwrap();
    let error = insert(&mut writer, 5).unwrap_err();
    assert!(matches!(error, DbError::ConnectionLost(_)), "writing is not: {error}");
    assert!(writer.is_broken());
    let error = insert(&mut in_transaction, 6).unwrap_err();
    assert!(matches!(error, DbError::ConnectionLost(_)), "nor is half a transaction: {error}");
    eventually(|| insert(&mut *pool.get()?, 7));
    assert_eq!(ids(&mut reader), [1, 3, 4, 7]);
}
