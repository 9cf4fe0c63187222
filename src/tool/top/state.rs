//! What is on the screen, and what keys change.

use std::cmp::Ordering;
use std::mem;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::figures::{CommandRow, Health, Row};
use crate::tool::scrape::Scrape;

/// A column of servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Column {
    /// The name.
    Server,
    /// How it is; what is not ready comes first.
    State,
    /// Open connections.
    Connections,
    /// Messages that came.
    MessagesIn,
    /// Messages that went.
    MessagesOut,
    /// Bytes that came.
    BytesIn,
    /// Bytes that went.
    BytesOut,
    /// Tasks that wait.
    Queue,
    /// The longest turns of the loop.
    Turn,
    /// The longest waits for databases and caches.
    Storage,
    /// What was dropped.
    Drops,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Time since the start.
    Uptime,
}

impl Column {
    /// In the order of the screen.
    pub const ALL: [Self; 14] = [
        Self::Server,
        Self::State,
        Self::Connections,
        Self::MessagesIn,
        Self::MessagesOut,
        Self::BytesIn,
        Self::BytesOut,
        Self::Queue,
        Self::Turn,
        Self::Storage,
        Self::Drops,
        Self::Cpu,
        Self::Memory,
        Self::Uptime,
    ];

    /// The key that sorts by it.
    pub fn key(self) -> char {
        match self {
            Self::Server => 's',
            Self::State => 'h',
            Self::Connections => 'c',
            Self::MessagesIn => 'i',
            Self::MessagesOut => 'o',
            Self::BytesIn => 'b',
            Self::BytesOut => 'w',
            Self::Queue => 'u',
            Self::Turn => 't',
            Self::Storage => 'd',
            Self::Drops => 'x',
            Self::Cpu => 'p',
            Self::Memory => 'm',
            Self::Uptime => 'a',
        }
    }

    /// Texts from the first on, numbers from the greatest on, what is missing last.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let down = |part: fn(&Row) -> Option<f64>| {
            let number = |row| part(row).unwrap_or(f64::NEG_INFINITY);
            number(b).total_cmp(&number(a))
        };
        match self {
            Self::Server => a.server.cmp(&b.server),
            Self::State => rank(&a.health).cmp(&rank(&b.health)),
            Self::Connections => down(|row| row.connections),
            Self::MessagesIn => down(|row| row.messages_in),
            Self::MessagesOut => down(|row| row.messages_out),
            Self::BytesIn => down(|row| row.bytes_in),
            Self::BytesOut => down(|row| row.bytes_out),
            Self::Queue => down(|row| row.queue),
            Self::Turn => down(|row| row.turn_p99),
            Self::Storage => down(|row| row.storage_p99),
            Self::Drops => down(|row| row.drops),
            Self::Cpu => down(|row| row.cpu),
            Self::Memory => down(|row| row.memory),
            Self::Uptime => down(|row| row.uptime),
        }
    }
}

/// What needs a look comes first.
fn rank(health: &Health) -> u8 {
    match health {
        Health::Silent(_) => 0,
        Health::NotReady(_) => 1,
        Health::Ready => 2,
    }
}

/// How commands are sorted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommandOrder {
    /// By what they take on average.
    Mean,
    /// By what the longest take.
    P99,
    /// By how often they come.
    Rate,
}

/// One server and what it told the last time.
struct Server {
    before: Option<Scrape>,
    row: Row,
}

/// What a server says when it is asked.
#[derive(Debug)]
pub enum News {
    /// Its figures, and how it is.
    Told(Health, Scrape),
    /// Why it says nothing.
    Silent(String),
}

/// Everything on the screen.
pub struct State {
    servers: Vec<Server>,
    /// By what servers are sorted.
    pub sort: Column,
    /// Whether they are sorted the other way round.
    pub reversed: bool,
    /// How commands are sorted.
    pub command_order: CommandOrder,
    /// Figures stand still.
    pub paused: bool,
    /// The user wants to go.
    pub quit: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("sort", &self.sort).finish_non_exhaustive()
    }
}

impl State {
    /// Servers of which nothing is known yet.
    pub fn new(names: &[&str]) -> Self {
        let server = |name: &&str| Server { before: None, row: Row::silent(name, "not asked yet") };
        Self {
            servers: names.iter().map(server).collect(),
            sort: Column::Server,
            reversed: false,
            command_order: CommandOrder::Mean,
            paused: false,
            quit: false,
        }
    }

    /// A server was asked.
    pub fn take(&mut self, at: usize, news: News) {
        if self.paused {
            return;
        }
        let Server { before, row } = &mut self.servers[at];
        let name = mem::take(&mut row.server);
        match news {
            News::Told(health, now) => {
                *row = Row::new(&name, health, before.as_ref(), &now);
                *before = Some(now);
            }
            News::Silent(reason) => {
                *row = Row::silent(&name, &reason);
                *before = None;
            }
        }
    }

    /// Servers in the order that is wanted; those that are equal in the order of the options.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.servers.iter().map(|server| &server.row).collect();
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            if self.reversed { order.reverse() } else { order }
        });
        rows
    }

    /// Commands of all servers, those that need a look first.
    pub fn commands(&self) -> Vec<&CommandRow> {
        let mut rows: Vec<&CommandRow> =
            self.servers.iter().flat_map(|server| &server.row.commands).collect();
        let number = |row: &CommandRow| match self.command_order {
            CommandOrder::Mean => row.mean,
            CommandOrder::P99 => row.p99,
            CommandOrder::Rate => row.rate.unwrap_or_default(),
        };
        rows.sort_by(|a, b| number(b).total_cmp(&number(a)).then(a.command.cmp(&b.command)));
        rows
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'q') if control => self.quit = true,
            KeyCode::Char('q') | KeyCode::Esc => self.quit = true,
            KeyCode::Left => self.step(Column::ALL.len() - 1),
            KeyCode::Right => self.step(1),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Tab => {
                self.command_order = match self.command_order {
                    CommandOrder::Mean => CommandOrder::P99,
                    CommandOrder::P99 => CommandOrder::Rate,
                    CommandOrder::Rate => CommandOrder::Mean,
                };
            }
            KeyCode::Char(c) => {
                if let Some(column) = Column::ALL.into_iter().find(|column| column.key() == c) {
                    self.reversed = self.sort == column && !self.reversed;
                    self.sort = column;
                }
            }
            _ => {}
        }
    }

    /// To a column further right, round the end.
    fn step(&mut self, by: usize) {
        let at = Column::ALL.iter().position(|column| *column == self.sort).unwrap_or_default();
        self.sort = Column::ALL[(at + by) % Column::ALL.len()];
        self.reversed = false;
    }
}
