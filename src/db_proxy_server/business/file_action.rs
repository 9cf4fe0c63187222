//! The commands about files that wait for somebody.

use super::{Answer, Business, file_model, reply};
use crate::base::im_pdu::PduRef;
use crate::pb::cmd::{CID_FILE_HAS_OFFLINE_RES, SID_FILE};
use crate::pb::file::{
    ImFileAddOfflineReq, ImFileDelOfflineReq, ImFileHasOfflineReq, ImFileHasOfflineRsp,
};

/// C++: db_proxy_server/business/FileAction.cpp hasOfflineFile
pub fn has_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileHasOfflineReq = pdu.decode()?;
    let answer = ImFileHasOfflineRsp {
        user_id: msg.user_id,
        offline_file_list: file_model::offline_files(business, msg.user_id)?,
        // msg_server knows the addresses of the file_servers.
        ip_addr_list: Vec::new(),
        attach_data: msg.attach_data,
    };
    reply(SID_FILE, CID_FILE_HAS_OFFLINE_RES, pdu, &answer)
}

/// C++: db_proxy_server/business/FileAction.cpp addOfflineFile
pub fn add_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileAddOfflineReq = pdu.decode()?;
    file_model::add_offline_file(business, &msg)?;
    Ok(None)
}

/// C++: db_proxy_server/business/FileAction.cpp delOfflineFile
pub fn del_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileDelOfflineReq = pdu.decode()?;
    file_model::del_offline_file(business, msg.from_user_id, msg.to_user_id, &msg.task_id)?;
    Ok(None)
}
