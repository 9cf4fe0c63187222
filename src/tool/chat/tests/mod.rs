//! The chat without a terminal and without a server.

mod files;
mod screens;
mod talks;
mod typing;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::event::{Effect, Event, Lists, News, Recent, Request};
use super::state::State;
use super::talk::Talk;
use super::view;
use crate::client::{Message, Session};
use crate::pb::base_define::{DepartInfo, GroupInfo, MsgType, UserInfo, UserStat, UserStatType};

const ME: u32 = 1;
const BOB: Session = Session::User(2);
const TEAM: Session = Session::Group(7);

/// 2023-11-14 22:13:20 UTC.
const NOW: u32 = 1_700_000_000;

fn user(user_id: u32, nick: &str, department_id: u32) -> UserInfo {
    UserInfo {
        user_id,
        user_nick_name: nick.to_owned(),
        user_real_name: nick.to_lowercase(),
        department_id,
        ..UserInfo::default()
    }
}

fn team() -> GroupInfo {
    GroupInfo {
        group_id: 7,
        group_name: "team".to_owned(),
        group_member_list: vec![1, 2, 3],
        ..GroupInfo::default()
    }
}

/// Alice, Bob who is there, and 爱丽丝; a group; nothing has been said.
fn lists() -> Lists {
    let depart = |dept_id, name: &str| DepartInfo {
        dept_id,
        dept_name: name.to_owned(),
        ..DepartInfo::default()
    };
    Lists {
        me: user(ME, "Alice", 1),
        users: vec![user(ME, "Alice", 1), user(2, "Bob", 1), user(3, "爱丽丝", 2)],
        departs: vec![depart(1, "Engineering"), depart(2, "Sales")],
        groups: vec![team()],
        presence: vec![UserStat { user_id: 2, status: UserStatType::UserStatusOnline.into() }],
        ..Lists::default()
    }
}

fn recent(session: Session, latest: u32, unread: u32) -> Recent {
    Recent { session, updated: NOW - 60, latest, unread }
}

fn message(session: Session, msg_id: u32, from: u32, text: &str) -> Message {
    let (msg_type, to_session_id) = match session {
        Session::User(id) => (MsgType::SingleText, if from == ME { id } else { ME }),
        Session::Group(id) => (MsgType::GroupText, id),
    };
    Message {
        from_user_id: from,
        to_session_id,
        msg_id,
        create_time: NOW - 600 + msg_id * 60,
        msg_type: msg_type.into(),
        clear_text: Some(text.to_owned()),
        data: bytes::Bytes::new(),
    }
}

/// A chat, and what it has asked for so far.
struct Test {
    state: State,
    asked: Vec<Request>,
    rang: usize,
    ended: bool,
}

impl Test {
    fn new() -> Self {
        let state = State::new(TimeZone::UTC, (60, 12), NOW);
        Self { state, asked: Vec::new(), rang: 0, ended: false }
    }

    /// Connected, with these talks.
    fn online(recent: Vec<Recent>) -> Self {
        let mut test = Self::new();
        test.connect(recent);
        test
    }

    fn connect(&mut self, recent: Vec<Recent>) {
        self.news(News::Connected(Box::new(Lists { recent, ..lists() })));
    }

    /// The talk with Bob, of which the whole history is here.
    fn with_bob(messages: &[(u32, &str)]) -> Self {
        let latest = u32::try_from(messages.len()).unwrap();
        let mut test = Self::online(vec![recent(BOB, latest, 0)]);
        test.open(BOB);
        let messages = (1..).zip(messages).map(|(id, (from, text))| message(BOB, id, *from, text));
        let page = Ok(messages.collect());
        test.news(News::History { session: BOB, newest: 0, page });
        test.asked.clear();
        test
    }

    fn open(&mut self, session: Session) {
        self.state.open(session);
        self.event(Event::Tick(self.state.now));
    }

    /// The rows beside the list.
    fn talk_rows(&self) -> Vec<String> {
        let rows = self.screen();
        rows.iter().filter_map(|row| Some(row.split_once('│')?.1.to_owned())).collect()
    }

    fn event(&mut self, event: Event) {
        for effect in self.state.apply(event) {
            match effect {
                Effect::Ask(request) => self.asked.push(request),
                Effect::Bell => self.rang += 1,
                Effect::Redraw => {}
                Effect::Quit | Effect::Fail(_) => self.ended = true,
            }
        }
    }

    fn news(&mut self, news: News) {
        self.event(Event::News(news));
    }

    fn say(&mut self, session: Session, msg_id: u32, from: u32, text: &str) {
        self.news(News::Said(message(session, msg_id, from, text)));
    }

    fn press(&mut self, code: KeyCode) {
        self.event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    fn control(&mut self, c: char) {
        self.event(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
    }

    fn keys(&mut self, text: &str) {
        text.chars().for_each(|c| self.press(KeyCode::Char(c)));
    }

    /// Types a line and ends it.
    fn enter(&mut self, text: &str) {
        self.keys(text);
        self.press(KeyCode::Enter);
    }

    /// What was asked for since the last time.
    fn asked(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.asked)
    }

    /// The number of the only message that was asked to be sent.
    #[track_caller]
    fn sent(&mut self, text: &str) -> u64 {
        let sent = self.asked();
        let mut sent = sent.iter().filter_map(|request| match request {
            Request::Send { local, text, .. } => Some((*local, text.as_str())),
            _ => None,
        });
        let (local, sent_text) = sent.next().unwrap();
        assert_eq!((sent_text, sent.next()), (text, None));
        local
    }

    fn talk(&self, session: Session) -> &Talk {
        &self.state.talks[&session]
    }

    /// The rows of the screen, without the space at their ends.
    fn screen(&self) -> Vec<String> {
        let (columns, rows) = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view::draw(&self.state, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let mut screen = Vec::new();
        for row in 0..rows {
            let (mut text, mut column) = (String::new(), 0);
            while column < columns {
                let symbol = buffer[(column, row)].symbol();
                text += symbol;
                // A wide character hides what is behind it.
                column += u16::try_from(super::line::width(symbol)).unwrap().max(1);
            }
            screen.push(text.trim_end().to_owned());
        }
        screen
    }

    #[track_caller]
    fn assert_screen(&self, expected: &[&str]) {
        let screen = self.screen();
        assert_eq!(screen, expected, "\n{}", screen.join("\n"));
    }
}
