//! Pairs of clients that talk with each other all the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use teamtalk::client::{Crowd, Event, Happening, Login, Session, logged_in};
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::ImLogoutReq;

use crate::site::AES_KEY;

/// The user of the first member; all others follow.
pub const FIRST_ID: u32 = 11;

/// What a client has said and heard, by message number.
#[derive(Default)]
pub struct Talk {
    pub said: BTreeMap<u32, String>,
    pub heard: BTreeMap<u32, String>,
    /// What was not stored, as far as anybody knows.
    pub refused: BTreeSet<String>,
    /// What got no answer.
    pub unknown: BTreeSet<String>,
    sent: u32,
    awaits: Option<(u16, String, Instant)>,
}

/// Members 0 and 1 talk with each other, 2 and 3, and so on. They are on different msg_servers.
pub struct Talkers {
    crowd: Crowd,
    pub talks: Vec<Talk>,
    pub online: usize,
    /// Connections that ended.
    pub left: usize,
    /// Between the answer to one message of a client and his next one.
    think: Duration,
    /// How long an answer is waited for.
    patience: Duration,
    /// Who says something next, and when.
    next: VecDeque<(Instant, usize)>,
    talking: bool,
}

pub fn partner(member: usize) -> Session {
    Session::User(FIRST_ID + (member as u32 ^ 1))
}

#[expect(clippy::disallowed_methods, reason = "a test that lasts a while needs a clock")]
pub fn now() -> Instant {
    Instant::now()
}

impl Talkers {
    /// They log in, and say nothing yet.
    pub fn new(addrs: [SocketAddr; 2], count: usize, think: Duration, patience: Duration) -> Self {
        let mut crowd = Crowd::new().unwrap();
        for member in 0..count {
            assert_eq!(crowd.connect(addrs[member % 2], AES_KEY).unwrap(), member);
            let login = Login::new(&format!("user{}", FIRST_ID as usize + member), "secret");
            crowd.core(member).unwrap().request(CID_LOGIN_REQ_USERLOGIN, &login.request());
        }
        let talks = (0..count).map(|_| Talk::default()).collect();
        let next = VecDeque::new();
        let mut this =
            Self { crowd, talks, online: 0, left: 0, think, patience, next, talking: false };
        while this.online < count {
            this.turn();
            assert_eq!(this.left, 0);
        }
        this
    }

    /// Everybody begins, spread over the time one waits, so that it is no march.
    pub fn begin(&mut self) {
        let (start, count) = (now(), self.talks.len());
        let at = |member: usize| start + self.think * member as u32 / count as u32;
        self.next = (0..count).map(|member| (at(member), member)).collect();
        self.talking = true;
    }

    /// Nobody says anything from here on; what is on its way arrives.
    pub fn end(&mut self) {
        self.talking = false;
    }

    pub fn turn(&mut self) {
        let turn = now();
        while self.next.front().is_some_and(|(at, _)| *at <= turn) {
            let (_, member) = self.next.pop_front().unwrap();
            if self.talking {
                self.say(member, turn);
            }
        }
        self.give_up(turn);
        let Self { crowd, talks, online, left, next, think, .. } = self;
        let on_event = |member: usize, core: &mut teamtalk::client::Core, what| match what {
            Happening::Event(Event::Answer(pdu)) => match pdu.as_pdu().command_id() {
                CID_LOGIN_RES_USERLOGIN => {
                    let user = logged_in(pdu.as_pdu().decode().unwrap()).unwrap();
                    core.set_user_id(user.user_id);
                    *online += 1;
                }
                CID_LOGIN_RES_LOGINOUT => {}
                command_id => panic!("unexpected answer {command_id:#06x}"),
            },
            Happening::Event(Event::Stored { seq_num, ack }) => {
                let talk = &mut talks[member];
                match talk.awaits.take_if(|(awaited, ..)| *awaited == seq_num) {
                    Some((_, text, _)) if ack.msg_id == 0 => assert!(talk.refused.insert(text)),
                    Some((_, text, _)) => {
                        assert_eq!(talk.said.insert(ack.msg_id, text), None, "a number came twice");
                    }
                    // An answer that nobody waits for any more.
                    None => return,
                }
                next.push_back((now() + *think, member));
            }
            Happening::Event(Event::Message(message)) => {
                assert_eq!(message.session(core.user_id()), partner(member));
                let text = message.text().unwrap().to_owned();
                assert_eq!(talks[member].heard.insert(message.msg_id, text), None, "heard twice");
            }
            Happening::Event(_) => {}
            Happening::Lost(_) => *left += 1,
        };
        crowd.turn(Duration::from_millis(10), on_event).unwrap();
    }

    fn say(&mut self, member: usize, turn: Instant) {
        let talk = &mut self.talks[member];
        talk.sent += 1;
        let text = format!("{member} says {}", talk.sent);
        let core = self.crowd.core(member).unwrap();
        let seq_num = core.send_text(partner(member), &text).unwrap();
        talk.awaits = Some((seq_num, text, turn));
    }

    /// Whoever has waited long enough says something else.
    fn give_up(&mut self, turn: Instant) {
        for (member, talk) in self.talks.iter_mut().enumerate() {
            let overdue = |since: Instant| turn > since + self.patience;
            if let Some((_, text, _)) = talk.awaits.take_if(|(_, _, since)| overdue(*since)) {
                talk.unknown.insert(text);
                self.next.push_front((turn, member));
            }
        }
    }

    /// Nobody waits for an answer.
    pub fn is_answered(&self) -> bool {
        self.talks.iter().all(|talk| talk.awaits.is_none())
    }

    /// Everything that was said has been heard, and nothing else.
    pub fn is_heard(&self) -> bool {
        let mut pairs = (0..self.talks.len()).map(|at| (&self.talks[at], &self.talks[at ^ 1]));
        self.is_answered() && pairs.all(|(one, two)| one.said == two.heard)
    }

    /// How many messages are known to be stored.
    pub fn said(&self) -> usize {
        self.talks.iter().map(|talk| talk.said.len()).sum()
    }

    /// They log out and are gone.
    pub fn leave(mut self) {
        for member in 0..self.talks.len() {
            let core = self.crowd.core(member).unwrap();
            core.request(CID_LOGIN_REQ_LOGINOUT, &ImLogoutReq::default());
        }
        while !self.crowd.is_empty() {
            self.turn();
        }
    }
}
