//! `teamtalk`, the one tool to run, operate, use and measure an installation.
//!
//! - [`admin`]: users, departments, groups, and the database itself.
//! - [`account`]: who logs in, and where: options that several commands share.
//! - [`mod@bench`]: how fast an installation is, and whether it makes mistakes.
//! - [`chat`]: TeamTalk in a terminal.
//! - [`doctor`]: what is wrong with an installation.
//! - [`files`]: files the tool writes.
//! - [`man`]: manual pages.
//! - [`output`]: what commands print: tables for people, JSON for programs.
//! - [`progress`]: how far a long work has come.
//! - [`scrape`]: what servers tell about themselves.
//! - [`screen`]: a terminal that is taken over.
//! - [`talk`]: `send` and `listen`.
//! - [`top`]: a live screen of all servers.
//! - [`up`]: a whole cluster on this machine.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a server, 4 no server answers.

pub mod account;
pub mod admin;
pub mod bench;
pub mod chat;
pub mod doctor;
pub mod files;
pub mod man;
pub mod output;
pub mod progress;
pub mod scrape;
pub mod screen;
pub mod talk;
pub mod top;
pub mod up;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::base::http_client::HttpClientError;
use crate::client::ClientError;
use output::Output;

/// The exit code of a refusal: wrong password, no such group, and the like.
pub const REFUSED: u8 = 3;

/// The exit code when nobody answers.
pub const UNREACHABLE: u8 = 4;

/// Runs, operates, uses and measures a TeamTalk installation
#[derive(Debug, Parser)]
#[command(name = "teamtalk", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a server, \
                        4 no server answers.")]
struct Tool {
    /// Print JSON, one value a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster and keep it running until Ctrl-C
    Up(up::Up),
    /// Stop the cluster
    Down(up::Down),
    /// Show the servers of the cluster
    Status(up::status::Status),
    /// Watch all servers: connections, messages, queues, times
    Top(top::Top),
    /// Talk with people and groups in the terminal
    Chat(chat::Chat),
    /// Send a message
    Send(talk::Send),
    /// Print messages as they come
    Listen(talk::Listen),
    /// Measure an installation with many clients
    Bench(bench::Bench),
    /// Users: add, list, show, set passwords, disable, import
    User(admin::user::UserCommand),
    Depart(admin::depart::DepartCommand),
    Group(admin::group::GroupCommand),
    Db(admin::db::DbCommand),
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    Man(man::Man),
}

/// Runs the tool from `main` on.
pub fn main() -> ExitCode {
    let tool = Tool::parse();
    let output = Output::new(tool.json);
    let result = match tool.command {
        Command::Chat(chat) => chat.run(),
        Command::Up(up) => up.run(&output),
        Command::Down(down) => down.run(&output),
        Command::Status(status) => status.run(&output),
        Command::Top(top) => top.run(&output),
        Command::Send(send) => send.run(&output),
        Command::Listen(listen) => listen.run(&output),
        Command::Bench(bench) => bench.run(&output),
        Command::User(user) => user.run(&output),
        Command::Depart(depart) => depart.run(&output),
        Command::Group(group) => group.run(&output),
        Command::Db(db) => db.run(&output),
        Command::Doctor(doctor) => doctor.run(&output),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Tool::command(), "teamtalk", &mut io::stdout());
            Ok(())
        }
        Command::Man(man) => man.run(Tool::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(io::stderr(), "teamtalk: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(code) = admin::exit_code(error) {
        return code;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { .. } | ClientError::Kicked { .. }) => REFUSED,
        Some(
            ClientError::Io(_)
            | ClientError::Closed
            | ClientError::TimedOut { .. }
            | ClientError::LoginServer(HttpClientError::Io(_)),
        ) => UNREACHABLE,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_all_commands_are_consistent() {
        Tool::command().debug_assert();
    }

    #[test]
    fn scripts_can_tell_failures_apart() {
        let refused = ClientError::Refused { what: String::new(), code: 6 };
        for (error, code) in [(refused, REFUSED), (ClientError::Closed, UNREACHABLE)] {
            assert_eq!(exit_code(&anyhow::Error::from(error).context("more words")), code);
        }
        assert_eq!(exit_code(&anyhow::anyhow!("no such file")), 1);
    }
}
