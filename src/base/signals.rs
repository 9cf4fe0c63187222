//! Signals as ordinary values, delivered by a thread of their own.
//!
//! Nothing of ours runs in the context of a signal handler (F46): the handler of `signal-hook`
//! wakes the thread, the thread hands the signal to a callback, and the callback is expected to
//! pass it on to the loop. Equal signals that arrive faster than they are taken merge into one.
//!
//! SIGPIPE needs nothing: the Rust runtime ignores it before `main`, so that writing to a closed
//! socket is an error value.

use std::ffi::c_int;
use std::thread::{self, JoinHandle};
use std::{io, mem};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level;

/// The signals a server can ask for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Signal {
    /// SIGHUP: re-read what can be re-read.
    Hangup,
    /// SIGINT: stop.
    Interrupt,
    /// SIGQUIT: stop.
    Quit,
    /// SIGTERM: stop.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    /// The number the system knows it by.
    pub fn number(self) -> c_int {
        match self {
            Self::Hangup => SIGHUP,
            Self::Interrupt => SIGINT,
            Self::Quit => SIGQUIT,
            Self::Terminate => SIGTERM,
            Self::User1 => SIGUSR1,
            Self::User2 => SIGUSR2,
        }
    }

    /// Whether it asks the process to end.
    pub fn is_stop(self) -> bool {
        match self {
            Self::Interrupt | Self::Quit | Self::Terminate => true,
            Self::Hangup | Self::User1 | Self::User2 => false,
        }
    }
}

/// The thread that receives signals. Dropping it ends the thread; from then on the signals it
/// received are ignored.
///
/// C++: db_proxy_server/ProxyConn.cpp sig_handler
/// Differs: no handler logs, locks, allocates or sends.
#[derive(Debug)]
pub struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Receives these signals of the process from now on.
    ///
    /// The first of the stop signals is told to the callback like any other. The second ends the
    /// process at once with status 128 + number: whoever presses the key again has waited enough,
    /// and the loop may be the very thing that hangs.
    ///
    /// # Errors
    /// A signal cannot be caught, or no thread can be started.
    pub fn spawn(
        signals: &[Signal],
        mut callback: impl FnMut(Signal) + Send + 'static,
    ) -> io::Result<Self> {
        let wanted = signals.to_vec();
        let mut signals = Signals::new(wanted.iter().map(|signal| signal.number()))?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut stopping = false;
            for number in signals.forever() {
                let Some(&signal) = wanted.iter().find(|signal| signal.number() == number) else {
                    continue;
                };
                if signal.is_stop() && mem::replace(&mut stopping, true) {
                    // Not std::process::exit, which waits for the lock of stdout.
                    low_level::exit(128 + number);
                }
                callback(signal);
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The callback may own what owns this; a thread cannot join itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            log::error!("signal thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::process::{self, Command};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Ends a test that would wait for ever.
    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn f46_signals_arrive_as_values_on_another_thread() {
        let (sender, receiver) = mpsc::channel();
        let signals = [Signal::User1, Signal::Hangup];
        let _thread = SignalThread::spawn(&signals, move |signal| {
            sender.send((signal, thread::current().id())).unwrap();
        })
        .unwrap();
        low_level::raise(SIGUSR1).unwrap();
        let (signal, thread) = receiver.recv_timeout(DEADLINE).unwrap();
        assert_eq!(signal, Signal::User1);
        assert_ne!(thread, thread::current().id());
        low_level::raise(SIGHUP).unwrap();
        assert_eq!(receiver.recv_timeout(DEADLINE).unwrap().0, Signal::Hangup);
    }

    #[test]
    fn dropping_the_thread_ends_it_and_its_callback() {
        let (sender, receiver) = mpsc::channel();
        let thread = SignalThread::spawn(&[Signal::User2], move |signal| {
            sender.send(signal).unwrap();
        })
        .unwrap();
        low_level::raise(SIGUSR2).unwrap();
        assert_eq!(receiver.recv_timeout(DEADLINE), Ok(Signal::User2));
        drop(thread);
        assert_eq!(receiver.recv(), Err(mpsc::RecvError), "the callback is gone");
        low_level::raise(SIGUSR2).unwrap();
    }

    #[test]
    fn the_second_stop_signal_ends_the_process_at_once() {
        const CHILD: &str = "TEAMTALK_TEST_STOPS_TWICE";
        if env::var_os(CHILD).is_some() {
            let (sender, receiver) = mpsc::channel();
            let signals = [Signal::Interrupt, Signal::Terminate];
            let _thread = SignalThread::spawn(&signals, move |signal| {
                sender.send(signal).unwrap();
            })
            .unwrap();
            low_level::raise(SIGINT).unwrap();
            assert_eq!(receiver.recv_timeout(DEADLINE), Ok(Signal::Interrupt));
            low_level::raise(SIGTERM).unwrap();
            receiver.recv_timeout(DEADLINE).unwrap();
            process::exit(0);
        }
        let name = "base::signals::tests::the_second_stop_signal_ends_the_process_at_once";
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(128 + SIGTERM), "{output:?}");
    }

    #[test]
    fn writing_to_a_closed_socket_is_an_error_value() {
        let (mut here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(here.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
