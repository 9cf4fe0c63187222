//! Keys, and what others are told about typing.

use super::*;
use crate::tool::chat::p2p::P2p;
use crate::tool::chat::state::Focus;

fn p2p(p2p: P2p) -> Request {
    Request::P2p { to: 2, p2p }
}

#[test]
fn the_other_one_learns_that_one_is_typing_but_not_too_often() {
    let mut test = Test::with_bob(&[]);
    test.keys("hel");
    assert_eq!(test.asked(), [p2p(P2p::Writing)]);
    test.event(Event::Tick(NOW + 2));
    test.keys("l");
    assert_eq!(test.asked(), []);
    test.event(Event::Tick(NOW + 3));
    test.keys("o");
    assert_eq!(test.asked(), [p2p(P2p::Writing)]);
    test.control('u');
    assert_eq!(test.asked(), [p2p(P2p::StopWriting)]);
    test.keys("x");
    test.asked();
    test.open(TEAM);
    test.event(Event::Tick(NOW));
    assert!(test.asked().contains(&p2p(P2p::StopWriting)), "who goes elsewhere stops");
}

#[test]
fn nobody_is_told_of_commands_nor_groups_nor_who_is_not_there() {
    let mut test = Test::with_bob(&[]);
    test.keys("/help");
    test.control('u');
    test.news(News::Presence(UserStat {
        user_id: 2,
        status: UserStatType::UserStatusOffline.into(),
    }));
    test.keys("hello");
    test.open(TEAM);
    test.event(Event::Tick(NOW));
    test.asked();
    test.keys("hello");
    assert_eq!(test.asked(), []);
}

#[test]
fn that_somebody_is_typing_is_shown_for_a_while() {
    let mut test = Test::with_bob(&[]);
    let typing = |test: &Test| test.screen()[0].contains("is typing…");
    let say = |p2p| News::P2p { from: 2, p2p };
    test.news(say(P2p::Writing));
    assert!(typing(&test));
    test.event(Event::Tick(NOW + 4));
    assert!(!typing(&test));
    test.news(say(P2p::Writing));
    test.news(say(P2p::StopWriting));
    assert!(!typing(&test));
    test.news(say(P2p::Writing));
    test.say(BOB, 1, 2, "what I typed");
    assert!(!typing(&test));
    test.news(say(P2p::Shake));
    assert_eq!((test.rang, test.state.notice.as_str()), (1, "Bob wants your attention"));
    // What the user does on another device comes here as well.
    test.news(News::P2p { from: ME, p2p: P2p::Shake });
    assert_eq!(test.rang, 1);
    test.enter("/shake");
    assert_eq!(test.asked().pop(), Some(p2p(P2p::Shake)));
}

#[test]
fn every_talk_keeps_what_was_typed_and_not_sent() {
    let mut test = Test::with_bob(&[]);
    test.keys("half a thou");
    test.open(TEAM);
    assert_eq!(test.state.line.text(), "");
    test.keys("x");
    test.open(BOB);
    assert_eq!(test.state.line.text(), "half a thou");
}

#[test]
fn people_are_searched_and_chosen() {
    let mut test = Test::online(vec![]);
    test.control('f');
    test.keys("丽");
    test.press(KeyCode::Enter);
    assert_eq!(test.state.open, Some(Session::User(3)));
    test.control('f');
    test.keys("zzz");
    test.press(KeyCode::Enter);
    assert_eq!((test.state.open, test.state.focus), (Some(Session::User(3)), Focus::Input));
    test.control('f');
    test.event(Event::Paste("te\nam".to_owned()));
    test.control('u');
    test.keys("b");
    test.press(KeyCode::Esc);
    assert_eq!((test.state.open, test.state.search.text()), (Some(Session::User(3)), ""));
}

#[test]
fn the_list_is_walked() {
    let mut test = Test::online(vec![recent(BOB, 1, 1)]);
    let chosen = |test: &Test| test.state.selected.map(|(_, session)| session);
    assert_eq!(chosen(&test), Some(BOB));
    test.press(KeyCode::Up);
    assert_eq!(chosen(&test), Some(BOB));
    test.press(KeyCode::Down);
    assert_eq!(chosen(&test), Some(TEAM));
    test.press(KeyCode::End);
    assert_eq!(chosen(&test), Some(Session::User(3)));
    test.press(KeyCode::Home);
    test.press(KeyCode::PageDown);
    test.press(KeyCode::PageUp);
    test.press(KeyCode::Enter);
    assert_eq!((test.state.open, test.state.focus), (Some(BOB), Focus::Input));
    test.press(KeyCode::Tab);
    assert_eq!(test.state.focus, Focus::List);
    test.event(Event::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::ALT)));
    assert_eq!(test.state.open, Some(TEAM));
    let mut nobody = Test::new();
    nobody.press(KeyCode::Down);
    nobody.press(KeyCode::Enter);
    assert_eq!((nobody.state.selected, nobody.state.open), (None, None));
}

#[test]
fn the_next_unread_talk_is_a_key_away() {
    let mut test = Test::online(vec![recent(BOB, 5, 2), recent(TEAM, 3, 1)]);
    test.control('n');
    assert_eq!(test.state.open, Some(TEAM));
    test.control('n');
    assert_eq!(test.state.open, Some(BOB));
    test.control('n');
    assert_eq!(test.state.notice, "nothing is unread");
}

#[test]
fn a_line_may_be_typed_pasted_and_called_back() {
    let mut test = Test::with_bob(&[]);
    test.event(Event::Paste("two\r\nlines\x1b[2J".to_owned()));
    test.press(KeyCode::Enter);
    test.sent("two\nlines[2J");
    test.keys("a");
    test.event(Event::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT)));
    test.enter("b");
    test.sent("a\nb");
    test.press(KeyCode::Up);
    test.press(KeyCode::Up);
    assert_eq!(test.state.line.text(), "two\nlines[2J");
    test.press(KeyCode::Down);
    test.press(KeyCode::Home);
    test.press(KeyCode::Delete);
    test.press(KeyCode::Delete);
    test.press(KeyCode::End);
    test.press(KeyCode::Left);
    test.keys("xx");
    test.press(KeyCode::Backspace);
    test.control('h');
    test.control('z');
    test.keys("爱");
    test.press(KeyCode::Enter);
    test.sent("爱b");
    test.control('c');
    assert!(test.ended);
}

#[test]
fn who_types_without_a_talk_is_told_what_to_do() {
    let mut test = Test::online(vec![]);
    test.enter("hello");
    assert!(test.state.notice.starts_with("choose somebody") && test.asked().is_empty());
    assert_eq!(test.state.line.text(), "hello", "it is not lost");
}
