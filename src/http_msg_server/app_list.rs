//! Who may ask what: applications with a key, their addresses, interfaces and user ids.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::http_query::{HttpErrorCode, Interface};
use crate::base::allow_list::AllowList;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};
use crate::base::config_value::{ConfigValue, Secret};
use crate::base::md5::constant_time_eq;
use crate::base::util::str_explode;

/// From where an application is served whose configuration does not say it.
const LOOPBACK: &str = "127.0.0.0/8;::1";

/// The applications of the configuration.
#[derive(Clone, Debug, Default)]
pub struct AppList(Vec<App>);

#[derive(Clone)]
struct App {
    key: String,
    allow_ip: AllowList,
    interfaces: Vec<Interface>,
    /// `None` for all.
    users: Option<UserIds>,
}

/// The key is a secret: it must not get into a log.
impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("allow_ip", &self.allow_ip).finish_non_exhaustive()
    }
}

impl AppList {
    /// Reads `AppKey<n>`, `AppAllowIP<n>`, `AppInterface<n>` and `AppUserId<n>`, from 1 on without
    /// gaps. May be empty.
    ///
    /// # Errors
    /// A value is wrong.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let mut apps = Vec::new();
        while let Some(Secret(key)) = config.get_opt(&format!("AppKey{}", apps.len() + 1))? {
            let number = apps.len() + 1;
            let interfaces = config.get_opt::<Interfaces>(&format!("AppInterface{number}"))?;
            apps.push(App {
                key,
                allow_ip: match config.get_opt(&format!("AppAllowIP{number}"))? {
                    Some(list) => list,
                    None => loopback(),
                },
                interfaces: interfaces.map_or_else(|| Interface::ALL.to_vec(), |list| list.0),
                users: config.get_opt(&format!("AppUserId{number}"))?,
            });
        }
        Ok(Self(apps))
    }

    /// How many applications there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: then everybody on this machine may ask everything, and nobody else.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this application may ask this from there in the name of that user.
    ///
    /// # Errors
    /// The code to refuse it with.
    ///
    /// C++: http_msg_server/HttpQuery.cpp CHttpQuery::_CheckAuth
    /// Differs: it checks something (F8).
    pub fn check_auth(
        &self,
        app_key: &str,
        user_id: u32,
        interface: Interface,
        peer: Option<IpAddr>,
    ) -> Result<(), HttpErrorCode> {
        let allowed = |list: &AllowList| peer.is_some_and(|peer| list.allows(peer));
        if self.is_empty() {
            return if allowed(&loopback()) { Ok(()) } else { Err(HttpErrorCode::Ip) };
        }
        // All keys are compared: the time it takes does not tell which one was nearly right.
        let mut found = None;
        for app in &self.0 {
            if constant_time_eq(app.key.as_bytes(), app_key.as_bytes()) {
                found = Some(app);
            }
        }
        let app = found.ok_or(HttpErrorCode::AppKey)?;
        if !allowed(&app.allow_ip) {
            return Err(HttpErrorCode::Ip);
        }
        if !app.interfaces.contains(&interface) {
            return Err(HttpErrorCode::Interface);
        }
        match &app.users {
            Some(users) if !users.contains(user_id) => Err(HttpErrorCode::Match),
            _ => Ok(()),
        }
    }
}

fn loopback() -> AllowList {
    AllowList::parse(LOOPBACK).expect("a list of networks")
}

/// Names of interfaces, separated by `;`.
struct Interfaces(Vec<Interface>);

impl ConfigValue for Interfaces {
    const EXPECTED: &str = "CreateGroup, ChangeMembers or both, separated by ';'";

    fn parse(text: &str) -> Option<Self> {
        let list = str_explode(text, ';').map(Interface::from_name).collect::<Option<Vec<_>>>()?;
        (!list.is_empty()).then_some(Self(list))
    }
}

/// User ids and ranges of them, separated by `;`.
#[derive(Clone, Debug)]
struct UserIds(Vec<RangeInclusive<u32>>);

impl UserIds {
    fn contains(&self, user_id: u32) -> bool {
        self.0.iter().any(|range| range.contains(&user_id))
    }
}

impl ConfigValue for UserIds {
    const EXPECTED: &str = "user ids such as 7;100-199";

    fn parse(text: &str) -> Option<Self> {
        let range = |item: &str| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = u32::parse(first.trim())?..=u32::parse(last.trim())?;
            (!range.is_empty()).then_some(range)
        };
        let ranges = str_explode(text, ';').map(range).collect::<Option<Vec<_>>>()?;
        (!ranges.is_empty()).then_some(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<AppList, ConfigError> {
        AppList::read(&mut ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes()))
    }

    fn check(list: &AppList, key: &str, user_id: u32, peer: &str) -> Result<(), HttpErrorCode> {
        list.check_auth(key, user_id, Interface::CreateGroup, Some(peer.parse().unwrap()))
    }

    #[test]
    fn f8_without_a_list_only_this_machine_is_served() {
        let list = read("").unwrap();
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(&list, "", 0, peer), Ok(()), "{peer}");
        }
        for peer in ["10.0.0.1", "0.0.0.0", "fe80::1", "::ffff:10.0.0.1"] {
            assert_eq!(check(&list, "", 0, peer), Err(HttpErrorCode::Ip), "{peer}");
        }
        let nobody = list.check_auth("", 0, Interface::CreateGroup, None);
        assert_eq!(nobody, Err(HttpErrorCode::Ip));
    }

    #[test]
    fn f8_an_application_has_its_key_addresses_interfaces_and_users() {
        let list = read(
            "AppKey1=first\nAppKey2=second\nAppAllowIP2=10.0.0.0/8\n\
             AppInterface2=ChangeMembers\nAppUserId2=7; 100-199\n\
             AppKey3=third\nAppAllowIP3=10.0.0.0/8\nAppUserId3=7;100-199\n",
        )
        .unwrap();
        assert_eq!(check(&list, "first", 1, "127.0.0.1"), Ok(()));
        assert_eq!(check(&list, "first", 1, "10.0.0.1"), Err(HttpErrorCode::Ip));
        for key in ["", "First", "first ", "fourth"] {
            assert_eq!(check(&list, key, 1, "127.0.0.1"), Err(HttpErrorCode::AppKey), "{key}");
        }
        assert_eq!(check(&list, "second", 7, "10.0.0.1"), Err(HttpErrorCode::Interface));
        let peer = Some("10.0.0.1".parse().unwrap());
        let change = |user_id| list.check_auth("second", user_id, Interface::ChangeMembers, peer);
        assert_eq!((change(7), change(8)), (Ok(()), Err(HttpErrorCode::Match)));
        for (user_id, result) in [(7, Ok(())), (100, Ok(())), (199, Ok(()))]
            .into_iter()
            .chain([6, 8, 99, 200, 0].map(|user_id| (user_id, Err(HttpErrorCode::Match))))
        {
            assert_eq!(check(&list, "third", user_id, "10.0.0.1"), result, "{user_id}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_keys_are_not_shown() {
        for line in [
            "AppInterface1=SendMessage",
            "AppInterface1=;",
            "AppUserId1=x",
            "AppUserId1=9-1",
            "AppUserId1=1-2-3",
            "AppUserId1=-1",
            "AppAllowIP1=everybody",
        ] {
            let error = read(&format!("AppKey1=secret\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(" is wrong") && !error.contains("secret"), "{error}");
        }
        let list = read("AppKey1=secret\n").unwrap();
        assert!(!format!("{list:?}").contains("secret"));
    }
}
