//! `chat`: TeamTalk in a terminal.
//!
//! ```text
//! event      what the chat is told, and what it wants done
//! state      the whole chat as a state machine; news, keys and commands are parts of it
//! talk       one talk: messages, what is unread, what is not delivered yet
//! roster     everybody there is, and the groups
//! line       the line that is typed
//! p2p        typing and shaking, as the other clients say it
//! rows       a talk as rows of a terminal
//! view       the screen
//! run        the terminal and the loop
//! net        the thread that owns the connection
//! transfer   a thread for each file
//! ```
//!
//! Only `run`, `net` and `transfer` touch anything outside; the rest are plain functions of what
//! they are told, the time included.

pub mod commands;
pub mod event;
pub mod line;
pub mod net;
pub mod p2p;
pub mod roster;
pub mod rows;
pub mod run;
pub mod state;
pub mod talk;
pub mod transfer;
pub mod view;

mod keys;
mod news;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;

use super::account::Account;

/// Talks with people and groups in the terminal.
#[derive(Args, Debug)]
pub struct Chat {
    #[command(flatten)]
    account: Account,

    /// Where files go that are accepted; the directory is made when it is needed
    #[arg(long, value_name = "DIR", default_value = ".")]
    downloads: PathBuf,

    /// Scroll with the wheel of the mouse; text is then marked with Shift held down
    #[arg(long)]
    mouse: bool,
}

impl Chat {
    /// Runs until the user ends it.
    ///
    /// # Errors
    /// There is no terminal, the login is refused, or the user is sent away.
    pub fn run(self) -> anyhow::Result<()> {
        run::check_terminal()?;
        let mut user = self.account.session()?;
        // A wrong password is better told before the screen is taken over.
        user.connect()?;
        run::run(user, self.downloads, self.mouse)
    }
}
