//! Many connections on one thread: for load generators, and bots for thousands of users.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::core::Core;
use super::error::ClientError;
use super::event::Event;
use crate::base::enc_dec::AesError;

/// What one read takes at most.
const READ_LEN_MAX: usize = 64 << 10;

/// Sockets that are served in one turn.
const EVENTS_PER_TURN: usize = 1_024;

/// What happens to a member of a crowd.
#[derive(Debug)]
pub enum Happening {
    /// The server said something.
    Event(Event),
    /// The connection is gone, and the member with it. A [`ClientError::Kicked`] stands for the
    /// [`Event::Kicked`] that came.
    Lost(ClientError),
}

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    core: Core,
    /// What the socket has not taken yet.
    output: Vec<u8>,
    /// Whether the socket may take something.
    writable: bool,
}

/// Connections to msg_servers that one thread drives.
///
/// Queue requests on the [`Core`] of a member ([`core`](Self::core)); the next
/// [`turn`](Self::turn) sends them and hands out what comes.
#[derive(Debug)]
pub struct Crowd {
    poll: Poll,
    events: Events,
    members: Slab<Member>,
    /// Members with something to send.
    to_send: BTreeSet<usize>,
    buffer: Box<[u8]>,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    /// The system has no more of what it takes.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            members: Slab::new(),
            to_send: BTreeSet::new(),
            buffer: vec![0; READ_LEN_MAX].into(),
        })
    }

    /// One more member, who is told apart from others by the number that is returned. Numbers of
    /// members who left come again. What is queued is sent once the connection stands.
    ///
    /// # Errors
    /// The key is not 32 bytes long, or the system has no more sockets.
    pub fn connect(&mut self, addr: SocketAddr, aes_key: &[u8]) -> io::Result<usize> {
        let core = Core::new(aes_key).map_err(|error: AesError| {
            io::Error::new(ErrorKind::InvalidInput, error.to_string())
        })?;
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let member = Member { stream, core, output: Vec::new(), writable: false };
        let id = self.members.insert(member);
        let stream = &mut self.members[id].stream;
        self.poll.registry().register(
            stream,
            Token(id),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The protocol of a member, to queue requests; `None` if he has left.
    pub fn core(&mut self, id: usize) -> Option<&mut Core> {
        let member = self.members.get_mut(id)?;
        self.to_send.insert(id);
        Some(&mut member.core)
    }

    /// Ends the connection of a member.
    pub fn leave(&mut self, id: usize) {
        self.members.try_remove(id);
        self.to_send.remove(&id);
    }

    /// Sends what is queued, waits for something to happen, but not longer than `timeout`, and
    /// hands it out. The member's [`Core`] takes what he says to that.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn turn(
        &mut self,
        timeout: Duration,
        mut on_event: impl FnMut(usize, &mut Core, Happening),
    ) -> io::Result<()> {
        for id in std::mem::take(&mut self.to_send) {
            self.send(id, &mut on_event);
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let ready: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                let ends = event.is_read_closed() || event.is_error();
                (event.token().0, event.is_readable() || ends, ends, event.is_writable())
            })
            .collect();
        for (id, readable, ends, writable) in ready {
            if let Some(member) = self.members.get_mut(id) {
                member.writable |= writable;
            }
            if readable {
                self.receive(id, ends, &mut on_event);
            }
            self.send(id, &mut on_event);
        }
        Ok(())
    }

    fn send(&mut self, id: usize, on_event: &mut impl FnMut(usize, &mut Core, Happening)) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.output.append(&mut member.core.take_output());
        let mut sent = 0;
        while member.writable && sent < member.output.len() {
            match member.stream.write(&member.output[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => member.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(id, error.into(), on_event),
            }
        }
        member.output.drain(..sent);
    }

    fn receive(
        &mut self,
        id: usize,
        ends: bool,
        on_event: &mut impl FnMut(usize, &mut Core, Happening),
    ) {
        while let Some(member) = self.members.get_mut(id) {
            let length = match member.stream.read(&mut self.buffer) {
                Ok(0) => return self.lose(id, ClientError::Closed, on_event),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.lose(id, error.into(), on_event),
            };
            let result = member.core.receive(&self.buffer[..length]);
            while let Some(event) = member.core.next_event() {
                if let Event::Kicked(kick) = event {
                    let reason = kick.kick_reason();
                    return self.lose(id, ClientError::Kicked { reason }, on_event);
                }
                on_event(id, &mut member.core, Happening::Event(event));
            }
            if let Err(error) = result {
                return self.lose(id, error.into(), on_event);
            }
            // What comes after a short read is announced by another event, unless the end of the
            // connection has been announced by this one.
            if length < self.buffer.len() && !ends {
                return;
            }
        }
    }

    fn lose(
        &mut self,
        id: usize,
        error: ClientError,
        on_event: &mut impl FnMut(usize, &mut Core, Happening),
    ) {
        let mut member = self.members.remove(id);
        on_event(id, &mut member.core, Happening::Lost(error));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::client::core::encode;
    use crate::pb::cmd::CID_LOGIN_RES_LOGINOUT;
    use crate::pb::login::ImLogoutRsp;

    const KEY: &[u8] = b"12345678901234567890123456789012";

    /// Turns that are enough for anything on this machine.
    const TURNS_MAX: usize = 200;

    #[test]
    fn last_words_and_the_end_of_a_connection_are_both_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut crowd = Crowd::new().unwrap();
        let id = crowd.connect(listener.local_addr().unwrap(), KEY).unwrap();
        // Both are there before the first turn, so one event announces the two.
        let (mut stream, _) = listener.accept().unwrap();
        let farewell = encode(CID_LOGIN_RES_LOGINOUT, 1, &ImLogoutRsp { result_code: 0 });
        stream.write_all(farewell.as_pdu().as_bytes()).unwrap();
        drop(stream);
        let mut heard = Vec::new();
        for _ in 0..TURNS_MAX {
            crowd.turn(Duration::from_millis(50), |who, _, what| heard.push((who, what))).unwrap();
            if crowd.is_empty() {
                break;
            }
        }
        let [(first, answer), (second, end)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((*first, *second), (id, id));
        assert!(matches!(answer, Happening::Event(Event::Answer(_))), "{answer:?}");
        assert!(matches!(end, Happening::Lost(ClientError::Closed)), "{end:?}");
    }

    #[test]
    fn what_a_socket_does_not_take_at_once_follows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut crowd = Crowd::new().unwrap();
        let id = crowd.connect(listener.local_addr().unwrap(), KEY).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let core = crowd.core(id).unwrap();
        (0..400_000).for_each(|_| core.heartbeat());
        let length = 400_000 * 16;
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).map(|()| stream)
        });
        for _ in 0..TURNS_MAX {
            crowd.turn(Duration::from_millis(50), |_, _, what| panic!("{what:?}")).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        reader.join().unwrap().unwrap();
        crowd.leave(id);
        assert!(crowd.is_empty() && crowd.core(id).is_none());
        assert!(Crowd::new().unwrap().connect("127.0.0.1:1".parse().unwrap(), b"short").is_err());
    }
}
