//! The commands about files that wait for somebody.

use super::{Answer, Business, file_model, reply};
use crate::base::attach_data::{DbAttachData, PduAttachData};
use crate::base::file_places;
use crate::base::im_pdu::PduRef;
use crate::pb::cmd::{CID_FILE_HAS_OFFLINE_RES, SID_FILE};
use crate::pb::file::{
    ImFileAddOfflineReq, ImFileDelOfflineReq, ImFileHasOfflineReq, ImFileHasOfflineRsp,
};

/// The answer carries behind its attach data which file_server has each file, for a msg_server that
/// has not seen them come. The original looks no further than its own bytes.
///
/// C++: db_proxy_server/business/FileAction.cpp hasOfflineFile
/// Differs: tells which file_server has a file (F114).
pub fn has_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileHasOfflineReq = pdu.decode()?;
    let files = file_model::offline_files(business, msg.user_id)?;
    let attach_data = msg.attach_data.map(|attach| match DbAttachData::parse(&attach) {
        Ok(who) => {
            let places = file_places::encode(
                files.iter().map(|file| (file.info.task_id.as_str(), file.server.as_slice())),
            );
            PduAttachData::new(who.attach_type, who.handle, &places).encode().into()
        }
        Err(_) => attach,
    });
    let answer = ImFileHasOfflineRsp {
        user_id: msg.user_id,
        offline_file_list: files.into_iter().map(|file| file.info).collect(),
        // Of those that are there, msg_server knows the addresses.
        ip_addr_list: Vec::new(),
        attach_data,
    };
    reply(SID_FILE, CID_FILE_HAS_OFFLINE_RES, pdu, &answer)
}

/// The request may carry attach data, which the message of the original does not have: where
/// clients reach the file_server.
///
/// C++: db_proxy_server/business/FileAction.cpp addOfflineFile
/// Differs: keeps which file_server has a file (F114).
pub fn add_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileAddOfflineReq = pdu.decode()?;
    let server = file_places::server_of_request(pdu)?;
    file_model::add_offline_file(business, &msg, &server)?;
    Ok(None)
}

/// C++: db_proxy_server/business/FileAction.cpp delOfflineFile
pub fn del_offline_file(business: &Business, pdu: PduRef<'_>) -> Answer {
    let msg: ImFileDelOfflineReq = pdu.decode()?;
    file_model::del_offline_file(business, msg.from_user_id, msg.to_user_id, &msg.task_id)?;
    Ok(None)
}
