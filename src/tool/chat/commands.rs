//! Lines that begin with a slash.

use std::path::PathBuf;

use super::event::{Effect, Request};
use super::p2p::P2p;
use super::roster::one_line;
use super::state::{Moving, State};
use crate::client::Session;
use crate::pb::base_define::UserStatType;

/// What there is, for the help.
pub const COMMANDS: [(&str, &str); 11] = [
    ("/group NAME USER...", "make a group"),
    ("/invite USER...", "let users into this group"),
    ("/kick USER...", "send users away from this group"),
    ("/leave", "leave this group"),
    ("/members", "who is in this group"),
    ("/file send PATH", "send a file"),
    ("/file accept|refuse [N]", "take a file that is offered, or not"),
    ("/file list", "what is offered"),
    ("/sign TEXT", "change your signature"),
    ("/shake", "ask for attention"),
    ("/help, /quit", "this help; the end"),
];

/// The words of a line. Quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl State {
    pub(super) fn command(&mut self, line: &str) {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let result = match name {
            "/help" => {
                self.help = true;
                Ok(())
            }
            "/quit" | "/exit" => {
                self.effects.push(Effect::Quit);
                Ok(())
            }
            _ if !self.is_online() => Err("not connected".to_owned()),
            "/group" => self.make_group(&words(rest)),
            "/invite" | "/kick" => self.change_group(name == "/invite", &words(rest)),
            "/leave" => self.leave_group(),
            "/members" => self.list_members(),
            "/file" => self.file(rest.trim()),
            "/sign" => {
                self.ask(Request::Sign(rest.trim().to_owned()));
                Ok(())
            }
            "/shake" => self.shake(),
            _ => Err(format!("there is no {name}; /help lists what there is")),
        };
        if let Err(why) = result {
            self.notice = one_line(&why);
        }
    }

    /// The ids of these users, each once.
    fn users(&self, names: &[String]) -> Result<Vec<u32>, String> {
        let mut ids = Vec::new();
        for name in names {
            let id = self.roster.find_user(name);
            let id = id.ok_or_else(|| format!("nobody is called {name}"))?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn group_id(&self) -> Result<u32, String> {
        match self.open {
            Some(Session::Group(id)) => Ok(id),
            _ => Err("this is no group".to_owned()),
        }
    }

    fn user_id(&self) -> Result<u32, String> {
        match self.open {
            Some(Session::User(id)) => Ok(id),
            _ => Err("this is for a single user; open the talk with one".to_owned()),
        }
    }

    fn make_group(&mut self, words: &[String]) -> Result<(), String> {
        let [name, users @ ..] = words else {
            return Err("/group NAME USER...: how is it called, and who is in it?".to_owned());
        };
        if name.trim().is_empty() || users.is_empty() {
            return Err("/group NAME USER...: who is in it?".to_owned());
        }
        let mut members = self.users(users)?;
        if !members.contains(&self.me) {
            members.insert(0, self.me);
        }
        self.ask(Request::CreateGroup { name: name.clone(), members });
        Ok(())
    }

    fn change_group(&mut self, invite: bool, words: &[String]) -> Result<(), String> {
        let group_id = self.group_id()?;
        let users = self.users(words)?;
        if users.is_empty() {
            return Err("who?".to_owned());
        }
        self.ask(if invite {
            Request::Invite { group_id, users }
        } else {
            Request::Kick { group_id, users }
        });
        Ok(())
    }

    fn leave_group(&mut self) -> Result<(), String> {
        let (group_id, users) = (self.group_id()?, vec![self.me]);
        self.ask(Request::Kick { group_id, users });
        Ok(())
    }

    fn list_members(&mut self) -> Result<(), String> {
        let members = self.roster.members(self.group_id()?);
        let names: Vec<_> = members.iter().map(|id| self.roster.user_name(*id)).collect();
        self.notice = names.join(", ");
        Ok(())
    }

    fn shake(&mut self) -> Result<(), String> {
        let to = self.user_id()?;
        self.ask(Request::P2p { to, p2p: P2p::Shake });
        Ok(())
    }

    fn file(&mut self, rest: &str) -> Result<(), String> {
        let (verb, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match verb {
            "send" => self.send_file(rest.trim()),
            "accept" => self.accept_file(rest.trim()),
            "refuse" => {
                let (_, offer) = self.take_offer(rest.trim())?;
                self.notice = format!("{} is refused", one_line(&offer.name));
                self.ask(Request::RefuseFile(offer));
                Ok(())
            }
            "list" => {
                let list = self.offers.iter().map(|(number, offer)| {
                    let from = self.roster.user_name(offer.from);
                    format!("{number}: {} from {from}", one_line(&offer.name))
                });
                let list = list.collect::<Vec<_>>().join("; ");
                self.notice = if list.is_empty() { "no file is offered".to_owned() } else { list };
                Ok(())
            }
            _ => Err("/file send PATH, /file accept, /file refuse or /file list".to_owned()),
        }
    }

    fn send_file(&mut self, path: &str) -> Result<(), String> {
        let to = self.user_id()?;
        let path = path.trim_matches('"');
        if path.is_empty() {
            return Err("/file send PATH: which file?".to_owned());
        }
        let online = self.roster.status(to) != UserStatType::UserStatusOffline;
        let (local, path) = (self.local(), PathBuf::from(path));
        let name = path.file_name().map_or_else(String::new, |name| name.display().to_string());
        let moving =
            Moving { session: Session::User(to), name: one_line(&name), offer: None, done: (0, 0) };
        self.moving.insert(local, moving);
        self.ask(Request::SendFile { local, to, path, online });
        Ok(())
    }

    fn accept_file(&mut self, number: &str) -> Result<(), String> {
        let (number, offer) = self.take_offer(number)?;
        let local = self.local();
        let moving = Moving {
            session: Session::User(offer.from),
            name: one_line(&offer.name),
            done: (0, offer.transfer.size),
            offer: Some((number, offer.clone())),
        };
        self.moving.insert(local, moving);
        self.ask(Request::FetchFile { local, offer });
        Ok(())
    }

    /// The offer with this number; without one, the oldest of the user one talks with, else the
    /// oldest.
    fn take_offer(&mut self, number: &str) -> Result<(u32, super::event::Offer), String> {
        let number = if number.is_empty() {
            let from = |id: u32| self.offers.iter().find(|(_, offer)| offer.from == id);
            let here = self.user_id().ok().and_then(from);
            let found = here.or_else(|| self.offers.first_key_value());
            *found.ok_or("no file is offered")?.0
        } else {
            number.parse().map_err(|_| format!("{number} is no number of an offer"))?
        };
        let offer =
            self.offers.remove(&number).ok_or_else(|| format!("there is no file {number}"))?;
        Ok((number, offer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(
            words(r#" "all of  us" bob   爱丽丝 "" a"b c"d"#),
            ["all of  us", "bob", "爱丽丝", "", "ab cd"]
        );
        assert_eq!(words("  "), [""; 0]);
        assert_eq!(words("\"open end"), ["open end"]);
    }
}
