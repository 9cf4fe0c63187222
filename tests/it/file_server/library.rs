//! The client library sends and fetches files.

use std::io::Cursor;
use std::thread;
use std::time::Duration;

use teamtalk::client::{Client as Library, ClientError, Event, Transfer};
use teamtalk::pb::base_define::ClientType;

use super::*;
use crate::site::{Site as ChatSite, log_in, pause};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two users, the file_server between them, and what keeps all this alive.
struct World {
    files: Site,
    one: Library,
    two: Library,
    _servers: (Running, ChatSite),
}

impl World {
    fn new() -> Self {
        let (chat, files) = (ChatSite::new(1), Site::new());
        let port = files.server.as_ref().unwrap().addrs[0].port();
        let server =
            chat.msg_server_with(&format!("FileServerIP1=127.0.0.1\nFileServerPort1={port}\n"));
        let one = log_in(server.addrs[0], 1, ClientType::Windows);
        let two = log_in(server.addrs[0], 2, ClientType::Windows);
        Self { files, one, two, _servers: (server, chat) }
    }

    /// User 1 is going to send something, once the msg_server knows the file_server.
    fn request(&mut self, mode: TransferFileType, size: u32) -> (Transfer, ImFileRsp) {
        loop {
            match self.one.request_file(2, "a file.txt", size, mode) {
                Ok(rsp) if !rsp.ip_addr_list.is_empty() => {
                    return (Transfer::of_response(&rsp, size), rsp);
                }
                Ok(_) => drop(self.notified()),
                Err(ClientError::Refused { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            pause();
        }
    }

    /// User 2 is told of it.
    fn notified(&mut self) -> ImFileNotify {
        loop {
            match self.two.next_event(PATIENCE).unwrap() {
                Some(Event::File(notify)) => return notify,
                Some(_) => {}
                None => panic!("no file is announced"),
            }
        }
    }
}

/// Sends in a thread of its own what `fetch` takes here.
fn both(
    sending: &Transfer,
    content: &[u8],
    fetch: impl FnOnce() -> Result<(), ClientError>,
) -> (Result<(), ClientError>, Result<(), ClientError>) {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut source = Cursor::new(content);
            sending.send(1, &mut source, PATIENCE, |_| {})
        });
        let fetched = fetch();
        (sender.join().unwrap(), fetched)
    })
}

#[test]
fn a_file_goes_from_hand_to_hand() {
    let mut world = World::new();
    let content = content(200_000);
    let (sending, _) = world.request(ONLINE, content.len() as u32);
    let fetching = Transfer::of_notify(&world.notified());
    assert_eq!((&fetching.task_id, fetching.size), (&sending.task_id, 200_000));
    let (mut got, mut steps) = (Vec::new(), Vec::new());
    let (sent, fetched) = both(&sending, &content, || {
        fetching.fetch(2, &mut got, PATIENCE, |bytes| steps.push(bytes))
    });
    sent.unwrap();
    fetched.unwrap();
    assert_eq!(got, content);
    assert_eq!((steps.len(), steps.last()), (7, Some(&200_000)));

    let (sending, _) = world.request(ONLINE, 5);
    let fetching = Transfer::of_notify(&world.notified());
    let (sent, refused) = both(&sending, b"12345", || fetching.refuse(2));
    refused.unwrap();
    assert!(matches!(sent, Err(ClientError::Refused { .. })), "{sent:?}");
}

#[test]
fn a_file_waits_for_who_is_away() {
    let mut world = World::new();
    let content = content(100_001);
    let (sending, rsp) = world.request(OFFLINE, content.len() as u32);
    assert_eq!(world.notified().offline_ready, 0, "he is there, and may fetch it at once");
    sending.send(1, &mut Cursor::new(&content), PATIENCE, |_| {}).unwrap();
    world.one.add_offline_file(&rsp, sending.size).unwrap();
    let notify = world.notified();
    assert_eq!((notify.offline_ready, notify.task_id.as_str()), (1, sending.task_id.as_str()));
    // He is told before it is stored that the file waits.
    let waiting = loop {
        let waiting = world.two.offline_files().unwrap();
        if !waiting.offline_file_list.is_empty() {
            break waiting;
        }
    };
    let [file] = &waiting.offline_file_list[..] else { panic!("one file: {waiting:?}") };
    let fetching = Transfer::of_offline(file, &waiting.ip_addr_list);
    let mut got = Vec::new();
    fetching.fetch(2, &mut got, PATIENCE, |_| {}).unwrap();
    assert_eq!(got, content);
    world.two.del_offline_file(1, &file.task_id).unwrap();
    while !world.two.offline_files().unwrap().offline_file_list.is_empty() {}
    // Nobody else gets it, and no file_server is no file.
    let mut nothing = Vec::new();
    let stranger = fetching.fetch(3, &mut nothing, PATIENCE, |_| {}).unwrap_err();
    assert!(matches!(stranger, ClientError::Refused { .. }), "{stranger}");
    world.files.stop();
    assert!(fetching.fetch(2, &mut nothing, PATIENCE, |_| {}).unwrap_err().is_lost());
    assert!(nothing.is_empty());
}
