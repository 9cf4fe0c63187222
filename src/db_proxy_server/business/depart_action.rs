//! The command about departments.

use super::{Answer, Business, depart_model, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::buddy::{ImDepartmentReq, ImDepartmentRsp};
use crate::pb::cmd::{CID_BUDDY_LIST_DEPARTMENT_RESPONSE, SID_BUDDY_LIST};

/// C++: db_proxy_server/business/DepartAction.cpp getChgedDepart
pub fn get_chged_depart(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImDepartmentReq = pdu.decode()?;
    let (dept_list, latest_update_time) =
        depart_model::changed_departs(business, msg.latest_update_time)?;
    let answer = ImDepartmentRsp {
        user_id: msg.user_id,
        latest_update_time,
        dept_list,
        attach_data: msg.attach_data,
    };
    reply(SID_BUDDY_LIST, CID_BUDDY_LIST_DEPARTMENT_RESPONSE, pdu, &answer)
}
