//! Connections of clients, and the tasks that workers do for them.

#[cfg(test)]
mod tests;

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use log::{debug, error, info, warn};

use super::content_type::{MAGIC_LEN, content_type};
use super::file_lin::File;
use super::file_manager::{FileManager, Target};
use super::multipart::{Upload, UploadError};
use super::range::{self, Range};
use super::{Cx, Msfs, UploadLimits};
use crate::base::http_parser_wrapper::{Coming, HttpError, HttpRequest};
use crate::base::http_response::{HttpResponse, HttpStatus};
use crate::base::md5::constant_time_eq;
use crate::base::thread_pool::{Task, ThreadPool};
use crate::netlib::{ConnHandler, HttpFraming, HttpHandler, NetHandle, Netlib, ResponseList};

/// How long a connection may do nothing.
///
/// C++: msfs/HttpConn.cpp CHttpConn::OnTimer
pub const HTTP_CONN_TIMEOUT_MS: u64 = 30_000;

/// Files are sent in pieces of this size; the next is read when the peer has taken the last.
pub const CHUNK_SIZE: usize = 128 * 1024;

const TIMER_MS: u64 = 1000;
const HTML: &str = "text/html;charset=utf-8";

/// A connection has one request at a time: it reads no further until the answer is written.
///
/// C++: msfs/HttpConn.h CHttpConn
/// Differs: serves one request after the other; the original closes after the first (F125).
#[derive(Debug, Default)]
pub struct HttpConn {
    state: State,
    /// Bytes that wait for the peer, when last looked at.
    out_len: usize,
    /// When the peer was last seen to take some.
    progress_tick: u64,
    /// Bytes of the request that count as being on their way.
    held: usize,
    /// The request counts for its address.
    charged: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Waits for a request.
    #[default]
    Idle,
    /// A worker has it.
    Working,
    /// An answer, or a piece of it, is on its way.
    Sending { rest: Option<Rest>, keep_alive: bool },
}

/// What is still to be sent of a file.
///
/// C++: msfs/HttpConn.h CHttpTask
#[derive(Debug)]
struct Rest {
    file: File,
    offset: u64,
    end: u64,
}

/// What a worker has for a connection.
///
/// C++: msfs/HttpConn.h Response_t
#[derive(Debug)]
pub(super) struct Response {
    conn: NetHandle,
    /// `None` closes the connection.
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    rest: Option<Rest>,
    keep_alive: bool,
}

impl Answer {
    fn new(response: HttpResponse<'_>, keep_alive: bool) -> Self {
        Self { bytes: response.keep_alive(keep_alive).to_bytes(), rest: None, keep_alive }
    }

    /// A status and nothing else.
    fn status(status: HttpStatus, keep_alive: bool) -> Self {
        Self::new(HttpResponse::new(status).header("Content-Type", HTML), keep_alive)
    }

    fn json(text: &str, keep_alive: bool) -> Self {
        Self::new(HttpResponse::new(HttpStatus::Ok).body(HTML, text.as_bytes()), keep_alive)
    }
}

/// Answers for a worker, and for one that panicked.
struct Responder {
    responses: ResponseList<Response>,
    conn: NetHandle,
    answer: Option<Answer>,
}

impl Drop for Responder {
    /// C++: msfs/HttpConn.cpp CHttpConn::AddResponsePdu
    fn drop(&mut self) {
        self.responses.push(Response { conn: self.conn, answer: self.answer.take() });
    }
}

impl ConnHandler for HttpConn {
    type Server = Msfs;
    type Framing = HttpFraming;

    /// C++: msfs/HttpConn.cpp CHttpConn::OnConnect
    fn on_connect(cx: &mut Cx<'_>, this: NetHandle) {
        let conn = Self { progress_tick: cx.net.tick(), ..Self::default() };
        cx.srv.http_conns.insert(this, conn);
    }

    /// C++: msfs/HttpConn.cpp CHttpConn::OnClose
    fn on_close(cx: &mut Cx<'_>, this: NetHandle) {
        Self::close(cx, this);
    }

    /// C++: msfs/HttpConn.cpp CHttpConn::OnSendComplete
    fn on_write_complete(cx: &mut Cx<'_>, this: NetHandle) {
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return };
        let State::Sending { rest, keep_alive } = &mut conn.state else { return };
        let keep_alive = *keep_alive;
        conn.progress_tick = cx.net.tick();
        match rest.take() {
            Some(rest) => {
                let task = move || next_piece(Vec::new(), rest, keep_alive);
                Self::hand_over(cx, this, PoolOf::Get, task);
            }
            None if keep_alive => {
                conn.state = State::Idle;
                cx.net.resume_read(this);
            }
            None => Self::close(cx, this),
        }
    }
}

impl HttpHandler for HttpConn {
    /// C++: msfs/HttpConn.cpp CHttpConn::OnRead
    fn handle_request(
        cx: &mut Cx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        let keep_alive = request.keep_alive();
        debug!("conn={this} method={} target={:?}", request.method, request.target);
        if request.target.contains("..") {
            warn!("conn={this} closed: its target leads upwards");
            Self::close(cx, this);
            return Ok(());
        }
        match request.method {
            "GET" | "HEAD" => match FileManager::relate_path_by_url(request.target) {
                Target::File(path) => {
                    let files = Arc::clone(&cx.srv.files);
                    let download = Download::new(path, request);
                    let task = move || download.run(&files);
                    Self::hand_over(cx, this, PoolOf::Get, task);
                }
                Target::NoFile => {
                    Self::send(cx, this, Answer::status(HttpStatus::NotFound, keep_alive));
                }
                Target::NoGroup => {
                    let status = HttpStatus::InternalServerError;
                    Self::send(cx, this, Answer::status(status, keep_alive));
                }
            },
            "POST" if !may_upload(cx, this, request) => {
                warn!("conn={this} upload refused: neither secret nor address allow it");
                Self::send(cx, this, Answer::status(HttpStatus::Forbidden, keep_alive));
            }
            "POST" => Self::handle_upload(cx, this, request)?,
            _ => Self::send(cx, this, Answer::status(HttpStatus::Forbidden, keep_alive)),
        }
        Ok(())
    }

    fn handle_coming(
        cx: &mut Cx<'_>,
        this: NetHandle,
        coming: &Coming<'_>,
    ) -> Result<(), HttpError> {
        Self::count(cx, this, &coming.request, coming.body_length)
    }

    /// A body above a limit is answered before it is read, in the words that uploads know.
    fn refusal(error: &HttpError) -> Vec<u8> {
        let (status, reason) = match error {
            HttpError::BodyBytes { .. } => (HttpStatus::Ok, UploadError::FileTooLarge),
            HttpError::TooManyRequests => (error.status(), UploadError::TooMany),
            HttpError::Busy => (error.status(), UploadError::Busy),
            _ => return HttpResponse::error(error).to_bytes(),
        };
        HttpResponse::new(status).body(HTML, refused(reason).as_bytes()).to_bytes()
    }
}

#[derive(Clone, Copy)]
enum PoolOf {
    Get,
    Post,
}

impl HttpConn {
    fn handle_upload(
        cx: &mut Cx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
    ) -> Result<(), HttpError> {
        Self::count(cx, this, request, request.body.len())?;
        let keep_alive = request.keep_alive();
        let Some(host) = host(request) else {
            Self::send(cx, this, Answer::status(HttpStatus::BadRequest, keep_alive));
            return Ok(());
        };
        let files = Arc::clone(&cx.srv.files);
        let content_type = request.header_str("content-type").unwrap_or_default();
        let (host, content_type) = (host.to_owned(), content_type.to_owned());
        let body = request.body.to_vec();
        let task = move || Some(upload(&files, &host, &content_type, &body, keep_alive));
        Self::hand_over(cx, this, PoolOf::Post, task);
        Ok(())
    }

    /// Counts what a request takes up, at its first piece for its address as well. Whoever has no
    /// quota is counted and not refused.
    fn count(
        cx: &mut Cx<'_>,
        this: NetHandle,
        request: &HttpRequest<'_>,
        body_length: usize,
    ) -> Result<(), HttpError> {
        let peer = cx.net.peer_addr(this).map(|peer| peer.ip());
        let limits = &cx.srv.upload_limits;
        let exempt = limits.secret.is_some() && has_secret(limits, request)
            || peer.is_none_or(|ip| limits.unlimited_ip.allows(ip));
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return Ok(()) };
        let result = cx.srv.upload_quota.hold(conn.held, request.body.len());
        conn.held = request.body.len();
        if exempt {
            return Ok(());
        }
        result?;
        if let Some(ip) = peer
            && !mem::replace(&mut conn.charged, true)
        {
            cx.srv.upload_quota.charge(ip, body_length, cx.net.tick())?;
        }
        Ok(())
    }

    /// Gives a worker what may block. `None` from the task closes the connection.
    fn hand_over(
        cx: &mut Cx<'_>,
        this: NetHandle,
        pool: PoolOf,
        run: impl FnOnce() -> Option<Answer> + Send + 'static,
    ) {
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return };
        conn.state = State::Working;
        cx.net.pause_read(this);
        let responses = cx.srv.responses.clone();
        let task: Task = Box::new(move || {
            let mut responder = Responder { responses, conn: this, answer: None };
            responder.answer = run();
        });
        let pool: &ThreadPool = match pool {
            PoolOf::Get => &cx.srv.get_thread_pool,
            PoolOf::Post => &cx.srv.post_thread_pool,
        };
        if pool.try_add_task(None, task).is_err() {
            warn!("conn={this} refused: too many requests wait");
            Self::send(cx, this, Answer::status(HttpStatus::ServiceUnavailable, false));
        }
    }

    /// Queues an answer; the next request is read once it is written.
    ///
    /// C++: msfs/HttpConn.cpp CHttpConn::Send
    fn send(cx: &mut Cx<'_>, this: NetHandle, answer: Answer) {
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return };
        conn.state = State::Sending { rest: answer.rest, keep_alive: answer.keep_alive };
        // The request is dealt with; the next one counts anew.
        cx.srv.upload_quota.release(mem::take(&mut conn.held));
        conn.charged = false;
        conn.out_len = answer.bytes.len();
        conn.progress_tick = cx.net.tick();
        cx.net.pause_read(this);
        cx.net.send(this, &answer.bytes);
        cx.net.notify_written(this);
    }

    /// C++: msfs/HttpConn.cpp CHttpConn::Close
    fn close(cx: &mut Cx<'_>, this: NetHandle) {
        if let Some(conn) = cx.srv.http_conns.remove(this) {
            cx.srv.upload_quota.release(conn.held);
        }
        cx.net.close(this);
    }

    /// C++: msfs/HttpConn.cpp CHttpConn::OnTimer
    /// Differs: a peer that still takes its file, or waits for a worker, is not idle (F125).
    fn on_timer(cx: &mut Cx<'_>, this: NetHandle) {
        let (tick, out_len) = (cx.net.tick(), cx.net.out_len(this));
        let Some(conn) = cx.srv.http_conns.get_mut(this) else { return };
        let since = match conn.state {
            State::Working => return,
            State::Idle => conn.progress_tick.max(cx.net.last_recv_tick(this)),
            State::Sending { .. } => {
                if out_len != conn.out_len {
                    (conn.out_len, conn.progress_tick) = (out_len, tick);
                }
                conn.progress_tick
            }
        };
        if tick >= since + HTTP_CONN_TIMEOUT_MS {
            debug!("conn={this} closed: idle");
            Self::close(cx, this);
        }
    }
}

/// C++: msfs/HttpConn.cpp init_http_conn
pub(super) fn init_http_conn(net: &mut Netlib<Msfs>) {
    net.register_timer(http_conn_timer_callback, TIMER_MS);
    net.add_loop(http_conn_loop_callback);
}

/// C++: msfs/HttpConn.cpp http_conn_timer_callback
fn http_conn_timer_callback(cx: &mut Cx<'_>) {
    let conns: Vec<_> = cx.srv.http_conns.handles().collect();
    for conn in conns {
        HttpConn::on_timer(cx, conn);
    }
}

/// C++: msfs/HttpConn.cpp CHttpConn::SendResponsePduList
fn http_conn_loop_callback(cx: &mut Cx<'_>) {
    for Response { conn, answer } in cx.srv.responses.take() {
        match answer {
            Some(answer) => HttpConn::send(cx, conn, answer),
            None => HttpConn::close(cx, conn),
        }
    }
}

/// Whether this peer may store files: everybody, unless the configuration says otherwise.
fn may_upload(cx: &Cx<'_>, this: NetHandle, request: &HttpRequest<'_>) -> bool {
    let limits = &cx.srv.upload_limits;
    let peer = cx.net.peer_addr(this);
    has_secret(limits, request) && peer.is_none_or(|peer| limits.allow_ip.allows(peer.ip()))
}

/// Whether a request brings the secret, or none is asked for.
fn has_secret(limits: &UploadLimits, request: &HttpRequest<'_>) -> bool {
    limits.secret.as_ref().is_none_or(|secret| {
        let given = request.header("x-upload-secret").unwrap_or_default();
        constant_time_eq(given, secret.as_bytes())
    })
}

/// The host that URLs of stored files begin with.
fn host<'a>(request: &HttpRequest<'a>) -> Option<&'a str> {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = request.header_str("host")?;
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(is_char)).then_some(host)
}

/// Stores the file of an upload.
///
/// C++: msfs/HttpConn.cpp CHttpTask::run
/// Differs: a file that cannot be stored is answered with 500; the original stops (F118).
fn upload(
    files: &FileManager,
    host: &str,
    content_type: &str,
    body: &[u8],
    keep_alive: bool,
) -> Answer {
    let upload = match Upload::parse(content_type, body) {
        Ok(upload) => upload,
        Err(error) => {
            info!("upload refused: {error}");
            return Answer::json(&refused(error), keep_alive);
        }
    };
    match files.upload_file(&upload.extend, upload.content) {
        Ok(path) => {
            let json = format!(
                "{{\"error_code\":0,\"error_msg\": \"成功\",\"path\":\"{path}\",\
                 \"url\":\"http://{host}/{path}\"}}"
            );
            Answer::json(&json, keep_alive)
        }
        Err(error) => {
            error!("storing a file: {error}");
            Answer::status(HttpStatus::InternalServerError, keep_alive)
        }
    }
}

/// The answer to an upload that is not stored, in the original's words.
fn refused(error: UploadError) -> String {
    let code = error.code();
    match error {
        UploadError::FileTooLarge => {
            format!("{{\"error_code\":{code},\"error_msg\": \"上传文件过大\",\"url\":\"\"}}")
        }
        UploadError::TooMany | UploadError::Busy => {
            format!("{{\"error_code\":{code},\"error_msg\": \"上传过于频繁\",\"url\":\"\"}}")
        }
        _ => format!(
            "{{\"error_code\":{code},\"error_msg\": \"格式错误\",\"path\":\"\",\"url\":\"\"}}"
        ),
    }
}

/// A request for a file.
struct Download {
    path: PathBuf,
    head_only: bool,
    keep_alive: bool,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Download {
    fn new(path: PathBuf, request: &HttpRequest<'_>) -> Self {
        let header = |name: &str| request.header_str(name).map(str::to_owned);
        Self {
            path,
            head_only: request.method == "HEAD",
            keep_alive: request.keep_alive(),
            range: header("range"),
            if_range: header("if-range"),
            if_none_match: header("if-none-match"),
        }
    }

    /// The head of the answer and the first piece of the file.
    ///
    /// C++: msfs/HttpConn.cpp CHttpTask::OnDownload
    /// Differs: sent in pieces (F122), with ranges and validators; the type is that of the bytes,
    /// not of the name, what is no image a download, and nothing invites guessing (F9). Texts are
    /// whole (F124).
    fn run(self, files: &FileManager) -> Option<Answer> {
        let Ok(file) = files.open(&self.path) else {
            return Some(Answer::status(HttpStatus::NotFound, self.keep_alive));
        };
        let (size, etag) = (file.size(), file.etag().to_owned());
        let Ok(begin) = file.read(0, size.min(MAGIC_LEN as u64) as usize) else {
            return Some(Answer::status(HttpStatus::NotFound, self.keep_alive));
        };
        let (content_type, is_image) = content_type(&begin);
        let range = match &self.if_range {
            Some(validator) if *validator != etag => Range::Whole,
            _ => self.range.as_deref().map_or(Range::Whole, |text| Range::parse(text, size)),
        };
        let (status, offset, end) = match range {
            _ if self.if_none_match.as_deref().is_some_and(|list| range::matches(list, &etag)) => {
                (HttpStatus::NotModified, 0, size)
            }
            Range::Whole => (HttpStatus::Ok, 0, size),
            Range::Part(offset, end) => (HttpStatus::PartialContent, offset, end),
            Range::Unsatisfiable => (HttpStatus::RangeNotSatisfiable, 0, 0),
        };
        let content_range = match status {
            HttpStatus::RangeNotSatisfiable => format!("bytes */{size}"),
            _ => format!("bytes {offset}-{}/{size}", end.saturating_sub(1)),
        };
        let mut response = HttpResponse::new(status)
            .keep_alive(self.keep_alive)
            .length(end - offset)
            .header("Content-Type", content_type)
            .header("X-Content-Type-Options", "nosniff")
            .header("Accept-Ranges", "bytes")
            .header("ETag", &etag);
        if !is_image {
            response = response.header("Content-Disposition", "attachment");
        }
        if matches!(status, HttpStatus::PartialContent | HttpStatus::RangeNotSatisfiable) {
            response = response.header("Content-Range", &content_range);
        }
        let bytes = response.to_bytes();
        if self.head_only || status == HttpStatus::NotModified {
            return Some(Answer { bytes, rest: None, keep_alive: self.keep_alive });
        }
        next_piece(bytes, Rest { file, offset, end }, self.keep_alive)
    }
}

/// Puts the next piece of a file behind `bytes`. A file that has become shorter cannot be sent as
/// announced: what was sent so far is cut off.
fn next_piece(mut bytes: Vec<u8>, rest: Rest, keep_alive: bool) -> Option<Answer> {
    let Rest { file, offset, end } = rest;
    let len = (end - offset).min(CHUNK_SIZE as u64);
    match file.read(offset, len as usize) {
        Ok(piece) => bytes.extend_from_slice(&piece),
        Err(error) => {
            warn!("a download ends early: {error}");
            return None;
        }
    }
    let offset = offset + len;
    let rest = (offset < end).then_some(Rest { file, offset, end });
    Some(Answer { bytes, rest, keep_alive })
}
