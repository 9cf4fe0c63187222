//! The subject: the same echo on netlib, every PDU parsed, dispatched and framed anew.

use std::io;
use std::net::SocketAddr;
use std::thread;

use teamtalk::base::im_pdu::{ImPdu, PduError, PduRef};
use teamtalk::netlib::{
    ConnHandler, ConnLimits, ConnMap, Cx, EventDispatch, ListenOptions, NetHandle, PduFraming,
    PduHandler,
};

use crate::plain_epoll::{SERVER_CORE, pin_to_core};

/// Any other command is echoed.
pub const CID_BROADCAST: u16 = 0x0301;

#[derive(Default)]
struct EchoServer {
    conns: ConnMap<()>,
}

struct EchoConn;

impl ConnHandler for EchoConn {
    type Server = EchoServer;
    type Framing = PduFraming;

    fn on_connect(cx: &mut Cx<'_, EchoServer>, this: NetHandle) {
        cx.srv.conns.insert(this, ());
    }

    fn on_close(cx: &mut Cx<'_, EchoServer>, this: NetHandle) {
        cx.srv.conns.remove(this);
    }
}

impl PduHandler for EchoConn {
    fn handle_pdu(
        cx: &mut Cx<'_, EchoServer>,
        this: NetHandle,
        pdu: PduRef<'_>,
    ) -> Result<(), PduError> {
        if pdu.command_id() == CID_BROADCAST {
            let pdu = ImPdu::encode_with(*pdu.header(), &());
            for conn in cx.srv.conns.handles() {
                cx.net.send_pdu(conn, &pdu);
            }
        } else {
            cx.net.send_msg(this, *pdu.header(), &());
        }
        Ok(())
    }
}

/// Starts an echo server that runs until the process ends.
pub fn spawn_echo() -> io::Result<SocketAddr> {
    let mut dispatch = EventDispatch::new()?;
    let options = ListenOptions::new(ConnLimits::CLIENT);
    let addr = dispatch.listen::<EchoConn>("127.0.0.1:0".parse().expect("an address"), options)?;
    thread::Builder::new().name("netlib".to_owned()).spawn(move || {
        pin_to_core(SERVER_CORE);
        dispatch.start_dispatch(&mut EchoServer::default())
    })?;
    Ok(addr)
}
