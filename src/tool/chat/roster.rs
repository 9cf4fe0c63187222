//! Everybody there is, and the groups.

use std::collections::{BTreeMap, HashMap};

use super::line::graphemes;
use crate::client::Session;
use crate::pb::base_define::{
    DepartInfo, DepartmentStatusType, GroupInfo, UserInfo, UserStat, UserStatType,
};
use crate::tool::output::printable;

/// The status of a user who has left the company.
const STATUS_GONE: u32 = 3;

/// Departments within departments are named so deep.
const DEPART_DEPTH_MAX: usize = 4;

/// What a name takes at most, in characters.
const NAME_LEN_MAX: usize = 64;

/// A part of the list.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Section {
    /// With whom one talks.
    Recent,
    /// Groups.
    Groups,
    /// A department; 0 is for those in none.
    Depart(u32),
    /// What a search has found.
    Found,
}

/// A row of the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Row {
    /// What the rows below are.
    Heading(String),
    /// Somebody, or a group.
    Entry(Section, Session),
}

/// Somebody. The list is made for each screen, so what it takes is at hand.
#[derive(Debug)]
struct User {
    info: UserInfo,
    /// What he is called.
    name: String,
    /// What he is sorted and found by.
    key: String,
}

impl User {
    fn new(info: UserInfo) -> Self {
        let nick = &info.user_nick_name;
        let name = one_line(if nick.is_empty() { &info.user_real_name } else { nick });
        let key = name.to_lowercase();
        Self { info, name, key }
    }
}

/// Everybody there is, and the groups.
#[derive(Debug, Default)]
pub struct Roster {
    users: BTreeMap<u32, User>,
    departs: BTreeMap<u32, DepartInfo>,
    groups: BTreeMap<u32, GroupInfo>,
    status: HashMap<u32, i32>,
}

/// On one line, and harmless.
pub fn one_line(text: &str) -> String {
    let text = printable(text).replace(['\n', '\t'], " ");
    graphemes(&text).into_iter().take(NAME_LEN_MAX).collect()
}

impl Roster {
    /// Takes the whole of it anew.
    pub fn replace(
        &mut self,
        users: Vec<UserInfo>,
        departs: Vec<DepartInfo>,
        groups: Vec<GroupInfo>,
        presence: Vec<UserStat>,
    ) {
        self.users.clear();
        self.set_users(users);
        let ok = |depart: &DepartInfo| depart.dept_status() == DepartmentStatusType::DeptStatusOk;
        let departs = departs.into_iter().filter(ok);
        self.departs = departs.map(|depart| (depart.dept_id, depart)).collect();
        self.groups = groups.into_iter().map(|group| (group.group_id, group)).collect();
        self.status = presence.into_iter().map(|stat| (stat.user_id, stat.status)).collect();
    }

    /// Takes these users.
    pub fn set_users(&mut self, users: Vec<UserInfo>) {
        self.users.extend(users.into_iter().map(|user| (user.user_id, User::new(user))));
    }

    /// Takes this group.
    pub fn set_group(&mut self, group: GroupInfo) {
        self.groups.insert(group.group_id, group);
    }

    /// The user is not in this group any more.
    pub fn remove_group(&mut self, group_id: u32) {
        self.groups.remove(&group_id);
    }

    /// Takes who is in this group now. Says whether the group is known.
    pub fn set_members(&mut self, group_id: u32, members: Vec<u32>) -> bool {
        let group = self.groups.get_mut(&group_id);
        group.map(|group| group.group_member_list = members).is_some()
    }

    /// Takes what somebody says about himself.
    pub fn set_sign(&mut self, user_id: u32, sign: String) {
        if let Some(user) = self.users.get_mut(&user_id) {
            user.info.sign_info = Some(sign);
        }
    }

    /// Takes who came or went.
    pub fn set_status(&mut self, stat: UserStat) {
        self.status.insert(stat.user_id, stat.status);
    }

    /// Whether this is in the list.
    pub fn knows(&self, session: Session) -> bool {
        match session {
            Session::User(id) => self.users.contains_key(&id),
            Session::Group(id) => self.groups.contains_key(&id),
        }
    }

    /// Whether somebody is there.
    pub fn status(&self, user_id: u32) -> UserStatType {
        let status = self.status.get(&user_id).map(|status| UserStatType::try_from(*status));
        status.and_then(Result::ok).unwrap_or(UserStatType::UserStatusOffline)
    }

    /// What somebody says about himself.
    pub fn sign(&self, user_id: u32) -> String {
        one_line(self.users.get(&user_id).map_or("", |user| user.info.sign_info()))
    }

    /// What somebody is called.
    pub fn user_name(&self, user_id: u32) -> String {
        let user = self.users.get(&user_id);
        user.map_or_else(|| format!("user {user_id}"), |user| user.name.clone())
    }

    /// What somebody or a group is called.
    pub fn name(&self, session: Session) -> String {
        match session {
            Session::User(id) => self.user_name(id),
            Session::Group(id) => match self.groups.get(&id) {
                Some(group) => one_line(&group.group_name),
                None => format!("group {id}"),
            },
        }
    }

    /// Who is in a group.
    pub fn members(&self, group_id: u32) -> &[u32] {
        self.groups.get(&group_id).map_or(&[], |group| &group.group_member_list)
    }

    /// The user with this login name, nickname or id.
    pub fn find_user(&self, name: &str) -> Option<u32> {
        let by = |is: &dyn Fn(&UserInfo) -> bool| {
            let mut users = self.users.values().map(|user| &user.info);
            users.find(|user| is(user)).map(|user| user.user_id)
        };
        by(&|user| user.user_real_name == name)
            .or_else(|| by(&|user| user.user_nick_name == name))
            .or_else(|| by(&|user| name.parse() == Ok(user.user_id)))
    }

    /// The list: with whom one talks, the groups, and everybody by departments.
    pub fn rows(&self, me: u32, recent: &[Session]) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut section = |heading: String, section: Section, sessions: Vec<Session>| {
            if !sessions.is_empty() {
                rows.push(Row::Heading(heading));
                rows.extend(sessions.into_iter().map(|session| Row::Entry(section, session)));
            }
        };
        section("Recent".to_owned(), Section::Recent, recent.to_vec());
        let groups = self.groups.keys().map(|id| Session::Group(*id));
        section("Groups".to_owned(), Section::Groups, self.by_name(groups.collect()));
        let mut departs: Vec<_> = self.departs.values().collect();
        departs.sort_by_key(|depart| (depart.priority, self.depart_name(depart.dept_id)));
        for depart in departs {
            let id = depart.dept_id;
            let staff = self.staff(me, |user| user.info.department_id == id);
            section(self.depart_name(id), Section::Depart(id), staff);
        }
        let others = self.staff(me, |user| !self.departs.contains_key(&user.info.department_id));
        let heading = if self.departs.is_empty() { "Contacts" } else { "Others" };
        section(heading.to_owned(), Section::Depart(0), others);
        rows
    }

    /// Who or which group is meant by this: a part of a name, or of a name in Latin letters.
    pub fn search(&self, me: u32, needle: &str) -> Vec<Row> {
        let needle = needle.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&needle);
        let users = self.staff(me, |user| {
            let info = &user.info;
            user.key.contains(&needle) || has(&info.user_real_name) || has(&info.user_domain)
        });
        let groups = self.groups.values().filter(|group| has(&group.group_name));
        let groups = self.by_name(groups.map(|group| Session::Group(group.group_id)).collect());
        let found = users.into_iter().chain(groups);
        found.map(|session| Row::Entry(Section::Found, session)).collect()
    }

    fn staff(&self, me: u32, is: impl Fn(&User) -> bool) -> Vec<Session> {
        let here = |user: &&User| user.info.user_id != me && user.info.status != STATUS_GONE;
        let mut users: Vec<_> = self.users.values().filter(here).filter(|user| is(user)).collect();
        users.sort_by_key(|user| (&user.key, user.info.user_id));
        users.into_iter().map(|user| Session::User(user.info.user_id)).collect()
    }

    fn by_name(&self, mut sessions: Vec<Session>) -> Vec<Session> {
        sessions.sort_by_cached_key(|session| (self.name(*session).to_lowercase(), *session));
        sessions
    }

    /// With the names of the departments around it.
    fn depart_name(&self, id: u32) -> String {
        let (mut name, mut at) = (String::new(), id);
        for depth in 0..DEPART_DEPTH_MAX {
            let Some(depart) = self.departs.get(&at) else { break };
            let own = one_line(&depart.dept_name);
            name = if depth == 0 { own } else { format!("{own} / {name}") };
            at = depart.parent_dept_id;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user_id: u32, nick: &str, department_id: u32) -> UserInfo {
        UserInfo {
            user_id,
            user_nick_name: nick.to_owned(),
            user_real_name: format!("login{user_id}"),
            user_domain: format!("latin{user_id}"),
            department_id,
            ..UserInfo::default()
        }
    }

    fn depart(dept_id: u32, priority: u32, name: &str, parent_dept_id: u32) -> DepartInfo {
        let dept_name = name.to_owned();
        DepartInfo { dept_id, priority, dept_name, parent_dept_id, dept_status: 0 }
    }

    fn group(group_id: u32, name: &str) -> GroupInfo {
        GroupInfo { group_id, group_name: name.to_owned(), ..GroupInfo::default() }
    }

    fn roster() -> Roster {
        let mut gone = user(5, "gone", 1);
        gone.status = STATUS_GONE;
        let mut closed = depart(9, 0, "Closed", 0);
        closed.dept_status = DepartmentStatusType::DeptStatusDelete.into();
        let users = vec![
            user(1, "me", 1),
            user(2, "Bob", 1),
            user(3, "alice", 1),
            user(4, "爱丽丝", 2),
            gone,
            user(6, "", 9),
        ];
        let departs = vec![depart(2, 1, "Design", 1), depart(1, 2, "Engineering", 0), closed];
        let mut roster = Roster::default();
        roster.replace(users, departs, vec![group(8, "team\n2"), group(7, "All")], vec![]);
        roster
    }

    /// The list in words.
    fn words(roster: &Roster, rows: &[Row]) -> Vec<String> {
        let word = |row: &Row| match row {
            Row::Heading(text) => text.clone(),
            Row::Entry(_, session) => format!("- {}", roster.name(*session)),
        };
        rows.iter().map(word).collect()
    }

    #[test]
    fn departments_are_headings() {
        let roster = roster();
        let rows = roster.rows(1, &[Session::User(2)]);
        let expected = [
            "Recent",
            "- Bob",
            "Groups",
            "- All",
            "- team 2",
            "Engineering / Design",
            "- 爱丽丝",
            "Engineering",
            "- alice",
            "- Bob",
            "Others",
            "- login6",
        ];
        assert_eq!(words(&roster, &rows), expected);
        let mut alone = Roster::default();
        alone.set_users(vec![user(2, "Bob", 1)]);
        assert_eq!(words(&alone, &alone.rows(1, &[])), ["Contacts", "- Bob"]);
    }

    #[test]
    fn departments_in_a_circle_end() {
        let mut roster = Roster::default();
        let departs = vec![depart(1, 1, "A", 2), depart(2, 1, "B", 1)];
        roster.replace(vec![user(2, "Bob", 1)], departs, vec![], vec![]);
        assert_eq!(words(&roster, &roster.rows(1, &[])), ["B / A / B / A", "- Bob"]);
    }

    #[test]
    fn people_and_groups_are_found() {
        let roster = roster();
        let found = |needle: &str| words(&roster, &roster.search(1, needle));
        assert_eq!(found("LI"), ["- alice"]);
        assert_eq!(found(" latin4 "), ["- 爱丽丝"]);
        assert_eq!(found("丽"), ["- 爱丽丝"]);
        assert_eq!(found("login2"), ["- Bob"]);
        assert_eq!(found("team"), ["- team 2"]);
        assert_eq!(found("gone"), [""; 0]);
        assert_eq!(
            [roster.find_user("login2"), roster.find_user("Bob"), roster.find_user("2")],
            [Some(2); 3]
        );
        assert_eq!(roster.find_user("bo"), None);
    }

    #[test]
    fn names_are_harmless_and_never_missing() {
        let mut roster = roster();
        roster.set_users(vec![user(9, &format!("a\x1b[2J{}", "x".repeat(100)), 1)]);
        let name = roster.user_name(9);
        assert!(name.starts_with("a\u{fffd}[2J") && name.chars().count() == NAME_LEN_MAX);
        assert_eq!(roster.name(Session::User(77)), "user 77");
        assert_eq!(roster.name(Session::Group(77)), "group 77");
        assert_eq!(roster.status(2), UserStatType::UserStatusOffline);
        roster.set_status(UserStat { user_id: 2, status: 1 });
        assert_eq!(roster.status(2), UserStatType::UserStatusOnline);
        roster.set_status(UserStat { user_id: 2, status: 99 });
        assert_eq!(roster.status(2), UserStatType::UserStatusOffline);
    }
}
