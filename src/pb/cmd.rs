//! Service and command ids, under the names they have on the wire.
//!
//! Only the command id decides what happens to a PDU; its high byte equals the service id. Who
//! sends a command to whom is said at its body.

#[cfg(doc)]
use super::{buddy, file, group, login, message, other, server, switch_service};

/// Makes of one list the constants, a table of them, and the way from id to name.
macro_rules! ids {
    (
        $(#[$table_doc:meta])* table $table:ident;
        $(#[$name_doc:meta])* name $name:ident;
        $($(#[$doc:meta])* $id:ident = $value:literal;)*
    ) => {
        $($(#[$doc])* pub const $id: u16 = $value;)*

        $(#[$table_doc])*
        pub const $table: &[(u16, &str)] = &[$(($id, stringify!($id))),*];

        $(#[$name_doc])*
        pub const fn $name(id: u16) -> &'static str {
            match id {
                $($id => stringify!($id),)*
                _ => "unknown",
            }
        }
    };
}

ids! {
    /// All service ids with their names.
    table SERVICES;
    /// The name of a service id, or `unknown`.
    name service_name;

    /// Login and what belongs to one client.
    SID_LOGIN = 0x0001;
    /// Users, sessions, departments and presence.
    SID_BUDDY_LIST = 0x0002;
    /// Messages.
    SID_MSG = 0x0003;
    /// Groups.
    SID_GROUP = 0x0004;
    /// File transfer.
    SID_FILE = 0x0005;
    /// Commands from client to client.
    SID_SWITCH_SERVICE = 0x0006;
    /// The heartbeat, and what servers say to each other.
    SID_OTHER = 0x0007;
    /// Reserved.
    SID_INTERNAL = 0x0008;
}

ids! {
    /// All command ids with their names.
    table COMMANDS;
    /// The name of a command id for logs and metrics, or `unknown`.
    name command_name;

    /// Carries [`login::ImMsgServReq`].
    CID_LOGIN_REQ_MSGSERVER = 0x0101;
    /// Carries [`login::ImMsgServRsp`].
    CID_LOGIN_RES_MSGSERVER = 0x0102;
    /// Carries [`login::ImLoginReq`].
    CID_LOGIN_REQ_USERLOGIN = 0x0103;
    /// Carries [`login::ImLoginRes`].
    CID_LOGIN_RES_USERLOGIN = 0x0104;
    /// Carries [`login::ImLogoutReq`].
    CID_LOGIN_REQ_LOGINOUT = 0x0105;
    /// Carries [`login::ImLogoutRsp`].
    CID_LOGIN_RES_LOGINOUT = 0x0106;
    /// Carries [`login::ImKickUser`].
    CID_LOGIN_KICK_USER = 0x0107;
    /// Carries [`login::ImDeviceTokenReq`].
    CID_LOGIN_REQ_DEVICETOKEN = 0x0108;
    /// Carries [`login::ImDeviceTokenRsp`].
    CID_LOGIN_RES_DEVICETOKEN = 0x0109;
    /// Carries [`login::ImKickPcClientReq`].
    CID_LOGIN_REQ_KICKPCCLIENT = 0x010a;
    /// Carries [`login::ImKickPcClientRsp`].
    CID_LOGIN_RES_KICKPCCLIENT = 0x010b;
    /// Carries [`login::ImPushShieldReq`].
    CID_LOGIN_REQ_PUSH_SHIELD = 0x010c;
    /// Carries [`login::ImPushShieldRsp`].
    CID_LOGIN_RES_PUSH_SHIELD = 0x010d;
    /// Carries [`login::ImQueryPushShieldReq`].
    CID_LOGIN_REQ_QUERY_PUSH_SHIELD = 0x010e;
    /// Carries [`login::ImQueryPushShieldRsp`].
    CID_LOGIN_RES_QUERY_PUSH_SHIELD = 0x010f;
    /// Carries [`login::ImRegistReq`].
    CID_LOGIN_REQ_REGIST = 0x0110;
    /// Carries [`login::ImRegistRes`].
    CID_LOGIN_RES_REGIST = 0x0111;

    /// Carries [`buddy::ImRecentContactSessionReq`].
    CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST = 0x0201;
    /// Carries [`buddy::ImRecentContactSessionRsp`].
    CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE = 0x0202;
    /// Carries [`buddy::ImUserStatNotify`].
    CID_BUDDY_LIST_STATUS_NOTIFY = 0x0203;
    /// Carries [`buddy::ImUsersInfoReq`].
    CID_BUDDY_LIST_USER_INFO_REQUEST = 0x0204;
    /// Carries [`buddy::ImUsersInfoRsp`].
    CID_BUDDY_LIST_USER_INFO_RESPONSE = 0x0205;
    /// Carries [`buddy::ImRemoveSessionReq`].
    CID_BUDDY_LIST_REMOVE_SESSION_REQ = 0x0206;
    /// Carries [`buddy::ImRemoveSessionRsp`].
    CID_BUDDY_LIST_REMOVE_SESSION_RES = 0x0207;
    /// Carries [`buddy::ImAllUserReq`].
    CID_BUDDY_LIST_ALL_USER_REQUEST = 0x0208;
    /// Carries [`buddy::ImAllUserRsp`].
    CID_BUDDY_LIST_ALL_USER_RESPONSE = 0x0209;
    /// Carries [`buddy::ImUsersStatReq`].
    CID_BUDDY_LIST_USERS_STATUS_REQUEST = 0x020a;
    /// Carries [`buddy::ImUsersStatRsp`].
    CID_BUDDY_LIST_USERS_STATUS_RESPONSE = 0x020b;
    /// Carries [`buddy::ImChangeAvatarReq`].
    CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST = 0x020c;
    /// Carries [`buddy::ImChangeAvatarRsp`].
    CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE = 0x020d;
    /// Carries [`buddy::ImPcLoginStatusNotify`].
    CID_BUDDY_LIST_PC_LOGIN_STATUS_NOTIFY = 0x020e;
    /// Carries [`buddy::ImRemoveSessionNotify`].
    CID_BUDDY_LIST_REMOVE_SESSION_NOTIFY = 0x020f;
    /// Carries [`buddy::ImDepartmentReq`].
    CID_BUDDY_LIST_DEPARTMENT_REQUEST = 0x0210;
    /// Carries [`buddy::ImDepartmentRsp`].
    CID_BUDDY_LIST_DEPARTMENT_RESPONSE = 0x0211;
    /// Carries [`buddy::ImAvatarChangedNotify`].
    CID_BUDDY_LIST_AVATAR_CHANGED_NOTIFY = 0x0212;
    /// Carries [`buddy::ImChangeSignInfoReq`].
    CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST = 0x0213;
    /// Carries [`buddy::ImChangeSignInfoRsp`].
    CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE = 0x0214;
    /// Carries [`buddy::ImSignInfoChangedNotify`].
    CID_BUDDY_LIST_SIGN_INFO_CHANGED_NOTIFY = 0x0215;

    /// Carries [`message::ImMsgData`].
    CID_MSG_DATA = 0x0301;
    /// Carries [`message::ImMsgDataAck`].
    CID_MSG_DATA_ACK = 0x0302;
    /// Carries [`message::ImMsgDataReadAck`].
    CID_MSG_READ_ACK = 0x0303;
    /// Carries [`message::ImMsgDataReadNotify`].
    CID_MSG_READ_NOTIFY = 0x0304;
    /// Carries [`message::ImClientTimeReq`].
    CID_MSG_TIME_REQUEST = 0x0305;
    /// Carries [`message::ImClientTimeRsp`].
    CID_MSG_TIME_RESPONSE = 0x0306;
    /// Carries [`message::ImUnreadMsgCntReq`].
    CID_MSG_UNREAD_CNT_REQUEST = 0x0307;
    /// Carries [`message::ImUnreadMsgCntRsp`].
    CID_MSG_UNREAD_CNT_RESPONSE = 0x0308;
    /// Carries [`message::ImGetMsgListReq`].
    CID_MSG_LIST_REQUEST = 0x0309;
    /// Carries [`message::ImGetMsgListRsp`].
    CID_MSG_LIST_RESPONSE = 0x030a;
    /// Carries [`message::ImGetLatestMsgIdReq`].
    CID_MSG_GET_LATEST_MSG_ID_REQ = 0x030b;
    /// Carries [`message::ImGetLatestMsgIdRsp`].
    CID_MSG_GET_LATEST_MSG_ID_RSP = 0x030c;
    /// Carries [`message::ImGetMsgByIdReq`].
    CID_MSG_GET_BY_MSG_ID_REQ = 0x030d;
    /// Carries [`message::ImGetMsgByIdRsp`].
    CID_MSG_GET_BY_MSG_ID_RES = 0x030e;

    /// Carries [`group::ImNormalGroupListReq`].
    CID_GROUP_NORMAL_LIST_REQUEST = 0x0401;
    /// Carries [`group::ImNormalGroupListRsp`].
    CID_GROUP_NORMAL_LIST_RESPONSE = 0x0402;
    /// Carries [`group::ImGroupInfoListReq`].
    CID_GROUP_INFO_REQUEST = 0x0403;
    /// Carries [`group::ImGroupInfoListRsp`].
    CID_GROUP_INFO_RESPONSE = 0x0404;
    /// Carries [`group::ImGroupCreateReq`].
    CID_GROUP_CREATE_REQUEST = 0x0405;
    /// Carries [`group::ImGroupCreateRsp`].
    CID_GROUP_CREATE_RESPONSE = 0x0406;
    /// Carries [`group::ImGroupChangeMemberReq`].
    CID_GROUP_CHANGE_MEMBER_REQUEST = 0x0407;
    /// Carries [`group::ImGroupChangeMemberRsp`].
    CID_GROUP_CHANGE_MEMBER_RESPONSE = 0x0408;
    /// Carries [`group::ImGroupShieldReq`].
    CID_GROUP_SHIELD_GROUP_REQUEST = 0x0409;
    /// Carries [`group::ImGroupShieldRsp`].
    CID_GROUP_SHIELD_GROUP_RESPONSE = 0x040a;
    /// Carries [`group::ImGroupChangeMemberNotify`].
    CID_GROUP_CHANGE_MEMBER_NOTIFY = 0x040b;

    /// Carries [`file::ImFileLoginReq`].
    CID_FILE_LOGIN_REQ = 0x0501;
    /// Carries [`file::ImFileLoginRsp`].
    CID_FILE_LOGIN_RES = 0x0502;
    /// Carries [`file::ImFileState`].
    CID_FILE_STATE = 0x0503;
    /// Carries [`file::ImFilePullDataReq`].
    CID_FILE_PULL_DATA_REQ = 0x0504;
    /// Carries [`file::ImFilePullDataRsp`].
    CID_FILE_PULL_DATA_RSP = 0x0505;
    /// Carries [`file::ImFileReq`].
    CID_FILE_REQUEST = 0x0506;
    /// Carries [`file::ImFileRsp`].
    CID_FILE_RESPONSE = 0x0507;
    /// Carries [`file::ImFileNotify`].
    CID_FILE_NOTIFY = 0x0508;
    /// Carries [`file::ImFileHasOfflineReq`].
    CID_FILE_HAS_OFFLINE_REQ = 0x0509;
    /// Carries [`file::ImFileHasOfflineRsp`].
    CID_FILE_HAS_OFFLINE_RES = 0x050a;
    /// Carries [`file::ImFileAddOfflineReq`].
    CID_FILE_ADD_OFFLINE_REQ = 0x050b;
    /// Carries [`file::ImFileDelOfflineReq`].
    CID_FILE_DEL_OFFLINE_REQ = 0x050c;

    /// Carries [`switch_service::ImP2pCmdMsg`].
    CID_SWITCH_P2P_CMD = 0x0601;

    /// Carries [`other::ImHeartBeat`].
    CID_OTHER_HEARTBEAT = 0x0701;
    /// Carries [`server::ImStopReceivePacket`].
    CID_OTHER_STOP_RECV_PACKET = 0x0702;
    /// Carries [`server::ImValidateReq`].
    CID_OTHER_VALIDATE_REQ = 0x0703;
    /// Carries [`server::ImValidateRsp`].
    CID_OTHER_VALIDATE_RSP = 0x0704;
    /// Carries [`server::ImGetDeviceTokenReq`].
    CID_OTHER_GET_DEVICE_TOKEN_REQ = 0x0705;
    /// Carries [`server::ImGetDeviceTokenRsp`].
    CID_OTHER_GET_DEVICE_TOKEN_RSP = 0x0706;
    /// Carries [`server::ImRoleSet`].
    CID_OTHER_ROLE_SET = 0x0707;
    /// Carries [`server::ImOnlineUserInfo`].
    CID_OTHER_ONLINE_USER_INFO = 0x0708;
    /// Carries [`server::ImMsgServInfo`].
    CID_OTHER_MSG_SERV_INFO = 0x0709;
    /// Carries [`server::ImUserStatusUpdate`].
    CID_OTHER_USER_STATUS_UPDATE = 0x070a;
    /// Carries [`server::ImUserCntUpdate`].
    CID_OTHER_USER_CNT_UPDATE = 0x070b;
    /// Carries [`server::ImServerKickUser`].
    CID_OTHER_SERVER_KICK_USER = 0x070d;
    /// Carries [`server::ImServerPcLoginStatusNotify`].
    CID_OTHER_LOGIN_STATUS_NOTIFY = 0x070e;
    /// Carries [`server::ImPushToUserReq`].
    CID_OTHER_PUSH_TO_USER_REQ = 0x070f;
    /// Carries [`server::ImPushToUserRsp`].
    CID_OTHER_PUSH_TO_USER_RSP = 0x0710;
    /// Carries [`server::ImGroupGetShieldReq`].
    CID_OTHER_GET_SHIELD_REQ = 0x0711;
    /// Carries [`server::ImGroupGetShieldRsp`].
    CID_OTHER_GET_SHIELD_RSP = 0x0712;
    /// Carries [`server::ImFileTransferReq`].
    CID_OTHER_FILE_TRANSFER_REQ = 0x0731;
    /// Carries [`server::ImFileTransferRsp`].
    CID_OTHER_FILE_TRANSFER_RSP = 0x0732;
    /// Carries [`server::ImFileServerIpReq`].
    CID_OTHER_FILE_SERVER_IP_REQ = 0x0733;
    /// Carries [`server::ImFileServerIpRsp`].
    CID_OTHER_FILE_SERVER_IP_RSP = 0x0734;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::pb::FILE_DESCRIPTOR_SET;

    type Names = BTreeSet<(u16, String)>;

    fn enum_values(is_wanted: fn(&str) -> bool) -> Names {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let enums = files.iter().flat_map(|file| &file.enum_type);
        let values = enums.filter(|e| is_wanted(e.name())).flat_map(|e| &e.value);
        values.map(|v| (u16::try_from(v.number()).unwrap(), v.name().to_owned())).collect()
    }

    fn names(table: &[(u16, &str)]) -> Names {
        table.iter().map(|&(id, name)| (id, name.to_owned())).collect()
    }

    #[test]
    fn the_constants_are_the_enums_of_proto() {
        assert_eq!(names(SERVICES), enum_values(|name| name == "ServiceID"));
        assert_eq!(names(COMMANDS), enum_values(|name| name.ends_with("CmdID")));
        assert_eq!((SERVICES.len(), COMMANDS.len()), (8, 97));
    }

    #[test]
    fn the_high_byte_of_a_command_id_is_its_service_id() {
        for &(id, name) in COMMANDS {
            let service = service_name(id >> 8).trim_end_matches("_SERVICE");
            assert!(name.starts_with(&service.replace("SID_", "CID_")), "{name} in {service}");
        }
    }

    #[test]
    fn every_id_has_a_name_and_no_other_number_has_one() {
        for &(id, name) in COMMANDS {
            assert_eq!(command_name(id), name);
        }
        assert_eq!(command_name(CID_OTHER_HEARTBEAT), "CID_OTHER_HEARTBEAT");
        assert_eq!(service_name(SID_SWITCH_SERVICE), "SID_SWITCH_SERVICE");
        let named = (0..=u16::MAX).filter(|&id| command_name(id) != "unknown").count();
        assert_eq!(named, COMMANDS.len());
    }
}
