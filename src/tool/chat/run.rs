//! The terminal, and the loop between it, the network and the state.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self as keyboard, MouseEventKind};

use super::event::{Effect, Event, Request};
use super::net::Net;
use super::state::State;
use super::view;
use crate::base::signals::{Signal, SignalThread};
use crate::base::unix_time::unix_time;
use crate::client::UserSession;
use crate::tool::screen::{self, Screen};

/// How long nothing may happen before the time is looked at.
const TURN: Duration = Duration::from_millis(500);

/// How long a logout may take at the end.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(1);

/// Rows a notch of the wheel scrolls.
const WHEEL_ROWS: i32 = 3;

/// Events that are taken before the screen is drawn.
const EVENTS_PER_TURN: usize = 500;

/// Whether there is a terminal to draw on.
///
/// # Errors
/// There is none.
pub fn check_terminal() -> anyhow::Result<()> {
    if !screen::is_there() {
        bail!("chat needs a terminal; scripts use `teamtalk send` and `teamtalk listen`");
    }
    Ok(())
}

/// Runs until the user ends it, or there is no point in going on.
///
/// # Errors
/// The terminal is gone, or the server does not let the user in any more.
pub fn run(user: UserSession, downloads: PathBuf, mouse: bool) -> anyhow::Result<()> {
    let (events, happened) = mpsc::channel();
    let (requests, asked) = mpsc::channel();
    let stop = events.clone();
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::Hangup];
    let _signals = SignalThread::spawn(&signals, move |_| {
        let _ = stop.send(Event::Stop);
    })
    .context("signals")?;
    let mut screen = Screen::new("TeamTalk", mouse).context("the terminal")?;
    let keys = events.clone();
    thread::Builder::new().name("keyboard".to_owned()).spawn(move || read_keys(&keys))?;
    let net = Net::new(user, asked, events, downloads);
    let (ended, end) = mpsc::channel::<()>();
    let stop = StopAtEnd(net.events());
    let network = thread::Builder::new().name("network".to_owned()).spawn(move || {
        let _ended = (ended, stop);
        net.run();
    })?;
    let size = screen.terminal().size().context("the terminal")?;
    let size = (size.width, size.height);
    let mut state = State::new(TimeZone::system(), size, unix_time());
    let result = turns(&mut state, &mut screen, &happened, &requests);
    drop(screen);
    // Without anybody who asks, the other thread logs out. If it hangs in a connect, so be it.
    drop(requests);
    let _ = end.recv_timeout(LOGOUT_PATIENCE);
    if network.is_finished() && network.join().is_err() {
        bail!("the network thread has failed");
    }
    result
}

/// Ends the chat when the thread that owns this ends, in whatever way.
struct StopAtEnd(Sender<Event>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Stop);
    }
}

/// Hands on what is typed until nobody takes it.
fn read_keys(events: &Sender<Event>) {
    while let Ok(event) = keyboard::read() {
        let event = match event {
            keyboard::Event::Key(key) => Event::Key(key),
            keyboard::Event::Paste(text) => Event::Paste(text),
            keyboard::Event::Resize(columns, rows) => Event::Size(columns, rows),
            keyboard::Event::FocusGained => Event::Focus(true),
            keyboard::Event::FocusLost => Event::Focus(false),
            keyboard::Event::Mouse(mouse) => match mouse.kind {
                MouseEventKind::ScrollUp => Event::Wheel(WHEEL_ROWS),
                MouseEventKind::ScrollDown => Event::Wheel(-WHEEL_ROWS),
                _ => continue,
            },
        };
        if events.send(event).is_err() {
            return;
        }
    }
    // The terminal is gone.
    let _ = events.send(Event::Stop);
}

fn turns(
    state: &mut State,
    screen: &mut Screen,
    happened: &Receiver<Event>,
    requests: &Sender<Request>,
) -> anyhow::Result<()> {
    let mut changed = true;
    loop {
        if changed {
            screen.terminal().draw(|frame| view::draw(state, frame)).context("the terminal")?;
        }
        let first = match happened.recv_timeout(TURN) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("the network thread has ended"),
        };
        let now = unix_time();
        let tick = (now != state.now).then_some(Event::Tick(now));
        changed = first.is_some() || tick.is_some();
        let more = happened.try_iter().take(EVENTS_PER_TURN);
        for event in tick.into_iter().chain(first).chain(more) {
            for effect in state.apply(event) {
                match effect {
                    Effect::Ask(request) => {
                        if requests.send(request).is_err() {
                            bail!("the network thread has ended");
                        }
                    }
                    Effect::Bell => {
                        let mut out = io::stdout();
                        out.write_all(b"\x07").and_then(|()| out.flush())?;
                    }
                    Effect::Redraw => screen.terminal().clear()?,
                    Effect::Quit => return Ok(()),
                    Effect::Fail(error) => return Err(error.into()),
                }
            }
        }
    }
}
