//! Who is on line, on which msg_server and with what kind of client.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::base::public_define::client_type_is_pc;
use crate::netlib::NetHandle;
use crate::pb::base_define::{ClientType, UserStatType};

/// Where one user is logged in, and how often.
///
/// C++: route_server/UserInfo.h CUserInfo
/// Differs: counts are kept by msg_server as well, not summed over all of them (F59).
#[derive(Debug, Default)]
pub struct UserInfo {
    /// Few: at most one for each msg_server and type.
    clients: Vec<Clients>,
}

/// The clients of one type that a user has on one msg_server.
#[derive(Clone, Copy, Debug)]
struct Clients {
    route_conn: NetHandle,
    client_type: ClientType,
    count: u32,
}

impl UserInfo {
    /// C++: route_server/UserInfo.cpp CUserInfo::AddClientType
    fn add_client_type(&mut self, route_conn: NetHandle, client_type: ClientType) {
        match self.position(route_conn, client_type) {
            Some(at) => self.clients[at].count = self.clients[at].count.saturating_add(1),
            None => self.clients.push(Clients { route_conn, client_type, count: 1 }),
        }
    }

    /// C++: route_server/UserInfo.cpp CUserInfo::RemoveClientType
    fn remove_client_type(&mut self, route_conn: NetHandle, client_type: ClientType) {
        let Some(at) = self.position(route_conn, client_type) else {
            return;
        };
        self.clients[at].count -= 1;
        if self.clients[at].count == 0 {
            self.clients.swap_remove(at);
        }
    }

    /// Forgets all clients on this msg_server.
    ///
    /// C++: route_server/UserInfo.h CUserInfo::RemoveRouteConn
    fn remove_route_conn(&mut self, route_conn: NetHandle) {
        self.clients.retain(|clients| clients.route_conn != route_conn);
    }

    /// Whether the user has a client on this msg_server.
    ///
    /// C++: route_server/UserInfo.cpp CUserInfo::FindRouteConn
    pub fn find_route_conn(&self, route_conn: NetHandle) -> bool {
        self.clients.iter().any(|clients| clients.route_conn == route_conn)
    }

    /// Whether no client is left.
    ///
    /// C++: route_server/UserInfo.cpp CUserInfo::IsMsgConnNULL
    fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// C++: route_server/UserInfo.cpp CUserInfo::IsPCClientLogin
    pub fn is_pc_client_login(&self) -> bool {
        self.clients.iter().any(|clients| client_type_is_pc(clients.client_type.into()))
    }

    /// What others see: a user who has only a phone is off line (F63).
    ///
    /// C++: route_server/UserInfo.cpp CUserInfo::GetStatus
    pub fn status(&self) -> UserStatType {
        if self.is_pc_client_login() {
            UserStatType::UserStatusOnline
        } else {
            UserStatType::UserStatusOffline
        }
    }

    fn position(&self, route_conn: NetHandle, client_type: ClientType) -> Option<usize> {
        let same = |c: &Clients| c.route_conn == route_conn && c.client_type == client_type;
        self.clients.iter().position(same)
    }
}

/// All users who are on line.
///
/// Others are told who comes and goes when a msg_server reports it. Besides, a msg_server may
/// vanish with all its users, and come back with them: those changes are many at once, and are
/// handed out by [`UserInfoMap::next_untold`] one by one, each as it is by then.
///
/// C++: route_server/RouteConn.cpp g_user_map
#[derive(Debug, Default)]
pub struct UserInfoMap {
    users: HashMap<u32, UserInfo>,
    by_route_conn: HashMap<NetHandle, HashSet<u32>>,
    /// Whose PC may have gone, or come back, without a report of its own.
    untold: BTreeSet<u32>,
    /// Who was handed out as off line because a msg_server vanished, and is not back.
    told_offline: HashSet<u32>,
}

impl UserInfoMap {
    /// C++: route_server/RouteConn.cpp GetUserInfo
    pub fn user_info(&self, user_id: u32) -> Option<&UserInfo> {
        self.users.get(&user_id)
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is on line.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// One client of a user came or went on the msg_server behind `route_conn`.
    ///
    /// C++: route_server/RouteConn.cpp CRouteConn::_UpdateUserStatus
    /// Differs: what leaves one msg_server leaves it even if the user is still on another (F59).
    pub fn update_user_status(
        &mut self,
        route_conn: NetHandle,
        user_id: u32,
        status: UserStatType,
        client_type: ClientType,
    ) {
        match status {
            UserStatType::UserStatusOffline => self.remove(route_conn, user_id, client_type),
            UserStatType::UserStatusOnline | UserStatType::UserStatusLeave => {
                if client_type_is_pc(client_type.into()) {
                    // Whoever reports it also tells it.
                    self.told_offline.remove(&user_id);
                }
                self.add(route_conn, user_id, client_type);
            }
        }
    }

    /// Replaces all that is known of the msg_server behind `route_conn`.
    pub fn set_online_users(
        &mut self,
        route_conn: NetHandle,
        users: impl IntoIterator<Item = (u32, ClientType)>,
    ) {
        self.remove_route_conn(route_conn);
        for (user_id, client_type) in users {
            self.add(route_conn, user_id, client_type);
            if client_type_is_pc(client_type.into()) && self.told_offline.contains(&user_id) {
                self.untold.insert(user_id);
            }
        }
    }

    /// Forgets the msg_server behind `route_conn` and returns how many users it had.
    pub fn remove_route_conn(&mut self, route_conn: NetHandle) -> usize {
        let user_ids = self.by_route_conn.remove(&route_conn).unwrap_or_default();
        for &user_id in &user_ids {
            let Entry::Occupied(mut entry) = self.users.entry(user_id) else {
                continue;
            };
            let user = entry.get_mut();
            let had_pc = user.is_pc_client_login();
            user.remove_route_conn(route_conn);
            let has_pc = user.is_pc_client_login();
            if user.is_empty() {
                entry.remove();
            }
            if had_pc && !has_pc {
                self.untold.insert(user_id);
            }
        }
        user_ids.len()
    }

    /// The next user of whom others think otherwise than it is, and how it is: ONLINE or OFFLINE.
    /// A user who came back before his turn is not handed out at all.
    pub fn next_untold(&mut self) -> Option<(u32, UserStatType)> {
        while let Some(user_id) = self.untold.pop_first() {
            let status = self.user_info(user_id).map(UserInfo::status);
            if status == Some(UserStatType::UserStatusOnline) {
                if self.told_offline.remove(&user_id) {
                    return Some((user_id, UserStatType::UserStatusOnline));
                }
            } else if self.told_offline.insert(user_id) {
                return Some((user_id, UserStatType::UserStatusOffline));
            }
        }
        None
    }

    fn add(&mut self, route_conn: NetHandle, user_id: u32, client_type: ClientType) {
        self.users.entry(user_id).or_default().add_client_type(route_conn, client_type);
        self.by_route_conn.entry(route_conn).or_default().insert(user_id);
    }

    fn remove(&mut self, route_conn: NetHandle, user_id: u32, client_type: ClientType) {
        let Entry::Occupied(mut entry) = self.users.entry(user_id) else {
            return;
        };
        let user = entry.get_mut();
        user.remove_client_type(route_conn, client_type);
        let is_here = user.find_route_conn(route_conn);
        if user.is_empty() {
            entry.remove();
        }
        if is_here {
            return;
        }
        if let Entry::Occupied(mut users) = self.by_route_conn.entry(route_conn) {
            users.get_mut().remove(&user_id);
            if users.get().is_empty() {
                users.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::env;

    use super::*;
    use crate::netlib::testing::handles;

    const ONLINE: UserStatType = UserStatType::UserStatusOnline;
    const OFFLINE: UserStatType = UserStatType::UserStatusOffline;
    const PC: ClientType = ClientType::Windows;
    const PHONE: ClientType = ClientType::Ios;

    fn untold(users: &mut UserInfoMap) -> Vec<(u32, UserStatType)> {
        std::iter::from_fn(|| users.next_untold()).collect()
    }

    #[test]
    fn f59_a_client_that_leaves_one_msg_server_leaves_the_others_alone() {
        let [a, b] = handles();
        let mut users = UserInfoMap::default();
        users.update_user_status(a, 1, ONLINE, PC);
        users.update_user_status(a, 1, ONLINE, PC);
        users.update_user_status(b, 1, ONLINE, PC);
        for _ in 0..2 {
            assert!(users.user_info(1).unwrap().find_route_conn(a));
            users.update_user_status(a, 1, OFFLINE, PC);
        }
        let user = users.user_info(1).unwrap();
        assert!(!user.find_route_conn(a) && user.find_route_conn(b) && user.is_pc_client_login());
        // One too many, and one of a client that never came.
        users.update_user_status(a, 1, OFFLINE, PC);
        users.update_user_status(b, 1, OFFLINE, PHONE);
        assert_eq!(users.user_info(1).unwrap().status(), ONLINE);
        users.update_user_status(b, 1, OFFLINE, PC);
        assert!(users.user_info(1).is_none() && users.is_empty());
        assert!(untold(&mut users).is_empty(), "what is reported is told at once");
    }

    #[test]
    fn f63_a_user_with_only_a_phone_is_off_line_for_others() {
        let [a] = handles();
        let mut users = UserInfoMap::default();
        users.update_user_status(a, 1, ONLINE, PHONE);
        assert_eq!(users.user_info(1).unwrap().status(), OFFLINE);
        users.update_user_status(a, 1, UserStatType::UserStatusLeave, ClientType::Mac);
        assert_eq!(users.user_info(1).unwrap().status(), ONLINE);
    }

    #[test]
    fn f59_only_who_has_no_pc_left_is_handed_out_when_a_msg_server_vanishes() {
        let [a, b] = handles();
        let mut users = UserInfoMap::default();
        users.set_online_users(a, [(1, PC), (2, PC), (3, PC), (4, PHONE), (5, PC)]);
        users.set_online_users(b, [(2, PC), (3, PHONE)]);
        assert_eq!(users.remove_route_conn(a), 5);
        // Logged in elsewhere before his turn came.
        users.update_user_status(b, 5, ONLINE, PC);
        assert_eq!(untold(&mut users), [(1, OFFLINE), (3, OFFLINE)]);
        assert_eq!(users.len(), 3);
        assert_eq!(users.remove_route_conn(a), 0);
        assert!(untold(&mut users).is_empty());
    }

    #[test]
    fn f59_who_was_told_off_line_is_told_on_line_when_his_msg_server_is_back() {
        let [a, again, b] = handles();
        let mut users = UserInfoMap::default();
        users.set_online_users(a, [(1, PC), (2, PC), (3, PC)]);
        assert!(untold(&mut users).is_empty(), "a list alone tells nobody anything");
        users.remove_route_conn(a);
        assert_eq!(untold(&mut users), [(1, OFFLINE), (2, OFFLINE), (3, OFFLINE)]);
        // His login on another msg_server was told already.
        users.update_user_status(b, 3, ONLINE, PC);
        users.set_online_users(again, [(1, PC), (2, PHONE), (3, PC), (4, PC)]);
        assert_eq!(untold(&mut users), [(1, ONLINE)]);
        users.remove_route_conn(again);
        assert_eq!(untold(&mut users), [(1, OFFLINE), (4, OFFLINE)]);
        // Back and lost again before anybody was told.
        users.set_online_users(again, [(1, PC)]);
        users.remove_route_conn(again);
        assert!(untold(&mut users).is_empty());
    }

    #[test]
    fn f59_a_msg_server_that_is_back_at_once_changes_nothing() {
        let [a, again] = handles();
        let mut users = UserInfoMap::default();
        users.set_online_users(a, [(1, PC), (2, PC)]);
        // The new connection may come before the end of the old one, or right after it.
        users.set_online_users(again, [(1, PC)]);
        users.remove_route_conn(a);
        users.set_online_users(again, [(1, PC), (2, PC)]);
        assert!(untold(&mut users).is_empty());
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn f59_a_second_list_replaces_the_first() {
        let [a] = handles();
        let mut users = UserInfoMap::default();
        users.set_online_users(a, [(1, PC), (1, PC), (2, PC)]);
        users.set_online_users(a, [(1, PC)]);
        assert_eq!(untold(&mut users), [(2, OFFLINE)]);
        users.update_user_status(a, 1, OFFLINE, PC);
        assert!(users.is_empty() && users.by_route_conn.is_empty());
    }

    /// The same without any cleverness.
    #[derive(Default)]
    struct Model {
        clients: BTreeMap<(u32, NetHandle, i32), u32>,
        /// What others think, by what they were told.
        seen: BTreeMap<u32, bool>,
    }

    impl Model {
        fn has_pc(&self, user_id: u32) -> bool {
            self.clients.keys().any(|(id, _, client_type)| *id == user_id && *client_type < 0x10)
        }

        fn update(&mut self, conn: NetHandle, id: u32, status: UserStatType, kind: ClientType) {
            let count = self.clients.entry((id, conn, kind as i32)).or_default();
            *count = if status == ONLINE { *count + 1 } else { count.saturating_sub(1) };
            self.clients.retain(|_, count| *count > 0);
            let is_pc = kind == PC || kind == ClientType::Mac;
            // Nothing is told when one of several PCs goes.
            if is_pc && (status == ONLINE || !self.has_pc(id)) {
                self.seen.insert(id, status == ONLINE);
            }
        }
    }

    fn assert_agreement(users: &UserInfoMap, model: &Model, conns: &[NetHandle]) {
        for id in 0..USERS {
            let known = model.clients.keys().any(|key| key.0 == id);
            let user = users.user_info(id);
            assert_eq!(user.is_some(), known, "user {id}");
            let Some(user) = user else { continue };
            assert_eq!(user.is_pc_client_login(), model.has_pc(id), "user {id}");
            for &conn in conns {
                let here = model.clients.keys().any(|key| (key.0, key.1) == (id, conn));
                assert_eq!(user.find_route_conn(conn), here, "user {id} on {conn}");
                let listed = users.by_route_conn.get(&conn).is_some_and(|ids| ids.contains(&id));
                assert_eq!(listed, here, "user {id} on {conn}");
            }
        }
    }

    const USERS: u32 = 12;

    /// Random logins, logouts, lists and losses. After each step the map agrees with the model, and
    /// once all is told, nobody is thought on line who is not.
    #[test]
    fn f59_presence_agrees_with_a_plain_model() {
        let seed = env::var("TEAMTALK_SEED").ok().and_then(|seed| seed.parse().ok());
        for seed in seed.map_or(0..50, |seed| seed..seed + 1) {
            println!("TEAMTALK_SEED={seed}");
            random_lives(seed);
        }
    }

    fn random_lives(seed: u64) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as u32 % below
        };
        let types = [PC, ClientType::Mac, PHONE, ClientType::Android];
        let conns: [NetHandle; 4] = handles();
        let (mut users, mut model) = (UserInfoMap::default(), Model::default());
        for _ in 0..300 {
            let conn = conns[random(4) as usize];
            match random(10) {
                0 => {
                    users.remove_route_conn(conn);
                    model.clients.retain(|(_, c, _), _| *c != conn);
                }
                1 => {
                    let list: Vec<_> = (0..random(8))
                        .map(|_| (random(USERS), types[random(4) as usize]))
                        .collect();
                    model.clients.retain(|(_, c, _), _| *c != conn);
                    for &(id, kind) in &list {
                        *model.clients.entry((id, conn, kind as i32)).or_default() += 1;
                    }
                    users.set_online_users(conn, list);
                }
                2 => {
                    for (id, status) in untold(&mut users) {
                        assert_eq!(status == ONLINE, model.has_pc(id), "user {id}");
                        model.seen.insert(id, status == ONLINE);
                    }
                    let ghosts =
                        model.seen.iter().filter(|(id, seen)| **seen && !model.has_pc(**id));
                    assert_eq!(ghosts.count(), 0);
                }
                step => {
                    let (id, kind) = (random(USERS), types[random(4) as usize]);
                    let status = if step < 7 { ONLINE } else { OFFLINE };
                    users.update_user_status(conn, id, status, kind);
                    model.update(conn, id, status, kind);
                }
            }
            assert_agreement(&users, &model, &conns);
        }
    }
}
