//! The reference: `epoll_wait`, `read`, `write` and nothing else. What no reactor can beat.
#![allow(unsafe_code, reason = "the reference must call the kernel without any layer between")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::thread;

/// Where the servers run.
pub const SERVER_CORE: usize = 1;
/// Where the load runs.
pub const CLIENT_CORE: usize = 0;

const EVENTS: usize = 1024;
const BUF: usize = 64 * 1024;

/// A level-triggered epoll set.
pub struct Epoll(RawFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is involved.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(fd)) }
    }

    pub fn add(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: `event` lives through the call.
        let result = unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, fd, &mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The descriptors that are readable.
    pub fn wait<'a>(&self, events: &'a mut Vec<libc::epoll_event>) -> &'a [libc::epoll_event] {
        events.resize(EVENTS, libc::epoll_event { events: 0, u64: 0 });
        // SAFETY: the buffer holds EVENTS entries.
        let n = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), EVENTS as i32, -1) };
        &events[..usize::try_from(n).unwrap_or(0)]
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(self.0) };
    }
}

/// Starts an echo server that runs until the process ends.
pub fn spawn_echo() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::Builder::new().name("plain epoll".to_owned()).spawn(move || run(&listener))?;
    Ok(addr)
}

fn run(listener: &TcpListener) -> io::Result<()> {
    pin_to_core(SERVER_CORE);
    let epoll = Epoll::new()?;
    let listen_fd = listener.as_raw_fd();
    epoll.add(listen_fd)?;
    let mut events = Vec::new();
    let mut buf = vec![0u8; BUF];
    loop {
        for event in epoll.wait(&mut events) {
            let fd = event.u64 as RawFd;
            if fd == listen_fd {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll.add(stream.into_raw_fd())?;
                continue;
            }
            echo(fd, &mut buf);
        }
    }
}

fn echo(fd: RawFd, buf: &mut [u8]) {
    // SAFETY: `buf` is valid for its whole length in both calls.
    unsafe {
        let n = libc::read(fd, buf.as_mut_ptr().cast(), buf.len());
        if n <= 0 {
            libc::close(fd);
            return;
        }
        let mut sent = 0;
        while sent < n {
            let wrote =
                libc::write(fd, buf.as_ptr().add(sent as usize).cast(), (n - sent) as usize);
            if wrote < 0 {
                return;
            }
            sent += wrote;
        }
    }
}

/// Keeps the calling thread on one core, so that no figure depends on where the scheduler puts
/// server and client; on a machine with a single core it does nothing.
pub fn pin_to_core(core: usize) {
    // SAFETY: `set` is a plain bit set, valid when zeroed, that lives through the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}
