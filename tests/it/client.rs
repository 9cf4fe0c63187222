//! The client library against real servers: every command of a client, on both kinds of storage.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use teamtalk::client::{
    Client, ClientError, Event, Login, Message, Server, Session, TlsClient, Update, UserSession,
    msg_server,
};
use teamtalk::pb::base_define::{
    ClientType, GroupModifyType, KickReasonType, TransferFileType, UserStatType,
};
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::{ImRegistReq, ImRegistRes};

use crate::certificates::tls_keys;
use crate::running::{Running, free_port};
use crate::site::{AES_KEY, Site, log_in, pause};

const WINDOWS: ClientType = ClientType::Windows;
const ANDROID: ClientType = ClientType::Android;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both kinds of storage, two msg_servers each. Redis has one database for each test.
fn on_each_site(name: &str, redis_db: u32, contract: fn(&Site, &Running, &Running)) {
    for site in [Site::new(1), Site::on_servers(1, name, redis_db)] {
        let (a, b) = (site.msg_server(), site.msg_server());
        contract(&site, &a, &b);
    }
}

/// The first event of which `pick` makes something.
#[track_caller]
fn expect<T>(client: &mut Client, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = client.next_event(PATIENCE).unwrap().expect("an event in time");
        if let Some(found) = pick(&event) {
            return found;
        }
    }
}

#[track_caller]
fn hear(client: &mut Client) -> Message {
    expect(client, |event| match event {
        Event::Message(message) => Some(message.clone()),
        _ => None,
    })
}

/// Until route_server knows that the user is there.
fn wait_until_online(client: &mut Client, user_id: u32) {
    let online = i32::from(UserStatType::UserStatusOnline);
    while client.users_status(&[user_id]).unwrap()[0].status != online {}
}

fn texts(messages: &[Message]) -> Vec<(u32, u32, &str)> {
    let row = |message: &Message| (message.msg_id, message.from_user_id);
    messages.iter().map(|one| (row(one).0, row(one).1, one.text().unwrap())).collect()
}

#[test]
fn two_users_talk_and_read() {
    on_each_site("client_talk", 50, |_, a, b| {
        let mut one = log_in(a.addrs[0], 1, WINDOWS);
        let mut phone = log_in(b.addrs[0], 1, ANDROID);
        let mut two = log_in(b.addrs[0], 2, WINDOWS);
        wait_until_online(&mut one, 2);
        let (to_two, to_one) = (Session::User(2), Session::User(1));
        assert_eq!(one.latest_msg_id(to_two).unwrap(), 0);
        assert_eq!(one.send_text(to_two, "早 😀").unwrap(), 1);
        let heard = hear(&mut two);
        assert_eq!((heard.text(), heard.session(2), heard.msg_id), (Some("早 😀"), to_one, 1));
        let echo = hear(&mut phone);
        assert_eq!((echo.text(), echo.session(1)), (Some("早 😀"), to_two));
        assert_eq!(two.send_text(to_one, "hello").unwrap(), 2);
        assert_eq!(two.send_text(to_one, "again").unwrap(), 3);
        assert_eq!([hear(&mut one).msg_id, hear(&mut one).msg_id], [2, 3]);

        let unread = one.unread().unwrap();
        assert_eq!((unread.len(), unread[0].session_id, unread[0].unread_cnt), (1, 2, 2));
        assert_eq!((unread[0].latest_msg_id, unread[0].latest_msg_from_user_id), (3, 2));
        one.mark_read(to_two, 3).unwrap();
        let read = expect(&mut phone, |event| match event {
            Event::Read(read) => Some(*read),
            _ => None,
        });
        assert_eq!((read.user_id, read.session_id, read.msg_id), (1, 2, 3));
        while !one.unread().unwrap().is_empty() {}

        let history = one.history(to_two, 0, 2).unwrap();
        assert_eq!(texts(&history), [(3, 2, "again"), (2, 2, "hello")]);
        let (mine, his) = (one.messages(to_two, &[1]).unwrap(), two.history(to_one, 1, 5).unwrap());
        assert_eq!((texts(&mine), mine[0].session(1)), (vec![(1, 1, "早 😀")], to_two));
        assert_eq!((texts(&his), his[0].session(2)), (vec![(1, 1, "早 😀")], to_one));
        assert_eq!(two.latest_msg_id(to_one).unwrap(), 3);
        assert!(one.server_time().unwrap() > 1_700_000_000);

        one.send_p2p(2, "typing").unwrap();
        let cmd = expect(&mut two, |event| match event {
            Event::P2p(cmd) => Some(cmd.clone()),
            _ => None,
        });
        assert_eq!((cmd.from_user_id, &cmd.cmd_msg_data[..]), (1, &b"typing"[..]));
    });
}

#[test]
fn contacts_are_listed_and_sessions_removed() {
    on_each_site("client_contacts", 51, |_, a, b| {
        let mut one = log_in(a.addrs[0], 1, WINDOWS);
        let mut phone = log_in(b.addrs[0], 1, ANDROID);
        wait_until_online(&mut phone, 1);
        let (since, users) = one.all_users(0).unwrap();
        assert_eq!(
            users.iter().map(|user| user.user_id).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(one.all_users(since).unwrap(), (since, vec![]));
        let info = one.users_info(&[2, 77]).unwrap();
        assert_eq!((info.len(), info[0].user_nick_name.as_str()), (1, "nick2"));
        let offline = i32::from(UserStatType::UserStatusOffline);
        assert_eq!(one.users_status(&[5]).unwrap()[0].status, offline);
        assert_eq!(one.departments(0).unwrap().1, []);

        one.send_text(Session::User(2), "hello").unwrap();
        one.send_text(Session::User(3), "hello").unwrap();
        let sessions = |client: &mut Client| -> BTreeSet<u32> {
            client.recent_sessions(0).unwrap().iter().map(|info| info.session_id).collect()
        };
        assert_eq!(sessions(&mut one), BTreeSet::from([2, 3]));
        one.remove_session(Session::User(2)).unwrap();
        let removed = expect(&mut phone, |event| match event {
            Event::SessionRemoved(removed) => Some(removed.session_id),
            _ => None,
        });
        assert_eq!((removed, sessions(&mut phone)), (2, BTreeSet::from([3])));

        // Presence comes by itself.
        let two = log_in(b.addrs[0], 2, WINDOWS);
        let presence = |client: &mut Client| {
            expect(client, |event| match event {
                Event::Presence { user_id: 2, status } => Some(*status),
                _ => None,
            })
        };
        assert_eq!(presence(&mut one), i32::from(UserStatType::UserStatusOnline));
        two.logout().unwrap();
        assert_eq!(presence(&mut one), offline);
    });
}

#[test]
fn a_profile_is_changed_and_a_phone_rules_the_pc() {
    on_each_site("client_profile", 52, |_, a, b| {
        let mut pc = log_in(a.addrs[0], 1, WINDOWS);
        let mut phone = log_in(b.addrs[0], 1, ANDROID);
        let mut two = log_in(b.addrs[0], 2, WINDOWS);
        pc.change_avatar("g0/000/000/1.png").unwrap();
        assert!(pc.users_info(&[1]).unwrap()[0].avatar_url.ends_with(b"g0/000/000/1.png"));
        wait_until_online(&mut two, 1);
        pc.change_sign_info("忙 💤").unwrap();
        let told = expect(&mut two, |event| match event {
            Event::SignInfoChanged(told) => Some(told.clone()),
            _ => None,
        });
        assert_eq!((told.changed_user_id, told.sign_info.as_str()), (1, "忙 💤"));
        assert_eq!(two.users_info(&[1]).unwrap()[0].sign_info(), "忙 💤");
        let long = "x".repeat(1_000);
        assert!(matches!(pc.change_sign_info(&long), Err(ClientError::Refused { .. })));

        assert!(!phone.push_shield().unwrap());
        phone.set_push_shield(true).unwrap();
        assert!(phone.push_shield().unwrap());
        phone.set_device_token("android:token").unwrap();
        phone.kick_pc().unwrap();
        let error = loop {
            match pc.next_event(PATIENCE) {
                Ok(event) => assert!(event.is_some(), "the PC is sent away in time"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ClientError::Kicked { .. }) && error.is_lost(), "{error}");
        assert!(matches!(pc.server_time(), Err(ClientError::Kicked { .. })));
        assert_eq!(phone.send_text(Session::User(2), "from the phone").unwrap(), 1);
    });
}

#[test]
fn groups_are_made_changed_and_talked_in() {
    on_each_site("client_groups", 53, |_, a, b| {
        let mut one = log_in(a.addrs[0], 1, WINDOWS);
        let mut two = log_in(b.addrs[0], 2, WINDOWS);
        let mut three = log_in(b.addrs[0], 3, WINDOWS);
        wait_until_online(&mut one, 3);
        let group_id = one.create_group("组 🎉", &[1, 2]).unwrap();
        let group = Session::Group(group_id);
        assert_eq!(one.send_text(group, "hello all").unwrap(), 1);
        let heard = hear(&mut two);
        assert_eq!((heard.text(), heard.session(2)), (Some("hello all"), group));
        let members = one.change_group(group_id, GroupModifyType::Add, &[3]).unwrap();
        assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3]));
        let changed = expect(&mut three, |event| match event {
            Event::GroupChanged(changed) => Some(changed.clone()),
            _ => None,
        });
        assert_eq!((changed.group_id, &changed.chg_user_id_list[..]), (group_id, &[3][..]));
        assert_eq!(two.send_text(group, "hello three").unwrap(), 2);
        assert_eq!(hear(&mut three).text(), Some("hello three"));
        assert_eq!(texts(&three.history(group, 0, 9).unwrap()).len(), 2);

        let info = two.group(group_id).unwrap().unwrap();
        assert_eq!((info.group_name.as_str(), info.group_creator_id), ("组 🎉", 1));
        assert_eq!(two.group(group_id + 1).unwrap(), None);
        // Groups that users make are temporary; the list is of the other ones.
        assert_eq!(two.groups().unwrap(), []);
        two.shield_group(group_id, true).unwrap();
        assert_eq!(two.group(group_id).unwrap().unwrap().shield_status, 1);
        let refused = two.change_group(group_id, GroupModifyType::Del, &[1]);
        assert!(matches!(refused, Err(ClientError::Refused { .. })));
        one.change_group(group_id, GroupModifyType::Del, &[2]).unwrap();
        assert_eq!(two.history(group, 0, 9).unwrap(), []);
        assert!(matches!(two.send_text(group, "hello?"), Err(ClientError::Refused { .. })));
    });
}

#[test]
fn f140_who_registers_logs_in_and_is_known_to_his_colleagues() {
    for site in [Site::new(1), Site::on_servers(1, "client_register", 42)] {
        let server = site.msg_server_with("AllowRegister=1\n");
        let mut one = log_in(server.addrs[0], 1, WINDOWS);
        let connect = || Client::connect(&server.addrs[0].to_string(), AES_KEY).unwrap();
        let (login, mut client) = (Login::new("Zoë O'Hara", "s3cret"), connect());
        let user_id = client.register(&login, "Zoë").unwrap();
        assert_eq!(client.login(&login).unwrap().user_id, user_id);
        one.send_text(Session::User(user_id), "welcome").unwrap();
        assert_eq!(hear(&mut client).text(), Some("welcome"));
        let (_, all) = one.all_users(0).unwrap();
        let found = all.iter().find(|user| user.user_id == user_id).unwrap();
        assert_eq!(found.user_nick_name, "Zoë");
        let again = connect().register(&Login::new("Zoë O'Hara", "other"), "").unwrap_err();
        assert!(matches!(again, ClientError::Refused { code: 6, .. }), "{again}");
    }
}

#[test]
fn what_is_not_there_is_refused_and_what_is_unknown_ignored() {
    on_each_site("client_refusals", 54, |site, a, b| {
        let mut one = log_in(a.addrs[0], 1, WINDOWS);
        let mode = TransferFileType::FileTypeOffline;
        let refused = one.request_file(2, "f.txt", 5, mode).unwrap_err();
        assert!(matches!(refused, ClientError::Refused { .. }), "no file_server: {refused}");
        assert_eq!(one.offline_files().unwrap().offline_file_list, []);
        one.del_offline_file(2, "00000000-0000-4000-8000-000000000000").unwrap();
        assert!(matches!(one.send_text(Session::User(2), ""), Err(ClientError::Text(_))));
        // Commands nobody has.
        one.tell(0x0105 + 0x70, &()).unwrap();
        one.tell(0x0999, &()).unwrap();
        one.set_timeout(Duration::from_millis(50));
        let req = ImRegistReq { user_name: "x".to_owned(), ..ImRegistReq::default() };
        let answer = one.ask::<ImRegistRes>(CID_LOGIN_REQ_REGIST, &req, CID_LOGIN_RES_REGIST);
        assert!(matches!(answer, Err(ClientError::TimedOut { command_id: CID_LOGIN_REQ_REGIST })));
        one.set_timeout(PATIENCE);
        one.server_time().unwrap();
        // A body that is none is passed over, and many of them end the connection.
        one.tell(CID_MSG_DATA, &"no number".to_owned()).unwrap();
        one.server_time().unwrap();
        while one.tell(CID_MSG_DATA, &"no number".to_owned()).is_ok() {}
        let error = loop {
            match one.next_event(PATIENCE) {
                Ok(event) => assert!(event.is_some(), "the connection ends in time"),
                Err(error) => break error,
            }
        };
        assert!(error.is_lost(), "{error}");

        let mut stranger = Client::connect(&b.addrs[0].to_string(), AES_KEY).unwrap();
        let refused = stranger.login(&Login::new("user1", "wrong")).unwrap_err();
        assert!(matches!(refused, ClientError::Refused { code: 6, .. }), "{refused}");
        let found = msg_server(&site.login.addrs[2].to_string()).unwrap();
        assert!([a, b].iter().any(|server| server.addrs[0].to_string() == found.prior));
        assert!(Client::connect("127.0.0.1:1", AES_KEY).unwrap_err().is_lost());
        assert!(matches!(msg_server("127.0.0.1:1"), Err(ClientError::LoginServer(_))));
    });
}

/// A user who stays connected, as a bot would use it: what is heard, in its order.
fn listen(session: &mut UserSession, count: usize) -> Vec<(u32, String)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match session.next_update(PATIENCE).unwrap() {
            Some(Update::Event(Event::Message(message))) => {
                heard.push((message.msg_id, message.text().unwrap().to_owned()));
            }
            Some(_) => {}
            None => panic!("only {heard:?} in time"),
        }
    }
    heard
}

#[test]
fn who_stays_connected_misses_and_repeats_nothing() {
    let site = Site::new(1);
    let port = free_port();
    let server = site.msg_server_with(&format!("ListenPort={port}\n"));
    let other = site.msg_server();
    let mut two = log_in(other.addrs[0], 2, WINDOWS);
    let to_one = Session::User(1);
    let mut number = 0;
    let mut say = |count: u32| {
        (0..count).for_each(|_| {
            number += 1;
            assert_eq!(two.send_text(to_one, &format!("m{number}")).unwrap(), number);
        });
    };
    let expected = |ids: std::ops::RangeInclusive<u32>| -> Vec<_> {
        ids.map(|id| (id, format!("m{id}"))).collect()
    };
    say(5);
    let login = Login::new("user1", "secret");
    let addr = Server::Msg(server.addrs[0].to_string());
    let mut one = UserSession::new(addr, AES_KEY, login);
    assert_eq!(listen(&mut one, 5), expected(1..=5), "what is unread at the start");
    wait_until_online(one.client().unwrap(), 2);
    say(5);
    assert_eq!(listen(&mut one, 5), expected(6..=10), "what comes");
    drop(server);
    say(150);
    let server = site.msg_server_with(&format!("ListenPort={port}\n"));
    assert_eq!(listen(&mut one, 150), expected(11..=160), "what came in between");
    // The connection breaks while something is sent.
    drop(server);
    let restart = thread::spawn(move || {
        pause();
        let server = site.msg_server_with(&format!("ListenPort={port}\n"));
        (site, server)
    });
    let msg_id = one.send_text(Session::User(2), "once", PATIENCE).unwrap();
    let _running = restart.join().unwrap();
    assert_eq!(msg_id, 161);
    let history = two.history(to_one, 0, 3).unwrap();
    assert_eq!(texts(&history)[..2], [(161, 1, "once"), (160, 2, "m160")]);
}

#[test]
fn what_is_posted_is_told_to_be_stored_and_comes_not_back() {
    let site = Site::new(1);
    let server = site.msg_server();
    let mut two = log_in(server.addrs[0], 2, WINDOWS);
    let addr = Server::Msg(server.addrs[0].to_string());
    let mut one = UserSession::new(addr, AES_KEY, Login::new("user1", "secret"));
    assert_eq!(two.send_text(Session::User(1), "first").unwrap(), 1);
    assert_eq!(listen(&mut one, 1), [(1, "first".to_owned())]);
    let posted = one.client().unwrap().post_text(Session::User(2), "mine").unwrap();
    let stored = loop {
        if let Some(Update::Event(Event::Stored { seq_num, ack })) =
            one.next_update(PATIENCE).unwrap()
        {
            break (seq_num, ack.msg_id);
        }
    };
    assert_eq!(stored, (posted, 2));
    assert_eq!(two.send_text(Session::User(1), "third").unwrap(), 3);
    assert_eq!(listen(&mut one, 1), [(3, "third".to_owned())], "not the own one again");
}

#[test]
fn what_crosses_the_first_message_to_somebody_is_not_missed() {
    let site = Site::new(1);
    let server = site.msg_server();
    let mut two = log_in(server.addrs[0], 2, WINDOWS);
    let addr = Server::Msg(server.addrs[0].to_string());
    let mut one = UserSession::new(addr, AES_KEY, Login::new("user1", "secret"));
    one.connect().unwrap();
    assert_eq!(two.send_text(Session::User(1), "his").unwrap(), 1);
    assert_eq!(one.send_text(Session::User(2), "mine", PATIENCE).unwrap(), 2);
    assert_eq!(listen(&mut one, 1), [(1, "his".to_owned())]);
}

#[test]
fn a_session_may_be_given_up_and_ended() {
    let site = Site::new(1);
    let server = site.msg_server();
    let mut two = log_in(server.addrs[0], 2, WINDOWS);
    let addr = Server::Msg(server.addrs[0].to_string());
    let mut one = UserSession::new(addr, AES_KEY, Login::new("user1", "secret"));
    one.connect().unwrap();
    one.reconnect(ClientError::Closed).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match one.next_update(PATIENCE).unwrap() {
            Some(Update::Connected(_)) => "connected",
            Some(Update::Lost(_)) => "lost",
            Some(Update::Event(_)) => continue,
            None => panic!("only {seen:?} in time"),
        });
    }
    assert_eq!(seen, ["connected", "lost", "connected"]);
    let kicked = ClientError::Kicked { reason: KickReasonType::KickReasonDuplicateUser };
    assert!(one.reconnect(kicked).is_err(), "two devices would send each other away for ever");
    wait_until_online(&mut two, 1);
    one.disconnect();
    let offline = i32::from(UserStatType::UserStatusOffline);
    while two.users_status(&[1]).unwrap()[0].status != offline {}
}

#[test]
fn a_session_ends_when_there_is_no_point_in_going_on() {
    let site = Site::new(1);
    let server = site.msg_server();
    let login = Login::new("user1", "wrong");
    let addr = Server::Login(site.login.addrs[2].to_string());
    let mut refused = UserSession::new(addr.clone(), AES_KEY, login);
    let error = loop {
        // Until login_server has a msg_server, and that has all it needs.
        match refused.next_update(PATIENCE) {
            Ok(update) => assert!(update.is_none(), "{update:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::Refused { code: 6, .. }), "{error}");
    let mut older = UserSession::new(addr, AES_KEY, Login::new("user1", "secret"));
    let update = older.next_update(PATIENCE).unwrap();
    assert!(matches!(update, Some(Update::Connected(user)) if user.user_id == 1));
    let _newer = log_in(server.addrs[0], 1, WINDOWS);
    let error = loop {
        match older.next_update(PATIENCE) {
            Ok(update) => assert!(update.is_some(), "it ends in time"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::Kicked { .. }), "{error}");
}

#[test]
fn f17_clients_talk_over_tls_and_nobody_comes_in_the_clear() {
    let site = Site::new(1);
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = tls_keys(directory.path());
    tls_keys(other.path());
    let server = site.msg_server_with(&format!("{keys}TlsListenPort=0\n"));
    let (plain, tls) = (server.addrs[0], server.addrs[1]);
    let mut two = log_in(plain, 2, WINDOWS);
    let trusting = TlsClient::with_roots(&directory.path().join("tls.crt")).unwrap();
    let addr = format!("localhost:{}", tls.port());
    let login = Login::new("user1", "secret");
    let mut one = Client::connect_tls(&addr, AES_KEY, &trusting).unwrap();
    one.login(&login).unwrap();
    wait_until_online(&mut one, 2);
    let text = "long enough for several records ".repeat(2_000);
    assert_eq!(one.send_text(Session::User(2), &text).unwrap(), 1);
    assert_eq!(hear(&mut two).text(), Some(&*text));
    two.send_text(Session::User(1), &text).unwrap();
    assert_eq!(hear(&mut one).text(), Some(&*text));
    one.logout().unwrap();
    let addr = Server::MsgTls(addr, trusting);
    let mut session = UserSession::new(addr.clone(), AES_KEY, login.clone());
    assert_eq!(listen(&mut session, 1)[0].1, text);
    // Whoever is not sure of the other side goes away.
    let Server::MsgTls(addr, trusting) = addr else { unreachable!() };
    let strange = TlsClient::with_roots(&other.path().join("tls.crt")).unwrap();
    let refused = |addr: &str, tls: &TlsClient| {
        Client::connect_tls(addr, AES_KEY, tls).unwrap().login(&login).unwrap_err().is_lost()
    };
    assert!(refused(&addr, &strange));
    assert!(refused(&format!("127.0.0.1:{}", tls.port()), &trusting), "another name");
    assert!(refused(&plain.to_string().replace("127.0.0.1", "localhost"), &trusting));
    let mut clear = Client::connect(&tls.to_string(), AES_KEY).unwrap();
    assert!(clear.login(&login).unwrap_err().is_lost());

    let server = site.msg_server_with(&format!("{keys}TlsListenPort=0\nPlainListen=0\n"));
    assert_eq!(server.addrs.len(), 1);
    let addr = format!("localhost:{}", server.addrs[0].port());
    let mut one = Client::connect_tls(&addr, AES_KEY, &trusting).unwrap();
    while let Err(error) = one.login(&login) {
        assert!(matches!(error, ClientError::Refused { code: 3..=5, .. }), "{error}");
        one = Client::connect_tls(&addr, AES_KEY, &trusting).unwrap();
    }
    assert!(TlsClient::with_roots(&directory.path().join("tls.key")).is_err());
}
