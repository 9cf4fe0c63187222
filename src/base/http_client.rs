//! A small blocking HTTP/1.1 client for workers: no keep-alive, no redirects, no TLS.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;

/// Whole time of a request, connecting included.
pub const HTTP_CLIENT_TIMEOUT: Duration = Duration::from_secs(3);

/// Head of an answer, at most.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// The boundary the original uses; msfs takes any.
const BOUNDARY: &str = "WebKitFormBoundary8riBH6S4ZsoT69so";

/// Why a request got no usable answer.
#[derive(Debug, Error)]
pub enum HttpClientError {
    /// Only `http://host[:port][/path]` is understood.
    #[error("not a url this client understands: {0:?}")]
    Url(String),
    /// Connecting, writing or reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server needs longer than this.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What came back is no HTTP answer, or one without a length.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
    /// The server answered, but not with 200.
    #[error("the server answered {0}")]
    Status(u16),
    /// The body is longer than the caller wants, or not as long as it should be.
    #[error("the answer has {actual} bytes, {expected} were expected")]
    Length {
        /// Bytes announced or received.
        actual: u64,
        /// Bytes wanted.
        expected: u64,
    },
    /// msfs refused the upload.
    #[error("upload refused with error_code {0}")]
    Upload(i64),
}

/// C++: base/HttpClient.h CHttpClient
#[derive(Clone, Debug)]
pub struct HttpClient {
    timeout: Duration,
    /// What an msfs with the key `UploadSecret` wants to see.
    upload_secret: Option<String>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self { timeout: HTTP_CLIENT_TIMEOUT, upload_secret: None }
    }
}

impl HttpClient {
    /// A client whose requests take at most `timeout` each.
    pub fn with_timeout(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// The same client for an msfs that asks for this secret.
    pub fn with_upload_secret(self, upload_secret: Option<String>) -> Self {
        Self { upload_secret, ..self }
    }

    /// Fetches a body of at most `len_max` bytes.
    ///
    /// # Errors
    /// See [`HttpClientError`].
    ///
    /// C++: base/HttpClient.cpp CHttpClient::Get
    pub fn get(&self, url: &str, len_max: usize) -> Result<Vec<u8>, HttpClientError> {
        good(self.get_any(url, len_max)?)
    }

    /// The same whatever the status is, together with it: for answers that say more than no.
    ///
    /// # Errors
    /// See [`HttpClientError`].
    pub fn get_any(&self, url: &str, len_max: usize) -> Result<(u16, Vec<u8>), HttpClientError> {
        let url = Url::parse(url)?;
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", url.path, url.authority);
        self.request(&url, head, &[], len_max)
    }

    /// Stores bytes in msfs and returns the URL they got.
    ///
    /// # Errors
    /// See [`HttpClientError`].
    ///
    /// C++: base/HttpClient.cpp CHttpClient::UploadByteFile
    /// Differs: has a time limit (F98).
    pub fn upload_byte_file(&self, url: &str, data: &[u8]) -> Result<String, HttpClientError> {
        let url = Url::parse(url)?;
        let mut body = format!(
            "--{BOUNDARY}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"1.audio\"\r\n\
             Content-Type:image/jpg\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(data);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n\r\n").as_bytes());
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n",
            url.path,
            url.authority,
            body.len(),
        );
        if let Some(secret) = &self.upload_secret {
            head += &format!("X-Upload-Secret: {secret}\r\n");
        }
        let answer = good(self.request(&url, head, &body, HEAD_MAX)?)?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|_| HttpClientError::Malformed("no json"))?;
        match (answer["error_code"].as_i64(), answer["url"].as_str()) {
            (Some(0), Some(url)) if !url.is_empty() => Ok(url.to_owned()),
            (Some(0), _) => Err(HttpClientError::Malformed("no url")),
            (Some(error_code), _) => Err(HttpClientError::Upload(error_code)),
            (None, _) => Err(HttpClientError::Malformed("no error_code")),
        }
    }

    /// Fetches bytes of which the size is known.
    ///
    /// # Errors
    /// See [`HttpClientError`].
    ///
    /// C++: base/HttpClient.cpp CHttpClient::DownloadByteFile
    /// Differs: a body of another size is an error; the original cut it.
    pub fn download_byte_file(&self, url: &str, size: usize) -> Result<Vec<u8>, HttpClientError> {
        let body = self.get(url, size)?;
        if body.len() != size {
            let (actual, expected) = (body.len() as u64, size as u64);
            return Err(HttpClientError::Length { actual, expected });
        }
        Ok(body)
    }

    fn request(
        &self,
        url: &Url<'_>,
        mut head: String,
        body: &[u8],
        len_max: usize,
    ) -> Result<(u16, Vec<u8>), HttpClientError> {
        head.push_str("Connection: close\r\n\r\n");
        let mut stream = Deadline::new(self.timeout).connect(url)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        read_answer(&mut stream, len_max)
    }
}

/// The body of an answer that says yes.
fn good((status, body): (u16, Vec<u8>)) -> Result<Vec<u8>, HttpClientError> {
    if status == 200 { Ok(body) } else { Err(HttpClientError::Status(status)) }
}

struct Url<'a> {
    /// As in the URL; goes into the `Host` header.
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: String,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Result<Self, HttpClientError> {
        let parse = || {
            // No blank and no control character: what is in here goes into a request head.
            let rest = url.strip_prefix("http://")?;
            let plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
                _ => (authority, 80),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let path = format!("/{path}");
            (plain && !host.is_empty()).then_some(Self { authority, host, port, path })
        };
        parse().ok_or_else(|| HttpClientError::Url(url.to_owned()))
    }
}

/// The end of a request's time.
struct Deadline {
    timeout: Duration,
    end: Instant,
}

impl Deadline {
    fn new(timeout: Duration) -> Self {
        Self { timeout, end: now() + timeout }
    }

    fn left(&self) -> Result<Duration, HttpClientError> {
        let left = self.end.saturating_duration_since(now());
        if left.is_zero() { Err(HttpClientError::Timeout(self.timeout)) } else { Ok(left) }
    }

    fn connect(self, url: &Url<'_>) -> Result<TimedStream, HttpClientError> {
        let mut last_error = io::ErrorKind::AddrNotAvailable.into();
        for addr in (url.host, url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, self.left()?) {
                Ok(stream) => return Ok(TimedStream { stream, deadline: self }),
                Err(error) => last_error = error,
            }
        }
        self.left()?;
        Err(last_error.into())
    }
}

/// A stream on which nothing outlasts the deadline, however slowly the peer drips.
struct TimedStream {
    stream: TcpStream,
    deadline: Deadline,
}

impl TimedStream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HttpClientError> {
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        loop {
            match self.stream.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| self.timed_out(error)),
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), HttpClientError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.deadline.left()?))?;
            match self.stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.timed_out(error)),
            }
        }
        Ok(())
    }

    fn timed_out(&self, error: io::Error) -> HttpClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                HttpClientError::Timeout(self.deadline.timeout)
            }
            _ => error.into(),
        }
    }
}

fn read_answer(
    stream: &mut TimedStream,
    len_max: usize,
) -> Result<(u16, Vec<u8>), HttpClientError> {
    let mut answer = Vec::new();
    let mut buf = [0; 8 * 1024];
    let head = loop {
        if let Some(head) = parse_head(&answer)? {
            break head;
        }
        if answer.len() > HEAD_MAX {
            return Err(HttpClientError::Malformed("the head does not end"));
        }
        match stream.read(&mut buf)? {
            0 => return Err(HttpClientError::Malformed("the head is not complete")),
            n => answer.extend_from_slice(&buf[..n]),
        }
    };
    let Head { status, length: head_len, content_length } = head;
    let content_length = match content_length {
        Some(content_length) => content_length,
        None if status != 200 => return Ok((status, Vec::new())),
        None => return Err(HttpClientError::Malformed("no content-length")),
    };
    let length = usize::try_from(content_length).unwrap_or(usize::MAX);
    if length > len_max {
        // What is said besides no is not worth an error of its own.
        if status != 200 {
            return Ok((status, Vec::new()));
        }
        let expected = len_max as u64;
        return Err(HttpClientError::Length { actual: content_length, expected });
    }
    answer.drain(..head_len);
    while answer.len() < length {
        match stream.read(&mut buf)? {
            0 => {
                let actual = answer.len() as u64;
                return Err(HttpClientError::Length { actual, expected: content_length });
            }
            n => answer.extend_from_slice(&buf[..n]),
        }
    }
    answer.truncate(length);
    Ok((status, answer))
}

/// What stands before the body of an answer.
struct Head {
    status: u16,
    length: usize,
    content_length: Option<u64>,
}

/// The head, once it is complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HttpClientError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HttpClientError::Malformed("not http")),
    };
    let Some(status) = response.code else {
        return Err(HttpClientError::Malformed("no status"));
    };
    let content_length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some(Head { status, length, content_length }))
}

#[expect(clippy::disallowed_methods, reason = "a blocking client has no loop to tell the time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Takes one request, answers with these bytes, and returns the request.
    fn server(answer: &'static [u8]) -> (String, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/g0/a.jpg", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut buf) = (Vec::new(), [0; 4096]);
            while !is_complete(&request) {
                match stream.read(&mut buf).unwrap() {
                    0 => break,
                    n => request.extend_from_slice(&buf[..n]),
                }
            }
            stream.write_all(answer).unwrap();
            request
        });
        (url, thread)
    }

    fn is_complete(request: &[u8]) -> bool {
        let limits = crate::base::http_parser_wrapper::HttpLimits::default();
        crate::base::http_parser_wrapper::HttpRequest::parse(request, &limits).unwrap().is_some()
    }

    #[test]
    fn an_answer_that_is_no_yes_may_say_more() {
        let get = |answer| {
            let (url, thread) = server(answer);
            let result = HttpClient::default().get_any(&url, 100).unwrap();
            thread.join().unwrap();
            result
        };
        let answer = b"HTTP/1.1 503 x\r\nContent-Length: 6\r\n\r\nno db\n";
        assert_eq!(get(answer), (503, b"no db\n".to_vec()));
        assert_eq!(get(b"HTTP/1.1 500 x\r\n\r\n"), (500, Vec::new()));
        assert_eq!(get(b"HTTP/1.1 500 x\r\nContent-Length: 101\r\n\r\n"), (500, Vec::new()));
        assert_eq!(get(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok"), (200, b"ok".to_vec()));
    }

    #[test]
    fn a_body_is_fetched() {
        let (url, thread) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(HttpClient::default().get(&url, 5).unwrap(), b"hello");
        let request = String::from_utf8(thread.join().unwrap()).unwrap();
        assert!(request.starts_with("GET /g0/a.jpg HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    }

    #[test]
    fn an_upload_has_the_form_of_the_original_and_yields_its_url() {
        let (url, thread) = server(
            b"HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n\
              {\"error_code\":0,\"path\":\"p\",\"url\":\"http://h/p\"} ",
        );
        let stored = HttpClient::default().upload_byte_file(&url, b"\0sound\xff").unwrap();
        assert_eq!(stored, "http://h/p");
        let request = thread.join().unwrap();
        let body = b"--WebKitFormBoundary8riBH6S4ZsoT69so\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"1.audio\"\r\n\
            Content-Type:image/jpg\r\n\r\n\0sound\xff\r\n\
            --WebKitFormBoundary8riBH6S4ZsoT69so--\r\n\r\n";
        assert!(request.ends_with(body), "{}", String::from_utf8_lossy(&request));
    }

    #[test]
    fn an_upload_that_msfs_refuses_is_an_error() {
        let (url, thread) =
            server(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"error_code\":5}");
        let error = HttpClient::default().upload_byte_file(&url, b"x").unwrap_err();
        assert!(matches!(error, HttpClientError::Upload(5)), "{error}");
        thread.join().unwrap();
    }

    #[test]
    fn a_download_of_another_size_is_an_error() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsixsix",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        ] {
            let (url, thread) = server(answer);
            let error = HttpClient::default().download_byte_file(&url, 5).unwrap_err();
            assert!(matches!(error, HttpClientError::Length { .. }), "{error}");
            thread.join().unwrap();
        }
    }

    #[test]
    fn answers_that_are_none_are_told_apart() {
        for (answer, expected) in [
            (
                &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
                "the server answered 404",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nendless", "malformed answer: no content-length"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed answer: not http"),
            (b"HTTP/1.1 200 OK\r\nContent", "malformed answer: the head is not complete"),
        ] {
            let (url, thread) = server(answer);
            let error = HttpClient::default().get(&url, 100).unwrap_err();
            assert_eq!(error.to_string(), expected);
            thread.join().unwrap();
        }
    }

    #[test]
    fn f98_a_server_that_says_nothing_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = HttpClient::with_timeout(Duration::from_millis(30));
        let error = client.upload_byte_file(&url, b"x").unwrap_err();
        assert!(matches!(error, HttpClientError::Timeout(_)), "{error}");
    }

    #[test]
    fn only_plain_urls_are_understood() {
        for url in ["", "ftp://h/", "https://h/", "http://", "http:///p", "http://h:99999/"] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
        assert!(Url::parse("http://h/a\r\nX: y").is_err());
        let url = Url::parse("http://[::1]:8700/p?q").unwrap();
        assert_eq!((url.host, url.port, url.path.as_str()), ("::1", 8700, "/p?q"));
        let url = Url::parse("http://msfs").unwrap();
        assert_eq!((url.authority, url.port, url.path.as_str()), ("msfs", 80, "/"));
    }
}
