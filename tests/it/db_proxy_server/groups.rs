//! Groups: who may do what, and that members, counts and caches agree.

use teamtalk::pb::base_define::{GroupModifyType, GroupType, GroupVersionInfo, SessionType};
use teamtalk::pb::buddy::{ImRecentContactSessionReq, ImRecentContactSessionRsp};
use teamtalk::pb::buddy::{ImRemoveSessionReq, ImRemoveSessionRsp};
use teamtalk::pb::cmd::*;
use teamtalk::pb::group::*;
use teamtalk::pb::server::{ImGroupGetShieldReq, ImGroupGetShieldRsp};

use super::installation::{Installation, NOW, on_each};

const ADMINISTRATOR: u32 = 0;

impl Installation {
    /// The answer, with the small numbers of users: result, members now, and who changed.
    fn change(
        &self,
        user_id: u32,
        change_type: GroupModifyType,
        group_id: u32,
        members: &[u32],
    ) -> (u32, Vec<u32>, Vec<u32>) {
        let msg = ImGroupChangeMemberReq {
            user_id,
            change_type: change_type.into(),
            group_id,
            member_id_list: members.iter().map(|&n| self.id(n)).collect(),
            attach_data: Some(b"mine".as_slice().into()),
        };
        let answer: ImGroupChangeMemberRsp = self.ask(CID_GROUP_CHANGE_MEMBER_REQUEST, &msg);
        assert_eq!((answer.group_id, &answer.attach_data), (group_id, &msg.attach_data));
        let small = |ids: &[u32]| ids.iter().map(|&id| self.n(id)).collect();
        let (now, changed) = (small(&answer.cur_user_id_list), small(&answer.chg_user_id_list));
        (answer.result_code, now, changed)
    }

    fn info(&self, n: u32, known: &[(u32, u32)]) -> Vec<(u32, u32, Vec<u32>)> {
        let version = |&(group_id, version): &(u32, u32)| GroupVersionInfo { group_id, version };
        let msg = ImGroupInfoListReq {
            user_id: self.id(n),
            group_version_list: known.iter().map(version).collect(),
            attach_data: None,
        };
        let answer: ImGroupInfoListRsp = self.ask(CID_GROUP_INFO_REQUEST, &msg);
        let small = |ids: &[u32]| ids.iter().map(|&id| self.n(id)).collect();
        let groups = answer.group_info_list.iter();
        groups.map(|g| (g.group_id, g.version, small(&g.group_member_list))).collect()
    }

    fn row(&self, column: &str, group_id: u32) -> u32 {
        let sql = format!("select {column} as n from IMGroup where id=?");
        self.number(&sql, &[group_id.into()]).unwrap()
    }

    fn sessions(&self, n: u32) -> Vec<u32> {
        let user_id = self.id(n);
        let msg = ImRecentContactSessionReq { user_id, latest_update_time: 0, attach_data: None };
        let answer: ImRecentContactSessionRsp =
            self.ask(CID_BUDDY_LIST_RECENT_CONTACT_SESSION_REQUEST, &msg);
        answer.contact_session_list.iter().map(|session| session.session_id).collect()
    }
}

#[test]
fn f102_s14_a_group_is_made_whole_and_counts_its_members_once() {
    on_each(|on| {
        let members = on.ids([1, 2, 3]);
        let answer = on.create(on.id(1), GroupType::Normal, "研发 😀", &members);
        let group_id = answer.group_id.unwrap();
        assert_eq!((answer.result_code, answer.user_id_list), (0, members.to_vec()));
        assert_eq!(on.row("userCnt", group_id), 3);
        assert_eq!(on.info(2, &[(group_id, 0)]), [(group_id, 1, vec![1, 2, 3])]);
        assert_eq!(on.info(2, &[(group_id, 1)]), [], "he knows this version");
        let msg = ImNormalGroupListReq { user_id: on.id(3), attach_data: None };
        let list: ImNormalGroupListRsp = on.ask(CID_GROUP_NORMAL_LIST_REQUEST, &msg);
        assert_eq!(list.group_version_list, [GroupVersionInfo { group_id, version: 1 }]);
        on.group(GroupType::Tmp, &[3, 4]);
        let list: ImNormalGroupListRsp = on.ask(CID_GROUP_NORMAL_LIST_REQUEST, &msg);
        assert_eq!(list.group_version_list.len(), 1, "temporary groups are not on it");
    });
}

#[test]
fn a_group_without_name_or_members_is_refused() {
    on_each(|on| {
        let refused = |name: &str, members: &[u32]| {
            let answer = on.create(on.id(1), GroupType::Normal, name, members);
            assert_eq!((answer.result_code, answer.group_id), (1, None));
        };
        refused("", &on.ids([1]));
        refused("name", &[]);
        refused("name", &[0]);
        let msg = ImGroupCreateReq { group_type: 7, ..ImGroupCreateReq::default() };
        assert_eq!(on.ask::<ImGroupCreateRsp>(CID_GROUP_CREATE_REQUEST, &msg).result_code, 1);
        let long = ImGroupCreateReq {
            user_id: on.id(1),
            group_type: GroupType::Tmp.into(),
            group_name: "x".repeat(10_240),
            member_id_list: on.ids([1]).to_vec(),
            ..ImGroupCreateReq::default()
        };
        let error = on.try_ask(CID_GROUP_CREATE_REQUEST, &long).unwrap_err();
        assert!(error.contains("too long for column name"), "{error}");
        let groups = "select count(*) as n from IMGroup where creator=?";
        assert_eq!(on.number(groups, &[on.id(1).into()]), Some(0), "nothing of it is there");
    });
}

#[test]
fn f14_adding_needs_membership_and_everybody_may_leave() {
    on_each(|on| {
        use GroupModifyType::{Add, Del};
        let refused = (1, vec![], vec![]);
        let temporary = on.group(GroupType::Tmp, &[1, 2]);
        assert_eq!(on.change(on.id(9), Add, temporary, &[9]), refused, "a stranger");
        assert_eq!(on.change(on.id(2), Add, temporary, &[3]), (0, vec![1, 2, 3], vec![3]));
        assert_eq!(on.change(on.id(2), Del, temporary, &[3]), refused, "not the creator");
        assert_eq!(on.change(on.id(3), Del, temporary, &[3, 2]), refused, "not only himself");
        assert_eq!(on.change(on.id(3), Del, temporary, &[3]), (0, vec![1, 2], vec![3]));
        let normal = on.group(GroupType::Normal, &[1, 2]);
        assert_eq!(on.change(on.id(2), Add, normal, &[3]), refused);
        assert_eq!(on.change(on.id(1), Add, normal, &[2, 3]), (0, vec![1, 2, 3], vec![3]));
        assert_eq!(on.change(on.id(1), Add, normal, &[2, 3]), refused, "nothing would change");
        assert_eq!(on.change(on.id(1), Del, normal, &[2, 7]), (0, vec![1, 3], vec![2]));
        assert_eq!((on.row("version", normal), on.row("userCnt", normal)), (3, 2));
        assert_eq!(on.change(on.id(1), Add, 4_000_000_000, &[2]), refused, "no such group");
    });
}

#[test]
fn f2_only_http_msg_server_changes_every_group() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1]);
        let added = on.change(ADMINISTRATOR, GroupModifyType::Add, group_id, &[2, 3]);
        assert_eq!(added, (0, vec![1, 2, 3], vec![2, 3]));
        let removed = on.change(ADMINISTRATOR, GroupModifyType::Del, group_id, &[1, 2, 3]);
        assert_eq!(removed, (0, vec![], vec![1, 2, 3]));
        assert_eq!(on.send_to_group(1, group_id), 0);
    });
}

#[test]
fn f15_who_is_not_in_a_group_learns_nothing_about_it() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        assert_eq!(on.info(3, &[(group_id, 0)]), []);
        assert_eq!((on.send_to_group(3, group_id), on.send_to_group(1, group_id)), (0, 1));
        on.change(on.id(1), GroupModifyType::Del, group_id, &[2]);
        assert_eq!(on.info(2, &[(group_id, 0)]), []);
        assert_eq!(on.send_to_group(2, group_id), 0);
    });
}

#[test]
fn who_comes_back_has_nothing_to_catch_up_with() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        on.send_to_group(1, group_id);
        on.change(on.id(2), GroupModifyType::Del, group_id, &[2]);
        on.send_to_group(1, group_id);
        on.change(on.id(1), GroupModifyType::Add, group_id, &[2]);
        assert_eq!(on.unread(2), []);
        on.send_to_group(1, group_id);
        assert_eq!(on.unread(2), [(SessionType::Group, group_id, 1)]);
        assert_eq!(
            on.number(
                "select count(*) as n from IMGroupMember where groupId=? and userId=?",
                &[group_id.into(), on.id(2).into()],
            ),
            Some(1),
            "one row for one membership"
        );
    });
}

#[test]
fn shields_are_set_by_members_and_asked_for_by_the_push() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2, 3]);
        let set = |n: u32, shield_status| {
            let msg =
                ImGroupShieldReq { user_id: on.id(n), group_id, shield_status, attach_data: None };
            on.ask::<ImGroupShieldRsp>(CID_GROUP_SHIELD_GROUP_REQUEST, &msg).result_code
        };
        assert_eq!((set(2, 1), set(3, 1), set(3, 0), set(9, 1)), (0, 0, 0, 1));
        let msg = ImGroupGetShieldReq {
            group_id,
            user_id: on.ids([1, 2, 3, 9]).to_vec(),
            attach_data: None,
        };
        let answer: ImGroupGetShieldRsp = on.ask(CID_OTHER_GET_SHIELD_REQ, &msg);
        let mut shields: Vec<_> = answer
            .shield_status_list
            .iter()
            .map(|shield| (on.n(shield.user_id), shield.shield_status))
            .collect();
        shields.sort_unstable();
        assert_eq!(shields, [(1, 0), (2, 1), (3, 0)]);
        let unknown = ImGroupGetShieldReq { group_id: 4_000_000_000, ..msg };
        let answer: ImGroupGetShieldRsp = on.ask(CID_OTHER_GET_SHIELD_REQ, &unknown);
        assert_eq!(answer.shield_status_list, []);
    });
}

#[test]
fn f99_s15_a_group_is_on_the_lists_of_its_members_when_something_is_said() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        assert_eq!(on.sessions(2), [0; 0], "nothing was said yet");
        on.send_to_group(1, group_id);
        assert_eq!((on.sessions(1), on.sessions(2)), (vec![group_id], vec![group_id]));
        assert_eq!(on.sessions(3), [0; 0]);
        let remove = || {
            let msg = ImRemoveSessionReq {
                user_id: on.id(2),
                session_type: SessionType::Group.into(),
                session_id: group_id,
                attach_data: None,
            };
            on.ask::<ImRemoveSessionRsp>(CID_BUDDY_LIST_REMOVE_SESSION_REQ, &msg).result_code
        };
        assert_eq!((remove(), remove()), (0, 1));
        assert_eq!((on.sessions(2), on.unread(2)), (vec![], vec![]));
        // Something is said later than that.
        on.execute(
            "update IMGroup set lastChated=? where id=?",
            &[(NOW + 1).into(), group_id.into()],
        );
        assert_eq!(on.sessions(2), [group_id]);
    });
}

#[test]
fn an_original_beside_finds_members_and_shields_in_the_cache() {
    on_each(|on| {
        let group_id = on.group(GroupType::Normal, &[1, 2]);
        on.change(on.id(1), GroupModifyType::Add, group_id, &[3]);
        on.change(on.id(1), GroupModifyType::Del, group_id, &[2]);
        let msg =
            ImGroupShieldReq { user_id: on.id(3), group_id, shield_status: 1, attach_data: None };
        on.ask::<ImGroupShieldRsp>(CID_GROUP_SHIELD_GROUP_REQUEST, &msg);
        let cache = |pool: &str, key: String| {
            let mut cache = on.business.cache.cache_conn(pool).unwrap();
            let mut fields: Vec<_> = cache.hget_all(&key).unwrap().into_keys().collect();
            fields.sort();
            fields
        };
        let members = cache("group_member", format!("group_member_{group_id}"));
        let shields = cache("group_set", format!("group_set_{group_id}"));
        if on.is_embedded {
            assert_eq!((members, shields), (vec![], vec![]), "nobody is beside");
        } else {
            assert_eq!(members, on.ids([1, 3]).map(|id| id.to_string()));
            assert_eq!(shields, [format!("{}_1", on.id(3))]);
        }
    });
}
