//! HTTP answers: one call writes status line, headers and body with a length that cannot be wrong.

use super::http_parser_wrapper::HttpError;

/// The 100 answer a client waits for before it sends the body it announced.
pub const HTTP_CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The statuses the servers answer with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpStatus {
    /// 200
    Ok,
    /// 206
    PartialContent,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 413
    ContentTooLarge,
    /// 416
    RangeNotSatisfiable,
    /// 429
    TooManyRequests,
    /// 431
    RequestHeaderFieldsTooLarge,
    /// 500
    InternalServerError,
    /// 501
    NotImplemented,
    /// 503
    ServiceUnavailable,
    /// 505
    HttpVersionNotSupported,
}

impl HttpStatus {
    /// Number and reason phrase, as they stand in the status line.
    pub fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::PartialContent => "206 Partial Content",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::RequestHeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Self::InternalServerError => "500 Internal Server Error",
            Self::NotImplemented => "501 Not Implemented",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::HttpVersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// One answer, written by [`HttpResponse::encode_into`].
///
/// C++: login_server/HttpConn.h HTTP_RESPONSE_HTML
/// Differs: there is no fixed buffer, so no answer is cut and every length is exact (F56).
#[derive(Clone, Debug)]
pub struct HttpResponse<'a> {
    status: HttpStatus,
    no_cache: bool,
    keep_alive: bool,
    headers: Vec<(&'static str, &'a str)>,
    body: &'a [u8],
    /// Instead of the length of `body`.
    length: Option<u64>,
}

impl<'a> HttpResponse<'a> {
    /// An answer without a body that closes the connection.
    pub fn new(status: HttpStatus) -> Self {
        Self {
            status,
            no_cache: false,
            keep_alive: false,
            headers: Vec::new(),
            body: &[],
            length: None,
        }
    }

    /// The answer to a request that is refused; the connection closes after it.
    pub fn error(error: &HttpError) -> Self {
        Self::new(error.status())
    }

    /// Whether the connection serves another request afterwards.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Forbids proxies and browsers to keep the answer.
    #[must_use]
    pub fn no_cache(mut self) -> Self {
        self.no_cache = true;
        self
    }

    /// Adds a header. `Connection` and `Content-Length` are written without being asked for.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'a str) -> Self {
        debug_assert!(
            !["connection", "content-length"].contains(&name.to_ascii_lowercase().as_str()),
            "{name} is written by encode_into"
        );
        debug_assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{name:?} is no header name"
        );
        self.headers.push((name, value));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(self, content_type: &'a str, body: &'a [u8]) -> Self {
        Self { body, ..self.header("Content-Type", content_type) }
    }

    /// Announces a body that is no part of this answer: it follows in pieces, or the request was
    /// one for the head alone.
    #[must_use]
    pub fn length(self, length: u64) -> Self {
        Self { length: Some(length), ..self }
    }

    /// Appends the answer to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + 256);
        let connection = if self.keep_alive { "keep-alive" } else { "close" };
        let length = self.length.unwrap_or(self.body.len() as u64);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.line().as_bytes());
        // No blank after the colon: the bytes are those of the C++ servers, so that recorded
        // answers can be compared.
        if self.no_cache {
            out.extend_from_slice(b"\r\nCache-Control:no-cache");
        }
        out.extend_from_slice(format!("\r\nConnection:{connection}").as_bytes());
        out.extend_from_slice(format!("\r\nContent-Length:{length}\r\n").as_bytes());
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend(value.bytes().map(header_byte));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body);
    }

    /// The bytes of the answer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

/// Control characters become blanks (RFC 9110, 5.5): a value taken from a request, say a file
/// type, must not be able to end the header and start one of its own.
fn header_byte(byte: u8) -> u8 {
    if byte.is_ascii_control() && byte != b'\t' { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_layout_of_the_original() {
        let answer =
            HttpResponse::new(HttpStatus::Ok).body("text/html;charset=utf-8", b"{}").to_bytes();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length:2\r\n\
             Content-Type:text/html;charset=utf-8\r\n\r\n{}"
        );
    }

    #[test]
    fn f56_the_length_counts_bytes_and_a_long_body_is_not_cut() {
        let body = "没有msg_server".repeat(1000);
        let answer =
            HttpResponse::new(HttpStatus::Ok).body("text/html", body.as_bytes()).to_bytes();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.contains("\r\nContent-Length:16000\r\n"));
        assert!(text.ends_with(&body));
    }

    #[test]
    fn an_answer_without_body_says_so() {
        let answer = HttpResponse::new(HttpStatus::NotFound).keep_alive(true).to_bytes();
        assert_eq!(
            answer,
            b"HTTP/1.1 404 Not Found\r\nConnection:keep-alive\r\nContent-Length:0\r\n\r\n"
        );
    }

    #[test]
    fn a_header_value_cannot_start_a_header_of_its_own() {
        let answer = HttpResponse::new(HttpStatus::Ok)
            .header("Content-Type", "image/png\r\nSet-Cookie: a=b\0")
            .to_bytes();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.contains("Content-Type:image/png  Set-Cookie: a=b \r\n"));
        assert!(!text.contains("\nSet-Cookie"));
    }

    #[test]
    fn a_refused_request_is_answered_and_the_connection_closes() {
        let answer = HttpResponse::error(&HttpError::HeaderBytes { max: 8192 }).to_bytes();
        let text = String::from_utf8(answer).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection:close")
        );
    }

    #[test]
    fn a_body_that_follows_in_pieces_is_announced() {
        let answer = HttpResponse::new(HttpStatus::PartialContent).length(1 << 32).to_bytes();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.ends_with(
            "206 Partial Content\r\nConnection:close\r\nContent-Length:4294967296\r\n\r\n"
        ));
    }

    #[test]
    fn answers_are_appended_to_what_is_there() {
        let mut out = HTTP_CONTINUE.to_vec();
        HttpResponse::new(HttpStatus::Ok).encode_into(&mut out);
        HttpResponse::new(HttpStatus::BadRequest).encode_into(&mut out);
        assert!(out.starts_with(HTTP_CONTINUE));
        assert_eq!(String::from_utf8(out).unwrap().matches("HTTP/1.1 ").count(), 3);
    }
}
