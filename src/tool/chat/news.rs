//! What the network says, and what becomes of it.

use super::event::{Effect, Lists, News, Offer, Request};
use super::p2p::P2p;
use super::roster::one_line;
use super::state::{Link, Moving, PAGE, State, WRITING_SHOWN_SECONDS};
use super::talk::{Delivery, Talk};
use crate::client::{Message, Session};
use crate::pb::base_define::{GroupInfo, GroupModifyType};
use crate::pb::group::ImGroupChangeMemberNotify;

impl State {
    pub(super) fn news(&mut self, news: News) {
        match news {
            News::Connected(lists) => self.connected(*lists),
            News::Lost(why) => {
                self.link = Link::Lost(one_line(&why));
                for talk in self.talks.values_mut() {
                    talk.doubt();
                    talk.loading = false;
                }
            }
            News::Ended(error) => self.effects.push(Effect::Fail(error)),
            News::Said(message) => self.said(&message),
            News::Stored { local, msg_id } => {
                let me = self.me;
                self.talks.values_mut().any(|talk| talk.store(me, local, msg_id));
            }
            News::NotSent { local } => self.not_sent(local),
            News::History { session, newest, page } => self.history(session, newest, page),
            News::Read { session, msg_id } => {
                let me = self.me;
                self.talk(session).read(me, msg_id);
            }
            News::Presence(stat) => self.roster.set_status(stat),
            News::Users(users) => self.roster.set_users(users),
            News::Sign { user_id, sign } => self.roster.set_sign(user_id, sign),
            News::Group(group) => self.roster.set_group(group),
            News::GroupMade(group) => self.group_made(group),
            News::GroupChanged(change) => self.group_changed(change),
            News::P2p { from, p2p } => self.p2p(from, p2p),
            News::Offer(offer) => self.offered(offer),
            News::Progress { local, done } => {
                if let Some(moving) = self.moving.get_mut(&local) {
                    moving.done = done;
                }
            }
            News::Finished { local, result } => self.finished(local, result),
            News::Notice(text) => self.notice = one_line(&text),
        }
    }

    fn connected(&mut self, lists: Lists) {
        let first = self.link == Link::Connecting;
        self.link = Link::Online;
        self.me = lists.me.user_id;
        self.roster.replace(lists.users, lists.departs, lists.groups, lists.presence);
        self.roster.set_users(vec![lists.me]);
        for recent in &lists.recent {
            self.talk(recent.session).refresh(recent);
        }
        for offer in lists.offers {
            self.offered(offer);
        }
        if first && self.selected.is_none() {
            self.select(0);
        }
        let doubts = |talk: &Talk| talk.has_doubts();
        let doubts: Vec<_> = self
            .talks
            .iter()
            .filter(|(_, talk)| doubts(talk))
            .map(|(session, _)| *session)
            .collect();
        for session in doubts.into_iter().chain(self.open) {
            self.load_newest(session);
        }
    }

    fn said(&mut self, message: &Message) {
        if self.me == 0 {
            // The first connection broke before it told who is who; the history has the message.
            return;
        }
        let session = message.session(self.me);
        let (me, open) = (self.me, self.open == Some(session));
        let scrolled = open && self.talk(session).scroll > 0;
        let rows_before = if scrolled { self.open_rows() } else { 0 };
        let looked_at = open && self.looking && self.is_online();
        let talk = self.talk(session);
        let was_unread = talk.unread;
        talk.say(me, message);
        if message.from_user_id != me {
            talk.writing_until = 0;
            if was_unread == 0 && talk.unread > 0 && !looked_at {
                talk.marker = message.msg_id.checked_sub(1);
            }
        }
        if scrolled {
            // What one reads stays where it is.
            let more = self.open_rows().saturating_sub(rows_before);
            self.talk(session).scroll += more;
        }
        if !self.roster.knows(session) {
            self.ask(match session {
                Session::User(id) => Request::User(id),
                Session::Group(id) => Request::Group(id),
            });
        }
        if message.from_user_id != me && !self.looking {
            self.effects.push(Effect::Bell);
        }
    }

    /// The connection was gone already. It is sent over the next one.
    fn not_sent(&mut self, local: u64) {
        let outgoing = self.talks.values_mut().flat_map(|talk| &mut talk.outgoing);
        for out in outgoing.filter(|out| out.local == local) {
            out.delivery = Delivery::Unsure;
        }
    }

    fn history(&mut self, session: Session, newest: u32, page: Result<Vec<Message>, String>) {
        let (me, now) = (self.me, self.now);
        let talk = self.talk(session);
        talk.loading = false;
        let page = match page {
            Ok(page) => page,
            Err(why) => {
                for out in &mut talk.outgoing {
                    if out.delivery == Delivery::Unsure {
                        out.delivery = Delivery::Failed("no answer");
                    }
                }
                self.notice = format!("no history: {}", one_line(&why));
                return;
            }
        };
        talk.load(newest, PAGE, &page);
        if newest == 0 {
            for (local, text) in talk.settle(me, now) {
                self.ask(Request::Send { local, session, text });
            }
        } else {
            // It may have been written before the newest part was asked for.
            self.load_newest(session);
        }
    }

    fn group_made(&mut self, group: GroupInfo) {
        let (session, name) = (Session::Group(group.group_id), group.group_name.clone());
        self.roster.set_group(group);
        self.talk(session).loaded = true;
        self.talk(session).complete = true;
        self.open(session);
        // A group in which nobody has talked is in nobody's list.
        self.send(format!("made the group {name}"));
    }

    fn group_changed(&mut self, change: ImGroupChangeMemberNotify) {
        let group_id = change.group_id;
        let session = Session::Group(group_id);
        let names: Vec<_> =
            change.chg_user_id_list.iter().map(|id| self.roster.user_name(*id)).collect();
        let (names, by) = (names.join(", "), self.roster.user_name(change.user_id));
        let removed = change.change_type() == GroupModifyType::Del;
        let text = match change.chg_user_id_list[..] {
            [one] if removed && one == change.user_id => format!("{names} left"),
            _ if removed => format!("{by} removed {names}"),
            _ => format!("{by} added {names}"),
        };
        if removed && change.chg_user_id_list.contains(&self.me) {
            let name = self.roster.name(session);
            self.notice = format!("{name}: {text}");
            self.roster.remove_group(group_id);
            self.talks.remove(&session);
            if self.open == Some(session) {
                self.close();
            }
            return;
        }
        if !self.roster.set_members(group_id, change.cur_user_id_list) {
            self.ask(Request::Group(group_id));
        }
        let now = self.now;
        let talk = self.talk(session);
        talk.updated = talk.updated.max(now);
        talk.note(text);
    }

    fn p2p(&mut self, from: u32, p2p: P2p) {
        if from == self.me {
            return;
        }
        let until = self.now + WRITING_SHOWN_SECONDS;
        match p2p {
            P2p::Writing => self.talk(Session::User(from)).writing_until = until,
            P2p::StopWriting => self.talk(Session::User(from)).writing_until = 0,
            P2p::Shake => {
                self.notice = format!("{} wants your attention", self.roster.user_name(from));
                self.effects.push(Effect::Bell);
            }
        }
    }

    fn offered(&mut self, offer: Offer) {
        let (from, now) = (offer.from, self.now);
        let name = self.roster.user_name(from);
        let file = format!("{} ({} bytes)", one_line(&offer.name), offer.transfer.size);
        let Some(number) = self.offer(offer) else { return };
        let text = format!("{name} sends {file}: /file accept {number}, /file refuse {number}");
        self.notice.clone_from(&text);
        let talk = self.talk(Session::User(from));
        talk.updated = talk.updated.max(now);
        talk.note(text);
    }

    fn finished(&mut self, local: u64, result: Result<String, String>) {
        let Some(Moving { session, name, offer, .. }) = self.moving.remove(&local) else { return };
        let text = match result {
            Ok(place) if offer.is_some() => format!("{name} is here: {}", one_line(&place)),
            Ok(_) => format!("{name} is sent"),
            Err(why) => {
                let again = match offer {
                    Some((number, offer)) => {
                        self.offers.insert(number, offer);
                        format!("; /file accept {number} tries again")
                    }
                    None => String::new(),
                };
                format!("{name}: {}{again}", one_line(&why))
            }
        };
        self.notice.clone_from(&text);
        self.talk(session).note(text);
    }
}
