//! Groups: their messages, and the requests of clients about them.
//!
//! The members of a group are asked for once and kept. A change comes as a notification with all
//! members in it; what nobody notifies of, such as a change by an administrator, is noticed because
//! what is kept is looked after when it is older than [`FRESH_MS`]: with the version known, so that
//! db_proxy_server answers with nothing if nothing has changed.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use log::debug;
use prost::Message;

use super::db_serv_conn::{DbRange, send_to_db};
use super::fan_out;
use super::msg_conn::{relay_to_db, send_to_handle, user_of};
use super::route_serv_conn::{for_clients, send_to_route};
use super::{Cx, relay};
use crate::base::attach_data::DbAttachData;
use crate::base::attach_data::msg_server::ATTACH_TYPE_HANDLE_AND_PDU;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::NetHandle;
use crate::pb::base_define::{GroupModifyType, GroupType, GroupVersionInfo, MsgType};
use crate::pb::cmd::*;
use crate::pb::group::{
    ImGroupChangeMemberNotify, ImGroupChangeMemberReq, ImGroupChangeMemberRsp, ImGroupCreateReq,
    ImGroupCreateRsp, ImGroupInfoListReq, ImGroupInfoListRsp, ImGroupShieldReq, ImGroupShieldRsp,
    ImNormalGroupListRsp,
};
use crate::pb::message::ImMsgData;
use crate::pb::server::{ImGetDeviceTokenReq, ImGroupGetShieldReq, ImGroupGetShieldRsp};

/// Members older than this are looked after before they are used.
pub const FRESH_MS: u64 = 30_000;

/// Members that nobody has needed for so long are forgotten.
pub const FORGET_MS: u64 = 600_000;

/// An unanswered question for members is repeated after this long …
pub const ASK_AGAIN_MS: u64 = 5_000;
/// … this many times, then the messages that wait are given up. They are stored all the same.
pub const ASK_MAX: u32 = 3;

/// Groups whose members are kept. One more, and all are forgotten but those being asked for.
pub const GROUPS_MAX: usize = 10_000;

/// Messages that wait for the members of one group. The oldest is given up for a new one.
pub const WAITING_MAX: usize = 1_000;

/// How often unanswered questions and unused groups are looked at.
const TIMER_MS: u64 = 1_000;

/// A message on its way to the members of its group.
#[derive(Debug)]
struct GroupMsg {
    pdu: ImPdu,
    from_user_id: u32,
    /// The connection it came from.
    sender: Option<NetHandle>,
    /// What is to be pushed, if that is the business of this server.
    push: Option<Vec<u8>>,
}

/// A question that db_proxy_server has not answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    tick: u64,
    times: u32,
    user_id: u32,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Group {
    members: Option<Arc<[u32]>>,
    /// 0 if the members came without one.
    version: u32,
    known_tick: u64,
    used_tick: u64,
    asked: Option<Asked>,
    waiting: VecDeque<GroupMsg>,
}

impl Group {
    /// Members that may be used for a message of this user. If he is not among them they are old.
    fn fresh_members(&self, tick: u64, from_user_id: u32) -> Option<Arc<[u32]>> {
        let members = self.members.as_ref().filter(|_| tick <= self.known_tick + FRESH_MS)?;
        members.contains(&from_user_id).then(|| Arc::clone(members))
    }

    fn set_members(&mut self, members: &[u32], version: u32, tick: u64) {
        self.members = Some(members.into());
        self.version = version;
        self.known_tick = tick;
        self.asked = None;
    }
}

/// What is known of groups.
///
/// C++: msg_server/GroupChat.h CGroupChat
/// Differs: has a memory, so that a message costs no question (F70).
#[derive(Debug, Default)]
pub(super) struct GroupChat {
    groups: HashMap<u32, Group>,
}

impl GroupChat {
    /// Groups of which something is known.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Messages that wait for the members of their group.
    pub(super) fn waiting(&self) -> usize {
        self.groups.values().map(|group| group.waiting.len()).sum()
    }
}

/// C++: msg_server/GroupChat.cpp CGroupChat::HandleClientGroupNormalRequest
/// Differs: the refusal has the user id it is required to have (F74).
pub(super) fn handle_client_group_normal_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    relay_to_db(cx, this, pdu, |user_id| {
        let header = PduHeader::new(SID_GROUP, CID_GROUP_NORMAL_LIST_RESPONSE, 0);
        Some((header, ImNormalGroupListRsp { user_id, ..ImNormalGroupListRsp::default() }))
    })
}

/// C++: msg_server/GroupChat.cpp CGroupChat::HandleClientGroupInfoRequest
pub(super) fn handle_client_group_info_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    relay_to_db(cx, this, pdu, |user_id| {
        let header = PduHeader::new(SID_GROUP, CID_GROUP_INFO_RESPONSE, 0);
        Some((header, ImGroupInfoListRsp { user_id, ..ImGroupInfoListRsp::default() }))
    })
}

/// C++: msg_server/GroupChat.cpp CGroupChat::HandleClientGroupCreateRequest
/// Differs: who wants a group that only administrators make is told that there is none.
pub(super) fn handle_client_group_create_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImGroupCreateReq = pdu.decode()?;
    let header = PduHeader::new(SID_GROUP, CID_GROUP_CREATE_RESPONSE, pdu.seq_num());
    let refusal = |user_id| ImGroupCreateRsp {
        user_id,
        result_code: 1,
        group_name: msg.group_name.clone(),
        ..ImGroupCreateRsp::default()
    };
    if GroupType::try_from(msg.group_type) != Ok(GroupType::Tmp) {
        if let Some((user_id, _)) = user_of(cx, this) {
            debug!("user={user_id} group refused: group_type={}", msg.group_type);
            cx.net.send_msg(this, header, &refusal(user_id));
        }
        return Ok(());
    }
    relay_to_db(cx, this, pdu, |user_id| Some((header, refusal(user_id))))
}

/// C++: msg_server/GroupChat.cpp CGroupChat::HandleClientGroupChangeMemberRequest
pub(super) fn handle_client_group_change_member_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImGroupChangeMemberReq = pdu.decode()?;
    if GroupModifyType::try_from(msg.change_type).is_err() {
        debug!("conn={this} change of group={} dropped: {}", msg.group_id, msg.change_type);
        return Ok(());
    }
    relay_to_db(cx, this, pdu, |user_id| {
        let refusal = ImGroupChangeMemberRsp {
            user_id,
            change_type: msg.change_type,
            result_code: 1,
            group_id: msg.group_id,
            ..ImGroupChangeMemberRsp::default()
        };
        Some((PduHeader::new(SID_GROUP, CID_GROUP_CHANGE_MEMBER_RESPONSE, 0), refusal))
    })
}

/// C++: msg_server/GroupChat.cpp CGroupChat::HandleClientGroupShieldGroupRequest
/// Differs: the refusal has the group id it is required to have (F74).
pub(super) fn handle_client_group_shield_group_request(
    cx: &mut Cx<'_>,
    this: NetHandle,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImGroupShieldReq = pdu.decode()?;
    relay_to_db(cx, this, pdu, |user_id| {
        let refusal =
            ImGroupShieldRsp { user_id, group_id: msg.group_id, result_code: 1, attach_data: None };
        Some((PduHeader::new(SID_GROUP, CID_GROUP_SHIELD_GROUP_RESPONSE, 0), refusal))
    })
}

/// Tells the requester; if the members have changed, also everybody who is one or was one.
///
/// C++: msg_server/GroupChat.cpp CGroupChat::HandleGroupChangeMemberResponse
/// Differs: nobody is told twice.
pub(super) fn handle_group_change_member_response(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImGroupChangeMemberRsp = pdu.decode()?;
    let answer = relay::Answer::parse(pdu)?;
    let requester = answer.handle()?;
    send_to_handle(cx, msg.user_id, requester, &answer.pdu());
    if msg.result_code != 0 {
        return Ok(());
    }
    let notify = ImGroupChangeMemberNotify {
        user_id: msg.user_id,
        change_type: msg.change_type,
        group_id: msg.group_id,
        cur_user_id_list: msg.cur_user_id_list,
        chg_user_id_list: msg.chg_user_id_list,
    };
    let pdu = ImPdu::encode(SID_GROUP, CID_GROUP_CHANGE_MEMBER_NOTIFY, 0, &notify);
    send_to_route(cx, &pdu);
    members_changed(cx, pdu, &notify, Some(requester));
    Ok(())
}

/// Members changed through another server.
///
/// C++: msg_server/GroupChat.cpp CGroupChat::HandleGroupChangeMemberBroadcast
/// Differs: nobody is told twice.
pub(super) fn handle_group_change_member_broadcast(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let notify: ImGroupChangeMemberNotify = pdu.decode()?;
    members_changed(cx, for_clients(pdu), &notify, None);
    Ok(())
}

fn members_changed(
    cx: &mut Cx<'_>,
    pdu: ImPdu,
    notify: &ImGroupChangeMemberNotify,
    from_conn: Option<NetHandle>,
) {
    let tick = cx.net.tick();
    if let Some(group) = cx.srv.group_chat.groups.get_mut(&notify.group_id) {
        group.set_members(&notify.cur_user_id_list, 0, tick);
        deliver_waiting(cx, notify.group_id);
    }
    let users: BTreeSet<u32> =
        notify.cur_user_id_list.iter().chain(&notify.chg_user_id_list).copied().collect();
    fan_out::broadcast_to_users(cx, pdu, users.into_iter().collect(), from_conn);
}

/// The message of a group that is to be pushed; a phone plays no sound.
pub(super) fn push_msg(msg: &ImMsgData) -> Vec<u8> {
    let voice = [MsgType::SingleAudio.into(), MsgType::GroupAudio.into()].contains(&msg.msg_type);
    let mut push = ImMsgData { attach_data: None, ..msg.clone() };
    if voice {
        push.msg_data.clear();
    }
    push.encode_to_vec()
}

/// Delivers a message to the members who are here. `sender` is given if it was sent here: only then
/// its pushes are the business of this server.
///
/// C++: msg_server/GroupChat.cpp CGroupChat::HandleGroupMessage
/// Differs: one msg_server pushes, not all (F70), and the message itself waits here (F71).
pub(super) fn handle_group_message(
    cx: &mut Cx<'_>,
    pdu: ImPdu,
    msg: &ImMsgData,
    sender: Option<NetHandle>,
) {
    let (tick, group_id, from_user_id) = (cx.net.tick(), msg.to_session_id, msg.from_user_id);
    let push = sender.map(|_| push_msg(msg));
    let group_msg = GroupMsg { pdu, from_user_id, sender, push };
    let groups = &mut cx.srv.group_chat.groups;
    if groups.len() >= GROUPS_MAX && !groups.contains_key(&group_id) {
        groups.retain(|_, group| group.asked.is_some());
    }
    let group = groups.entry(group_id).or_default();
    group.used_tick = tick;
    // Those who wait come first.
    if group.waiting.is_empty()
        && let Some(members) = group.fresh_members(tick, from_user_id)
    {
        return deliver(cx, group_id, members, group_msg);
    }
    if group.waiting.len() >= WAITING_MAX {
        debug!("group={group_id} message given up: too many wait for the members");
        group.waiting.pop_front();
    }
    group.waiting.push_back(group_msg);
    if group.asked.is_none() {
        ask_for_members(cx, group_id, from_user_id, 1);
    }
}

fn ask_for_members(cx: &mut Cx<'_>, group_id: u32, user_id: u32, times: u32) {
    let tick = cx.net.tick();
    let Some(group) = cx.srv.group_chat.groups.get_mut(&group_id) else {
        return;
    };
    // Who is not among them has joined since: then the version is not to be trusted either.
    let outdated = group.members.as_ref().is_some_and(|members| !members.contains(&user_id));
    let version = if outdated { 0 } else { group.version };
    group.asked = Some(Asked { tick, times, user_id });
    let attach = DbAttachData::new(ATTACH_TYPE_HANDLE_AND_PDU, group_id).encode();
    let req = ImGroupInfoListReq {
        user_id,
        group_version_list: vec![GroupVersionInfo { group_id, version }],
        attach_data: Some(attach.into()),
    };
    let req = ImPdu::encode(SID_GROUP, CID_GROUP_INFO_REQUEST, 0, &req);
    if send_to_db(cx, DbRange::Other, &req).is_none() {
        debug!("group={group_id} members cannot be asked for: no database");
    }
}

/// The answer to a client, or to the question for members.
///
/// C++: msg_server/GroupChat.cpp CGroupChat::HandleGroupInfoResponse
pub(super) fn handle_group_info_response(cx: &mut Cx<'_>, pdu: PduRef<'_>) -> Result<(), PduError> {
    let answer = relay::Answer::parse(pdu)?;
    let attach = DbAttachData::parse(&answer.attach)?;
    if attach.attach_type != ATTACH_TYPE_HANDLE_AND_PDU {
        let handle = NetHandle::from_u32(attach.handle);
        send_to_handle(cx, answer.user_id, handle, &answer.pdu());
        return Ok(());
    }
    let msg: ImGroupInfoListRsp = pdu.decode()?;
    let (tick, group_id) = (cx.net.tick(), attach.handle);
    let Some(group) = cx.srv.group_chat.groups.get_mut(&group_id) else {
        return Ok(());
    };
    // A notification may have been quicker, and is newer.
    if group.asked.take().is_none() {
        return Ok(());
    }
    match msg.group_info_list.into_iter().find(|info| info.group_id == group_id) {
        Some(info) => group.set_members(&info.group_member_list, info.version, tick),
        // Nothing has changed since the version that is known.
        None if group.version != 0 => group.known_tick = tick,
        None => group.members = None,
    }
    deliver_waiting(cx, group_id);
    Ok(())
}

/// Delivers what has waited for the members of a group, now that they are known.
fn deliver_waiting(cx: &mut Cx<'_>, group_id: u32) {
    let Some(group) = cx.srv.group_chat.groups.get_mut(&group_id) else {
        return;
    };
    let members = group.members.clone();
    for msg in std::mem::take(&mut group.waiting) {
        match &members {
            Some(members) if members.contains(&msg.from_user_id) => {
                deliver(cx, group_id, Arc::clone(members), msg);
            }
            _ => debug!("group={group_id} user={} message not delivered", msg.from_user_id),
        }
    }
}

/// To all connections of all members but the one it came from; then asks who wants a push.
fn deliver(cx: &mut Cx<'_>, group_id: u32, members: Arc<[u32]>, msg: GroupMsg) {
    if let Some(push) = msg.push {
        let req = ImGroupGetShieldReq {
            group_id,
            user_id: members.to_vec(),
            attach_data: Some(push.into()),
        };
        let req = ImPdu::encode(SID_OTHER, CID_OTHER_GET_SHIELD_REQ, 0, &req);
        if send_to_db(cx, DbRange::Other, &req).is_none() {
            debug!("group={group_id} not pushed: no database");
        }
    }
    fan_out::broadcast_to_users(cx, msg.pdu, members, msg.sender);
}

/// Asks for the tokens of the members who want pushes of this group.
///
/// C++: msg_server/GroupChat.cpp CGroupChat::HandleGroupGetShieldByGroupResponse
pub(super) fn handle_group_get_shield_by_group_response(
    cx: &mut Cx<'_>,
    pdu: PduRef<'_>,
) -> Result<(), PduError> {
    let msg: ImGroupGetShieldRsp = pdu.decode()?;
    let unshielded = msg.shield_status_list.iter().filter(|status| status.shield_status == 0);
    let user_id: Vec<u32> = unshielded.map(|status| status.user_id).collect();
    if user_id.is_empty() {
        return Ok(());
    }
    let req = ImGetDeviceTokenReq { user_id, attach_data: msg.attach_data };
    let req = ImPdu::encode(SID_OTHER, CID_OTHER_GET_DEVICE_TOKEN_REQ, 0, &req);
    if send_to_db(cx, DbRange::Other, &req).is_none() {
        debug!("group={} not pushed: no database", msg.group_id);
    }
    Ok(())
}

pub(super) fn init_group_chat(cx: &mut Cx<'_>) {
    cx.net.register_timer(group_chat_timer_callback, TIMER_MS);
}

/// Asks again what was not answered, and forgets what is not used.
fn group_chat_timer_callback(cx: &mut Cx<'_>) {
    let tick = cx.net.tick();
    let groups = &mut cx.srv.group_chat.groups;
    groups.retain(|_, group| group.asked.is_some() || tick <= group.used_tick + FORGET_MS);
    let late = groups.iter().filter_map(|(group_id, group)| {
        let asked = group.asked.filter(|asked| tick > asked.tick + ASK_AGAIN_MS)?;
        Some((*group_id, asked))
    });
    for (group_id, asked) in late.collect::<Vec<_>>() {
        if asked.times < ASK_MAX {
            ask_for_members(cx, group_id, asked.user_id, asked.times + 1);
        } else if let Some(group) = cx.srv.group_chat.groups.get_mut(&group_id) {
            group.asked = None;
            deliver_waiting(cx, group_id);
        }
    }
}
