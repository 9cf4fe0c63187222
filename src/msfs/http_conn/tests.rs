//! Connections without sockets, with workers.

use std::thread;

use super::*;
use crate::base::config_file_reader::ConfigFileReader;
use crate::base::http_parser_wrapper::HttpLimits;
use crate::msfs::MsfsConfig;
use crate::netlib::testing::TestBed;

fn bed(dir: &tempfile::TempDir) -> TestBed<Msfs> {
    let text = format!(
        "ListenIP=127.0.0.1\nListenPort=0\nPostThreadCount=1\nGetThreadCount=1\nBaseDir={}\n",
        dir.path().display()
    );
    let mut config = ConfigFileReader::parse(std::path::Path::new("x"), text.as_bytes());
    let config = MsfsConfig::read(&mut config).unwrap();
    let (_, srv, _) = Msfs::dispatch(&config).unwrap();
    TestBed::new(srv)
}

fn request(bed: &mut TestBed<Msfs>, conn: NetHandle, text: &str) {
    let limits = HttpLimits::default();
    let (request, _) = HttpRequest::parse(text.as_bytes(), &limits).unwrap().unwrap();
    HttpConn::handle_request(&mut bed.cx(), conn, &request).unwrap();
}

/// Waits for the worker, and queues what it has to say.
fn turn(bed: &mut TestBed<Msfs>, conn: NetHandle) {
    while matches!(bed.srv.http_conns.get(conn).unwrap().state, State::Working) {
        thread::yield_now();
        http_conn_loop_callback(&mut bed.cx());
    }
}

#[test]
fn f122_a_peer_that_does_not_read_holds_one_piece_and_leaves_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = bed(&dir);
    let path = bed.srv.files.upload_file(".jpg", &vec![7; 3 * CHUNK_SIZE + 9]).unwrap();
    let conn = bed.accept::<HttpConn>();
    request(&mut bed, conn, &format!("GET /{path} HTTP/1.1\r\n\r\n"));
    for piece in [CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE, 9] {
        turn(&mut bed, conn);
        let queued = bed.net.out_len(conn);
        assert!((piece..piece + 400).contains(&queued), "{queued}");
        // Nothing more is read as long as nothing is taken.
        http_conn_loop_callback(&mut bed.cx());
        assert_eq!(bed.net.out_len(conn), queued);
        if piece > 9 {
            bed.net.conn_mut(conn).unwrap().out.clear();
            HttpConn::on_write_complete(&mut bed.cx(), conn);
        }
    }
    bed.net.set_tick(HTTP_CONN_TIMEOUT_MS - 1);
    http_conn_timer_callback(&mut bed.cx());
    assert!(bed.net.is_open(conn));
    bed.net.set_tick(HTTP_CONN_TIMEOUT_MS);
    http_conn_timer_callback(&mut bed.cx());
    assert!(!bed.net.is_open(conn) && bed.srv.http_conns.is_empty());
}

#[test]
fn a_connection_without_a_request_leaves_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = bed(&dir);
    let conn = bed.accept::<HttpConn>();
    bed.net.set_tick(HTTP_CONN_TIMEOUT_MS - 1);
    http_conn_timer_callback(&mut bed.cx());
    assert!(bed.net.is_open(conn));
    bed.net.set_tick(HTTP_CONN_TIMEOUT_MS);
    http_conn_timer_callback(&mut bed.cx());
    assert!(!bed.net.is_open(conn));
}

#[test]
fn a_task_that_panics_closes_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut bed = bed(&dir);
    let conn = bed.accept::<HttpConn>();
    HttpConn::hand_over(&mut bed.cx(), conn, PoolOf::Get, || panic!("on purpose"));
    while bed.net.is_open(conn) {
        thread::yield_now();
        http_conn_loop_callback(&mut bed.cx());
    }
    assert!(bed.srv.http_conns.is_empty());
}
