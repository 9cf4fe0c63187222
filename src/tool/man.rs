//! `man`: the manual pages, made from what `--help` says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::roff::{Roff, bold, roman};

use crate::base::command_line::{self, ServerName};

/// Write the manual pages of the tool and of all servers
///
/// `teamtalk.1`, one page for each command, `teamtalk-user-add.1` for example, and one for each
/// server, `msg_server.8` for example. `make install` does this.
#[derive(Args, Debug)]
pub struct Man {
    /// Where to write them; the directory is made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// What a manual page says of a server beside its options.
struct Server {
    name: ServerName,
    /// What it keeps, and the key that says where.
    keeps: &'static [(&'static str, &'static str)],
    /// Its signals beside those of every server.
    signals: &'static [(&'static str, &'static str)],
}

const SERVERS: [Server; 8] = [
    Server {
        name: ServerName {
            program: "db_proxy_server",
            config: "dbproxyserver.conf",
            about: "Reads and writes everything that is kept, on behalf of the other servers",
        },
        keeps: &[(
            "teamtalk.db",
            "The database, with the drivers sqlite and embedded (keys teamtalk_master_path, \
             unread_path and the like). With MySQL and Redis there is none.",
        )],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "file_server",
            config: "fileserver.conf",
            about: "Passes files between clients, and keeps them for receivers who are away",
        },
        keeps: &[("offline_file/", "Files that wait for their receivers (key OfflineFileDir).")],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "http_msg_server",
            config: "httpmsgserver.conf",
            about: "Lets other programs make groups and change their members",
        },
        keeps: &[],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "login_server",
            config: "loginserver.conf",
            about: "Tells clients which msg_server to use",
        },
        keeps: &[],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "msfs",
            config: "msfs.conf",
            about: "Stores pictures and voice, and hands them out again",
        },
        keeps: &[("tmp/", "Pictures and voice (key BaseDir).")],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "msg_server",
            config: "msgserver.conf",
            about: "Connects clients with each other and with all that is stored",
        },
        keeps: &[],
        signals: &[
            ("SIGUSR1", "The message counters are logged and start from 0."),
            ("SIGUSR2", "Begins, or ends, to log sender, receiver, kind and length of messages."),
        ],
    },
    Server {
        name: ServerName {
            program: "push_server",
            config: "pushserver.conf",
            about: "Tells phones of messages whose users are away",
        },
        keeps: &[],
        signals: &[],
    },
    Server {
        name: ServerName {
            program: "route_server",
            config: "routeserver.conf",
            about: "Passes messages and presence between msg_servers",
        },
        keeps: &[],
        signals: &[],
    },
];

/// Stands at the bottom of every page.
const SOURCE: &str = concat!("teamtalk ", env!("CARGO_PKG_VERSION"));

/// The signals of every server.
const SIGNALS: [(&str, &str); 2] = [
    (
        "SIGTERM, SIGINT",
        "The server stops in good order: nothing is accepted any more, what is queued is written, \
         then everything closes. A second one ends it at once.",
    ),
    ("SIGHUP", "msg_server reads its lists of other servers again. Other servers log it."),
];

const ENVIRONMENT: [(&str, &str); 2] = [
    (
        "RUST_LOG",
        "The level of the log: off, error, warn, info, debug or trace. Comes before the key \
         LogLevel.",
    ),
    (
        "NOTIFY_SOCKET",
        "The socket of a service manager, which is told when the server serves and when it \
         begins to stop (Type=notify of systemd).",
    ),
];

const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "The server was told to stop; or, with --check-config, it could start."),
    ("1", "It cannot start, or go on. One line on standard error says why."),
    ("2", "Wrong options."),
];

impl Man {
    /// Writes the pages.
    ///
    /// # Errors
    /// A file or the directory cannot be written.
    pub fn run(&self, tool: Command) -> anyhow::Result<()> {
        let directory = &self.directory;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut tool = tool.disable_help_subcommand(true);
        tool.build();
        write_tool_pages(&tool, None, directory)?;
        for server in &SERVERS {
            let page = server_page(server)?;
            write(directory, &format!("{}.8", server.name.program), &page)?;
        }
        Ok(())
    }
}

/// The page of a command and those of its subcommands.
fn write_tool_pages(
    command: &Command,
    parent: Option<&str>,
    directory: &Path,
) -> anyhow::Result<()> {
    let name = page_name(command);
    let children: Vec<&Command> =
        command.get_subcommands().filter(|child| !child.is_hide_set()).collect();
    let man = clap_mangen::Man::new(command.clone()).manual("TeamTalk").source(SOURCE);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut others: Vec<String> = parent.iter().map(|name| format!("{name}(1)")).collect();
    others.extend(children.iter().map(|child| format!("{}(1)", page_name(child))));
    if parent.is_none() {
        others.extend(SERVERS.map(|server| format!("{}(8)", server.name.program)));
    }
    see_also(&others).to_writer(&mut page)?;
    write(directory, &man.get_filename(), &page)?;
    children.iter().try_for_each(|child| write_tool_pages(child, Some(name), directory))
}

/// `teamtalk-user-add` of `teamtalk user add`.
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn server_page(server: &Server) -> anyhow::Result<Vec<u8>> {
    let name = server.name;
    let man = clap_mangen::Man::new(command_line::command(name))
        .section("8")
        .manual("TeamTalk")
        .source(SOURCE);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    let config = [
        (name.config.to_owned(), "The configuration, if there is no option -c."),
        (
            format!("conf/{}", name.config),
            "The configuration, if there is none in the current directory. The comments in the \
             sample say what every key means.",
        ),
    ];
    let config = config.iter().map(|(term, text)| (term.as_str(), *text));
    section(&mut rest, "FILES", config.chain(server.keeps.iter().copied()));
    section(&mut rest, "SIGNALS", SIGNALS.iter().chain(server.signals).copied());
    section(&mut rest, "ENVIRONMENT", ENVIRONMENT);
    section(&mut rest, "EXIT STATUS", EXIT_STATUS);
    rest.to_writer(&mut page)?;
    let others = SERVERS.iter().filter(|other| other.name.program != name.program);
    let mut others: Vec<String> =
        others.map(|other| format!("{}(8)", other.name.program)).collect();
    others.insert(0, "teamtalk(1)".to_owned());
    see_also(&others).to_writer(&mut page)?;
    Ok(page)
}

/// A section that explains one term after the other.
fn section<'a>(roff: &mut Roff, title: &str, terms: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    for (term, text) in terms {
        roff.control("TP", []).text([bold(term)]).text([roman(text)]);
    }
}

fn see_also(pages: &[String]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text([roman(pages.join(", "))]);
    roff
}

fn write(directory: &Path, name: &str, page: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, page).with_context(|| path.display().to_string())
}
