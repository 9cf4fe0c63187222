//! Messages: sent, come, lost, read, loaded.

use super::*;
use crate::client::ClientError;
use crate::pb::base_define::GroupModifyType;
use crate::pb::group::ImGroupChangeMemberNotify;
use crate::tool::chat::state::{Link, PAGE};
use crate::tool::chat::talk::Delivery;

fn history(session: Session, newest: u32) -> Request {
    Request::History { session, newest, count: PAGE }
}

fn mark_read(session: Session, msg_id: u32) -> Request {
    Request::MarkRead { session, msg_id }
}

#[test]
fn what_is_typed_is_sent_and_stored() {
    let mut test = Test::with_bob(&[]);
    test.enter("hello");
    let local = test.sent("hello");
    assert_eq!(test.talk(BOB).outgoing[0].delivery, Delivery::Sending(NOW));
    test.news(News::Stored { local, msg_id: 1 });
    assert!(test.talk(BOB).outgoing.is_empty() && test.talk(BOB).items.contains_key(&1));
    // Two slashes are one.
    test.enter("//etc");
    test.sent("/etc");
    test.enter("   ");
    assert_eq!(test.asked(), []);
}

#[test]
fn what_is_refused_is_sent_again_when_asked_to() {
    let mut test = Test::with_bob(&[]);
    test.enter("hello");
    let local = test.sent("hello");
    test.news(News::Stored { local, msg_id: 0 });
    assert_eq!(test.talk(BOB).outgoing[0].delivery, Delivery::Failed("refused"));
    test.control('r');
    assert_eq!(test.asked(), [history(BOB, 0)]);
    test.news(News::History { session: BOB, newest: 0, page: Ok(vec![]) });
    assert_eq!(test.sent("hello"), local);
    test.control('r');
    assert_eq!(test.state.notice, "nothing has failed here");
}

#[test]
fn a_message_without_an_answer_fails_and_is_not_stored_twice() {
    let mut test = Test::with_bob(&[]);
    test.enter("hello");
    test.sent("hello");
    test.event(Event::Tick(NOW + 31));
    assert_eq!(test.talk(BOB).outgoing[0].delivery, Delivery::Failed("no answer"));
    test.control('r');
    test.asked();
    let page = Ok(vec![message(BOB, 1, ME, "hello")]);
    test.news(News::History { session: BOB, newest: 0, page });
    assert_eq!((test.asked(), test.talk(BOB).outgoing.len()), (vec![], 0));
}

#[test]
fn what_the_connection_took_along_is_sent_over_the_next_one() {
    let mut test = Test::with_bob(&[(2, "hi")]);
    test.enter("stored");
    test.sent("stored");
    test.enter("lost");
    let lost = test.sent("lost");
    test.news(News::Lost("it broke".to_owned()));
    assert_eq!(test.state.link, Link::Lost("it broke".to_owned()));
    test.enter("later");
    assert_eq!(test.asked(), []);
    test.connect(vec![recent(BOB, 2, 0)]);
    assert_eq!(test.asked(), [history(BOB, 0)]);
    let page = Ok(vec![message(BOB, 2, ME, "stored"), message(BOB, 1, 2, "hi")]);
    test.news(News::History { session: BOB, newest: 0, page });
    let sent = test.asked();
    let [Request::Send { local, text, .. }, Request::Send { text: later, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((*local, text.as_str(), later.as_str()), (lost, "lost", "later"));
}

#[test]
fn a_message_that_found_no_connection_waits_for_one() {
    let mut test = Test::with_bob(&[]);
    test.enter("hello");
    let local = test.sent("hello");
    test.news(News::NotSent { local });
    assert_eq!(test.talk(BOB).outgoing[0].delivery, Delivery::Unsure);
    // A history that does not come is no reason to wait for ever.
    test.news(News::History { session: BOB, newest: 0, page: Err("late".to_owned()) });
    assert_eq!(test.talk(BOB).outgoing[0].delivery, Delivery::Failed("no answer"));
}

#[test]
fn what_is_looked_at_is_read_and_what_is_not_is_counted() {
    let mut test = Test::online(vec![recent(BOB, 5, 2), recent(TEAM, 3, 0)]);
    assert_eq!((test.state.unread(), test.talk(BOB).unread), (2, 2));
    test.open(BOB);
    test.event(Event::Tick(NOW));
    assert_eq!(test.asked(), [history(BOB, 0), mark_read(BOB, 5)]);
    assert_eq!((test.state.unread(), test.talk(BOB).marker), (0, Some(3)));
    test.say(BOB, 6, 2, "seen at once");
    assert_eq!(test.asked(), [mark_read(BOB, 6)]);
    test.say(TEAM, 4, 3, "elsewhere");
    assert_eq!((test.asked(), test.talk(TEAM).unread), (vec![], 1));
    test.say(TEAM, 5, ME, "mine, from my phone");
    assert_eq!(test.talk(TEAM).unread, 1);
    test.news(News::Read { session: TEAM, msg_id: 5 });
    assert_eq!(test.talk(TEAM).unread, 0);
}

#[test]
fn nobody_reads_on_a_terminal_that_is_not_looked_at() {
    let mut test = Test::with_bob(&[(2, "hi")]);
    test.event(Event::Focus(false));
    test.say(BOB, 2, 2, "are you there?");
    assert_eq!((test.asked(), test.rang, test.talk(BOB).unread), (vec![], 1, 1));
    assert_eq!(test.talk(BOB).marker, Some(1));
    test.event(Event::Focus(true));
    assert_eq!(test.asked(), [mark_read(BOB, 2)]);
}

#[test]
fn nothing_is_read_while_there_is_no_connection() {
    let mut test = Test::online(vec![recent(BOB, 5, 2)]);
    test.news(News::Lost(String::new()));
    test.open(BOB);
    test.event(Event::Tick(NOW));
    assert_eq!(test.asked(), []);
    test.connect(vec![recent(BOB, 5, 2)]);
    assert_eq!(test.asked(), [history(BOB, 0), mark_read(BOB, 5)]);
}

#[test]
fn older_messages_are_loaded_when_the_upper_end_is_reached() {
    let mut test = Test::online(vec![recent(BOB, 100, 0)]);
    test.open(BOB);
    let page = |ids: std::ops::RangeInclusive<u32>| {
        Ok(ids.rev().map(|id| message(BOB, id, 2, &format!("m{id}"))).collect())
    };
    test.news(News::History { session: BOB, newest: 0, page: page(51..=100) });
    test.asked();
    test.press(KeyCode::PageUp);
    assert!(test.screen()[8].ends_with("Bob: m93"), "{:?}", test.screen());
    assert_eq!(test.asked(), []);
    (0..10).for_each(|_| test.press(KeyCode::PageUp));
    assert_eq!(test.asked(), [history(BOB, 50)], "once, until it is here");
    let top = test.talk_rows();
    test.news(News::History { session: BOB, newest: 50, page: page(1..=50) });
    assert_eq!(test.talk_rows()[3..9], top[3..9], "what is read stays where it is");
    // So it does when something new comes.
    test.say(BOB, 101, 2, "new");
    assert_eq!(test.talk_rows()[3..9], top[3..9]);
    assert_eq!(test.talk(BOB).unread, 1);
    (0..20).for_each(|_| test.press(KeyCode::PageUp));
    assert!(test.screen().iter().any(|row| row.ends_with("Bob: m1")) && test.asked().is_empty());
    test.press(KeyCode::Esc);
    assert!(test.screen()[8].ends_with("Bob: new"));
    assert_eq!(test.asked(), [mark_read(BOB, 101)]);
}

#[test]
fn who_writes_is_got_to_know() {
    let mut test = Test::online(vec![]);
    test.say(Session::User(44), 1, 44, "I am new here");
    test.say(Session::Group(45), 1, 2, "a group you do not know");
    assert_eq!(test.asked(), [Request::User(44), Request::Group(45)]);
    test.news(News::Users(vec![user(44, "Eve", 1)]));
    assert_eq!(test.state.roster.name(Session::User(44)), "Eve");
}

#[test]
fn what_comes_before_one_knows_who_one_is_is_left_to_the_history() {
    let mut test = Test::new();
    test.say(BOB, 1, 2, "too early");
    assert!(test.state.talks.is_empty() && test.asked().is_empty());
}

#[test]
fn the_wheel_scrolls() {
    let lines: Vec<_> = (1..=20).map(|_| (2, "x")).collect();
    let mut test = Test::with_bob(&lines);
    test.event(Event::Wheel(3));
    assert_eq!(test.talk(BOB).scroll, 3);
    test.event(Event::Wheel(-2));
    assert_eq!(test.talk(BOB).scroll, 1);
    test.event(Event::Wheel(i32::MIN));
    assert_eq!(test.talk(BOB).scroll, 0);
}

#[test]
fn a_group_is_made_and_its_members_hear_of_it() {
    let mut test = Test::online(vec![]);
    test.enter("/group \"all of us\" bob 爱丽丝 bob");
    let (name, members) = ("all of us".to_owned(), vec![1, 2, 3]);
    assert_eq!(test.asked(), [Request::CreateGroup { name: name.clone(), members }]);
    let made = GroupInfo { group_id: 9, group_name: name, ..GroupInfo::default() };
    test.news(News::GroupMade(made));
    assert_eq!(test.state.open, Some(Session::Group(9)));
    test.sent("made the group all of us");
    for (line, notice) in [
        ("/group", "/group NAME USER...: how is it called, and who is in it?"),
        ("/group x", "/group NAME USER...: who is in it?"),
        ("/group x bob nobody", "nobody is called nobody"),
    ] {
        test.enter(line);
        assert_eq!((test.asked(), test.state.notice.as_str()), (vec![], notice));
    }
}

#[test]
fn members_come_and_go() {
    let mut test = Test::online(vec![]);
    test.enter("/leave");
    assert_eq!(test.state.notice, "this is no group");
    test.open(TEAM);
    test.asked();
    test.enter("/invite bob");
    test.enter("/kick 爱丽丝");
    test.enter("/leave");
    test.enter("/invite");
    let kick = |users| Request::Kick { group_id: 7, users };
    let invite = Request::Invite { group_id: 7, users: vec![2] };
    assert_eq!(test.asked(), [invite, kick(vec![3]), kick(vec![ME])]);
    let change = |user_id, change_type: GroupModifyType, chg: &[u32], cur: &[u32]| {
        News::GroupChanged(ImGroupChangeMemberNotify {
            user_id,
            change_type: change_type.into(),
            group_id: 7,
            cur_user_id_list: cur.to_vec(),
            chg_user_id_list: chg.to_vec(),
        })
    };
    test.news(change(2, GroupModifyType::Add, &[3], &[1, 2, 3]));
    // Both the answer and the server's notice tell it.
    test.news(change(2, GroupModifyType::Del, &[3], &[1, 2]));
    test.news(change(2, GroupModifyType::Del, &[3], &[1, 2]));
    test.news(change(2, GroupModifyType::Del, &[2], &[1]));
    let notes: Vec<_> = test.talk(TEAM).notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["Bob added 爱丽丝", "Bob removed 爱丽丝", "Bob left"]);
    test.enter("/members");
    assert_eq!(test.state.notice, "Alice");
    test.news(change(ME, GroupModifyType::Del, &[ME], &[]));
    assert_eq!((test.state.open, test.state.notice.as_str()), (None, "team: Alice left"));
    assert!(!test.state.roster.knows(TEAM) && !test.state.talks.contains_key(&TEAM));
}

#[test]
fn there_is_no_command_without_a_connection_but_some() {
    let mut test = Test::new();
    test.enter("/sign busy");
    assert_eq!((test.asked(), test.state.notice.as_str()), (vec![], "not connected"));
    test.enter("/help");
    assert!(test.state.help);
    test.connect(vec![]);
    test.press(KeyCode::Esc);
    test.enter("/nonsense x");
    assert_eq!(test.state.notice, "there is no /nonsense; /help lists what there is");
    test.enter("/sign  busy 💤 ");
    assert_eq!(test.asked(), [Request::Sign("busy 💤".to_owned())]);
    test.enter("/quit");
    assert!(test.ended);
}

#[test]
fn who_is_sent_away_ends() {
    let mut test = Test::online(vec![]);
    test.news(News::Ended(ClientError::Closed));
    assert!(test.ended);
    let mut test = Test::new();
    test.event(Event::Stop);
    assert!(test.ended);
}
