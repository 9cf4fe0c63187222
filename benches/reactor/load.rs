//! The load: closed loops of 16-byte PDUs, the same for both servers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::plain_epoll::Epoll;

pub const PDU_LEN: usize = 16;

fn pdus(command_id: u16, count: usize) -> Vec<u8> {
    let [high, low] = command_id.to_be_bytes();
    [0, 0, 0, 16, 0, 1, 0, 0, 0, 3, high, low, 0, 9, 0, 0].repeat(count)
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection with `depth` PDUs in flight, written together and awaited together.
pub struct Pipeline {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Pipeline {
    pub fn connect(addr: SocketAddr, depth: usize) -> io::Result<Self> {
        let out = pdus(0x0305, depth);
        Ok(Self { stream: connect(addr)?, input: vec![0; out.len()], out })
    }

    /// Sends and awaits `batches` times `depth` PDUs.
    pub fn run(&mut self, batches: u64) -> io::Result<Duration> {
        let start = Instant::now();
        for _ in 0..batches {
            self.stream.write_all(&self.out)?;
            self.stream.read_exact(&mut self.input)?;
        }
        let elapsed = start.elapsed();
        assert_eq!(self.input, self.out, "the echo is not what was sent");
        Ok(elapsed)
    }
}

/// Many connections, each with `depth` PDUs in flight.
pub struct Crowd {
    epoll: Epoll,
    conns: Vec<(TcpStream, usize)>,
    by_fd: Vec<usize>,
    out: Vec<u8>,
}

impl Crowd {
    pub fn connect(addr: SocketAddr, count: usize, depth: usize) -> io::Result<Self> {
        let mut crowd = Self {
            epoll: Epoll::new()?,
            conns: Vec::new(),
            by_fd: Vec::new(),
            out: pdus(0x0305, depth),
        };
        for at in 0..count {
            let stream = connect(addr)?;
            let fd = stream.as_raw_fd();
            crowd.epoll.add(fd)?;
            if crowd.by_fd.len() <= fd as usize {
                crowd.by_fd.resize(fd as usize + 1, usize::MAX);
            }
            crowd.by_fd[fd as usize] = at;
            crowd.conns.push((stream, 0));
        }
        Ok(crowd)
    }

    /// Until `batches` batches of `depth` PDUs have come back in all.
    pub fn run(&mut self, batches: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let (mut sent, mut done) = (0, 0);
        for (stream, _) in &mut self.conns {
            if sent < batches {
                stream.write_all(&self.out)?;
                sent += 1;
            }
        }
        let mut events = Vec::new();
        let mut buf = vec![0; 64 * 1024];
        while done < batches {
            for event in self.epoll.wait(&mut events) {
                let at = self.by_fd[event.u64 as usize];
                let (stream, got) = &mut self.conns[at];
                *got += stream.read(&mut buf)?;
                if *got == self.out.len() {
                    *got = 0;
                    done += 1;
                    if sent < batches {
                        stream.write_all(&self.out)?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(start.elapsed())
    }

    /// `rounds` times: the first connection sends one PDU and every connection receives it.
    pub fn broadcast(&mut self, command_id: u16, rounds: u64) -> io::Result<Duration> {
        let pdu = pdus(command_id, 1);
        let mut input = [0; PDU_LEN];
        let start = Instant::now();
        for _ in 0..rounds {
            self.conns[0].0.write_all(&pdu)?;
            for (stream, _) in &mut self.conns {
                stream.read_exact(&mut input)?;
            }
        }
        Ok(start.elapsed())
    }
}

/// Connections that do nothing.
pub fn idle(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| connect(addr)).collect()
}
