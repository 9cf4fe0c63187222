//! What is on the screen, by keys and by what servers tell.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::figures::Health;
use super::state::{Column, CommandOrder, News, State};
use super::*;
use crate::tool::scrape::Scrape;

fn scrape(seconds: u32, connections: u32, messages: u32, more: &str) -> Scrape {
    let text = format!(
        "teamtalk_uptime_seconds {seconds}\nteamtalk_connections{{class=\"A\"}} {connections}\n\
         teamtalk_pdus_in_total{{command=\"A\"}} {messages}\n\
         process_resident_memory_bytes 10485760\n{more}"
    );
    Scrape::parse(&text).unwrap()
}

const REQUESTS: &str = "\
    teamtalk_request_seconds_bucket{command=\"CID_MSG_DATA\",le=\"0.005\"} 10\n\
    teamtalk_request_seconds_bucket{command=\"CID_MSG_DATA\",le=\"+Inf\"} 10\n\
    teamtalk_request_seconds_sum{command=\"CID_MSG_DATA\"} 0.02\n\
    teamtalk_request_seconds_count{command=\"CID_MSG_DATA\"} 10\n\
    teamtalk_request_seconds_bucket{command=\"CID_GROUP_CREATE_REQUEST\",le=\"0.05\"} 1\n\
    teamtalk_request_seconds_bucket{command=\"CID_GROUP_CREATE_REQUEST\",le=\"+Inf\"} 1\n\
    teamtalk_request_seconds_sum{command=\"CID_GROUP_CREATE_REQUEST\"} 0.04\n\
    teamtalk_request_seconds_count{command=\"CID_GROUP_CREATE_REQUEST\"} 1\n";

/// Three servers: one works, one lacks something, one is away.
fn state() -> State {
    let mut state = State::new(&["db", "msg", "login"]);
    state.take(0, News::Told(Health::Ready, scrape(10, 3, 0, "")));
    state.take(0, News::Told(Health::Ready, scrape(12, 3, 100, REQUESTS)));
    let lacks = || Health::NotReady("no route_server is connected".to_owned());
    state.take(1, News::Told(lacks(), scrape(5, 20_000, 7, "")));
    state.take(2, News::Silent("Connection refused".to_owned()));
    state
}

fn screen(state: &State) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(140, 12)).unwrap();
    terminal.draw(|frame| view::draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| -> String { (0..140).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..12).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(state: &mut State, code: KeyCode) {
    state.key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn order(state: &State) -> Vec<&str> {
    state.rows().iter().map(|row| row.server.as_str()).collect()
}

#[test]
fn servers_reasons_and_commands_are_seen() {
    let screen = screen(&state());
    let words = |line: usize| screen[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0)[..3], ["SERVER", "STATE", "CONNS"]);
    assert_eq!(words(1)[..4], ["db", "ready", "3", "50"]);
    assert_eq!(words(2)[..3], ["login", "silent", "-"]);
    assert_eq!(words(3)[..5], ["msg", "not", "ready", "20k", "-"]);
    assert!(screen[1].contains("10.0M") && screen[1].ends_with("0:00:12"), "{}", screen[1]);
    assert_eq!(screen[4], "login: Connection refused");
    assert_eq!(screen[5], "msg: no route_server is connected");
    assert_eq!(words(7), ["COMMAND", "SERVER", "PER", "s", "MEAN", "p99"]);
    assert_eq!(words(8)[..5], ["CID_GROUP_CREATE_REQUEST", "db", "0.5", "40ms", "50ms"]);
    assert_eq!(words(9)[..4], ["CID_MSG_DATA", "db", "5", "2.0ms"]);
    assert!(screen[11].starts_with("q quit · "), "{}", screen[11]);
}

#[test]
fn a_small_terminal_is_no_trouble() {
    for (columns, rows) in [(1, 1), (20, 3), (400, 100)] {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view::draw(&state(), frame)).unwrap();
    }
}

#[test]
fn keys_sort_by_columns_and_reverse() {
    let mut state = state();
    assert_eq!(order(&state), ["db", "login", "msg"]);
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(order(&state), ["msg", "db", "login"], "the most first, what is missing last");
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(order(&state), ["login", "db", "msg"], "the same key again turns it round");
    press(&mut state, KeyCode::Char('h'));
    assert_eq!(order(&state), ["login", "msg", "db"], "what needs a look first");
    press(&mut state, KeyCode::Char('r'));
    assert_eq!(order(&state), ["db", "msg", "login"]);
    press(&mut state, KeyCode::Left);
    assert_eq!((state.sort, state.reversed), (Column::Server, false));
    press(&mut state, KeyCode::Left);
    assert_eq!(state.sort, Column::Uptime, "round the end");
    press(&mut state, KeyCode::Right);
    assert_eq!(state.sort, Column::Server);
    let keys: std::collections::BTreeSet<char> = Column::ALL.map(Column::key).into();
    assert_eq!(keys.len(), Column::ALL.len(), "each has a key of its own");
    assert!(!keys.contains(&'q') && !keys.contains(&'r'));
}

#[test]
fn commands_are_sorted_by_what_tab_chooses() {
    let mut state = state();
    let first = |state: &State| state.commands()[0].command.clone();
    assert_eq!(first(&state), "CID_GROUP_CREATE_REQUEST");
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.command_order, CommandOrder::Rate);
    assert_eq!(first(&state), "CID_MSG_DATA");
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.command_order, CommandOrder::Mean);
}

#[test]
fn q_escape_and_control_c_end_it() {
    for key in [
        KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE),
        KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE),
        KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
    ] {
        let mut state = state();
        assert!(!state.quit);
        state.key(key);
        assert!(state.quit, "{key:?}");
    }
}

#[test]
fn a_server_that_goes_and_comes_begins_anew() {
    let mut state = state();
    state.take(0, News::Silent("gone".to_owned()));
    assert_eq!(state.rows()[0].health, Health::Silent("gone".to_owned()));
    assert!(state.commands().is_empty());
    state.take(0, News::Told(Health::Ready, scrape(1, 1, 5, "")));
    assert_eq!(state.rows()[0].messages_in, None, "nothing to compare with");
    state.take(0, News::Told(Health::Ready, scrape(2, 1, 9, "")));
    assert_eq!(state.rows()[0].messages_in, Some(4.0));
}

#[test]
fn a_pause_holds_the_figures() {
    let mut state = state();
    press(&mut state, KeyCode::Char(' '));
    assert!(screen(&state)[11].starts_with("PAUSED"));
    state.take(0, News::Silent("gone".to_owned()));
    assert_eq!(state.rows()[0].health, Health::Ready);
    press(&mut state, KeyCode::Char(' '));
    state.take(0, News::Silent("gone".to_owned()));
    assert_ne!(state.rows()[0].health, Health::Ready);
}

#[test]
fn the_same_is_printed_where_there_is_no_terminal() {
    let table = view::table(&state());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("SERVER") && lines[1].starts_with("db"), "{table}");
    assert!(lines.contains(&"login: Connection refused"), "{table}");
    assert!(lines.last().unwrap().starts_with("CID_MSG_DATA"), "{table}");
}

#[test]
fn servers_and_intervals_are_checked() {
    let found = Target::parse("db=127.0.0.1:8905").unwrap();
    assert_eq!((found.name.as_str(), found.addr.unwrap().port()), ("db", 8905));
    for wrong in ["127.0.0.1:8905", "db=127.0.0.1", "db="] {
        assert!(
            Target::parse(wrong).unwrap_err().to_string().contains("NAME=HOST:PORT"),
            "{wrong}"
        );
    }
    assert_eq!(seconds("0.5"), Ok(0.5));
    assert!(["0", "-1", "x", "NaN", "4000"].iter().all(|text| seconds(text).is_err()));
}
