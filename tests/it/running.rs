//! Services in threads, and peers that speak PDUs with them over real sockets.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use teamtalk::base::config_file_reader::{ConfigError, ConfigFileReader};
use teamtalk::base::im_pdu::{IM_PDU_HEADER_LEN, ImPdu, PduRef};
use teamtalk::netlib::{Cx, EventDispatch, ResponseList, Stopper};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The configuration of a service from the text of its file.
pub fn config<C>(
    text: &str,
    read: impl FnOnce(&mut ConfigFileReader) -> Result<C, ConfigError>,
) -> C {
    read(&mut ConfigFileReader::parse(Path::new("test.conf"), text.as_bytes())).unwrap()
}

/// How often the loop looks for a question about its service.
const LOOK_MS: u64 = 5;

type Look = Box<dyn FnOnce(&mut dyn Any) + Send>;

thread_local! {
    /// Where the loop of this thread is asked: timers capture nothing.
    static LOOKS: Cell<Option<ResponseList<Look>>> = const { Cell::new(None) };
}

fn answer_looks<S: 'static>(cx: &mut Cx<'_, S>) {
    let asked = LOOKS.take().unwrap();
    asked.take().into_iter().for_each(|look| look(cx.srv));
    LOOKS.set(Some(asked));
}

/// A service whose loop runs in a thread. Dropping it stops the loop in good order.
pub struct Running {
    pub addrs: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    stopper: Stopper,
    looks: ResponseList<Look>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start<S: Send + 'static>(
        (mut dispatch, mut srv, addrs): (EventDispatch<S>, S, Vec<SocketAddr>),
    ) -> Self {
        let _ = env_logger::builder().is_test(true).try_init();
        let (stopper, admin) = (dispatch.stopper(), dispatch.admin_addr());
        let looks: ResponseList<Look> = dispatch.response_list();
        let asked = looks.clone();
        dispatch.net().register_timer(answer_looks::<S>, LOOK_MS);
        let thread = thread::spawn(move || {
            LOOKS.set(Some(asked));
            dispatch.start_dispatch(&mut srv).unwrap();
        });
        Self { addrs, admin, stopper, looks, thread: Some(thread) }
    }

    /// Its administration port.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("a configuration with MetricsListen")
    }

    pub fn peer(&self) -> Peer {
        Peer::connect(self.addrs[0])
    }

    /// What `look` makes of the state of the service, between two events.
    #[track_caller]
    pub fn look<S: 'static, T: Send + 'static>(
        &self,
        look: impl FnOnce(&S) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = mpsc::channel();
        self.looks
            .push(Box::new(move |srv| sender.send(look(srv.downcast_ref().unwrap())).unwrap()));
        receiver.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let result = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(result, Some(Ok(()))), "the service panicked");
        }
    }
}

/// A blocking connection. Whatever it waits for has to come in time.
pub struct Peer(TcpStream);

impl Peer {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, pdu: &ImPdu) {
        self.send_bytes(pdu.as_pdu().as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    #[track_caller]
    pub fn receive(&mut self) -> ImPdu {
        self.try_receive().unwrap()
    }

    /// The next PDU, unless the connection breaks before.
    pub fn try_receive(&mut self) -> io::Result<ImPdu> {
        let mut bytes = vec![0; IM_PDU_HEADER_LEN];
        self.0.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(*bytes.first_chunk().unwrap());
        bytes.resize(length as usize, 0);
        self.0.read_exact(&mut bytes[IM_PDU_HEADER_LEN..])?;
        Ok(PduRef::parse(&bytes, length).unwrap().unwrap().to_owned())
    }

    pub fn try_send(&mut self, pdu: &ImPdu) -> io::Result<()> {
        self.0.write_all(pdu.as_pdu().as_bytes())
    }

    /// What comes up to and including this text.
    #[track_caller]
    pub fn receive_until(&mut self, end: &[u8]) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// What comes until the other side ends the connection in order.
    #[track_caller]
    pub fn receive_rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The other side has ended the connection, in order or not, and sent nothing before.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        match self.0.read(&mut [0; 1]) {
            Ok(length) => assert_eq!(length, 0, "not closed, it sends"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// So many ports in a row that nobody has, and that nobody is given who does not ask for them:
/// those for outgoing connections and for port 0 begin at 32768. A server that is to come back on
/// its port needs one of these.
pub fn free_ports(count: u16) -> u16 {
    const RANGE: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(count.into(), Ordering::Relaxed);
        let at = std::process::id().wrapping_mul(400).wrapping_add(next);
        let first = 10_000 + (at % (RANGE - u32::from(count))) as u16;
        let is_free = |port| TcpListener::bind(("0.0.0.0", port)).is_ok();
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// One such port.
pub fn free_port() -> u16 {
    free_ports(1)
}
