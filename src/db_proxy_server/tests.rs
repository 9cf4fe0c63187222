//! Configuration, and what the loop does about its workers.

use std::path::Path;

use super::proxy_conn::STUCK_MS;
use super::*;
use crate::base::allow_list::AllowList;
use crate::base::command_line::CommonOptions;
use crate::netlib::keepalive::{SERVER_HEARTBEAT_INTERVAL_MS, SERVER_TIMEOUT_MS};
use crate::netlib::testing::TestBed;
use crate::netlib::tls::with_tls_files;

const SAMPLE: &str = include_str!("../../conf/dbproxyserver.conf");

fn config(text: &str) -> ConfigFileReader {
    ConfigFileReader::parse(Path::new("dbproxyserver.conf"), text.as_bytes())
}

fn read(text: &str) -> DbProxyServerConfig {
    let mut config = config(text);
    CommonOptions::read(&mut config).unwrap();
    let read = DbProxyServerConfig::read(&mut config).unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    read
}

#[test]
fn f10_the_sample_configuration_is_complete_and_listens_on_loopback() {
    let safe = read(SAMPLE);
    assert_eq!((safe.listen_ip.as_str(), safe.listen_port), ("127.0.0.1", 10600));
    assert_eq!((safe.peers.allow, safe.msg_len_max), (AllowList::default(), MSG_LEN_MAX));
    assert!(!safe.cache.is_shared("unread"), "no server is needed");
    // On servers, with every key that the sample only mentions.
    let embedded = |line: &&str| {
        ["_path=", "sqlite", "embedded", "unread_db=1"].iter().any(|key| line.contains(key))
            && !line.starts_with('#')
    };
    let key = |line: &'static str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => key,
        _ => line,
    };
    let mut text: Vec<String> =
        SAMPLE.lines().filter(|line| !embedded(line)).map(|line| key(line).to_owned()).collect();
    let of = |pool: &str, example: &str| -> Vec<String> {
        let keys = text.iter().filter(|line| line.starts_with(&format!("{example}_")));
        keys.filter(|line| !line.contains("_db=")).map(|line| line.replace(example, pool)).collect()
    };
    let mut others = of("teamtalk_slave", "teamtalk_master");
    for pool in ["group_set", "sync", "token", "group_member"] {
        others.extend(of(pool, "unread"));
    }
    text.extend(others);
    let directory = tempfile::tempdir().unwrap();
    let servers = read(&with_tls_files(&text.join("\n"), directory.path()));
    assert!(servers.peers.tls.is_some());
    assert!(servers.cache.is_shared("unread") && servers.cache.is_shared("group_member"));
    assert!(servers.peers.allow.allows("10.9.9.9".parse().unwrap()));
    assert!(!servers.peers.allow.allows("192.0.2.1".parse().unwrap()));
}

#[test]
fn a_configuration_of_the_original_is_read() {
    let mut text = "ListenIP=0.0.0.0\nListenPort=10600\n\
                    ThreadNum=48\t\t# double the number of CPU core\nMsfsSite=127.0.0.1\n\n\
                    #configure for mysql\nDBInstances=teamtalk_master,teamtalk_slave\n\
                    CacheInstances=unread,group_set,token,sync,group_member\n\
                    #AES 密钥\naesKey=12345678901234567890123456789012\n"
        .to_owned();
    for name in ["teamtalk_master", "teamtalk_slave"] {
        let pool = "N_host=127.0.0.1\nN_port=3306\nN_dbname=teamtalk\nN_username=test\n\
                    N_password=12345\nN_maxconncnt=16\n";
        text += &pool.replace('N', name);
    }
    for name in ["unread", "group_set", "token", "sync", "group_member"] {
        let pool = "N_host=127.0.0.1\nN_port=6379\nN_db=1\nN_maxconncnt=16\n";
        text += &pool.replace('N', name);
    }
    let original = read(&text);
    assert_eq!((original.thread_num.get(), original.msfs_site.as_str()), (48, "http://127.0.0.1/"));
    assert!(original.cache.is_shared("unread"));
}

#[test]
fn an_aes_key_of_the_wrong_length_is_told_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let text = SAMPLE.replace("teamtalk.db", directory.path().join("db").to_str().unwrap());
    let text = text.replace("ListenPort=10600", "ListenPort=0").replace("=1234567890", "=short");
    let error = DbProxyServer::dispatch(read(&text), || 1).map(drop).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("aesKey") && !error.contains("short"), "{error}");
}

#[test]
fn f86_heartbeats_stop_while_the_workers_are_stuck() {
    let directory = tempfile::tempdir().unwrap();
    let text = SAMPLE.replace("teamtalk.db", directory.path().join("db").to_str().unwrap());
    let text = text.replace("ListenPort=10600", "ListenPort=0");
    let (_dispatch, srv, _addrs) = DbProxyServer::dispatch(read(&text), || 1).unwrap();
    let mut bed = TestBed::new(srv);
    proxy_conn::init_proxy_conn(&mut bed.net);
    let conn = bed.accept::<ProxyConn>();
    bed.pass_ms(SERVER_HEARTBEAT_INTERVAL_MS + 1);
    assert_eq!(bed.sent(conn).len(), 1);
    // A request that no worker answers.
    bed.srv.in_flight = 1;
    bed.pass_ms(STUCK_MS);
    assert_eq!(bed.sent(conn).len(), 0);
    bed.srv.in_flight = 0;
    bed.pass_ms(1_000);
    assert_eq!(bed.sent(conn).len(), 1, "and come back with the answers");
    bed.pass_ms(SERVER_TIMEOUT_MS);
    assert_eq!(bed.srv.proxy_conns.len(), 0, "a msg_server that is silent is given up");
}
