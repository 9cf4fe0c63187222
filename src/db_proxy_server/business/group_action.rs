//! The commands about groups.

use std::collections::BTreeSet;

use log::info;

use super::{Answer, Business, done_code, group_model, reply, same_or_ask};
use crate::base::im_pdu::PduRef;
use crate::pb::base_define::{GroupModifyType, GroupType};
use crate::pb::cmd::*;
use crate::pb::group::*;
use crate::pb::server::{ImGroupGetShieldReq, ImGroupGetShieldRsp};

/// C++: db_proxy_server/business/GroupAction.cpp createGroup
/// Differs: an unknown kind of group is refused instead of ignored.
pub fn create_group(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupCreateReq = pdu.decode()?;
    let members: BTreeSet<u32> = msg.member_id_list.iter().copied().filter(|&id| id != 0).collect();
    let group_id = match GroupType::try_from(msg.group_type) {
        Ok(kind) => group_model::create_group(
            business,
            msg.user_id,
            &msg.group_name,
            &msg.group_avatar,
            kind as i32,
            &members,
        )?,
        Err(_) => None,
    };
    info!("user={} group={group_id:?} created members={}", msg.user_id, members.len());
    let answer = ImGroupCreateRsp {
        user_id: msg.user_id,
        result_code: done_code(group_id.is_some()),
        group_id,
        group_name: msg.group_name,
        user_id_list: members.into_iter().collect(),
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_CREATE_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/GroupAction.cpp getNormalGroupList
pub fn get_normal_group_list(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImNormalGroupListReq = pdu.decode()?;
    let answer = ImNormalGroupListRsp {
        user_id: msg.user_id,
        group_version_list: group_model::user_groups(business, msg.user_id, GroupType::Normal)?,
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_NORMAL_LIST_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/GroupAction.cpp getGroupInfo
pub fn get_group_info(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupInfoListReq = pdu.decode()?;
    let known = msg.group_version_list.iter().map(|known| (known.group_id, known.version));
    let answer = ImGroupInfoListRsp {
        user_id: msg.user_id,
        group_info_list: group_model::group_info(business, msg.user_id, &known.collect())?,
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_INFO_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/GroupAction.cpp modifyMember
/// Differs: an unknown group or kind of change is refused instead of ignored.
pub fn modify_member(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupChangeMemberReq = pdu.decode()?;
    let wanted: BTreeSet<u32> = msg.member_id_list.iter().copied().collect();
    let (user_id, group_id) = (msg.user_id, msg.group_id);
    let changed = match GroupModifyType::try_from(msg.change_type) {
        Ok(change) => {
            group_model::modify_group_member(business, user_id, group_id, change, &wanted)?
        }
        Err(_) => None,
    };
    let result_code = done_code(changed.is_some());
    let changed = changed.unwrap_or_default();
    info!("user={user_id} group={group_id} changed members={}", changed.changed.len());
    let answer = ImGroupChangeMemberRsp {
        user_id,
        change_type: msg.change_type,
        result_code,
        group_id,
        cur_user_id_list: changed.current,
        chg_user_id_list: changed.changed,
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_CHANGE_MEMBER_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/GroupAction.cpp setGroupPush
/// Differs: an unknown group, or one the user is not in, is refused instead of ignored.
pub fn set_group_push(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImGroupShieldReq = pdu.decode()?;
    let set = group_model::set_push(business, msg.user_id, msg.group_id, msg.shield_status)?;
    let answer = ImGroupShieldRsp {
        user_id: msg.user_id,
        group_id: msg.group_id,
        result_code: done_code(set),
        attach_data: msg.attach_data,
    };
    reply(SID_GROUP, CID_GROUP_SHIELD_GROUP_RESPONSE, pdu, &answer)
}

/// C++: db_proxy_server/business/GroupAction.cpp getGroupPush
/// Differs: an unknown group has an empty answer instead of none.
pub fn get_group_push(business: &Business, pdu: PduRef<'_>) -> Answer {
    get_group_pushes(business, &[pdu]).pop().unwrap_or(Ok(None))
}

/// What [`get_group_push`] does, for several requests. Those of one busy group ask all the same.
pub fn get_group_pushes(business: &Business, pdus: &[PduRef<'_>]) -> Vec<Answer> {
    let mut last = None;
    let answers = pdus.iter().map(|pdu| {
        let mut msg: ImGroupGetShieldReq = pdu.decode()?;
        let (group_id, attach_data) = (msg.group_id, msg.attach_data.take());
        let shields = same_or_ask(&mut last, msg, |msg| {
            group_model::push_shields(business, group_id, &msg.user_id)
        })?;
        let shield_status_list = shields.clone();
        let answer = ImGroupGetShieldRsp { group_id, shield_status_list, attach_data };
        reply(SID_OTHER, CID_OTHER_GET_SHIELD_RSP, *pdu, &answer)
    });
    answers.collect()
}
