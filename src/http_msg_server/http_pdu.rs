//! How answers look: a JSON object with a code and a text in the layout of the original.

use super::http_query::{HttpErrorCode, Refusal};
use crate::base::http_response::{HttpResponse, HttpStatus};
use crate::base::styled_json::to_styled_string;

const CONTENT_TYPE: &str = "text/html;charset=utf-8";

/// The bytes of an answer that is a code and nothing else.
///
/// C++: http_msg_server/HttpPdu.cpp PackSendResult
/// Differs: no answer shares a buffer with another one, and none is cut (F56).
pub(super) fn pack_send_result(code: HttpErrorCode, keep_alive: bool) -> Vec<u8> {
    pack_refusal(Refusal { status: HttpStatus::Ok, code }, keep_alive)
}

/// The same with the status of what is not worth a query.
pub(super) fn pack_refusal(refusal: Refusal, keep_alive: bool) -> Vec<u8> {
    let Refusal { status, code } = refusal;
    let json = to_styled_string(&[
        ("error_code", (code as u32).into()),
        ("error_msg", code.error_msg().into()),
    ]);
    let response = response(status, &json, keep_alive);
    match status {
        HttpStatus::MethodNotAllowed => response.header("Allow", "POST").to_bytes(),
        _ => response.to_bytes(),
    }
}

/// The bytes of the answer to a query for a new group; 0 is no group.
///
/// C++: http_msg_server/HttpPdu.cpp PackSendCreateGroupResult
pub(super) fn pack_send_create_group_result(
    code: HttpErrorCode,
    group_id: u32,
    keep_alive: bool,
) -> Vec<u8> {
    let json = to_styled_string(&[
        ("error_code", (code as u32).into()),
        ("error_msg", code.error_msg().into()),
        ("group_id", group_id.into()),
    ]);
    response(HttpStatus::Ok, &json, keep_alive).to_bytes()
}

fn response(status: HttpStatus, json: &str, keep_alive: bool) -> HttpResponse<'_> {
    HttpResponse::new(status).no_cache().keep_alive(keep_alive).body(CONTENT_TYPE, json.as_bytes())
}
