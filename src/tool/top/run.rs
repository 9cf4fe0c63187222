//! Asking servers, the terminal, and the loop between them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use ratatui::crossterm::event::{self as keyboard, KeyEvent};

use super::figures::Health;
use super::state::{News, State};
use super::view;
use crate::base::signals::{Signal, SignalThread};
use crate::tool::output::Output;
use crate::tool::scrape;
use crate::tool::screen::Screen;

/// A server to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// What it is called here.
    pub name: String,
    /// Its administration port; without one it is shown and cannot be asked.
    pub addr: Option<SocketAddr>,
}

impl Target {
    /// Reads `NAME=HOST:PORT`.
    ///
    /// # Errors
    /// It has another form, or the host has no address.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{text}: NAME=HOST:PORT is wanted");
        let (name, addr) = text.split_once('=').with_context(wrong)?;
        let addr = addr.to_socket_addrs().with_context(wrong)?.next().with_context(wrong)?;
        Ok(Self { name: name.to_owned(), addr: Some(addr) })
    }
}

/// What the screen is told.
enum Event {
    News(usize, News),
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    Stop,
}

/// What a server says.
fn ask(target: &Target) -> News {
    let Some(addr) = target.addr else {
        return News::Silent("its configuration has no MetricsListen".to_owned());
    };
    match scrape::fetch(addr) {
        Ok(now) if now.sum("teamtalk_ready") > 0.0 => News::Told(Health::Ready, now),
        Ok(now) => {
            // It may have become ready meanwhile.
            let reason = scrape::not_ready(addr);
            News::Told(reason.map_or(Health::Ready, Health::NotReady), now)
        }
        Err(error) => News::Silent(error.to_string()),
    }
}

/// All at once: one that does not answer holds nobody up.
fn ask_all(targets: &[Target], state: &mut State) {
    let news: Vec<News> = thread::scope(|scope| {
        let asking: Vec<_> =
            targets.iter().map(|target| scope.spawn(move || ask(target))).collect();
        let failed = |_| News::Silent("asking it has failed".to_owned());
        asking.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    });
    for (at, news) in news.into_iter().enumerate() {
        state.take(at, news);
    }
}

/// Prints what servers say, once over `interval` or again and again.
///
/// # Errors
/// Standard output is closed, or no server answers at all.
pub fn print(
    targets: &[Target],
    interval: Duration,
    once: bool,
    output: &Output,
) -> anyhow::Result<()> {
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let mut state = State::new(&names);
    ask_all(targets, &mut state);
    loop {
        thread::sleep(interval);
        ask_all(targets, &mut state);
        if output.is_json() {
            for row in state.rows() {
                output.one(&row.as_json(), "")?;
            }
        } else {
            output.one(&serde_json::Value::Null, &view::table(&state))?;
        }
        let answers = |row: &&super::figures::Row| !matches!(row.health, Health::Silent(_));
        let silent = !state.rows().iter().any(answers);
        anyhow::ensure!(!(once && silent), "no server answers");
        if once {
            return Ok(());
        }
    }
}

/// Shows what servers say until the user ends it.
///
/// # Errors
/// The terminal is gone.
pub fn show(targets: Vec<Target>, interval: Duration) -> anyhow::Result<()> {
    let (events, happened) = mpsc::channel();
    let stop = events.clone();
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::Hangup];
    let _signals = SignalThread::spawn(&signals, move |_| {
        let _ = stop.send(Event::Stop);
    })
    .context("signals")?;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let mut state = State::new(&names);
    let mut screen = Screen::new("TeamTalk top", false).context("the terminal")?;
    let keys = events.clone();
    thread::Builder::new().name("keyboard".to_owned()).spawn(move || read_keys(&keys))?;
    for (at, target) in targets.iter().enumerate() {
        let (target, events) = (target.clone(), events.clone());
        let name = format!("ask {}", target.name);
        thread::Builder::new()
            .name(name)
            .spawn(move || keep_asking(at, &target, interval, &events))?;
    }
    turns(&mut state, &mut screen, &happened)
}

/// Asks until nobody wants to know.
fn keep_asking(at: usize, target: &Target, interval: Duration, events: &Sender<Event>) {
    while events.send(Event::News(at, ask(target))).is_ok() {
        thread::sleep(interval);
    }
}

fn read_keys(events: &Sender<Event>) {
    while let Ok(event) = keyboard::read() {
        let event = match event {
            keyboard::Event::Key(key) => Event::Key(key),
            keyboard::Event::Resize(..) => Event::Resized,
            _ => continue,
        };
        if events.send(event).is_err() {
            return;
        }
    }
    // The terminal is gone.
    let _ = events.send(Event::Stop);
}

/// Draws after each event, and as seldom as that; several that wait are drawn once.
fn turns(state: &mut State, screen: &mut Screen, happened: &Receiver<Event>) -> anyhow::Result<()> {
    loop {
        screen.terminal().draw(|frame| view::draw(state, frame)).context("the terminal")?;
        let first = happened.recv().context("nobody asks any more")?;
        for event in std::iter::once(first).chain(happened.try_iter().take(500)) {
            match event {
                Event::News(at, news) => state.take(at, news),
                Event::Key(key) => state.key(key),
                Event::Resized => screen.terminal().autoresize()?,
                Event::Stop => return Ok(()),
            }
        }
        if state.quit {
            return Ok(());
        }
    }
}
