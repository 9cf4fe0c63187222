//! What is known of the talk with one user, or in one group.

use std::collections::BTreeMap;

use super::event::Recent;
use crate::client::Message;
use crate::pb::base_define::MsgType;

/// Messages of one talk that are kept. Scrolling back ends there.
pub const ITEMS_MAX: usize = 5_000;

/// Notes of one talk that are kept.
pub const NOTES_MAX: usize = 100;

/// How long a message may go unanswered, in seconds.
pub const ANSWER_SECONDS_MAX: u32 = 30;

/// What is said about pictures: between these two stands a URL.
pub const IMAGE_START: &str = "&$#@~^@[{:";
/// See [`IMAGE_START`].
pub const IMAGE_END: &str = ":}]&$~@#@";

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// Who wrote it.
    pub from: u32,
    /// Unix seconds.
    pub time: u32,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// In clear, as it was sent.
    Text(String),
    /// Sound of so many seconds.
    Voice(u32),
    /// Not for us: of another key, or of a later version.
    Unreadable,
}

impl Body {
    fn of(message: &Message) -> Self {
        if let Some(text) = message.text() {
            return Self::Text(text.to_owned());
        }
        match MsgType::try_from(message.msg_type) {
            Ok(MsgType::SingleAudio | MsgType::GroupAudio) => {
                Self::Voice(message.data.first_chunk().map_or(0, |head| u32::from_be_bytes(*head)))
            }
            _ => Self::Unreadable,
        }
    }

    /// What is shown. It may still hold anything; nothing of it goes to a terminal unfiltered.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => pictures_as_links(text),
            Self::Voice(seconds) => format!("[voice message, {seconds} s]"),
            Self::Unreadable => "[cannot be read with this key]".to_owned(),
        }
    }
}

/// A text whose pictures are links.
fn pictures_as_links(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, picture)) = rest.split_once(IMAGE_START) {
        let Some((url, after)) = picture.split_once(IMAGE_END) else { break };
        shown += before;
        shown += &format!("[picture] {url} ");
        rest = after;
    }
    shown += rest;
    shown.trim_end_matches(' ').to_owned()
}

/// A message that has no number yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing {
    /// What its answer is told by.
    pub local: u64,
    /// What it says.
    pub text: String,
    /// When it was written, Unix seconds.
    pub time: u32,
    /// The newest message of the talk at that time: its own number will be higher.
    pub base: u32,
    /// How far it is.
    pub delivery: Delivery,
}

/// How far a message is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Sent at this second, not answered.
    Sending(u32),
    /// Nobody knows whether it is stored: the next look at the history tells.
    Unsure,
    /// It is not stored, or nobody told.
    Failed(&'static str),
}

/// Something that stands between messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Behind this message.
    pub after: u32,
    /// What it says.
    pub text: String,
}

/// What is known of the talk with one user, or in one group.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// The messages, without gaps, by their numbers.
    pub items: BTreeMap<u32, Item>,
    /// Messages of the user that have no number yet.
    pub outgoing: Vec<Outgoing>,
    /// What stands between messages.
    pub notes: Vec<Note>,
    /// How many messages are unread.
    pub unread: u32,
    /// The newest message there is.
    pub latest: u32,
    /// When something was said last, Unix seconds.
    pub updated: u32,
    /// Up to there one had read when one began to look.
    pub marker: Option<u32>,
    /// Messages up to there are accounted for in `unread`.
    counted_to: u32,
    /// A part of the history is on its way.
    pub loading: bool,
    /// The newest part of the history is here.
    pub loaded: bool,
    /// The oldest part of the history is here.
    pub complete: bool,
    /// How many rows the newest one is below the screen.
    pub scroll: usize,
    /// Until this second the other one is said to be typing.
    pub writing_until: u32,
    /// What is typed and not sent.
    pub draft: String,
}

impl Talk {
    /// Takes what the server says about the whole talk.
    pub fn refresh(&mut self, recent: &Recent) {
        self.updated = self.updated.max(recent.updated);
        self.latest = self.latest.max(recent.latest);
        self.counted_to = self.counted_to.max(recent.latest);
        self.unread = recent.unread;
    }

    /// Takes a message that came.
    pub fn say(&mut self, me: u32, message: &Message) {
        self.updated = self.updated.max(message.create_time);
        if message.from_user_id != me && message.msg_id > self.counted_to {
            self.unread += 1;
        }
        self.counted_to = self.counted_to.max(message.msg_id);
        self.insert(message);
    }

    fn insert(&mut self, message: &Message) {
        self.latest = self.latest.max(message.msg_id);
        let (from, time) = (message.from_user_id, message.create_time);
        self.items.insert(message.msg_id, Item { from, time, body: Body::of(message) });
        if self.items.len() > ITEMS_MAX {
            self.items.pop_first();
            self.complete = false;
        }
    }

    /// Takes a part of the history that was asked for.
    pub fn load(&mut self, newest: u32, count: u32, page: &[Message]) {
        if newest == 0 {
            self.loaded = true;
        }
        // What is asked for behind the limit would push out what was looked at just now.
        let room = ITEMS_MAX.saturating_sub(self.items.len());
        for message in page.iter().take(if newest == 0 { page.len() } else { room }) {
            self.insert(message);
        }
        let short = u32::try_from(page.len()).is_ok_and(|len| len < count);
        if (short && self.items.len() < ITEMS_MAX) || self.items.contains_key(&1) {
            self.complete = true;
        }
    }

    /// From where on the history is asked for next.
    pub fn older_than_known(&self) -> Option<u32> {
        match self.items.first_key_value() {
            _ if self.complete || self.items.len() >= ITEMS_MAX => None,
            Some((first, _)) => first.checked_sub(1).filter(|newest| *newest > 0),
            None => Some(0),
        }
    }

    /// The user has read everything up to there.
    pub fn read(&mut self, me: u32, msg_id: u32) {
        let left = self.items.range(msg_id.saturating_add(1)..);
        let left = left.filter(|(_, item)| item.from != me).count();
        self.unread = self.unread.min(u32::try_from(left).unwrap_or(u32::MAX));
    }

    /// A message of the user has got this number.
    pub fn store(&mut self, me: u32, local: u64, msg_id: u32) -> bool {
        let Some(at) = self.outgoing.iter().position(|out| out.local == local) else {
            return false;
        };
        if msg_id == 0 {
            self.outgoing[at].delivery = Delivery::Failed("refused");
            return true;
        }
        let Outgoing { text, time, .. } = self.outgoing.remove(at);
        self.latest = self.latest.max(msg_id);
        self.counted_to = self.counted_to.max(msg_id);
        self.updated = self.updated.max(time);
        let item = Item { from: me, time, body: Body::Text(text) };
        self.items.entry(msg_id).or_insert(item);
        true
    }

    /// The connection is gone: what is not answered may be stored or not.
    pub fn doubt(&mut self) {
        for out in &mut self.outgoing {
            if matches!(out.delivery, Delivery::Sending(_)) {
                out.delivery = Delivery::Unsure;
            }
        }
    }

    /// Whether the history has to be looked at before something is sent again.
    pub fn has_doubts(&self) -> bool {
        self.outgoing.iter().any(|out| out.delivery == Delivery::Unsure)
    }

    /// The newest part of the history is here: what of the unsure messages is not in it is sent
    /// again. Gives those.
    pub fn settle(&mut self, me: u32, now: u32) -> Vec<(u64, String)> {
        let mut again = Vec::new();
        let mut claimed = Vec::new();
        let items = &self.items;
        self.outgoing.retain_mut(|out| {
            if out.delivery != Delivery::Unsure {
                return true;
            }
            let mine = |(id, item): &(&u32, &Item)| {
                let same = matches!(&item.body, Body::Text(text) if *text == out.text);
                item.from == me && same && !claimed.contains(*id)
            };
            match items.range(out.base.saturating_add(1)..).find(mine) {
                Some((id, _)) => {
                    claimed.push(*id);
                    false
                }
                None => {
                    out.delivery = Delivery::Sending(now);
                    again.push((out.local, out.text.clone()));
                    true
                }
            }
        });
        again
    }

    /// Gives up what has been waiting for too long.
    pub fn expire(&mut self, now: u32) {
        for out in &mut self.outgoing {
            if let Delivery::Sending(since) = out.delivery
                && now.saturating_sub(since) > ANSWER_SECONDS_MAX
            {
                out.delivery = Delivery::Failed("no answer");
            }
        }
    }

    /// Writes something between the messages, once if it is told twice.
    pub fn note(&mut self, text: String) {
        let note = Note { after: self.latest, text };
        if self.notes.last() == Some(&note) {
            return;
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1;

    fn message(msg_id: u32, from: u32, text: &str) -> Message {
        Message {
            from_user_id: from,
            to_session_id: ME,
            msg_id,
            create_time: 100 + msg_id,
            msg_type: MsgType::SingleText.into(),
            clear_text: Some(text.to_owned()),
            data: bytes::Bytes::new(),
        }
    }

    fn outgoing(local: u64, text: &str, base: u32) -> Outgoing {
        let (text, delivery) = (text.to_owned(), Delivery::Sending(100));
        Outgoing { local, text, time: 100, base, delivery }
    }

    #[test]
    fn pictures_are_links() {
        let picture = |url: &str| format!("{IMAGE_START}{url}{IMAGE_END}");
        let text = format!("see {}and {}", picture("http://m/1.png"), picture("http://m/2.png"));
        let shown = Body::Text(text).shown();
        assert_eq!(shown, "see [picture] http://m/1.png and [picture] http://m/2.png");
        for odd in [IMAGE_START, IMAGE_END, "&$#@~^@[{:http://m/1.png", ":}]&$~@#@&$#@~^@[{:"] {
            assert_eq!(Body::Text(odd.to_owned()).shown(), odd);
        }
    }

    #[test]
    fn sound_tells_its_length_and_a_foreign_text_that_it_is_foreign() {
        let mut sound = message(1, 2, "");
        sound.clear_text = None;
        assert_eq!(Body::of(&sound), Body::Unreadable);
        sound.msg_type = MsgType::GroupAudio.into();
        sound.data = [0, 0, 0, 7, 1, 2].as_slice().into();
        assert_eq!(Body::of(&sound).shown(), "[voice message, 7 s]");
        sound.data = [1].as_slice().into();
        assert_eq!(Body::of(&sound), Body::Voice(0));
    }

    #[test]
    fn a_message_is_counted_once() {
        let mut talk = Talk::default();
        let session = crate::client::Session::User(2);
        talk.refresh(&Recent { session, updated: 9, latest: 5, unread: 2 });
        talk.say(ME, &message(4, 2, "counted by the server"));
        talk.say(ME, &message(5, 2, "counted by the server"));
        assert_eq!(talk.unread, 2);
        talk.say(ME, &message(6, 2, "new"));
        talk.say(ME, &message(6, 2, "new"));
        talk.say(ME, &message(7, ME, "from my phone"));
        assert_eq!((talk.unread, talk.latest), (3, 7));
        talk.read(ME, 5);
        assert_eq!(talk.unread, 1);
        talk.read(ME, 7);
        assert_eq!(talk.unread, 0);
    }

    #[test]
    fn a_message_is_stored_or_refused() {
        let outgoing = vec![outgoing(1, "a", 0), outgoing(2, "b", 0), outgoing(3, "c", 0)];
        let mut talk = Talk { outgoing, ..Talk::default() };
        assert!(talk.store(ME, 1, 8));
        assert!(talk.store(ME, 2, 0));
        assert!(!talk.store(ME, 9, 9));
        assert_eq!(talk.items[&8].body, Body::Text("a".to_owned()));
        assert_eq!(talk.outgoing[0].delivery, Delivery::Failed("refused"));
        talk.expire(130);
        assert_eq!(talk.outgoing[1].delivery, Delivery::Sending(100));
        talk.expire(131);
        assert_eq!(talk.outgoing[1].delivery, Delivery::Failed("no answer"));
    }

    #[test]
    fn after_a_loss_only_what_is_not_stored_is_sent_again() {
        let mut talk = Talk::default();
        talk.load(0, 50, &[message(1, ME, "same"), message(2, 2, "same")]);
        talk.outgoing = (1..=3).map(|local| outgoing(local, "same", 2)).collect();
        talk.doubt();
        assert!(talk.has_doubts());
        talk.load(0, 50, &[message(3, ME, "same"), message(4, ME, "same")]);
        assert_eq!(talk.settle(ME, 200), [(3, "same".to_owned())]);
        assert_eq!((talk.outgoing.len(), talk.has_doubts()), (1, false));
        assert_eq!(talk.outgoing[0].delivery, Delivery::Sending(200));
        assert_eq!(talk.settle(ME, 200), []);
    }

    #[test]
    fn a_history_is_loaded_backwards_until_it_ends() {
        let mut talk = Talk::default();
        assert_eq!(talk.older_than_known(), Some(0));
        talk.load(0, 2, &[message(5, 2, "e"), message(4, 2, "d")]);
        assert_eq!((talk.older_than_known(), talk.complete), (Some(3), false));
        talk.load(3, 2, &[message(3, 2, "c")]);
        assert_eq!((talk.older_than_known(), talk.complete), (None, true));
        let mut empty = Talk::default();
        empty.load(0, 2, &[]);
        assert_eq!((empty.older_than_known(), empty.loaded), (None, true));
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut talk = Talk::default();
        let last = u32::try_from(ITEMS_MAX).unwrap() + 10;
        (2..=last).for_each(|id| talk.say(ME, &message(id, 2, "x")));
        assert_eq!((talk.items.len(), talk.older_than_known()), (ITEMS_MAX, None));
        talk.load(5, 2, &[message(5, 2, "older")]);
        assert!(!talk.items.contains_key(&5));
        (0..2 * NOTES_MAX).for_each(|n| talk.note(n.to_string()));
        assert_eq!((talk.notes.len(), &*talk.notes[0].text), (NOTES_MAX, "100"));
    }
}
