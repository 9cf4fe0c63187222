//! Many users logged in on one thread.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Load, now, prepare, progress};
use crate::client::{Core, Crowd, Event, Happening, Login, Server, logged_in, msg_server};
use crate::netlib::open_files::raise_open_files_limit;
use crate::pb::base_define::ClientType;
use crate::pb::cmd::{CID_LOGIN_REQ_USERLOGIN, CID_LOGIN_RES_USERLOGIN};

/// Logins on their way at a time.
const LOGINS_AT_ONCE: usize = 64;

/// How long nothing may happen while somebody waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a turn may wait for the network.
const TURN: Duration = Duration::from_millis(100);

/// Users by number, all logged in.
pub(super) struct Fleet {
    pub(super) crowd: Crowd,
    /// Their user ids.
    pub(super) user_ids: Vec<u32>,
    /// What came while others still logged in, and is not thrown away.
    early: Vec<(usize, Event)>,
}

/// The msg_servers of an installation in turn, as login_server names them.
pub(super) struct Servers {
    server: Server,
    known: Vec<SocketAddr>,
}

impl Servers {
    pub(super) fn new(load: &Load) -> anyhow::Result<Self> {
        Ok(Self { server: load.site.server()?, known: Vec::new() })
    }

    /// The msg_server for user number `at`. Enough of them ask login_server to learn of all
    /// msg_servers; the others go where these went.
    pub(super) fn of(&mut self, at: usize) -> anyhow::Result<SocketAddr> {
        const ASKED_MAX: usize = 64;
        let addr = match &self.server {
            Server::Login(_) if at >= ASKED_MAX && !self.known.is_empty() => {
                return Ok(self.known[at % self.known.len()]);
            }
            Server::Login(addr) => msg_server(addr).context("asking login_server")?.prior,
            Server::Msg(addr) => addr.clone(),
            Server::MsgTls(..) => bail!("benchmarks run in the clear"),
        };
        let addr = addr.to_socket_addrs()?.next().with_context(|| format!("no address: {addr}"))?;
        if !self.known.contains(&addr) {
            self.known.push(addr);
            self.known.sort_unstable();
        }
        Ok(addr)
    }
}

/// The login of the user with this number.
pub(super) fn login(load: &Load, at: usize, client_type: ClientType) -> Login {
    let name = format!("{}{}", load.prefix, at + 1);
    Login::new(&name, prepare::PASSWORD).with_client_type(client_type)
}

impl Fleet {
    /// Logs in users 0 to `count`, spread over all msg_servers.
    pub(super) fn log_in(
        load: &Load,
        count: usize,
        client_type: ClientType,
    ) -> anyhow::Result<Self> {
        raise_open_files_limit()?;
        let aes_key = load.site.aes_key()?;
        let mut servers = Servers::new(load)?;
        let mut this = Self { crowd: Crowd::new()?, user_ids: vec![0; count], early: Vec::new() };
        let bar = progress(count as u64, "log in");
        let (mut started, mut done, mut failed) = (0, 0, None);
        while done < count {
            while started < count && started - done < LOGINS_AT_ONCE {
                let id = this.crowd.connect(servers.of(started)?, &aes_key)?;
                let request = login(load, started, client_type).request();
                let core = this.crowd.core(id).context("just connected")?;
                core.request(CID_LOGIN_REQ_USERLOGIN, &request);
                started += 1;
            }
            let Self { crowd, user_ids, early, .. } = &mut this;
            crowd.turn(TURN, |id, core, happening| match happening {
                Happening::Event(Event::Answer(pdu))
                    if pdu.as_pdu().command_id() == CID_LOGIN_RES_USERLOGIN =>
                {
                    match pdu.as_pdu().decode().map_err(Into::into).and_then(logged_in) {
                        Ok(user) => {
                            core.set_user_id(user.user_id);
                            user_ids[id] = user.user_id;
                            done += 1;
                        }
                        Err(error) => failed = Some((id, error)),
                    }
                }
                Happening::Event(event) => early.push((id, event)),
                Happening::Lost(error) => {
                    failed.get_or_insert((id, error));
                }
            })?;
            if let Some((id, error)) = failed {
                let name = login(load, id, client_type).name;
                return Err(error).with_context(|| {
                    format!("{name} cannot log in; `teamtalk bench prepare` makes the accounts")
                });
            }
            bar.set_position(done as u64);
        }
        bar.finish_and_clear();
        Ok(this)
    }

    /// Serves connections for a while; `on_event` gets what comes.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        mut on_event: impl FnMut(usize, &mut Core, Event),
    ) -> anyhow::Result<()> {
        for (id, event) in self.early.drain(..) {
            if let Some(core) = self.crowd.core(id) {
                on_event(id, core, event);
            }
        }
        let mut lost = None;
        self.crowd.turn(timeout, |id, core, happening| match happening {
            Happening::Event(event) => on_event(id, core, event),
            Happening::Lost(error) => lost = Some((id, error)),
        })?;
        match lost {
            Some((id, error)) => Err(error).with_context(|| format!("user number {id}")),
            None => Ok(()),
        }
    }

    /// Serves connections until nothing has come for a while, which presence notices of many
    /// logins may take.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        const QUIET: Duration = Duration::from_millis(300);
        let (start, mut last) = (now(), now());
        while last.elapsed() < QUIET && start.elapsed() < PATIENCE {
            let mut came = false;
            self.turn(QUIET, |_, _, _| came = true)?;
            if came {
                last = now();
            }
        }
        Ok(())
    }
}
