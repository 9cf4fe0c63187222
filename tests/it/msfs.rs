//! msfs and its clients over sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use curl::easy::{Easy, Form};
use teamtalk::base::http_client::{HttpClient, HttpClientError};
use teamtalk::msfs::file_manager::FILE_SIZE_MAX;
use teamtalk::msfs::http_conn::CHUNK_SIZE;
use teamtalk::msfs::{Msfs, MsfsConfig};
use tempfile::TempDir;

use crate::running::{Running, config};

const BOUNDARY: &str = "multipart/form-data; boundary=B";

fn msfs_with(dir: &TempDir, keys: &str) -> Running {
    let dir = dir.path().join("base");
    let text = format!(
        "ListenIP=127.0.0.1\nListenPort=0\nBaseDir={}\nPostThreadCount=2\nGetThreadCount=2\n{keys}",
        dir.display()
    );
    Running::start(Msfs::dispatch(&config(&text, MsfsConfig::read)).unwrap())
}

fn msfs(dir: &TempDir) -> Running {
    msfs_with(dir, "")
}

/// A browser: one connection, one request after the other.
struct Browser(TcpStream);

#[derive(Debug)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> &str {
        &self.head[9..12]
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The path that a stored file got.
    fn path(&self) -> String {
        assert_eq!(self.status(), "200", "{self:?}");
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(json["error_code"], 0, "{json}");
        format!("/{}", json["path"].as_str().unwrap())
    }
}

impl Browser {
    fn new(server: &Running) -> Self {
        let stream = TcpStream::connect(server.addrs[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    #[track_caller]
    fn receive_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    #[track_caller]
    fn receive(&mut self) -> Reply {
        let mut reply = Reply { head: self.receive_head(), body: Vec::new() };
        let length = reply.header("content-length").unwrap().parse().unwrap();
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body).unwrap();
        reply
    }

    #[track_caller]
    fn get(&mut self, target: &str, headers: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes());
        self.receive()
    }

    #[track_caller]
    fn post(&mut self, content_type: &str, headers: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: im.example:8700\r\nContent-Type: {content_type}\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat());
        self.receive()
    }

    #[track_caller]
    fn upload(&mut self, file_name: &str, content: &[u8]) -> Reply {
        self.post(BOUNDARY, "", &form(file_name, content))
    }

    /// What comes until the other side closes.
    fn receive_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it as well.
        let _ = self.0.read_to_end(&mut rest);
        rest
    }
}

fn form(file_name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type:image/jpg\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n--B--\r\n"].concat()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn on_disk(dir: &TempDir, path: &str) -> PathBuf {
    dir.path().join("base").join(path.strip_prefix("/g0/").unwrap())
}

#[test]
fn a_picture_is_stored_and_fetched_on_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    let content = [b"\x89PNG\r\n\x1a\n", &bytes(3 * CHUNK_SIZE + 17)[..]].concat();
    let stored = browser.upload("a_100x80.png", &content);
    let path = stored.path();
    assert_eq!(stored.header("content-type"), Some("text/html;charset=utf-8"));
    assert_eq!(
        stored.text(),
        format!(
            "{{\"error_code\":0,\"error_msg\": \"成功\",\"path\":\"{}\",\
             \"url\":\"http://im.example:8700{path}\"}}",
            &path[1..]
        )
    );
    assert!(path.ends_with("_100x80.png"), "{path}");
    let fetched = browser.get(&path, "");
    assert_eq!((fetched.status(), fetched.header("content-type")), ("200", Some("image/png")));
    assert_eq!(fetched.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(fetched.header("content-disposition"), None);
    assert!(fetched.body == content);
    assert_eq!(fs::read(on_disk(&dir, &path)).unwrap(), content);
    assert_eq!(fs::read_dir(dir.path().join("base/.tmp")).unwrap().count(), 0);
}

#[test]
fn db_proxy_stores_and_fetches_voice() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let site = format!("http://{}/", server.addrs[0]);
    let content = bytes(100_000);
    let client = HttpClient::default();
    let url = client.upload_byte_file(&site, &content).unwrap();
    assert!(url.starts_with(&site) && url.ends_with(".audio"), "{url}");
    assert!(client.download_byte_file(&url, content.len()).unwrap() == content);
    let path = url.strip_prefix(&site[..site.len() - 1]).unwrap();
    let voice = Browser::new(&server).get(path, "");
    // F9: browsers neither guess nor show what is no picture.
    assert_eq!(voice.header("content-type"), Some("application/octet-stream"));
    assert_eq!(voice.header("content-disposition"), Some("attachment"));
    let error = client.upload_byte_file(&site, &bytes(FILE_SIZE_MAX + 1)).unwrap_err();
    assert!(matches!(error, HttpClientError::Upload(1)), "{error}");
}

#[test]
fn f123_files_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = Browser::new(&msfs(&dir)).upload("a.gif", b"GIF").path();
    let server = msfs(&dir);
    assert_eq!(Browser::new(&server).get(&path, "").body, b"GIF");
    assert_ne!(Browser::new(&server).upload("a.gif", b"GIF").path(), path);
}

#[test]
fn many_clients_at_a_time_each_get_their_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    thread::scope(|scope| {
        for number in 0..64 {
            let server = &server;
            scope.spawn(move || {
                let mut browser = Browser::new(server);
                let content = vec![number as u8; 50_000 + number];
                for _ in 0..3 {
                    let path = browser.upload("a.jpg", &content).path();
                    assert!(browser.get(&path, "").body == content);
                }
            });
        }
    });
}

#[test]
fn each_refusal_has_its_number_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    let good = String::from_utf8(form("a.jpg", b"x")).unwrap();
    let name = |name: &str| good.replace("a.jpg", name);
    for (code, content_type, body) in [
        (2, BOUNDARY, good.replace("Content-Disposition", "Content")),
        (3, BOUNDARY, good.replace("filename", "name")),
        (4, "multipart/form-data", good.clone()),
        (5, "multipart/form-data; boundary=C", good.clone()),
        (6, BOUNDARY, good.replace("Content-Type", "Type")),
        (7, BOUNDARY, good.replace("\r\n\r\n", "\r\n")),
        (8, BOUNDARY, good.replace("\r\n--B--", "")),
        (9, BOUNDARY, name("a.aaaaaaaaaaaaaaaa")),
        (10, BOUNDARY, name("jpg")),
        (11, BOUNDARY, name(&format!("{}.jpg", "a".repeat(252)))),
        (12, BOUNDARY, name("a.j/p")),
    ] {
        let reply = browser.post(content_type, "", body.as_bytes());
        let expected = format!(
            "{{\"error_code\":{code},\"error_msg\": \"格式错误\",\"path\":\"\",\"url\":\"\"}}"
        );
        assert_eq!((reply.status(), reply.text()), ("200", expected.as_str()));
    }
}

#[test]
fn f121_f125_what_is_too_large_is_told_so_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let too_large = "{\"error_code\":1,\"error_msg\": \"上传文件过大\",\"url\":\"\"}";
    let reply = Browser::new(&server).upload("a.jpg", &bytes(FILE_SIZE_MAX + 1));
    assert_eq!((reply.status(), reply.text()), ("200", too_large));
    for length in ["5308417", "10485761", "99999999999999999999999999"] {
        let mut browser = Browser::new(&server);
        browser.send(
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        );
        assert_eq!(browser.receive().text(), too_large);
        browser.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(browser.receive_rest(), b"");
    }
    Browser::new(&server).upload("a.jpg", &bytes(FILE_SIZE_MAX)).path();
}

#[test]
fn part_of_a_file_can_be_fetched_and_what_is_known_need_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    let content = [b"\xff\xd8\xff", &bytes(2 * CHUNK_SIZE + 5)[..]].concat();
    let path = browser.upload("a.jpg", &content).path();
    let size = content.len();
    let part = browser.get(&path, &format!("Range: bytes=10-{}\r\n", CHUNK_SIZE + 20));
    assert_eq!((part.status(), part.header("content-type")), ("206", Some("image/jpeg")));
    let content_range = format!("bytes 10-{}/{size}", CHUNK_SIZE + 20);
    assert_eq!(part.header("content-range"), Some(content_range.as_str()));
    assert!(part.body == content[10..=CHUNK_SIZE + 20]);
    assert!(browser.get(&path, "Range: bytes=-5\r\n").body == content[size - 5..]);
    let none = browser.get(&path, &format!("Range: bytes={size}-\r\n"));
    let content_range = format!("bytes */{size}");
    assert_eq!((none.status(), none.body.len()), ("416", 0));
    assert_eq!(none.header("content-range"), Some(content_range.as_str()));
    assert_eq!(browser.get(&path, "Range: bytes=0-0,2-2\r\n").body.len(), size);
    let etag = part.header("etag").unwrap();
    let resumed = browser.get(&path, &format!("Range: bytes=1-1\r\nIf-Range: {etag}\r\n"));
    assert_eq!(resumed.status(), "206");
    let changed = browser.get(&path, "Range: bytes=1-1\r\nIf-Range: \"other\"\r\n");
    assert_eq!(changed.status(), "200");
    // Neither of these has a body, although each says how long it would be.
    let requests =
        format!("GET {path} HTTP/1.1\r\nIf-None-Match: {etag}\r\n\r\nHEAD {path} HTTP/1.1\r\n\r\n");
    browser.send(requests.as_bytes());
    assert!(browser.receive_head().starts_with("HTTP/1.1 304 "));
    let head = Reply { head: browser.receive_head(), body: Vec::new() };
    assert_eq!((head.status(), head.header("etag")), ("200", Some(etag)));
    assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
    assert_eq!(browser.get("/g0/000/000/none.jpg", "").status(), "404");
}

#[test]
fn f124_f125_pipelined_requests_are_answered_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    let path = browser.upload("a.jpg", &bytes(CHUNK_SIZE * 2)).path();
    let upload = form("b.png", b"x");
    let mut requests = format!(
        "GET {path} HTTP/1.1\r\n\r\nGET /g0/000/000/a HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n\
         DELETE {path} HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n\
         POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    )
    .into_bytes();
    requests.extend_from_slice(&upload);
    requests.extend_from_slice(
        format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            .as_bytes(),
    );
    browser.send(&requests);
    let replies: Vec<_> = (0..7).map(|_| browser.receive()).collect();
    let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
    assert_eq!(statuses, ["200", "404", "500", "403", "400", "200", "200"]);
    assert!(replies[1..5].iter().all(|reply| reply.body.is_empty()));
    assert_eq!(replies[6].header("connection"), Some("close"));
    assert!(replies[0].body == replies[6].body);
    browser.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(browser.receive_rest(), b"");
}

#[test]
fn hostile_targets_get_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    fs::write(dir.path().join("secret.jpg"), b"secret").unwrap();
    let below = dir.path().join("base/000/000");
    fs::create_dir_all(&below).unwrap();
    symlink(dir.path().join("secret.jpg"), below.join("link.jpg")).unwrap();
    for target in [
        "/g0/../secret.jpg",
        "/g0/000/000/../../../secret.jpg",
        "/g0/000/000/%2e%2e/%2e%2e/secret.jpg",
        "/g0/%2e%2e%2fsecret.jpg",
        "/g0//etc/passwd",
        "//etc/passwd",
        "/g0/000/000/link.jpg",
        "/g0/000/000/secret.jpg\0",
        "/g0/000/000/secret.jpg%00",
        "/g0/000/000",
        "/g0/.tmp/000/a",
    ] {
        let mut browser = Browser::new(&server);
        browser.send(format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
        browser.0.shutdown(std::net::Shutdown::Write).unwrap();
        let reply = String::from_utf8(browser.receive_rest()).unwrap();
        let refused = reply.is_empty() || reply.starts_with("HTTP/1.1 40");
        assert!(refused && !reply.contains("secret"), "{target:?}: {reply}");
        assert_eq!(reply.is_empty(), target.contains(".."), "{target:?}: {reply}");
    }
}

#[test]
fn f118_f119_f120_hostile_uploads_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut other = Browser::new(&server);
    let path = other.upload("a.jpg", b"mine").path();
    let unclosed = String::from_utf8(form("a.jpg", b"x")).unwrap().replace(".jpg\"", ".jpg");
    for body in [unclosed.as_bytes(), &form("a./../../x", b"x"), b"", b"--B", &[0xff; 100_000]] {
        let reply = Browser::new(&server).post(BOUNDARY, "Content-Length-X: 9999999\r\n", body);
        assert!(!reply.text().contains("\"error_code\":0"), "{}", reply.text());
    }
    let stored = Browser::new(&server).post(
        BOUNDARY,
        "Content-Length-X: 9999999\r\n",
        &form("a.jpg", b"short"),
    );
    assert_eq!(other.get(&stored.path(), "").body, b"short");
    assert_eq!(other.get(&path, "").body, b"mine");
}

#[test]
fn f9_uploads_can_need_a_secret_and_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs_with(&dir, "UploadSecret=s3cret\n");
    let mut browser = Browser::new(&server);
    let form = form("a.jpg", b"x");
    assert_eq!(browser.post(BOUNDARY, "", &form).status(), "403");
    assert_eq!(browser.post(BOUNDARY, "X-Upload-Secret: s3cre\r\n", &form).status(), "403");
    let path = browser.post(BOUNDARY, "X-Upload-Secret: s3cret\r\n", &form).path();
    assert_eq!(browser.get(&path, "").body, b"x");
    // As db_proxy_server does it.
    let site = format!("http://{}/", server.addrs[0]);
    let client =
        |secret: Option<&str>| HttpClient::default().with_upload_secret(secret.map(str::to_owned));
    assert!(client(None).upload_byte_file(&site, b"x").is_err());
    client(Some("s3cret")).upload_byte_file(&site, b"x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = msfs_with(&dir, "UploadAllowIP=192.0.2.1\n");
    assert_eq!(Browser::new(&server).post(BOUNDARY, "", &form).status(), "403");
}

#[test]
fn f9_a_file_is_what_its_bytes_are_whatever_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    for (name, content, content_type) in [
        ("a.jpg", &b"<html><script>alert(1)</script>"[..], "application/octet-stream"),
        ("a.html", b"<html>", "application/octet-stream"),
        ("a.gif", b"", "application/octet-stream"),
        ("a.png", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a.audio", b"GIF89a...", "image/gif"),
    ] {
        let path = browser.upload(name, content).path();
        let is_picture = content_type.starts_with("image/");
        for method in ["GET", "HEAD"] {
            browser.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
            let head = browser.receive_head();
            let reply = Reply { head, body: Vec::new() };
            assert_eq!(reply.header("content-type"), Some(content_type), "{name}");
            assert_eq!(reply.header("content-disposition").is_none(), is_picture);
            if method == "GET" {
                browser.0.read_exact(&mut vec![0; content.len()]).unwrap();
            }
        }
    }
}

/// Nobody but the test is limited.
const LIMITED: &str = "UploadUnlimitedIP=192.0.2.1\n";

/// An upload that is refused, in the words clients know.
#[track_caller]
fn assert_refused(reply: &Reply, status: &str, code: u32) {
    assert_eq!(reply.status(), status);
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&json["error_code"], &json["url"]), (&code.into(), &"".into()));
}

#[test]
fn f9_an_address_has_so_many_uploads_a_minute_and_downloads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    // A minute may end in between.
    let server = msfs_with(&dir, &format!("{LIMITED}MaxUploadCntPerMinute=3\n"));
    let mut browser = Browser::new(&server);
    let path = browser.upload("a.jpg", b"x").path();
    let mut refused = None;
    for _ in 0..6 {
        let reply = Browser::new(&server).upload("a.jpg", b"x");
        if reply.status() != "200" {
            refused = Some(reply);
        }
    }
    assert_refused(&refused.unwrap(), "429", 13);
    assert_eq!(browser.get(&path, "").body, b"x");
    // Who is exempt, by address or by the secret, is not refused.
    for (keys, header) in [
        ("MaxUploadCntPerMinute=3\n", ""),
        (
            "MaxUploadCntPerMinute=3\nUploadUnlimitedIP=192.0.2.1\nUploadSecret=s3cret\n",
            "X-Upload-Secret: s3cret\r\n",
        ),
    ] {
        let server = msfs_with(&dir, keys);
        let mut browser = Browser::new(&server);
        for _ in 0..12 {
            browser.post(BOUNDARY, header, &form("a.jpg", b"x")).path();
        }
    }
}

#[test]
fn f9_an_address_has_so_many_bytes_a_day_and_is_told_before_it_sends_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs_with(&dir, &format!("{LIMITED}MaxUploadMBPerDay=1\n"));
    let mut browser = Browser::new(&server);
    browser.upload("a.jpg", &bytes(700_000)).path();
    let mut other = Browser::new(&server);
    other.send(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=B\r\n\
          Content-Length: 700000\r\nExpect: 100-continue\r\n\r\n",
    );
    let reply = other.receive();
    assert_refused(&reply, "429", 13);
    assert_eq!(other.receive_rest(), b"");
    browser.upload("a.jpg", &bytes(200_000)).path();
}

#[test]
fn f9_all_uploads_together_have_a_limit_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs_with(&dir, &format!("{LIMITED}MaxUploadMBInFlight=1\n"));
    let part = [&b"--B\r\n"[..], &bytes(600_000)].concat();
    let half_an_upload = || {
        let mut browser = Browser::new(&server);
        browser.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n");
        browser.send(&part);
        browser
    };
    let held = || server.look(|srv: &Msfs| srv.upload_bytes_in_flight());
    let first = half_an_upload();
    while held() != part.len() as u64 {
        thread::yield_now();
    }
    let mut second = half_an_upload();
    assert_refused(&second.receive(), "503", 14);
    drop(first);
    while held() != 0 {
        thread::yield_now();
    }
    Browser::new(&server).upload("a.jpg", &bytes(600_000)).path();
    assert_eq!(held(), 0);
}

#[test]
fn f118_a_disk_that_fails_is_answered_with_500() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    fs::remove_dir_all(dir.path().join("base")).unwrap();
    let mut browser = Browser::new(&server);
    assert_eq!(browser.upload("a.jpg", b"x").status(), "500");
    fs::create_dir_all(dir.path().join("base/.tmp")).unwrap();
    browser.upload("a.jpg", b"x").path();
}

#[test]
fn f122_a_file_is_sent_in_pieces_and_one_that_shrinks_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let mut browser = Browser::new(&server);
    let path = browser.upload("a.jpg", b"x").path();
    // Far more than the buffers of any socket, so that its end cannot be on the way yet.
    let size = 64 << 20;
    let file = fs::OpenOptions::new().write(true).open(on_disk(&dir, &path)).unwrap();
    file.set_len(size).unwrap();
    browser.send(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
    assert!(browser.receive_head().contains(&format!("Content-Length:{size}\r\n")));
    file.set_len(1).unwrap();
    let received = browser.receive_rest().len() as u64;
    assert!(received < size, "{received}");
}

/// A client that was not written here, and that asks before it sends something large.
#[test]
fn libcurl_stores_and_fetches_on_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = msfs(&dir);
    let site = format!("http://{}", server.addrs[0]);
    let content = [b"\xff\xd8\xff\xe0", &bytes(2 << 20)[..]].concat();
    let mut curl = Easy::new();
    let fetch = |curl: &mut Easy| {
        let mut body = Vec::new();
        let mut transfer = curl.transfer();
        transfer
            .write_function(|bytes| {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        transfer.perform().unwrap();
        drop(transfer);
        (curl.response_code().unwrap(), body)
    };
    let mut form = Form::new();
    let mut part = form.part("file");
    part.buffer("a_20x10.jpg", content.clone()).content_type("image/jpg").add().unwrap();
    curl.url(&site).unwrap();
    curl.httppost(form).unwrap();
    let (status, body) = fetch(&mut curl);
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["error_code"]), (200, &serde_json::json!(0)), "{answer}");
    curl.url(&format!("{site}/{}", answer["path"].as_str().unwrap())).unwrap();
    curl.get(true).unwrap();
    assert!(fetch(&mut curl) == (200, content.clone()));
    curl.range("100-199").unwrap();
    assert_eq!(fetch(&mut curl), (206, content[100..200].to_vec()));
    curl.range("").unwrap();
    curl.nobody(true).unwrap();
    assert_eq!(fetch(&mut curl), (200, Vec::new()));
    assert_eq!(curl.content_length_download().unwrap(), content.len() as f64);
}
