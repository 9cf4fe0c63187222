//! What the chat is told, and what it wants done.

use std::path::PathBuf;

use ratatui::crossterm::event::KeyEvent;

use super::p2p::P2p;
use crate::client::{ClientError, Message, Session, Transfer};
use crate::pb::base_define::{DepartInfo, GroupInfo, UserInfo, UserStat};
use crate::pb::group::ImGroupChangeMemberNotify;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Paste(String),
    /// The wheel of a mouse was turned by so many rows, up if positive.
    Wheel(i32),
    /// The terminal has so many columns and rows.
    Size(u16, u16),
    /// The terminal is looked at, or not.
    Focus(bool),
    /// It is this Unix second.
    Tick(u32),
    /// The server, or a transfer, has news.
    News(News),
    /// The chat is to end.
    Stop,
}

/// What the network has to say.
#[derive(Debug)]
pub enum News {
    /// There is a connection, and this is how things stand.
    Connected(Box<Lists>),
    /// The connection broke; another one is tried for.
    Lost(String),
    /// There will be no other one.
    Ended(ClientError),
    /// Somebody wrote, or the user himself on another device.
    Said(Message),
    /// A message has this number now.
    Stored {
        /// As in [`Request::Send`].
        local: u64,
        /// 0: the server does not store it.
        msg_id: u32,
    },
    /// A message did not get out, as the connection is gone.
    NotSent {
        /// As in [`Request::Send`].
        local: u64,
    },
    /// A part of a history, or why there is none.
    History {
        /// Whose.
        session: Session,
        /// As in [`Request::History`].
        newest: u32,
        /// The messages.
        page: Result<Vec<Message>, String>,
    },
    /// The user has read up to there on another device.
    Read {
        /// Where.
        session: Session,
        /// The last message.
        msg_id: u32,
    },
    /// Somebody came or went.
    Presence(UserStat),
    /// Who these are.
    Users(Vec<UserInfo>),
    /// Somebody has a new signature.
    Sign {
        /// Who.
        user_id: u32,
        /// What it says.
        sign: String,
    },
    /// What there is to know of a group.
    Group(GroupInfo),
    /// The user has made this group.
    GroupMade(GroupInfo),
    /// Members came or went.
    GroupChanged(ImGroupChangeMemberNotify),
    /// Another client says something.
    P2p {
        /// Whose.
        from: u32,
        /// What.
        p2p: P2p,
    },
    /// Somebody sends a file.
    Offer(Offer),
    /// So many bytes of a file have gone or come.
    Progress {
        /// As in the request.
        local: u64,
        /// In bytes, of how many.
        done: (u32, u32),
    },
    /// A transfer is over.
    Finished {
        /// As in the request.
        local: u64,
        /// Where the file is now, or why it is not.
        result: Result<String, String>,
    },
    /// Something to show to the user.
    Notice(String),
}

/// How things stand at the beginning of a connection.
#[derive(Debug, Default)]
pub struct Lists {
    /// Who is logged in.
    pub me: UserInfo,
    /// Everybody.
    pub users: Vec<UserInfo>,
    /// All departments.
    pub departs: Vec<DepartInfo>,
    /// The groups of the user.
    pub groups: Vec<GroupInfo>,
    /// Who is there.
    pub presence: Vec<UserStat>,
    /// With whom one has talked.
    pub recent: Vec<Recent>,
    /// The files that wait.
    pub offers: Vec<Offer>,
}

/// With whom one has talked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recent {
    /// Whom.
    pub session: Session,
    /// When, Unix seconds.
    pub updated: u32,
    /// The newest message.
    pub latest: u32,
    /// How many are unread.
    pub unread: u32,
}

/// A file that somebody sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// Who.
    pub from: u32,
    /// What he calls it.
    pub name: String,
    /// Where it is.
    pub transfer: Transfer,
}

/// What the network is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Up to `count` messages from number `newest` (0: the last one) backwards.
    History {
        /// Whose.
        session: Session,
        /// From there.
        newest: u32,
        /// How many.
        count: u32,
    },
    /// A message to send.
    Send {
        /// What the answer is told by.
        local: u64,
        /// To whom.
        session: Session,
        /// What.
        text: String,
    },
    /// Everything up to this message is read.
    MarkRead {
        /// Where.
        session: Session,
        /// The last message.
        msg_id: u32,
    },
    /// To tell another client.
    P2p {
        /// Whose.
        to: u32,
        /// What.
        p2p: P2p,
    },
    /// Who this is.
    User(u32),
    /// What there is to know of this group.
    Group(u32),
    /// To make a group.
    CreateGroup {
        /// What it is called.
        name: String,
        /// The user among them.
        members: Vec<u32>,
    },
    /// To let users into a group.
    Invite {
        /// Which.
        group_id: u32,
        /// Whom.
        users: Vec<u32>,
    },
    /// To send users away from a group, or oneself.
    Kick {
        /// Which.
        group_id: u32,
        /// Whom.
        users: Vec<u32>,
    },
    /// The user's new signature.
    Sign(String),
    /// To send a file.
    SendFile {
        /// What news of it are told by.
        local: u64,
        /// To whom.
        to: u32,
        /// Which.
        path: PathBuf,
        /// Whether he is there to take it.
        online: bool,
    },
    /// To fetch a file.
    FetchFile {
        /// What news of it are told by.
        local: u64,
        /// Which.
        offer: Offer,
    },
    /// To let the sender know that the file is not wanted.
    RefuseFile(Offer),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Ask the network.
    Ask(Request),
    /// Call for attention.
    Bell,
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
    /// End, with this failure.
    Fail(ClientError),
}
