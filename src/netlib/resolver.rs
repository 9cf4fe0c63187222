//! Host names to addresses, off the loop.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use mio::Waker;

use super::net_handle::NetHandle;
use super::response_list::ResponseList;

/// Helper threads: one name that hangs does not hold up the others.
const THREADS: usize = 4;

/// What the helper threads found for a connection.
pub(crate) type Resolved = (NetHandle, io::Result<Vec<SocketAddr>>);

/// How a name is looked up.
pub(crate) type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Looks names up on helper threads, which are started by the first name.
pub(crate) struct Resolver {
    look_up: LookUp,
    answers: ResponseList<Resolved>,
    requests: Option<Sender<(NetHandle, String, u16)>>,
}

impl Resolver {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self { look_up, answers: ResponseList::new(waker), requests: None }
    }

    /// Replaces the system's resolver.
    #[cfg(test)]
    pub(crate) fn set_look_up(&mut self, look_up: LookUp) {
        self.look_up = look_up;
    }

    pub(crate) fn resolve(&mut self, handle: NetHandle, host: String, port: u16) {
        let requests = match &self.requests {
            Some(requests) => requests,
            None => match self.start() {
                Ok(requests) => self.requests.insert(requests),
                Err(error) => return self.answers.push((handle, Err(error))),
            },
        };
        // The threads live as long as this sender.
        let _ = requests.send((handle, host, port));
    }

    /// What has been found since the last call.
    pub(crate) fn take(&self) -> Vec<Resolved> {
        match self.requests {
            Some(_) => self.answers.take(),
            None => Vec::new(),
        }
    }

    fn start(&self) -> io::Result<Sender<(NetHandle, String, u16)>> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        for _ in 0..THREADS {
            let (receiver, answers) = (receiver.clone(), self.answers.clone());
            let look_up = self.look_up;
            thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || answer_all(&receiver, look_up, &answers))?;
        }
        Ok(sender)
    }
}

fn answer_all(
    requests: &Receiver<(NetHandle, String, u16)>,
    look_up: LookUp,
    answers: &ResponseList<Resolved>,
) {
    for (handle, host, port) in requests {
        answers.push((handle, look_up(&host, port)));
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}
