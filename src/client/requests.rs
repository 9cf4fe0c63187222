//! Everything a user may ask of a msg_server, one call each.
//!
//! The user id in a request is a formality: servers put in that of the connection.

use super::blocking::Client;
use super::error::ClientError;
use super::event::{Message, Session};
use crate::pb::base_define::*;
use crate::pb::buddy::*;
use crate::pb::cmd::*;
use crate::pb::file::*;
use crate::pb::group::*;
use crate::pb::login::*;
use crate::pb::message::*;
use crate::pb::switch_service::ImP2pCmdMsg;

/// What lists of users and departments come with: the time to ask with the next time.
pub type Since<T> = (u32, Vec<T>);

/// A refusal where the answer has a result code.
fn check(what: &str, code: u32) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    Err(ClientError::Refused { what: what.to_owned(), code })
}

/// # Errors
/// Each call fails when the answer does not come in time, when the connection breaks, and with
/// [`ClientError::Refused`] when the server says no.
#[allow(clippy::missing_errors_doc, reason = "one text for all of them, above")]
impl Client {
    /// The clock of the server, Unix seconds.
    pub fn server_time(&mut self) -> Result<u32, ClientError> {
        let rsp: ImClientTimeRsp =
            self.ask(CID_MSG_TIME_REQUEST, &ImClientTimeReq::default(), CID_MSG_TIME_RESPONSE)?;
        Ok(rsp.server_time)
    }

    /// All users that changed since then; 0 for all there are.
    pub fn all_users(&mut self, since: u32) -> Result<Since<UserInfo>, ClientError> {
        let req =
            ImAllUserReq { user_id: self.user_id(), latest_update_time: since, attach_data: None };
        let rsp: ImAllUserRsp =
            self.ask(CID_BUDDY_LIST_ALL_USER_REQUEST, &req, CID_BUDDY_LIST_ALL_USER_RESPONSE)?;
        Ok((rsp.latest_update_time, rsp.user_list))
    }

    /// What is known of these users.
    pub fn users_info(&mut self, user_ids: &[u32]) -> Result<Vec<UserInfo>, ClientError> {
        let req = ImUsersInfoReq {
            user_id: self.user_id(),
            user_id_list: user_ids.to_vec(),
            attach_data: None,
        };
        let rsp: ImUsersInfoRsp =
            self.ask(CID_BUDDY_LIST_USER_INFO_REQUEST, &req, CID_BUDDY_LIST_USER_INFO_RESPONSE)?;
        Ok(rsp.user_info_list)
    }

    /// Who of these users is there.
    pub fn users_status(&mut self, user_ids: &[u32]) -> Result<Vec<UserStat>, ClientError> {
        let req = ImUsersStatReq {
            user_id: self.user_id(),
            user_id_list: user_ids.to_vec(),
            attach_data: None,
        };
        let rsp: ImUsersStatRsp = self.ask(
            CID_BUDDY_LIST_USERS_STATUS_REQUEST,
            &req,
            CID_BUDDY_LIST_USERS_STATUS_RESPONSE,
        )?;
        Ok(rsp.user_stat_list)
    }

    /// All departments that changed since then; 0 for all there are.
    pub fn departments(&mut self, since: u32) -> Result<Since<DepartInfo>, ClientError> {
        let req = ImDepartmentReq {
            user_id: self.user_id(),
            latest_update_time: since,
            attach_data: None,
        };
        let rsp: ImDepartmentRsp =
            self.ask(CID_BUDDY_LIST_DEPARTMENT_REQUEST, &req, CID_BUDDY_LIST_DEPARTMENT_RESPONSE)?;
        Ok((rsp.latest_update_time, rsp.dept_list))
    }

    /// With whom the user has talked since then, the newest first.
    pub fn recent_sessions(&mut self, since: u32) -> Result<Vec<ContactSessionInfo>, ClientError> {
        let req = ImRecentContactSessionReq {
            user_id: self.user_id(),
            latest_update_time: since,
            attach_data: None,
        };
        let rsp: ImRecentContactSessionRsp = self.ask(
            CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST,
            &req,
            CID_BUDDY_LIST_RECENT_CONTACT_SESSION_RESPONSE,
        )?;
        Ok(rsp.contact_session_list)
    }

    /// Takes a session off the list of recent ones.
    pub fn remove_session(&mut self, session: Session) -> Result<(), ClientError> {
        let req = ImRemoveSessionReq {
            user_id: self.user_id(),
            session_type: session.session_type().into(),
            session_id: session.id(),
            attach_data: None,
        };
        let rsp: ImRemoveSessionRsp =
            self.ask(CID_BUDDY_LIST_REMOVE_SESSION_REQ, &req, CID_BUDDY_LIST_REMOVE_SESSION_RES)?;
        check("remove a session", rsp.result_code)
    }

    /// Sets the user's picture.
    pub fn change_avatar(&mut self, avatar_url: &str) -> Result<(), ClientError> {
        let req = ImChangeAvatarReq {
            user_id: self.user_id(),
            avatar_url: avatar_url.to_owned().into(),
            attach_data: None,
        };
        let rsp: ImChangeAvatarRsp = self.ask(
            CID_BUDDY_LIST_CHANGE_AVATAR_REQUEST,
            &req,
            CID_BUDDY_LIST_CHANGE_AVATAR_RESPONSE,
        )?;
        check("change the picture", rsp.result_code)
    }

    /// Sets the user's signature.
    pub fn change_sign_info(&mut self, sign_info: &str) -> Result<(), ClientError> {
        let req = ImChangeSignInfoReq {
            user_id: self.user_id(),
            sign_info: sign_info.to_owned(),
            attach_data: None,
        };
        let rsp: ImChangeSignInfoRsp = self.ask(
            CID_BUDDY_LIST_CHANGE_SIGN_INFO_REQUEST,
            &req,
            CID_BUDDY_LIST_CHANGE_SIGN_INFO_RESPONSE,
        )?;
        check("change the signature", rsp.result_code)
    }

    /// Switches the quiet hours of the user's phone.
    pub fn set_push_shield(&mut self, on: bool) -> Result<(), ClientError> {
        let req = ImPushShieldReq {
            user_id: self.user_id(),
            shield_status: on.into(),
            attach_data: None,
        };
        let rsp: ImPushShieldRsp =
            self.ask(CID_LOGIN_REQ_PUSH_SHIELD, &req, CID_LOGIN_RES_PUSH_SHIELD)?;
        check("set the quiet hours", rsp.result_code)
    }

    /// Whether the user's phone has quiet hours.
    pub fn push_shield(&mut self) -> Result<bool, ClientError> {
        let req = ImQueryPushShieldReq { user_id: self.user_id(), attach_data: None };
        let rsp: ImQueryPushShieldRsp =
            self.ask(CID_LOGIN_REQ_QUERY_PUSH_SHIELD, &req, CID_LOGIN_RES_QUERY_PUSH_SHIELD)?;
        check("ask for the quiet hours", rsp.result_code)?;
        Ok(rsp.shield_status() == 1)
    }

    /// Tells where pushes for this phone go. Only phones are answered.
    pub fn set_device_token(&mut self, device_token: &str) -> Result<(), ClientError> {
        let req = ImDeviceTokenReq {
            user_id: self.user_id(),
            device_token: device_token.to_owned(),
            client_type: None,
            attach_data: None,
        };
        self.ask::<ImDeviceTokenRsp>(CID_LOGIN_REQ_DEVICETOKEN, &req, CID_LOGIN_RES_DEVICETOKEN)?;
        Ok(())
    }

    /// A phone sends the user's PCs away.
    pub fn kick_pc(&mut self) -> Result<(), ClientError> {
        let req = ImKickPcClientReq { user_id: self.user_id() };
        let rsp: ImKickPcClientRsp =
            self.ask(CID_LOGIN_REQ_KICKPCCLIENT, &req, CID_LOGIN_RES_KICKPCCLIENT)?;
        check("send the PC away", rsp.result_code)
    }

    /// How many messages are unread, and where.
    pub fn unread(&mut self) -> Result<Vec<UnreadInfo>, ClientError> {
        let req = ImUnreadMsgCntReq { user_id: self.user_id(), attach_data: None };
        let rsp: ImUnreadMsgCntRsp =
            self.ask(CID_MSG_UNREAD_CNT_REQUEST, &req, CID_MSG_UNREAD_CNT_RESPONSE)?;
        Ok(rsp.unreadinfo_list)
    }

    /// Tells that everything up to this message is read.
    pub fn mark_read(&mut self, session: Session, msg_id: u32) -> Result<(), ClientError> {
        let msg = ImMsgDataReadAck {
            user_id: self.user_id(),
            session_id: session.id(),
            msg_id,
            session_type: session.session_type().into(),
        };
        self.tell(CID_MSG_READ_ACK, &msg)
    }

    /// Up to `count` messages from number `newest` (0: the last one) backwards, the newest first.
    pub fn history(
        &mut self,
        session: Session,
        newest: u32,
        count: u32,
    ) -> Result<Vec<Message>, ClientError> {
        let req = ImGetMsgListReq {
            user_id: self.user_id(),
            session_type: session.session_type().into(),
            session_id: session.id(),
            msg_id_begin: newest,
            msg_cnt: count,
            attach_data: None,
        };
        let rsp: ImGetMsgListRsp = self.ask(CID_MSG_LIST_REQUEST, &req, CID_MSG_LIST_RESPONSE)?;
        Ok(self.messages_of(session, rsp.msg_list))
    }

    /// The messages with these numbers, as far as they exist.
    pub fn messages(
        &mut self,
        session: Session,
        msg_ids: &[u32],
    ) -> Result<Vec<Message>, ClientError> {
        let req = ImGetMsgByIdReq {
            user_id: self.user_id(),
            session_type: session.session_type().into(),
            session_id: session.id(),
            msg_id_list: msg_ids.to_vec(),
            attach_data: None,
        };
        let rsp: ImGetMsgByIdRsp =
            self.ask(CID_MSG_GET_BY_MSG_ID_REQ, &req, CID_MSG_GET_BY_MSG_ID_RES)?;
        Ok(self.messages_of(session, rsp.msg_list))
    }

    fn messages_of(&self, session: Session, list: Vec<MsgInfo>) -> Vec<Message> {
        let (me, aes) = (self.user_id(), self.core().aes());
        list.into_iter().map(|info| Message::of_history(info, session, me, aes)).collect()
    }

    /// The number of the newest message, 0 if there is none.
    pub fn latest_msg_id(&mut self, session: Session) -> Result<u32, ClientError> {
        let req = ImGetLatestMsgIdReq {
            user_id: self.user_id(),
            session_type: session.session_type().into(),
            session_id: session.id(),
            attach_data: None,
        };
        let rsp: ImGetLatestMsgIdRsp =
            self.ask(CID_MSG_GET_LATEST_MSG_ID_REQ, &req, CID_MSG_GET_LATEST_MSG_ID_RSP)?;
        Ok(rsp.latest_msg_id)
    }

    /// The groups the user is in, and their versions.
    pub fn groups(&mut self) -> Result<Vec<GroupVersionInfo>, ClientError> {
        let req = ImNormalGroupListReq { user_id: self.user_id(), attach_data: None };
        let rsp: ImNormalGroupListRsp =
            self.ask(CID_GROUP_NORMAL_LIST_REQUEST, &req, CID_GROUP_NORMAL_LIST_RESPONSE)?;
        Ok(rsp.group_version_list)
    }

    /// Those of these groups that are newer than the version that is said to be known.
    pub fn groups_info(
        &mut self,
        known: &[GroupVersionInfo],
    ) -> Result<Vec<GroupInfo>, ClientError> {
        let req = ImGroupInfoListReq {
            user_id: self.user_id(),
            group_version_list: known.to_vec(),
            attach_data: None,
        };
        let rsp: ImGroupInfoListRsp =
            self.ask(CID_GROUP_INFO_REQUEST, &req, CID_GROUP_INFO_RESPONSE)?;
        Ok(rsp.group_info_list)
    }

    /// All there is to know of one group.
    pub fn group(&mut self, group_id: u32) -> Result<Option<GroupInfo>, ClientError> {
        let known = GroupVersionInfo { group_id, version: 0 };
        Ok(self.groups_info(&[known])?.pop())
    }

    /// Makes a group of the user and these, and tells its id.
    pub fn create_group(&mut self, name: &str, members: &[u32]) -> Result<u32, ClientError> {
        let req = ImGroupCreateReq {
            user_id: self.user_id(),
            group_type: GroupType::Tmp.into(),
            group_name: name.to_owned(),
            group_avatar: String::new(),
            member_id_list: members.to_vec(),
            attach_data: None,
        };
        let rsp: ImGroupCreateRsp =
            self.ask(CID_GROUP_CREATE_REQUEST, &req, CID_GROUP_CREATE_RESPONSE)?;
        check("create a group", rsp.result_code)?;
        rsp.group_id
            .ok_or_else(|| ClientError::Refused { what: "create a group".to_owned(), code: 1 })
    }

    /// Lets users into a group or out of it, and tells who is in it then.
    pub fn change_group(
        &mut self,
        group_id: u32,
        change: GroupModifyType,
        user_ids: &[u32],
    ) -> Result<Vec<u32>, ClientError> {
        let req = ImGroupChangeMemberReq {
            user_id: self.user_id(),
            change_type: change.into(),
            group_id,
            member_id_list: user_ids.to_vec(),
            attach_data: None,
        };
        let rsp: ImGroupChangeMemberRsp =
            self.ask(CID_GROUP_CHANGE_MEMBER_REQUEST, &req, CID_GROUP_CHANGE_MEMBER_RESPONSE)?;
        check("change a group", rsp.result_code)?;
        Ok(rsp.cur_user_id_list)
    }

    /// Has a group push no alerts, or push them again.
    pub fn shield_group(&mut self, group_id: u32, on: bool) -> Result<(), ClientError> {
        let req = ImGroupShieldReq {
            user_id: self.user_id(),
            group_id,
            shield_status: on.into(),
            attach_data: None,
        };
        let rsp: ImGroupShieldRsp =
            self.ask(CID_GROUP_SHIELD_GROUP_REQUEST, &req, CID_GROUP_SHIELD_GROUP_RESPONSE)?;
        check("shield a group", rsp.result_code)
    }

    /// Sends something from client to client that nobody stores: typing, shaking the window.
    pub fn send_p2p(&mut self, to_user_id: u32, cmd: &str) -> Result<(), ClientError> {
        let msg = ImP2pCmdMsg {
            from_user_id: self.user_id(),
            to_user_id,
            cmd_msg_data: cmd.as_bytes().to_vec().into(),
        };
        self.tell(CID_SWITCH_P2P_CMD, &msg)
    }

    /// Asks for a transfer of a file: the answer names the task and the file_servers to go to.
    pub fn request_file(
        &mut self,
        to_user_id: u32,
        file_name: &str,
        file_size: u32,
        trans_mode: TransferFileType,
    ) -> Result<ImFileRsp, ClientError> {
        let req = ImFileReq {
            from_user_id: self.user_id(),
            to_user_id,
            file_name: file_name.to_owned().into(),
            file_size,
            trans_mode: trans_mode.into(),
        };
        let rsp: ImFileRsp = self.ask(CID_FILE_REQUEST, &req, CID_FILE_RESPONSE)?;
        check("transfer a file", rsp.result_code)?;
        Ok(rsp)
    }

    /// The files that wait for the user, and the file_servers that have them.
    pub fn offline_files(&mut self) -> Result<ImFileHasOfflineRsp, ClientError> {
        let req = ImFileHasOfflineReq { user_id: self.user_id(), attach_data: None };
        self.ask(CID_FILE_HAS_OFFLINE_REQ, &req, CID_FILE_HAS_OFFLINE_RES)
    }

    /// Tells that a file is uploaded, so that its receiver learns of it.
    pub fn add_offline_file(&mut self, file: &ImFileRsp, size: u32) -> Result<(), ClientError> {
        let msg = ImFileAddOfflineReq {
            from_user_id: self.user_id(),
            to_user_id: file.to_user_id,
            task_id: file.task_id.clone(),
            file_name: file.file_name.clone(),
            file_size: size,
        };
        self.tell(CID_FILE_ADD_OFFLINE_REQ, &msg)
    }

    /// Tells that a file is fetched and need not be kept.
    pub fn del_offline_file(
        &mut self,
        from_user_id: u32,
        task_id: &str,
    ) -> Result<(), ClientError> {
        let msg = ImFileDelOfflineReq {
            from_user_id,
            to_user_id: self.user_id(),
            task_id: task_id.to_owned(),
        };
        self.tell(CID_FILE_DEL_OFFLINE_REQ, &msg)
    }
}
