//! HTTP requests from bytes. Knows no socket: the caller collects bytes and asks again.
//!
//! Nothing is guessed. A request whose end is in doubt (two lengths, a transfer coding) is an
//! error, because a proxy in front of the server could see its end elsewhere.

use httparse::{EMPTY_HEADER, Header, Status};
use thiserror::Error;

use super::http_response::HttpStatus;

/// What a request may cost before it is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpLimits {
    /// Request line and headers with the blank line, in bytes.
    pub header_bytes_max: usize,
    /// Number of headers.
    pub header_count_max: usize,
    /// Announced body, in bytes.
    pub body_bytes_max: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { header_bytes_max: 8 * 1024, header_count_max: 64, body_bytes_max: 1024 * 1024 }
    }
}

/// Why a request is refused. [`HttpError::status`] is the answer; the connection closes after it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum HttpError {
    /// Not HTTP/1.x syntax.
    #[error("malformed http request: {0}")]
    Syntax(httparse::Error),
    /// Any version but 1.0 and 1.1, HTTP/2 included.
    #[error("http version is neither 1.0 nor 1.1")]
    Version,
    /// The blank line did not come within the limit.
    #[error("http header exceeds {max} bytes")]
    HeaderBytes {
        /// The limit.
        max: usize,
    },
    /// More headers than the limit.
    #[error("http request has more than {max} headers")]
    HeaderCount {
        /// The limit.
        max: usize,
    },
    /// The announced body exceeds the limit. Known before any of it is kept.
    #[error("http body of {length} bytes exceeds {max}")]
    BodyBytes {
        /// The announced length, `u64::MAX` if it is greater still.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// Not a decimal number.
    #[error("http content length {0:?} is no number")]
    ContentLength(String),
    /// Two `Content-Length` headers, even equal ones.
    #[error("http request has several content lengths")]
    SeveralContentLengths,
    /// Both `Content-Length` and `Transfer-Encoding`: the way requests are smuggled.
    #[error("http request has a content length and transfer encoding {0:?}")]
    BothLengths(String),
    /// No transfer coding is supported.
    #[error("http transfer encoding {0:?} is not supported")]
    TransferEncoding(String),
    /// Good, but its sender has asked too often or for too much.
    #[error("too many requests from this address")]
    TooManyRequests,
    /// Good, but too much of others is under way.
    #[error("too much is under way")]
    Busy,
}

impl HttpError {
    /// The status to answer with.
    pub fn status(&self) -> HttpStatus {
        match self {
            Self::Syntax(_)
            | Self::ContentLength(_)
            | Self::SeveralContentLengths
            | Self::BothLengths(_) => HttpStatus::BadRequest,
            Self::HeaderBytes { .. } | Self::HeaderCount { .. } => {
                HttpStatus::RequestHeaderFieldsTooLarge
            }
            Self::BodyBytes { .. } => HttpStatus::ContentTooLarge,
            Self::TransferEncoding(_) => HttpStatus::NotImplemented,
            Self::Version => HttpStatus::HttpVersionNotSupported,
            Self::TooManyRequests => HttpStatus::TooManyRequests,
            Self::Busy => HttpStatus::ServiceUnavailable,
        }
    }
}

/// One complete request, borrowed from the bytes it was parsed from.
///
/// C++: base/HttpParserWrapper.h CHttpParserWrapper
/// Differs: header names match exactly, not by prefix; lengths in doubt are refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpRequest<'a> {
    /// As sent: methods are case-sensitive.
    pub method: &'a str,
    /// Path and query as sent, percent signs included.
    pub target: &'a str,
    /// 0 or 1.
    pub minor_version: u8,
    headers: Vec<Header<'a>>,
    /// Exactly as many bytes as `Content-Length` announced; of a [`Coming`] request, those that
    /// are here.
    pub body: &'a [u8],
}

impl<'a> HttpRequest<'a> {
    /// Takes one request from the front of `buf`, together with the number of bytes it occupies.
    ///
    /// `Ok(None)` asks for more bytes. The outcome does not depend on how the bytes were split:
    /// what is an error for the whole is never a request for a prefix, and the other way round.
    ///
    /// C++: base/HttpParserWrapper.h CHttpParserWrapper::ParseHttpContent
    pub fn parse(buf: &'a [u8], limits: &HttpLimits) -> Result<Option<(Self, usize)>, HttpError> {
        let Some(head) = parse_head(buf, limits)? else {
            return Ok(None);
        };
        let end = head.length + head.content_length;
        let Some(body) = buf.get(head.length..end) else {
            return Ok(None);
        };
        Ok(Some((head.into_request(body), end)))
    }

    /// The request whose head is at the front of `buf`, while its body is on the way.
    ///
    /// To be asked after [`HttpRequest::parse`] answered `Ok(None)`.
    pub fn coming(buf: &'a [u8], limits: &HttpLimits) -> Option<Coming<'a>> {
        let head = parse_head(buf, limits).ok()??;
        // HTTP/1.0 does not know the 100 answer, and a client whose bytes are coming waits for
        // nothing.
        let awaits_continue = head.minor_version == 1
            && head.content_length > 0
            && buf.len() == head.length
            && has_token(&head.headers, "expect", "100-continue");
        let (body, body_length) = (&buf[head.length..], head.content_length);
        Some(Coming { request: head.into_request(body), body_length, awaits_continue })
    }

    /// The first header of this name, in any case of letters.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        header_values(&self.headers, name).next()
    }

    /// Like [`HttpRequest::header`], for headers that have to be text.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// All headers in the order sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// Whether the client wants to send another request on this connection.
    pub fn keep_alive(&self) -> bool {
        let has = |option: &str| has_token(&self.headers, "connection", option);
        if self.minor_version == 0 { has("keep-alive") && !has("close") } else { !has("close") }
    }
}

/// A request of which the body is not complete.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coming<'a> {
    /// What is here of it.
    pub request: HttpRequest<'a>,
    /// Announced bytes of the body.
    pub body_length: usize,
    /// Whether the client waits for [`HTTP_CONTINUE`](super::http_response::HTTP_CONTINUE) before
    /// it sends the body. The caller has to remember that it answered.
    pub awaits_continue: bool,
}

/// What stands before the body.
struct Head<'a> {
    method: &'a str,
    target: &'a str,
    minor_version: u8,
    headers: Vec<Header<'a>>,
    /// Where the body begins.
    length: usize,
    content_length: usize,
}

impl<'a> Head<'a> {
    fn into_request(self, body: &'a [u8]) -> HttpRequest<'a> {
        HttpRequest {
            method: self.method,
            target: self.target,
            minor_version: self.minor_version,
            headers: self.headers,
            body,
        }
    }
}

fn parse_head<'a>(buf: &'a [u8], limits: &HttpLimits) -> Result<Option<Head<'a>>, HttpError> {
    // Bytes beyond the limit are not even looked at: otherwise it would depend on the split of
    // the input whether a late syntax error or the size is reported.
    let visible = buf.get(..limits.header_bytes_max).unwrap_or(buf);
    let mut headers = vec![EMPTY_HEADER; limits.header_count_max];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(visible) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if buf.len() >= limits.header_bytes_max => {
            return Err(HttpError::HeaderBytes { max: limits.header_bytes_max });
        }
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::HeaderCount { max: limits.header_count_max });
        }
        Err(httparse::Error::Version) => return Err(HttpError::Version),
        Err(error) => return Err(HttpError::Syntax(error)),
    };
    let httparse::Request { method, path, version, headers: parsed } = request;
    let count = parsed.len();
    headers.truncate(count);
    let content_length = content_length(&headers, limits.body_bytes_max)?;
    Ok(Some(Head {
        method: method.unwrap_or_default(),
        target: path.unwrap_or_default(),
        minor_version: version.unwrap_or_default(),
        headers,
        length,
        content_length,
    }))
}

fn content_length(headers: &[Header<'_>], body_bytes_max: usize) -> Result<usize, HttpError> {
    let mut lengths = header_values(headers, "content-length");
    let length = lengths.next();
    if let Some(coding) = header_values(headers, "transfer-encoding").next() {
        let coding = String::from_utf8_lossy(coding).into_owned();
        return Err(match length {
            Some(_) => HttpError::BothLengths(coding),
            None => HttpError::TransferEncoding(coding),
        });
    }
    if lengths.next().is_some() {
        return Err(HttpError::SeveralContentLengths);
    }
    let Some(text) = length else { return Ok(0) };
    // `str::parse` alone would take "+5".
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLength(String::from_utf8_lossy(text).into_owned()));
    }
    let length = text
        .iter()
        .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    match usize::try_from(length) {
        Ok(length) if length <= body_bytes_max => Ok(length),
        _ => Err(HttpError::BodyBytes { length, max: body_bytes_max }),
    }
}

fn header_values<'h, 'a>(
    headers: &'h [Header<'a>],
    name: &'h str,
) -> impl Iterator<Item = &'a [u8]> + 'h {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Whether a comma separated header carries `token`.
fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    header_values(headers, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Result<Option<(HttpRequest<'_>, usize)>, HttpError> {
        HttpRequest::parse(text.as_bytes(), &HttpLimits::default())
    }

    fn error(text: &str) -> HttpError {
        request(text).unwrap_err()
    }

    #[test]
    fn a_request_comes_apart_into_its_fields() {
        let text = "POST /query/CreateGroup?a=%20 HTTP/1.1\r\nHost: im:8400\r\n\
                    Content-Length: 4\r\nX-Real-IP:\t 10.0.0.1 \r\n\r\nbodyGET";
        let (request, consumed) = request(text).unwrap().unwrap();
        assert_eq!((request.method, request.target), ("POST", "/query/CreateGroup?a=%20"));
        assert_eq!((request.minor_version, request.body), (1, &b"body"[..]));
        assert_eq!(request.header_str("x-real-ip"), Some("10.0.0.1"));
        assert_eq!(request.header("HOST"), Some(&b"im:8400"[..]));
        assert_eq!(request.headers().count(), 3);
        assert_eq!(&text[consumed..], "GET");
    }

    #[test]
    fn f120_a_longer_header_name_is_another_header() {
        let text = "POST / HTTP/1.1\r\nContent-Length-X: 9999999\r\nHosting: a\r\n\
                    Content-Length: 2\r\n\r\nhi";
        let (request, _) = request(text).unwrap().unwrap();
        assert_eq!(request.body, b"hi");
        assert_eq!(request.header("Host"), None);
    }

    #[test]
    fn pipelined_requests_are_taken_one_by_one() {
        let mut rest = "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 1\r\n\r\nx\
                        GET /c HTTP/1.0\r\n\r\n";
        let mut targets = Vec::new();
        while let Some((request, consumed)) = request(rest).unwrap() {
            targets.push(request.target);
            rest = &rest[consumed..];
        }
        assert_eq!((targets, rest), (vec!["/a", "/b", "/c"], ""));
    }

    #[test]
    fn every_prefix_of_a_good_request_is_incomplete() {
        let text = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..text.len() {
            assert_eq!(request(&text[..end]), Ok(None), "{:?}", &text[..end]);
        }
        assert!(request(text).unwrap().is_some());
    }

    #[test]
    fn keep_alive_follows_version_and_connection_header() {
        let cases = [
            ("HTTP/1.1\r\n", true),
            ("HTTP/1.1\r\nConnection: Close\r\n", false),
            ("HTTP/1.1\r\nConnection: upgrade\r\nConnection: foo, close\r\n", false),
            ("HTTP/1.1\r\nConnection: closed\r\n", true),
            ("HTTP/1.0\r\n", false),
            ("HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
        ];
        for (rest, expected) in cases {
            let text = format!("GET / {rest}\r\n");
            let (request, _) = request(&text).unwrap().unwrap();
            assert_eq!(request.keep_alive(), expected, "{rest:?}");
        }
    }

    #[test]
    fn an_endless_header_is_refused_at_the_limit() {
        let limits = HttpLimits { header_bytes_max: 64, ..HttpLimits::default() };
        let text = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100));
        let error = HttpRequest::parse(text.as_bytes(), &limits).unwrap_err();
        assert_eq!(error, HttpError::HeaderBytes { max: 64 });
        assert_eq!(error.status(), HttpStatus::RequestHeaderFieldsTooLarge);
        assert_eq!(HttpRequest::parse(&text.as_bytes()[..63], &limits), Ok(None));
        let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 - 18));
        assert_eq!(fits.len(), 64);
        assert!(HttpRequest::parse(fits.as_bytes(), &limits).unwrap().is_some());
    }

    #[test]
    fn too_many_headers_are_refused() {
        let limits = HttpLimits { header_count_max: 2, ..HttpLimits::default() };
        let two = "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n";
        assert!(HttpRequest::parse(two.as_bytes(), &limits).unwrap().is_some());
        let three = "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n";
        let error = HttpRequest::parse(three.as_bytes(), &limits).unwrap_err();
        assert_eq!(error, HttpError::HeaderCount { max: 2 });
        assert_eq!(error.status(), HttpStatus::RequestHeaderFieldsTooLarge);
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_before_it_comes() {
        for (length, told) in [("1048577", 1_048_577), ("99999999999999999999999", u64::MAX)] {
            let error = error(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"));
            assert_eq!(error, HttpError::BodyBytes { length: told, max: 1_048_576 });
            assert_eq!(error.status(), HttpStatus::ContentTooLarge);
        }
    }

    #[test]
    fn a_length_in_doubt_is_refused() {
        for length in ["", "+5", "-1", "0x10", "5, 5", "5 5", "1.0", "٣"] {
            let error = error(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"));
            assert_eq!(error, HttpError::ContentLength(length.to_owned()));
            assert_eq!(error.status(), HttpStatus::BadRequest);
        }
        let twice = "POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\nx";
        assert_eq!(error(twice), HttpError::SeveralContentLengths);
        assert_eq!(error(twice).status(), HttpStatus::BadRequest);
    }

    #[test]
    fn transfer_codings_are_refused() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(error(chunked).status(), HttpStatus::NotImplemented);
        let both =
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(error(both), HttpError::BothLengths("chunked".to_owned()));
        assert_eq!(error(both).status(), HttpStatus::BadRequest);
    }

    #[test]
    fn other_versions_are_refused() {
        for text in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/0.9\r\n\r\n"] {
            assert_eq!(error(text), HttpError::Version);
            assert_eq!(error(text).status(), HttpStatus::HttpVersionNotSupported);
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let texts = [
            "\x16\x03\x01\x02\0\x01",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        ];
        for text in texts {
            assert_eq!(error(text).status(), HttpStatus::BadRequest, "{text:?}");
        }
    }

    fn awaits_continue(buf: &[u8], limits: &HttpLimits) -> bool {
        HttpRequest::coming(buf, limits).is_some_and(|coming| coming.awaits_continue)
    }

    #[test]
    fn a_request_is_known_by_its_head_before_its_body_is_complete() {
        let limits = HttpLimits::default();
        let coming = |text: &'static str| {
            let coming = HttpRequest::coming(text.as_bytes(), &limits)?;
            Some((coming.request.method, coming.request.body, coming.body_length))
        };
        assert_eq!(
            coming("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab"),
            Some(("POST", &b"ab"[..], 3))
        );
        assert_eq!(coming("POST / HTTP/1.1\r\nContent-Length: 3\r\n"), None);
        assert_eq!(coming("POST / HTTP/9\r\n\r\n"), None);
    }

    #[test]
    fn a_client_that_waits_for_100_is_seen() {
        let limits = HttpLimits::default();
        let head = "POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n";
        assert_eq!(request(head), Ok(None));
        assert!(awaits_continue(head.as_bytes(), &limits));
        assert!(!awaits_continue(format!("{head}a").as_bytes(), &limits), "the body is coming");
        assert!(!awaits_continue(&head.as_bytes()[..head.len() - 1], &limits));
        assert!(!awaits_continue(head.replace("1.1", "1.0").as_bytes(), &limits));
        let plain = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert!(!awaits_continue(plain.as_bytes(), &limits));
    }

    /// The first outcome of a connection that receives `bytes` cut at `cuts`.
    fn feed<'a>(
        bytes: &'a [u8],
        cuts: &[usize],
        limits: &HttpLimits,
    ) -> Result<Option<(HttpRequest<'a>, usize)>, HttpError> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        for end in ends {
            match HttpRequest::parse(&bytes[..end], limits) {
                Ok(None) => {}
                outcome => return outcome,
            }
        }
        Ok(None)
    }

    fn request_text() -> impl Strategy<Value = Vec<u8>> {
        let header = ("[A-Za-z-]{1,12}", "[ -~]{0,24}").prop_map(|(n, v)| format!("{n}: {v}\r\n"));
        let method = prop::sample::select(vec!["GET", "POST", "PUT", "get"]);
        let known = prop::sample::select(vec![
            "",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\n",
            "Expect: 100-continue\r\n",
        ]);
        let body = prop::collection::vec(any::<u8>(), 0..64);
        (method, "/[a-z0-9/?=%]{0,20}", prop::collection::vec(header, 0..6), known, body).prop_map(
            |(method, target, headers, known, body)| {
                let headers = headers.concat();
                let length = body.len();
                let mut bytes = format!(
                    "{method} {target} HTTP/1.1\r\n{headers}{known}Content-Length: {length}\r\n\r\n"
                )
                .into_bytes();
                bytes.extend_from_slice(&body);
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn the_split_of_the_input_does_not_change_the_outcome(
            mut bytes in request_text(),
            garbage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
            header_bytes_max in 16_usize..300,
        ) {
            for (index, byte) in garbage {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let limits = HttpLimits { header_bytes_max, header_count_max: 5, body_bytes_max: 48 };
            prop_assert_eq!(feed(&bytes, &cuts, &limits), HttpRequest::parse(&bytes, &limits));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(Some((_, consumed))) = HttpRequest::parse(&bytes, &HttpLimits::default()) {
                prop_assert!(consumed <= bytes.len());
            }
        }
    }
}
