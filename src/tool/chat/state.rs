//! The whole of a chat as a state machine: events in, effects out, no I/O and no clock.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::event::{Effect, Event, Offer, Request};
use super::line::Line;
use super::p2p::P2p;
use super::roster::{Roster, Row, Section};
use super::rows;
use super::talk::{Delivery, Outgoing, Talk};
use super::view;
use crate::client::Session;
use crate::pb::base_define::UserStatType;

/// Messages asked for at a time.
pub const PAGE: u32 = 50;

/// Those with whom one has talked last, on top of the list. Unread ones are there in any case.
pub const RECENT_MAX: usize = 8;

/// Another client is told that one is typing every so many seconds, as the Mac client does it.
pub const WRITING_SECONDS: u32 = 3;

/// It is shown for so many seconds, as the Mac client does it.
pub const WRITING_SHOWN_SECONDS: u32 = 4;

/// Files that are offered and not yet accepted or refused.
pub const OFFERS_MAX: usize = 100;

/// How the connection is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Link {
    /// There is none yet.
    Connecting,
    /// It works.
    Online,
    /// It broke, for this reason; another one is tried for.
    Lost(String),
}

/// What keys go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Focus {
    /// The list.
    List,
    /// The line that is typed.
    Input,
    /// The search.
    Search,
}

/// A file that is on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moving {
    /// With whom.
    pub session: Session,
    /// What the file is called.
    pub name: String,
    /// What was offered, if it comes.
    pub offer: Option<(u32, Offer)>,
    /// In bytes, of how many.
    pub done: (u32, u32),
}

/// The whole of a chat.
#[derive(Debug)]
pub struct State {
    /// Who is logged in; 0 before.
    pub me: u32,
    /// Everybody there is.
    pub roster: Roster,
    /// What was said.
    pub talks: BTreeMap<Session, Talk>,
    /// How the connection is.
    pub link: Link,
    /// The talk that is shown.
    pub open: Option<Session>,
    /// What is chosen in the list.
    pub selected: Option<(Section, Session)>,
    /// What keys go to.
    pub focus: Focus,
    /// What is typed.
    pub line: Line,
    /// What is searched for.
    pub search: Line,
    /// Whether keys and commands are explained.
    pub help: bool,
    /// What the user is told.
    pub notice: String,
    /// Files that others want to send, by the numbers they are called by.
    pub offers: BTreeMap<u32, Offer>,
    /// Files on their way.
    pub moving: BTreeMap<u64, Moving>,
    /// Unix seconds.
    pub now: u32,
    /// Where the user is.
    pub time_zone: TimeZone,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Whether the terminal is looked at, as far as it tells.
    pub(super) looking: bool,
    pub(super) effects: Vec<Effect>,
    next_local: u64,
    next_offer: u32,
    /// Who was told when that one is typing.
    writing_to: Option<(u32, u32)>,
}

impl State {
    /// Nobody and nothing yet.
    pub fn new(time_zone: TimeZone, size: (u16, u16), now: u32) -> Self {
        Self {
            me: 0,
            roster: Roster::default(),
            talks: BTreeMap::new(),
            link: Link::Connecting,
            open: None,
            selected: None,
            focus: Focus::List,
            line: Line::default(),
            search: Line::default(),
            help: false,
            notice: String::new(),
            offers: BTreeMap::new(),
            moving: BTreeMap::new(),
            now,
            time_zone,
            size,
            looking: true,
            effects: Vec::new(),
            next_local: 1,
            next_offer: 1,
            writing_to: None,
        }
    }

    /// Takes an event, and tells what is to be done.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Key(key) => self.key(key),
            Event::Paste(text) => self.paste(&text),
            Event::Wheel(rows) => self.scroll(rows.signum() >= 0, rows.unsigned_abs() as usize),
            Event::Size(columns, rows) => self.size = (columns, rows),
            Event::Focus(looking) => self.looking = looking,
            Event::Tick(now) => self.tick(now),
            Event::News(news) => self.news(news),
            Event::Stop => self.effects.push(Effect::Quit),
        }
        self.look();
        std::mem::take(&mut self.effects)
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.effects.push(Effect::Ask(request));
    }

    pub(super) fn is_online(&self) -> bool {
        self.link == Link::Online
    }

    pub(super) fn local(&mut self) -> u64 {
        self.next_local += 1;
        self.next_local
    }

    pub(super) fn talk(&mut self, session: Session) -> &mut Talk {
        self.talks.entry(session).or_default()
    }

    /// The talk that is shown.
    pub fn open_talk(&self) -> Option<&Talk> {
        self.talks.get(&self.open?)
    }

    fn tick(&mut self, now: u32) {
        self.now = now;
        self.talks.values_mut().for_each(|talk| talk.expire(now));
    }

    /// What is looked at is read.
    fn look(&mut self) {
        let Some(session) = self.open.filter(|_| self.is_online() && self.looking) else { return };
        let talk = self.talk(session);
        if talk.unread > 0 && talk.scroll == 0 {
            talk.unread = 0;
            let msg_id = talk.latest;
            self.ask(Request::MarkRead { session, msg_id });
        }
    }

    /// The messages that are unread, everywhere.
    pub fn unread(&self) -> u32 {
        self.talks.values().map(|talk| talk.unread).fold(0, u32::saturating_add)
    }

    /// With whom one talks, the last one first.
    fn recent(&self) -> Vec<Session> {
        let mut talks: Vec<_> = self.talks.iter().filter(|(_, talk)| talk.updated > 0).collect();
        talks.sort_by_key(|(session, talk)| (std::cmp::Reverse(talk.updated), **session));
        let shown = |at: usize, talk: &Talk| at < RECENT_MAX || talk.unread > 0;
        let shown = talks.into_iter().enumerate().filter(|(at, (_, talk))| shown(*at, talk));
        shown.map(|(_, (session, _))| *session).collect()
    }

    /// The list as it is to be shown.
    pub fn list(&self) -> Vec<Row> {
        match self.focus {
            Focus::Search => self.roster.search(self.me, self.search.text()),
            Focus::List | Focus::Input => self.roster.rows(self.me, &self.recent()),
        }
    }

    /// Chooses another row of the list, so many further down or up.
    pub(super) fn select(&mut self, by: isize) {
        let entries: Vec<_> = self
            .list()
            .into_iter()
            .filter_map(|row| match row {
                Row::Entry(section, session) => Some((section, session)),
                Row::Heading(_) => None,
            })
            .collect();
        let Some(last) = entries.len().checked_sub(1) else {
            self.selected = None;
            return;
        };
        let at = entries.iter().position(|entry| Some(*entry) == self.selected);
        let at = match at {
            Some(at) => at.saturating_add_signed(by).min(last),
            None if by == isize::MAX => last,
            None => 0,
        };
        self.selected = Some(entries[at]);
    }

    /// Shows a talk.
    pub fn open(&mut self, session: Session) {
        self.focus = Focus::Input;
        if self.open == Some(session) {
            return;
        }
        self.stop_writing();
        let draft = self.line.take();
        if let Some(old) = self.open {
            let old = self.talk(old);
            old.draft = draft;
            old.marker = None;
        }
        self.open = Some(session);
        let talk = self.talk(session);
        talk.scroll = 0;
        talk.marker = match (talk.unread, talk.marker) {
            (0, _) => None,
            (unread, None) => Some(talk.latest.saturating_sub(unread)),
            (_, marker) => marker,
        };
        let draft = std::mem::take(&mut talk.draft);
        self.line.set(&draft);
        self.load_newest(session);
    }

    /// Shows the next talk with something unread.
    pub(super) fn open_unread(&mut self) {
        let unread = self.talks.iter().filter(|(_, talk)| talk.unread > 0);
        match unread.max_by_key(|(_, talk)| talk.updated).map(|(session, _)| *session) {
            Some(session) => self.open(session),
            None => "nothing is unread".clone_into(&mut self.notice),
        }
    }

    /// No talk is shown any more.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.focus = Focus::List;
        self.line.take();
    }

    pub(super) fn load_newest(&mut self, session: Session) {
        let online = self.is_online();
        let talk = self.talk(session);
        if online && !talk.loading && (!talk.loaded || talk.has_doubts()) {
            talk.loading = true;
            self.ask(Request::History { session, newest: 0, count: PAGE });
        }
    }

    fn load_older(&mut self, session: Session) {
        let online = self.is_online();
        let talk = self.talk(session);
        if let Some(newest) = talk.older_than_known().filter(|_| online && !talk.loading) {
            talk.loading = true;
            self.ask(Request::History { session, newest, count: PAGE });
        }
    }

    /// The rows of the talk that is shown, for this width of the terminal.
    pub(super) fn open_rows(&self) -> usize {
        let width = view::areas(self).history.width;
        self.open.map_or(0, |session| rows::rows(self, session, width.into()).len())
    }

    /// Scrolls by so many rows. At the upper end more is asked for.
    pub(super) fn scroll(&mut self, up: bool, by: usize) {
        let Some(session) = self.open else { return };
        let height = usize::from(view::areas(self).history.height);
        let max = self.open_rows().saturating_sub(height);
        let talk = self.talk(session);
        let scroll = talk.scroll.min(max);
        talk.scroll =
            if up { scroll.saturating_add(by).min(max) } else { scroll.saturating_sub(by) };
        if up && talk.scroll == max {
            self.load_older(session);
        }
    }

    /// Scrolls by a page, of which a row stays.
    pub(super) fn scroll_page(&mut self, up: bool) {
        let height = usize::from(view::areas(self).history.height);
        self.scroll(up, height.saturating_sub(1).max(1));
    }

    /// Sends a text to the talk that is shown.
    pub(super) fn send(&mut self, text: String) {
        let Some(session) = self.open else { return };
        self.writing_to = None;
        let (local, now, online) = (self.local(), self.now, self.is_online());
        let delivery = if online { Delivery::Sending(now) } else { Delivery::Unsure };
        let talk = self.talk(session);
        let out = Outgoing { local, text: text.clone(), time: now, base: talk.latest, delivery };
        talk.outgoing.push(out);
        talk.scroll = 0;
        talk.marker = None;
        if online {
            self.ask(Request::Send { local, session, text });
        }
    }

    /// Sends what failed in this talk again, unless the history says that it was stored.
    pub(super) fn retry(&mut self) {
        let Some(session) = self.open else { return };
        let mut any = false;
        for out in &mut self.talk(session).outgoing {
            if matches!(out.delivery, Delivery::Failed(_)) {
                out.delivery = Delivery::Unsure;
                any = true;
            }
        }
        if any {
            self.load_newest(session);
        } else {
            "nothing has failed here".clone_into(&mut self.notice);
        }
    }

    /// The line has changed: the other one may like to know.
    pub(super) fn typed(&mut self) {
        let Some(Session::User(to)) = self.open else { return };
        if self.line.text().trim().is_empty() || self.line.text().starts_with('/') {
            self.stop_writing();
            return;
        }
        let told = matches!(self.writing_to, Some((_, at)) if self.now < at + WRITING_SECONDS);
        let there = self.roster.status(to) != UserStatType::UserStatusOffline;
        if self.is_online() && there && !told {
            self.writing_to = Some((to, self.now));
            self.ask(Request::P2p { to, p2p: P2p::Writing });
        }
    }

    fn stop_writing(&mut self) {
        if let Some((to, _)) = self.writing_to.take().filter(|_| self.is_online()) {
            self.ask(Request::P2p { to, p2p: P2p::StopWriting });
        }
    }

    /// Notes that somebody sends a file. One that is known already is not noted again.
    pub(super) fn offer(&mut self, offer: Offer) -> Option<u32> {
        let id = &offer.transfer.task_id;
        let moving = self.moving.values().filter_map(|moving| moving.offer.as_ref());
        let mut known = self.offers.values().chain(moving.map(|(_, offer)| offer));
        if known.any(|known| known.transfer.task_id == *id) {
            return None;
        }
        if self.offers.len() == OFFERS_MAX {
            self.offers.pop_first();
        }
        let number = self.next_offer;
        self.next_offer += 1;
        self.offers.insert(number, offer);
        Some(number)
    }
}
