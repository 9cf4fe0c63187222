//! The seam between socket and framing: a transport that shakes hands and scrambles.

use super::*;

const HELLO: u8 = b'H';
const BYE: u8 = b'B';

/// One greeting byte each way, then every byte is inverted. What is sent before the greeting waits.
#[derive(Default)]
struct Scramble {
    greeted: bool,
    waiting: Vec<u8>,
}

impl Transport for Scramble {
    fn receive(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let (false, [first, rest @ ..]) = (self.greeted, wire) {
            if *first != HELLO {
                reply.push(BYE);
                return Err("no greeting".into());
            }
            self.greeted = true;
            reply.push(HELLO);
            reply.extend(self.waiting.drain(..).map(|byte| !byte));
            wire = rest;
        }
        plain.extend(wire.iter().map(|byte| !byte));
        Ok(())
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        if self.greeted {
            wire.extend(plain.iter().map(|byte| !byte));
        } else {
            self.waiting.extend_from_slice(plain);
        }
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        wire.push(BYE);
    }
}

fn scrambled_bed() -> Bed {
    let transport = MakeTransport::new(|| Box::<Scramble>::default());
    let options = ListenOptions::new(ConnLimits::CLIENT);
    bed_with(ListenOptions { transport: Some(transport), ..options })
}

fn invert(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

#[test]
fn handlers_see_plain_pdus_and_the_wire_scrambled_ones() {
    let mut bed = scrambled_bed();
    let mut client = bed.client();
    bed.accept(1);
    let conn = bed.srv.seen[0].0;
    // Sent before the handshake: it must wait for it.
    bed.net().send_pdu(conn, &command(SILENT));
    bed.turn_until(|bed| bed.net().stats().bytes_out > 0);
    client.send_bytes(&[HELLO]);
    client.send_bytes(&invert(command(ECHO).as_pdu().as_bytes()));
    bed.turn_until(|bed| bed.srv.count(&Seen::Pdu(ECHO)) == 1);
    bed.net().send_msg(conn, PduHeader::new(7, WORK, 0), &());
    bed.turn();
    assert_eq!(client.receive_bytes(1), [HELLO]);
    for command_id in [SILENT, ECHO, WORK] {
        let pdu = command(command_id);
        assert_eq!(invert(&client.receive_bytes(16)), pdu.as_pdu().as_bytes());
    }
    client.send_bytes(&invert(command(CLOSE_ME).as_pdu().as_bytes()));
    bed.turn_until(|bed| bed.srv.conns.is_empty());
    bed.turn();
    client.end_sending();
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    let rest = client.receive_rest();
    assert_eq!((rest.len(), rest.last()), (17, Some(&BYE)), "the farewell comes last");
}

#[test]
fn a_transport_may_refuse_and_still_have_its_say() {
    let mut bed = scrambled_bed();
    let mut client = bed.client();
    bed.accept(1);
    client.send_bytes(b"plain text");
    bed.turn_until(|bed| bed.srv.count(&Seen::Close) == 1);
    bed.turn();
    client.end_sending();
    assert_eq!(client.receive_rest(), [BYE]);
    bed.turn_until(|bed| bed.net().conn_count() == 0);
    bed.assert_empty();
}
