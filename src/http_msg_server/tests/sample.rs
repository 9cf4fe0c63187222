//! The sample configuration, and one of the original.

use super::*;
use crate::base::command_line::CommonOptions;
use crate::netlib::tls::with_tls_files;

const SAMPLE: &str = include_str!("../../../conf/httpmsgserver.conf");

#[test]
fn f8_the_sample_configuration_is_complete_and_serves_this_machine() {
    let read = |text: &str| {
        let mut config = config(text);
        CommonOptions::read(&mut config).unwrap();
        let read = HttpMsgServerConfig::read(&mut config).unwrap();
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        read
    };
    let safe = read(SAMPLE);
    assert_eq!((safe.listen.hosts.as_str(), safe.listen.port), ("127.0.0.1", Some(8400)));
    assert_eq!((safe.concurrent_db_conn_cnt.get(), safe.apps.len()), (4, 0));
    assert!(!safe.creator_is_requester);
    // With every key that the sample only mentions.
    let text: Vec<_> = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let full = read(&with_tls_files(&text.join("\n"), directory.path()));
    assert!(full.listen.tls.is_some() && full.peer_tls.is_some());
    assert_eq!((full.apps.len(), full.db_servers.len(), full.route_servers.len()), (1, 2, 2));
    assert!(full.creator_is_requester);
}

#[test]
fn a_configuration_of_the_original_is_read() {
    let read = |text: &str| HttpMsgServerConfig::read(&mut config(text));
    let original = "ListenIP=0.0.0.0\nListenPort=8400\n\nConcurrentDBConnCnt=4\n\
        DBServerIP1=127.0.0.1\nDBServerPort1=10600\nDBServerIP2=127.0.0.1\n\
        DBServerPort2=10600\n\nRouteServerIP1=localhost\nRouteServerPort1=8200\n\
        #RouteServerIP2=localhost\n#RouteServerPort2=8201\n";
    let config = read(original).unwrap();
    assert_eq!((config.db_servers.len(), config.route_servers.len()), (2, 1));
    let default = read(&original.replace("ConcurrentDBConnCnt", "#")).unwrap();
    assert_eq!(default.concurrent_db_conn_cnt.get(), CONCURRENT_DB_CONN_CNT);
    let error = read(&original.replace("DBServerPort1", "#")).unwrap_err();
    assert!(error.to_string().contains("DBServerPort1 is missing"), "{error}");
}
