//! Who logs in, and where.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, read};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use serde_json::{Value, json};

use super::files::write_private;
use crate::client::{Client, Login, Server, TlsClient, UserSession};

/// Where `teamtalk up` keeps everything unless told otherwise.
pub const VAR: &str = "var";

/// The file in [`VAR`] with what a client of the cluster there needs.
pub const ACCOUNTS: &str = "accounts.json";

/// The login_server asked when nothing else is known.
pub const LOGIN_SERVER: &str = "127.0.0.1:8080";

/// The key of message texts that all published clients have.
pub const AES_KEY: &str = "12345678901234567890123456789012";

/// Who logs in, and where.
#[derive(Args, Clone, Debug)]
pub struct Account {
    /// Login name
    #[arg(short, long, value_name = "NAME")]
    pub user: String,

    /// Read the password from standard input
    ///
    /// Without this option the password of a demo account is taken from where `teamtalk up` wrote
    /// it; any other is asked for.
    #[arg(long)]
    password_stdin: bool,

    #[command(flatten)]
    site: Site,
}

/// Where to log in.
#[derive(Args, Clone, Debug)]
pub struct Site {
    /// HTTP address of the login_server [default: that of `teamtalk up`, else 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,

    /// Go to this msg_server and ask no login_server
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "server")]
    msg_server: Option<String>,

    /// Come over TLS, and trust the certificates in this PEM file
    #[arg(long, value_name = "FILE", requires = "msg_server")]
    tls_ca: Option<PathBuf>,

    /// File with the key of message texts, 32 characters [default: that of all published clients]
    #[arg(long, value_name = "FILE")]
    aes_key_file: Option<PathBuf>,

    /// Directory of `teamtalk up`
    #[arg(long, value_name = "DIR", default_value = VAR)]
    pub(super) var: PathBuf,
}

/// What `teamtalk up` tells clients.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// HTTP address of the login_server.
    pub login_server: Option<String>,
    /// Names and passwords.
    pub passwords: Vec<(String, String)>,
}

impl Accounts {
    /// What the file in `var` says; nothing if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn read(var: &Path) -> anyhow::Result<Self> {
        let path = var.join(ACCOUNTS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        let entry = |(name, password): (&String, &Value)| {
            Some((name.clone(), password.as_str()?.to_owned()))
        };
        let passwords = value["passwords"].as_object().into_iter().flatten().filter_map(entry);
        Ok(Self {
            login_server: value["login_server"].as_str().map(str::to_owned),
            passwords: passwords.collect(),
        })
    }

    /// Writes the file, for the owner's eyes only.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, var: &Path) -> anyhow::Result<()> {
        let passwords: serde_json::Map<_, _> =
            self.passwords.iter().map(|(name, word)| (name.clone(), json!(word))).collect();
        let value = json!({ "login_server": self.login_server, "passwords": passwords });
        let path = var.join(ACCOUNTS);
        write_private(&path, format!("{value:#}\n").as_bytes())
            .with_context(|| path.display().to_string())
    }
}

impl Site {
    /// The key of message texts.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn aes_key(&self) -> anyhow::Result<Vec<u8>> {
        match &self.aes_key_file {
            None => Ok(AES_KEY.as_bytes().to_vec()),
            Some(path) => {
                let key = fs::read_to_string(path).with_context(|| path.display().to_string())?;
                Ok(key.trim_end().as_bytes().to_vec())
            }
        }
    }

    /// The server to go to.
    ///
    /// # Errors
    /// What `teamtalk up` wrote is damaged.
    pub fn server(&self) -> anyhow::Result<Server> {
        match (&self.msg_server, &self.tls_ca) {
            (Some(addr), Some(path)) => {
                return Ok(Server::MsgTls(addr.clone(), TlsClient::with_roots(path)?));
            }
            (Some(addr), None) => return Ok(Server::Msg(addr.clone())),
            (None, _) => {}
        }
        if let Some(addr) = &self.server {
            return Ok(Server::Login(addr.clone()));
        }
        let known = Accounts::read(&self.var)?.login_server;
        Ok(Server::Login(known.unwrap_or_else(|| LOGIN_SERVER.to_owned())))
    }
}

impl Account {
    /// A user who stays connected.
    ///
    /// # Errors
    /// The password or the key cannot be read.
    pub fn session(&self) -> anyhow::Result<UserSession> {
        let login = Login::new(&self.user, &self.password()?);
        Ok(UserSession::new(self.site.server()?, &self.site.aes_key()?, login))
    }

    /// A connection, logged in.
    ///
    /// # Errors
    /// Nobody answers, or the login is refused.
    pub fn client(&self) -> anyhow::Result<Client> {
        let login = Login::new(&self.user, &self.password()?);
        let server = self.site.server()?;
        let context = || match &server {
            Server::Login(addr) => format!("asking login_server {addr}"),
            Server::Msg(addr) | Server::MsgTls(addr, _) => format!("msg_server {addr}"),
        };
        let mut client = server.connect(&self.site.aes_key()?).with_context(context)?;
        client.login(&login).with_context(|| format!("logging in as {}", self.user))?;
        Ok(client)
    }

    fn password(&self) -> anyhow::Result<String> {
        if self.password_stdin {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).context("reading the password")?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        let known = Accounts::read(&self.site.var)?.passwords;
        match known.into_iter().find(|(name, _)| *name == self.user) {
            Some((_, password)) => Ok(password),
            None => ask_password(&format!("Password of {}: ", self.user)),
        }
    }
}

/// Asks at the terminal, without showing what is typed.
///
/// # Errors
/// There is no terminal, or whoever is asked gives up.
pub fn ask_password(prompt: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("no terminal to ask for the password at; use --password-stdin");
    }
    let mut err = io::stderr();
    // Before the prompt: who types as soon as he sees it is not to be shown either.
    enable_raw_mode()?;
    let asked = write!(err, "{prompt}").and_then(|()| err.flush());
    let typed = asked.map_err(anyhow::Error::from).and_then(|()| read_line_unseen());
    disable_raw_mode()?;
    writeln!(err)?;
    typed
}

fn read_line_unseen() -> anyhow::Result<String> {
    let mut typed = String::new();
    loop {
        let Event::Key(KeyEvent { code, modifiers, .. }) = read()? else { continue };
        match code {
            KeyCode::Enter => return Ok(typed),
            KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => {
                bail!("given up")
            }
            KeyCode::Char(c) => typed.push(c),
            KeyCode::Backspace => drop(typed.pop()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_up_writes_is_read_again_and_nobody_else_reads_it() {
        let var = tempfile::tempdir().unwrap();
        assert!(Accounts::read(var.path()).unwrap().passwords.is_empty());
        let accounts = Accounts {
            login_server: Some("127.0.0.1:8080".to_owned()),
            passwords: vec![("alice".to_owned(), "se\"cret".to_owned())],
        };
        accounts.write(var.path()).unwrap();
        let read = Accounts::read(var.path()).unwrap();
        assert_eq!(
            (read.login_server, read.passwords),
            (accounts.login_server, accounts.passwords)
        );
        let mode = fs::metadata(var.path().join(ACCOUNTS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(var.path().join(ACCOUNTS), "{").unwrap();
        assert!(Accounts::read(var.path()).unwrap_err().to_string().contains("damaged"));
    }
}
