//! What is seen.

use super::*;
use crate::tool::chat::talk::{IMAGE_END, IMAGE_START};

#[test]
fn people_groups_and_departments_are_listed() {
    let mut test = Test::online(vec![recent(TEAM, 3, 12)]);
    test.assert_screen(&[
        "Recent             │ Enter opens, Ctrl-F searches, F1 helps",
        "# team          12 │",
        "Groups             │",
        "# team          12 │",
        "Engineering        │",
        "● Bob              │",
        "Sales              │",
        "○ 爱丽丝           │",
        "                   │",
        "                   │────────────────────────────────────────",
        "                   │>",
        " Alice online · 12 unread · F1 help",
    ]);
    test.control('f');
    test.keys("b");
    test.assert_screen(&[
        "/ b                │ Enter opens, Ctrl-F searches, F1 helps",
        "● Bob              │",
        "                   │",
        "                   │",
        "                   │",
        "                   │",
        "                   │",
        "                   │",
        "                   │",
        "                   │────────────────────────────────────────",
        "                   │>",
        " Alice online · 12 unread · F1 help",
    ]);
}

#[test]
fn a_talk_shows_who_said_what_and_what_became_of_it() {
    let picture = format!("{IMAGE_START}http://m/1.png{IMAGE_END}");
    let mut test =
        Test::with_bob(&[(2, "早 hello, this is rather long"), (ME, "hi"), (2, &picture)]);
    test.state.size = (60, 14);
    test.enter("on its way");
    test.enter("refused");
    let asked = test.asked();
    let Some(Request::Send { local, .. }) = asked.last() else { panic!("{asked:?}") };
    test.news(News::Stored { local: *local, msg_id: 0 });
    test.keys("what i am typing");
    test.assert_screen(&[
        "Recent             │ Bob  online",
        "● Bob              │",
        "Groups             │",
        "# team             │──────────── Tue 2023-11-14 ────────────",
        "Engineering        │22:04 Bob: 早 hello, this is rather long",
        "● Bob              │22:05 Alice: hi ✓",
        "Sales              │22:06 Bob: [picture] http://m/1.png",
        "○ 爱丽丝           │22:13 Alice: on its way …",
        "                   │22:13 Alice: refused ✗",
        "                   │      not sent: refused; Ctrl-R tries",
        "                   │      again",
        "                   │────────────────────────────────────────",
        "                   │> what i am typing",
        " Alice online · F1 help",
    ]);
    test.news(News::Lost("it\x1b broke".to_owned()));
    assert!(test.screen()[13].contains("connection lost, trying again (it\u{fffd} broke)"));
}

#[test]
fn what_is_new_is_marked_and_stays_marked() {
    let mut test = Test::online(vec![recent(BOB, 3, 1)]);
    test.open(BOB);
    let page = [3, 2, 1].map(|id| message(BOB, id, 2, &format!("m{id}"))).to_vec();
    test.news(News::History { session: BOB, newest: 0, page: Ok(page) });
    let rows = test.screen();
    let at = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap();
    assert!(at("m2") + 1 == at("─ new ─") && at("─ new ─") + 1 == at("m3"), "{rows:?}");
    assert_eq!(test.state.unread(), 0);
}

#[test]
fn a_message_cannot_touch_the_terminal() {
    let mut test = Test::with_bob(&[(2, "a\x1b[2J\u{9b}31m\x07\r\tb\x00c")]);
    test.news(News::Notice("x\x1b[2J\ny".to_owned()));
    test.news(News::Sign { user_id: 2, sign: "s\x1b]0;t\x07".to_owned() });
    let screen = test.screen().join("");
    assert!(screen.contains("x\u{fffd}[2J y") && !screen.contains(char::is_control), "{screen:?}");
    assert!(screen.contains("a\u{fffd}[2J\u{fffd}31m"), "{screen:?}");
}

#[test]
fn long_lines_grow_and_narrow_terminals_show_one_thing() {
    let mut test = Test::with_bob(&[(2, "hello")]);
    test.keys(&"爱".repeat(30));
    test.assert_screen(&[
        "Recent             │ Bob  online",
        "● Bob              │",
        "Groups             │",
        "# team             │",
        "Engineering        │",
        "● Bob              │",
        "Sales              │──────────── Tue 2023-11-14 ────────────",
        "○ 爱丽丝           │22:04 Bob: hello",
        "                   │────────────────────────────────────────",
        "                   │> 爱爱爱爱爱爱爱爱爱爱爱爱爱爱爱爱爱爱爱",
        "                   │  爱爱爱爱爱爱爱爱爱爱爱",
        " Alice online · F1 help",
    ]);
    test.event(Event::Size(30, 8));
    test.assert_screen(&[
        " Bob  online",
        "─────── Tue 2023-11-14 ───────",
        "22:04 Bob: hello",
        "──────────────────────────────",
        "> 爱爱爱爱爱爱爱爱爱爱爱爱爱爱",
        "  爱爱爱爱爱爱爱爱爱爱爱爱爱爱",
        "  爱爱",
        " Alice online · F1 help",
    ]);
    test.press(KeyCode::Tab);
    test.assert_screen(&[
        "Recent                       │",
        "● Bob                        │",
        "Groups                       │",
        "# team                       │",
        "Engineering                  │",
        "● Bob                        │",
        "Sales                        │",
        " Alice online · F1 help",
    ]);
}

#[test]
fn any_size_is_drawn() {
    let mut test = Test::with_bob(&[(2, "hello 爱丽丝"), (ME, "hi")]);
    test.keys("爱 some text");
    for columns in [0, 1, 2, 3, 5, 8, 13, 24, 25, 26, 50] {
        for rows in 0..8 {
            test.event(Event::Size(columns * 2, rows));
            test.screen();
            test.press(KeyCode::PageUp);
            test.press(KeyCode::F(1));
            test.screen();
            test.press(KeyCode::Esc);
            test.press(KeyCode::Tab);
            test.screen();
            test.control('f');
            test.screen();
            test.press(KeyCode::Esc);
        }
    }
}

#[test]
fn the_help_fits_an_ordinary_terminal() {
    let mut test = Test::online(vec![]);
    test.event(Event::Size(80, 24));
    test.press(KeyCode::F(1));
    let screen = test.screen().join("\n");
    assert!(screen.contains("/help, /quit") && screen.contains("Ctrl-F"), "{screen}");
    test.keys("x");
    assert!(!test.screen().join("\n").contains("/help"));
}
