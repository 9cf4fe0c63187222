//! The loop over real sockets on loopback, port 0.

mod bad_input;
mod conns;
mod descriptors;
mod http;
mod limits;
mod rules;
mod serv_list;
mod stop;
mod stress;
mod transport;
mod workers;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::base::attach_data::DbAttachData;
use crate::base::im_pdu::{IM_PDU_HEADER_LEN, ImPdu, PduError, PduHeader, PduRef};
use crate::base::metrics_text::MetricsText;
use crate::netlib::*;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: u16 = 1;
/// Answers, then closes.
const CLOSE_ME: u16 = 2;
/// Closes the connection whose handle is the body.
const CLOSE_OTHER: u16 = 3;
/// Sends a SILENT PDU to every connection but this one.
const BROADCAST: u16 = 4;
/// Takes no more messages until somebody sends RESUME_ALL.
const PAUSE_ME: u16 = 5;
const RESUME_ALL: u16 = 6;
/// Lets another thread answer.
const WORK: u16 = 7;
/// Answers with as many bytes as the body says.
const SEND_BIG: u16 = 8;
/// SEND_BIG, then closes.
const SEND_BIG_AND_CLOSE: u16 = 9;
/// Makes the server connect to the port in the body.
const CONNECT_BACK: u16 = 10;
/// Answers with the handle of this connection.
const WHO_AM_I: u16 = 11;
/// No answer.
const SILENT: u16 = 12;
const STOP: u16 = 13;
/// Takes no more messages for so many milliseconds.
const DELAY_ME: u16 = 16;
/// Closes every connection, this one first.
const CLOSE_ALL: u16 = 14;
/// Its body is to be a text that parses.
const TEXT: u16 = 15;
/// Its body is attach data.
const ATTACHED: u16 = 17;
/// A protocol violation.
const REFUSED: u16 = 99;

/// What the test service remembers, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    Connect,
    Confirm,
    Pdu(u16),
    Close,
    WriteComplete,
}

#[derive(Default)]
struct TestServer {
    conns: ConnMap<()>,
    seen: Vec<(NetHandle, Seen)>,
    answers: Option<ResponseList<(NetHandle, ImPdu)>>,
    turns: u64,
}

impl TestServer {
    fn count(&self, what: &Seen) -> usize {
        self.seen.iter().filter(|(_, seen)| seen == what).count()
    }

    fn seen_by(&self, conn: NetHandle) -> Vec<Seen> {
        self.seen.iter().filter(|(c, _)| *c == conn).map(|(_, seen)| seen.clone()).collect()
    }
}

type TestCx<'a> = Cx<'a, TestServer>;

/// One class for both directions.
struct TestConn;

impl ConnHandler for TestConn {
    type Server = TestServer;
    type Framing = PduFraming;

    fn on_connect(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.conns.insert(this, ());
        cx.srv.seen.push((this, Seen::Connect));
    }

    fn on_confirm(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.seen.push((this, Seen::Confirm));
    }

    fn on_write_complete(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.seen.push((this, Seen::WriteComplete));
    }

    fn on_close(cx: &mut TestCx<'_>, this: NetHandle) {
        cx.srv.seen.push((this, Seen::Close));
        Self::close(cx, this);
    }
}

impl PduHandler for TestConn {
    fn handle_pdu(cx: &mut TestCx<'_>, this: NetHandle, pdu: PduRef<'_>) -> Result<(), PduError> {
        let command_id = pdu.command_id();
        cx.srv.seen.push((this, Seen::Pdu(command_id)));
        match command_id {
            ECHO => cx.net.send(this, pdu.as_bytes()),
            CLOSE_ME => {
                cx.net.send(this, pdu.as_bytes());
                Self::close(cx, this);
            }
            CLOSE_OTHER => Self::close(cx, NetHandle::from_u32(number(&pdu))),
            CLOSE_ALL => {
                for conn in cx.srv.conns.handles().collect::<Vec<_>>() {
                    Self::close(cx, conn);
                }
            }
            BROADCAST => {
                let pdu = command(SILENT);
                for conn in cx.srv.conns.handles().filter(|conn| *conn != this) {
                    cx.net.send_pdu(conn, &pdu);
                }
            }
            DELAY_ME => cx.net.delay_read(this, u64::from(number(&pdu))),
            PAUSE_ME => cx.net.pause_read(this),
            RESUME_ALL => {
                for conn in cx.srv.conns.handles() {
                    cx.net.resume_read(conn);
                }
            }
            WORK => {
                let (answers, pdu) = (cx.srv.answers.clone(), pdu.to_owned());
                thread::spawn(move || answers.unwrap().push((this, pdu)));
            }
            SEND_BIG | SEND_BIG_AND_CLOSE => {
                cx.net.send(this, &vec![0xab; number(&pdu) as usize]);
                if command_id == SEND_BIG_AND_CLOSE {
                    Self::close(cx, this);
                }
            }
            CONNECT_BACK => {
                let addr = SocketAddr::from(([127, 0, 0, 1], number(&pdu) as u16));
                let conn = cx.net.connect::<Self>(addr, ConnLimits::SERVER).unwrap();
                cx.srv.conns.insert(conn, ());
            }
            WHO_AM_I => cx.net.send_pdu(this, &request(WHO_AM_I, this.to_u32())),
            SILENT => {}
            ATTACHED => {
                DbAttachData::parse(pdu.body())?;
                cx.net.send(this, pdu.as_bytes());
            }
            TEXT => {
                let text: String = pdu.decode()?;
                cx.net.send_msg(this, *pdu.header(), &text);
            }
            STOP => cx.net.stop_event(),
            _ => {
                return Err(PduError::Refused { command_id, reason: "unknown to the test" });
            }
        }
        Ok(())
    }
}

impl TestConn {
    fn close(cx: &mut TestCx<'_>, this: NetHandle) {
        if cx.srv.conns.remove(this).is_some() {
            cx.net.close(this);
        }
    }
}

fn number(pdu: &PduRef<'_>) -> u32 {
    u32::from_be_bytes(pdu.body().try_into().expect("a body of four bytes"))
}

fn request(command_id: u16, number: u32) -> ImPdu {
    ImPdu::with_body(PduHeader::new(7, command_id, 0), &number.to_be_bytes())
}

fn command(command_id: u16) -> ImPdu {
    ImPdu::with_body(PduHeader::new(7, command_id, 0), b"")
}

fn drain_answers(cx: &mut TestCx<'_>) {
    cx.srv.turns += 1;
    for (conn, pdu) in cx.srv.answers.as_ref().map(ResponseList::take).unwrap_or_default() {
        cx.net.send_pdu(conn, &pdu);
    }
}

/// A loop that the test itself turns, or hands to a thread.
struct Bed {
    dispatch: EventDispatch<TestServer>,
    srv: TestServer,
    addr: SocketAddr,
    events: Events,
}

fn bed() -> Bed {
    bed_with(ListenOptions::new(ConnLimits::CLIENT))
}

fn bed_with(options: ListenOptions) -> Bed {
    let _ = env_logger::builder().is_test(true).try_init();
    let mut dispatch = EventDispatch::new().unwrap();
    let addr = dispatch.listen::<TestConn>(localhost(), options).unwrap();
    let srv = TestServer { answers: Some(dispatch.response_list()), ..TestServer::default() };
    dispatch.net().add_loop(drain_answers);
    Bed { dispatch, srv, addr, events: Events::with_capacity(1024) }
}

impl Bed {
    fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A figure as /metrics has it.
    #[track_caller]
    fn sample(&mut self, name: &str) -> f64 {
        let mut text = MetricsText::default();
        self.net().figures.write(&mut text);
        let line = text.as_str().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }

    /// One turn of the loop, which sleeps a moment at most so that a test can lose its patience.
    fn turn(&mut self) {
        self.dispatch.settle(&mut self.srv);
        self.serve();
    }

    fn serve(&mut self) {
        let timeout = self.dispatch.end_turn().unwrap_or(PATIENCE).min(Duration::from_millis(50));
        self.dispatch.wait_and_serve(&mut self.events, Some(timeout), &mut self.srv).unwrap();
    }

    /// Turns the loop until `done`; every caller waits for something that must come.
    #[track_caller]
    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let start = now();
        loop {
            self.dispatch.settle(&mut self.srv);
            if done(self) {
                return;
            }
            let last = &self.srv.seen[self.srv.seen.len().saturating_sub(20)..];
            assert!(start.elapsed() < PATIENCE, "still waiting, seen last: {last:?}");
            self.serve();
        }
    }

    /// Accepts clients that have connected already.
    #[track_caller]
    fn accept(&mut self, count: usize) {
        self.turn_until(|bed| bed.srv.count(&Seen::Connect) == count);
    }

    /// Runs the loop in a thread until a client sends STOP; returns what the service then knows.
    fn spawn(mut self) -> thread::JoinHandle<TestServer> {
        thread::spawn(move || {
            self.dispatch.start_dispatch(&mut self.srv).unwrap();
            self.srv
        })
    }

    fn net(&mut self) -> &mut Netlib<TestServer> {
        &mut self.dispatch.net
    }

    /// Nothing is left of any connection: no slot, socket, listed handle or byte.
    fn assert_empty(&mut self) {
        let dispatch = &mut self.dispatch;
        assert_eq!(dispatch.net.conn_count(), 0);
        assert_eq!(dispatch.sockets.iter().flatten().count(), 0);
        assert!(dispatch.untried.is_empty());
        assert!(dispatch.listeners.iter().all(|listener| listener.conn_count == 0));
        assert!(!dispatch.net.has_pending());
        assert!(self.srv.conns.is_empty());
    }
}

fn localhost() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A blocking client.
struct Client(TcpStream);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    fn send(&mut self, pdu: &ImPdu) {
        self.0.write_all(pdu.as_pdu().as_bytes()).unwrap();
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The command of the next PDU.
    fn receive(&mut self) -> u16 {
        let bytes = self.receive_bytes(IM_PDU_HEADER_LEN);
        let body = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize - IM_PDU_HEADER_LEN;
        self.receive_bytes(body);
        u16::from_be_bytes([bytes[10], bytes[11]])
    }

    fn receive_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes until the server ends the connection in order.
    fn receive_rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The server has ended the connection, in order or not, and sent nothing before.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == std_io::ErrorKind::ConnectionReset,
        }
    }

    fn end_sending(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}
