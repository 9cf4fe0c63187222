//! The thread that owns the connection: requests block, so they are made here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use super::event::{Event as ChatEvent, Lists, News, Offer, Recent, Request};
use super::p2p::P2p;
use super::transfer;
use crate::client::{Client, ClientError, Event, Session, Transfer, Update, UserSession};
use crate::pb::base_define::{
    GroupInfo, GroupModifyType, GroupVersionInfo, SessionType, UserInfo, UserStat,
};
use crate::pb::group::ImGroupChangeMemberNotify;

/// How long it is waited for the server before it is looked what the user wants.
const TURN: Duration = Duration::from_millis(30);

/// Users whose presence is asked for at a time.
const PRESENCE_PAGE: usize = 1_000;

/// What the thread knows.
pub struct Net {
    user: UserSession,
    me: u32,
    requests: Receiver<Request>,
    events: Sender<ChatEvent>,
    /// The messages that are not answered yet, by the numbers of their requests.
    sent: HashMap<u16, u64>,
    downloads: PathBuf,
    finished: (Sender<transfer::Uploaded>, Receiver<transfer::Uploaded>),
}

impl Net {
    /// Takes requests from there, and tells its news there.
    pub fn new(
        user: UserSession,
        requests: Receiver<Request>,
        events: Sender<ChatEvent>,
        downloads: PathBuf,
    ) -> Self {
        let finished = std::sync::mpsc::channel();
        Self { user, me: 0, requests, events, sent: HashMap::new(), downloads, finished }
    }

    /// Where its news go.
    pub fn events(&self) -> Sender<ChatEvent> {
        self.events.clone()
    }

    /// Serves until nobody asks any more, then logs out.
    pub fn run(mut self) {
        loop {
            let update = self.user.next_update(TURN);
            let result = update.and_then(|update| match update {
                Some(update) => self.update(update),
                None => Ok(()),
            });
            if let Err(error) = result {
                return self.tell(News::Ended(error));
            }
            while let Ok(uploaded) = self.finished.1.try_recv() {
                self.uploaded(&uploaded);
            }
            loop {
                match self.requests.try_recv() {
                    Ok(request) => self.answer(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.user.disconnect(),
                }
            }
        }
    }

    fn tell(&self, news: News) {
        // Nobody listens once the chat has ended; the requests tell that as well.
        let _ = self.events.send(ChatEvent::News(news));
    }

    /// # Errors
    /// There is no point in going on.
    fn update(&mut self, update: Update) -> Result<(), ClientError> {
        match update {
            Update::Connected(me) => {
                self.me = me.user_id;
                self.sent.clear();
                let Some(client) = self.user.client() else { return Ok(()) };
                match lists(client, *me) {
                    Ok(lists) => self.tell(News::Connected(Box::new(lists))),
                    // The connection is of no use without them: the next one brings them.
                    Err(error) => self.user.reconnect(error)?,
                }
            }
            Update::Lost(error) => {
                self.sent.clear();
                self.tell(News::Lost(error.to_string()));
            }
            Update::Event(event) => {
                if let Some(news) = self.news(event) {
                    self.tell(news);
                }
            }
        }
        Ok(())
    }

    fn news(&mut self, event: Event) -> Option<News> {
        Some(match event {
            Event::Message(message) => News::Said(message),
            Event::Stored { seq_num, ack } => {
                News::Stored { local: self.sent.remove(&seq_num)?, msg_id: ack.msg_id }
            }
            Event::Read(read) => {
                let kind = SessionType::try_from(read.session_type).ok()?;
                let session = Session::new(kind, read.session_id);
                News::Read { session, msg_id: read.msg_id }
            }
            Event::Presence { user_id, status } => News::Presence(UserStat { user_id, status }),
            Event::SignInfoChanged(sign) => {
                News::Sign { user_id: sign.changed_user_id, sign: sign.sign_info }
            }
            Event::GroupChanged(change) => News::GroupChanged(change),
            Event::File(notify) => News::Offer(Offer {
                from: notify.from_user_id,
                name: String::from_utf8_lossy(&notify.file_name).into_owned(),
                transfer: Transfer::of_notify(&notify),
            }),
            Event::P2p(cmd) => {
                News::P2p { from: cmd.from_user_id, p2p: P2p::decode(&cmd.cmd_msg_data)? }
            }
            Event::PcLogin(_)
            | Event::SessionRemoved(_)
            | Event::AvatarChanged(_)
            | Event::Kicked(_)
            | Event::Heartbeat
            | Event::Answer(_) => return None,
        })
    }

    fn answer(&mut self, request: Request) {
        let Some(client) = self.user.client() else {
            return self.tell(refusal(request, &ClientError::Closed));
        };
        let result = match &request {
            Request::Send { local, session, text } => {
                client.post_text(*session, text).map(|seq_num| {
                    self.sent.insert(seq_num, *local);
                    None
                })
            }
            Request::SendFile { local, to, path, online } => {
                let places = (self.events.clone(), self.finished.0.clone());
                transfer::send(client, *local, *to, path, *online, places).map(|()| None)
            }
            Request::FetchFile { local, offer } => {
                let places = (self.events.clone(), self.finished.0.clone());
                transfer::fetch(self.me, *local, offer.clone(), self.downloads.clone(), places);
                Ok(None)
            }
            Request::RefuseFile(offer) => {
                transfer::refuse(client, offer.clone(), self.events.clone()).map(|()| None)
            }
            request => ask(client, request),
        };
        match result {
            Ok(Some(news)) => self.tell(news),
            Ok(None) => {}
            Err(error) => self.tell(refusal(request, &error)),
        }
    }

    /// A file has gone or come: the server learns of it.
    fn uploaded(&mut self, uploaded: &transfer::Uploaded) {
        let Some(client) = self.user.client() else { return };
        let result = match uploaded {
            transfer::Uploaded::Here(file, size) => client.add_offline_file(file, *size),
            transfer::Uploaded::There { from, task_id } => client.del_offline_file(*from, task_id),
        };
        if let Err(error) = result {
            self.tell(News::Notice(error.to_string()));
        }
    }
}

/// What is told if it did not work.
fn refusal(request: Request, error: &ClientError) -> News {
    let why = error.to_string();
    match request {
        Request::Send { local, .. } => News::NotSent { local },
        Request::History { session, newest, .. } => {
            News::History { session, newest, page: Err(why) }
        }
        Request::SendFile { local, .. } | Request::FetchFile { local, .. } => {
            News::Finished { local, result: Err(why) }
        }
        _ => News::Notice(why),
    }
}

fn ask(client: &mut Client, request: &Request) -> Result<Option<News>, ClientError> {
    Ok(match request {
        Request::History { session, newest, count } => {
            let page = client.history(*session, *newest, *count)?;
            Some(News::History { session: *session, newest: *newest, page: Ok(page) })
        }
        Request::MarkRead { session, msg_id } => {
            client.mark_read(*session, *msg_id)?;
            None
        }
        Request::P2p { to, p2p } => {
            client.send_p2p(*to, &p2p.encode())?;
            None
        }
        Request::User(id) => Some(News::Users(client.users_info(&[*id])?)),
        Request::Group(id) => client.group(*id)?.map(News::Group),
        Request::CreateGroup { name, members } => {
            let group_id = client.create_group(name, members)?;
            let group = GroupInfo {
                group_id,
                group_name: name.clone(),
                group_creator_id: client.user_id(),
                group_member_list: members.clone(),
                ..GroupInfo::default()
            };
            Some(News::GroupMade(group))
        }
        Request::Invite { group_id, users } => {
            Some(change(client, *group_id, GroupModifyType::Add, users)?)
        }
        Request::Kick { group_id, users } => {
            Some(change(client, *group_id, GroupModifyType::Del, users)?)
        }
        Request::Sign(text) => {
            client.change_sign_info(text)?;
            let user_id = client.user_id();
            Some(News::Sign { user_id, sign: text.clone() })
        }
        Request::Send { .. }
        | Request::SendFile { .. }
        | Request::FetchFile { .. }
        | Request::RefuseFile(_) => None,
    })
}

/// Members of a group come or go; the user hears of it as everybody else does.
fn change(
    client: &mut Client,
    group_id: u32,
    change: GroupModifyType,
    users: &[u32],
) -> Result<News, ClientError> {
    let members = client.change_group(group_id, change, users)?;
    Ok(News::GroupChanged(ImGroupChangeMemberNotify {
        user_id: client.user_id(),
        change_type: change.into(),
        group_id,
        cur_user_id_list: members,
        chg_user_id_list: users.to_vec(),
    }))
}

/// How things stand.
fn lists(client: &mut Client, me: UserInfo) -> Result<Lists, ClientError> {
    let (_, users) = client.all_users(0)?;
    let (_, departs) = client.departments(0)?;
    let unread: HashMap<_, _> = client
        .unread()?
        .into_iter()
        .map(|info| (Session::new(info.session_type(), info.session_id), info))
        .collect();
    let mut recent = Vec::new();
    for info in client.recent_sessions(0)? {
        let session = Session::new(info.session_type(), info.session_id);
        let unread = unread.get(&session);
        recent.push(Recent {
            session,
            updated: info.updated_time,
            latest: info.latest_msg_id.max(unread.map_or(0, |info| info.latest_msg_id)),
            unread: unread.map_or(0, |info| info.unread_cnt),
        });
    }
    let mut known = client.groups()?;
    let talked_in = recent.iter().filter_map(|recent| match recent.session {
        Session::Group(group_id) => Some(GroupVersionInfo { group_id, version: 0 }),
        Session::User(_) => None,
    });
    known.extend(talked_in);
    known.iter_mut().for_each(|group| group.version = 0);
    known.sort_by_key(|group| group.group_id);
    known.dedup_by_key(|group| group.group_id);
    let groups = if known.is_empty() { Vec::new() } else { client.groups_info(&known)? };
    // A group that one has left may still be in the list of talks.
    recent.retain(|recent| match recent.session {
        Session::Group(id) => groups.iter().any(|group| group.group_id == id),
        Session::User(_) => true,
    });
    let ids: Vec<_> = users.iter().map(|user| user.user_id).collect();
    let mut presence = Vec::new();
    for page in ids.chunks(PRESENCE_PAGE) {
        presence.extend(client.users_status(page)?);
    }
    let waiting = client.offline_files()?;
    let offers = waiting.offline_file_list.iter().map(|info| Offer {
        from: info.from_user_id,
        name: String::from_utf8_lossy(&info.file_name).into_owned(),
        transfer: Transfer::of_offline(info, &waiting.ip_addr_list),
    });
    let offers = offers.collect();
    Ok(Lists { me, users, departs, groups, presence, recent, offers })
}
