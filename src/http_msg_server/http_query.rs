//! What can be asked, and what is said when it cannot be done.

use log::{debug, info, warn};
use serde_json::{Map, Value};

use super::Cx;
use super::db_serv_conn;
use super::http_conn::HttpConn;
use crate::base::attach_data::DbAttachData;
use crate::base::attach_data::http_msg_server::ATTACH_TYPE_HANDLE;
use crate::base::http_parser_wrapper::HttpRequest;
use crate::base::http_response::HttpStatus;
use crate::base::im_pdu::ImPdu;
use crate::netlib::NetHandle;
use crate::pb::base_define::{GroupModifyType, GroupType};
use crate::pb::cmd::*;
use crate::pb::group::{ImGroupChangeMemberReq, ImGroupCreateReq};

/// The beginning of every target that is answered.
const PREFIX: &str = "/query/";

/// How often is looked whether a new day has begun.
const TIMER_MS: u64 = 1_000;

const SECONDS_A_DAY: u32 = 24 * 60 * 60;

/// The codes of answers.
///
/// C++: http_msg_server/HttpQuery.h HTTP_ERROR_CODE
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum HttpErrorCode {
    /// Done.
    Success = 0,
    /// A key is missing, or its value is none.
    Parment = 1,
    /// Nobody has this application key.
    AppKey = 2,
    /// The application may not ask in the name of this user.
    Match = 3,
    /// Never sent.
    Permission = 4,
    /// The application may not ask this, or nobody may.
    Interface = 5,
    /// Not from this address.
    Ip = 6,
    /// Never sent.
    SendType = 7,
    /// Never sent.
    Unknown = 8,
    /// No db_proxy_server that answers.
    ServerException = 10,
    /// The group was not made.
    CreateGroup = 11,
    /// The members were not changed.
    ChangeMember = 12,
    /// Never sent.
    Encrypt = 13,
}

impl HttpErrorCode {
    /// The text that goes with the code.
    ///
    /// C++: http_msg_server/HttpQuery.h HTTP_ERROR_MSG
    pub fn error_msg(self) -> &'static str {
        match self {
            Self::Success => "成功",
            Self::Parment => "参数错误",
            Self::AppKey => "appKey不存在",
            Self::Match => "appKey与用户不匹配",
            Self::Permission => "含有不允许发送的Id",
            Self::Interface => "未授权的接口",
            Self::Ip => "未授权的IP",
            Self::SendType => "非法的发送类型",
            Self::Unknown => "未知错误",
            Self::ServerException => "服务器异常",
            Self::CreateGroup => "创建群失败",
            Self::ChangeMember => "更改群成员失败",
            Self::Encrypt => "消息加密失败",
        }
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interface {
    /// `/query/CreateGroup`
    CreateGroup,
    /// `/query/ChangeMembers`
    ChangeMembers,
}

impl Interface {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::CreateGroup, Self::ChangeMembers];

    /// The interface of this name, in this case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::CreateGroup => "CreateGroup",
            Self::ChangeMembers => "ChangeMembers",
        }
    }
}

/// Why a request is answered at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: HttpStatus,
    pub(super) code: HttpErrorCode,
}

/// Whoever could ask is told in JSON alone, as ever.
impl From<HttpErrorCode> for Refusal {
    fn from(code: HttpErrorCode) -> Self {
        Self { status: HttpStatus::Ok, code }
    }
}

/// How many queries there were today.
///
/// C++: http_msg_server/HttpQuery.cpp g_total_query
#[derive(Debug, Default)]
pub(super) struct TotalQuery {
    pub(super) count: u64,
    day: u32,
}

/// C++: http_msg_server/HttpQuery.cpp CHttpQuery::GetInstance
pub(super) fn init_http_query(cx: &mut Cx<'_>) {
    cx.srv.total_query.day = (cx.srv.clock)() / SECONDS_A_DAY;
    cx.net.register_timer(http_query_timer_callback, TIMER_MS);
}

/// C++: http_msg_server/HttpQuery.cpp http_query_timer_callback
/// Differs: days are those of UTC.
fn http_query_timer_callback(cx: &mut Cx<'_>) {
    let day = (cx.srv.clock)() / SECONDS_A_DAY;
    let total = &mut cx.srv.total_query;
    if day != total.day {
        info!("a new day begins, queries={}", total.count);
        *total = TotalQuery { count: 0, day };
    }
}

/// Passes a request on to db_proxy_server; its answer comes to `HttpConn::answer`.
///
/// # Errors
/// What to answer at once.
///
/// C++: http_msg_server/HttpQuery.cpp CHttpQuery::DispatchQuery
/// Differs: whatever is wrong is answered (F128), what was asked is not logged (F19), and only
/// POST asks.
pub(super) fn dispatch_query(
    cx: &mut Cx<'_>,
    this: NetHandle,
    request: &HttpRequest<'_>,
) -> Result<(), Refusal> {
    cx.srv.total_query.count += 1;
    let interface = request.target.strip_prefix(PREFIX).and_then(Interface::from_name);
    let Some(interface) = interface else {
        debug!("conn={this} refused: unknown interface");
        return Err(Refusal { status: HttpStatus::NotFound, code: HttpErrorCode::Interface });
    };
    if request.method != "POST" {
        let status = HttpStatus::MethodNotAllowed;
        return Err(Refusal { status, code: HttpErrorCode::Interface });
    }
    let Ok(json) = serde_json::from_slice::<Value>(request.body) else {
        debug!("conn={this} refused: no JSON, length={}", request.body.len());
        return Err(Refusal { status: HttpStatus::BadRequest, code: HttpErrorCode::Parment });
    };
    let (query, app_key, user_id) = common_keys(&json).ok_or(HttpErrorCode::Interface)?;
    let peer = cx.net.peer_addr(this).map(|peer| peer.ip());
    if let Err(code) = cx.srv.apps.check_auth(app_key, user_id, interface, peer) {
        let code_number = code as u32;
        warn!("conn={this} user={user_id} refused: {} code={code_number}", interface.name());
        return Err(code.into());
    }
    if cx.srv.stopping || !cx.srv.db_servers.conns.is_available() {
        debug!("conn={this} refused: no db_proxy_server, or stopping");
        return Err(HttpErrorCode::ServerException.into());
    }
    let seq_num = HttpConn::next_seq_num(cx, this);
    let pdu = match interface {
        Interface::CreateGroup => query_create_group(cx, this, query, seq_num),
        Interface::ChangeMembers => query_change_member(this, query, seq_num),
    };
    let pdu = pdu.ok_or(HttpErrorCode::Parment)?;
    let db = db_serv_conn::send_to_db(cx, &pdu).ok_or(HttpErrorCode::ServerException)?;
    HttpConn::wait(cx, this, db, interface, request.keep_alive());
    Ok(())
}

/// The object of a request, its application key and who asks. Without a key or a user there is an
/// empty one.
fn common_keys(json: &Value) -> Option<(&Map<String, Value>, &str, u32)> {
    let query = json.as_object()?;
    let app_key = match query.get("app_key") {
        None | Some(Value::Null) => "",
        Some(value) => value.as_str()?,
    };
    let user_id = match query.get("req_user_id") {
        None | Some(Value::Null) => 0,
        Some(value) => uint(value)?,
    };
    Some((query, app_key, user_id))
}

/// The PDU for db_proxy_server, `None` when a key is missing or wrong.
///
/// C++: http_msg_server/HttpQuery.cpp CHttpQuery::_QueryCreateGroup
/// Differs: an option makes `req_user_id` the creator (F144).
fn query_create_group(
    cx: &Cx<'_>,
    this: NetHandle,
    query: &Map<String, Value>,
    seq_num: u16,
) -> Option<ImPdu> {
    let user_id = uint(query.get("req_user_id")?)?;
    let group_type = GroupType::try_from(i32::try_from(uint(query.get("group_type")?)?).ok()?);
    let group_type = group_type.ok()?;
    let member_id_list = uints(query.get("user_id_list")?)?;
    info!("conn={this} user={user_id} CreateGroup members={}", member_id_list.len());
    let msg = ImGroupCreateReq {
        user_id: if cx.srv.creator_is_requester { user_id } else { 0 },
        group_type: group_type.into(),
        group_name: query.get("group_name")?.as_str()?.to_owned(),
        group_avatar: query.get("group_avatar")?.as_str()?.to_owned(),
        member_id_list,
        attach_data: Some(attach_data(this)),
    };
    Some(ImPdu::encode(SID_GROUP, CID_GROUP_CREATE_REQUEST, seq_num, &msg))
}

/// The PDU for db_proxy_server, `None` when a key is missing or wrong.
///
/// C++: http_msg_server/HttpQuery.cpp CHttpQuery::_QueryChangeMember
fn query_change_member(this: NetHandle, query: &Map<String, Value>, seq_num: u16) -> Option<ImPdu> {
    let user_id = uint(query.get("req_user_id")?)?;
    let group_id = uint(query.get("group_id")?)?;
    let change_type = i32::try_from(uint(query.get("modify_type")?)?).ok()?;
    let change_type = GroupModifyType::try_from(change_type).ok()?;
    let member_id_list = uints(query.get("user_id_list")?)?;
    let count = member_id_list.len();
    info!("conn={this} user={user_id} ChangeMembers group={group_id} members={count}");
    let msg = ImGroupChangeMemberReq {
        // Nobody: who may do everything.
        user_id: 0,
        change_type: change_type.into(),
        group_id,
        member_id_list,
        attach_data: Some(attach_data(this)),
    };
    Some(ImPdu::encode(SID_GROUP, CID_GROUP_CHANGE_MEMBER_REQUEST, seq_num, &msg))
}

fn attach_data(this: NetHandle) -> bytes::Bytes {
    DbAttachData::new(ATTACH_TYPE_HANDLE, this.to_u32()).encode().into()
}

fn uint(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn uints(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(uint).collect()
}
