//! The protocol of a client, without a socket: bytes in, events out.

use std::collections::VecDeque;

use super::event::{Event, Session};
use crate::base::enc_dec::{Aes, AesError};
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::base::public_define::msg_type_is_single;
use crate::pb::base_define::{MsgType, SessionType};
use crate::pb::cmd::*;
use crate::pb::message::{ImMsgData, ImMsgDataAck};

/// The largest PDU a client takes: a page of voice messages is the largest there is.
pub const PDU_LEN_MAX: u32 = 128 << 20;

/// The state of one connection to a msg_server.
///
/// Hand it every byte that comes ([`receive`](Self::receive)), take out the events
/// ([`next_event`](Self::next_event)), and send what [`take_output`](Self::take_output) gives after
/// each of the two: messages are acknowledged by themselves, as every client does.
#[derive(Debug)]
pub struct Core {
    aes: Aes,
    user_id: u32,
    seq_num: u16,
    input: Vec<u8>,
    output: Vec<u8>,
    events: VecDeque<Event>,
}

impl Core {
    /// The state of a new connection. `aes_key` is the key of message texts, 32 bytes that all
    /// clients of an installation know.
    ///
    /// # Errors
    /// The key is not 32 bytes long.
    pub fn new(aes_key: &[u8]) -> Result<Self, AesError> {
        Ok(Self {
            aes: Aes::new(aes_key)?,
            user_id: 0,
            seq_num: 0,
            input: Vec::new(),
            output: Vec::new(),
            events: VecDeque::new(),
        })
    }

    /// Who is logged in; 0 before.
    pub fn user_id(&self) -> u32 {
        self.user_id
    }

    /// Tells who is logged in now.
    pub fn set_user_id(&mut self, user_id: u32) {
        self.user_id = user_id;
    }

    /// The cipher of message texts.
    pub fn aes(&self) -> &Aes {
        &self.aes
    }

    /// Queues a request and gives its sequence number, which its answer carries as well.
    pub fn request(&mut self, command_id: u16, msg: &impl prost::Message) -> u16 {
        // 0 is what servers use when they were not asked.
        self.seq_num = self.seq_num.checked_add(1).unwrap_or(1);
        self.output.extend_from_slice(encode(command_id, self.seq_num, msg).as_pdu().as_bytes());
        self.seq_num
    }

    /// Queues a text message and gives its sequence number, which the
    /// [`Event::Stored`] that answers it carries as well.
    ///
    /// # Errors
    /// The text is empty.
    pub fn send_text(&mut self, session: Session, text: &str) -> Result<u16, AesError> {
        let msg_type = match session {
            Session::User(_) => MsgType::SingleText,
            Session::Group(_) => MsgType::GroupText,
        };
        let cipher = self.aes.encrypt(text.as_bytes())?;
        Ok(self.send_data(session, msg_type, cipher.into_bytes()))
    }

    /// Queues a message whose content is ready to be sent: cipher text, or a voice message that
    /// begins with its duration.
    pub fn send_data(&mut self, session: Session, msg_type: MsgType, data: Vec<u8>) -> u16 {
        let msg = ImMsgData {
            from_user_id: self.user_id,
            to_session_id: session.id(),
            msg_id: 0,
            create_time: 0,
            msg_type: msg_type.into(),
            msg_data: data.into(),
            attach_data: None,
        };
        self.request(CID_MSG_DATA, &msg)
    }

    /// Queues a heartbeat; a server gives up who is silent for two minutes.
    pub fn heartbeat(&mut self) {
        let heartbeat = encode(CID_OTHER_HEARTBEAT, 0, &());
        self.output.extend_from_slice(heartbeat.as_pdu().as_bytes());
    }

    /// Takes bytes that came.
    ///
    /// # Errors
    /// They are not the protocol: the connection is of no more use.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), PduError> {
        self.input.extend_from_slice(bytes);
        let mut read = 0;
        while let Some(pdu) = PduRef::parse(&self.input[read..], PDU_LEN_MAX)? {
            read += pdu.as_bytes().len();
            let event = Event::of(pdu, &self.aes)?;
            if let Some(ack) = ack(self.user_id, &event) {
                let ack = encode(CID_MSG_DATA_ACK, pdu.seq_num(), &ack);
                self.output.extend_from_slice(ack.as_pdu().as_bytes());
            }
            self.events.push_back(event);
        }
        self.input.drain(..read);
        Ok(())
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be sent, which is forgotten here.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

/// What tells the server that a message has arrived; it keeps account of single messages only.
fn ack(user_id: u32, event: &Event) -> Option<ImMsgDataAck> {
    let Event::Message(message) = event else { return None };
    msg_type_is_single(message.msg_type).then(|| ImMsgDataAck {
        user_id,
        session_id: message.from_user_id,
        msg_id: message.msg_id,
        session_type: SessionType::Single.into(),
    })
}

/// A PDU of a client. The high byte of every command is its service.
pub(super) fn encode(command_id: u16, seq_num: u16, msg: &impl prost::Message) -> ImPdu {
    ImPdu::encode_with(PduHeader::new(command_id >> 8, command_id, seq_num), msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::im_pdu::IM_PDU_HEADER_LEN;
    use crate::pb::login::{ImKickUser, ImLogoutRsp};

    const KEY: &[u8] = b"12345678901234567890123456789012";

    fn core() -> Core {
        let mut core = Core::new(KEY).unwrap();
        core.set_user_id(7);
        core
    }

    fn sent(core: &mut Core) -> Vec<ImPdu> {
        let bytes = core.take_output();
        let (mut rest, mut pdus) = (&bytes[..], Vec::new());
        while let Some(pdu) = PduRef::parse(rest, u32::MAX).unwrap() {
            rest = &rest[pdu.as_bytes().len()..];
            pdus.push(pdu.to_owned());
        }
        assert!(rest.is_empty());
        pdus
    }

    fn bytes(command_id: u16, seq_num: u16, msg: &impl prost::Message) -> Vec<u8> {
        encode(command_id, seq_num, msg).as_pdu().as_bytes().to_vec()
    }

    /// The bytes of a text message as they come from a server.
    fn message(from_user_id: u32, msg_type: MsgType, text: &str) -> Vec<u8> {
        let aes = Aes::new(KEY).unwrap();
        let msg = ImMsgData {
            from_user_id,
            to_session_id: 7,
            msg_id: 3,
            create_time: 1,
            msg_type: msg_type.into(),
            msg_data: aes.encrypt(text.as_bytes()).unwrap().into(),
            attach_data: None,
        };
        bytes(CID_MSG_DATA, 9, &msg)
    }

    #[test]
    fn texts_go_out_encrypted_and_come_in_clear() {
        let mut core = core();
        let seq_num = core.send_text(Session::User(8), "早 😀").unwrap();
        let [pdu] = &sent(&mut core)[..] else { panic!("one message") };
        let msg: ImMsgData = pdu.as_pdu().decode().unwrap();
        assert_eq!((pdu.as_pdu().seq_num(), msg.from_user_id, msg.to_session_id), (seq_num, 7, 8));
        assert_eq!(core.aes().decrypt(&msg.msg_data).unwrap(), "早 😀".as_bytes());
        core.receive(&message(8, MsgType::SingleText, "早 😀")).unwrap();
        let Some(Event::Message(message)) = core.next_event() else { panic!("a message") };
        assert_eq!((message.text(), message.session(7)), (Some("早 😀"), Session::User(8)));
        assert!(core.send_text(Session::Group(1), "").is_err());
    }

    #[test]
    fn single_messages_are_acknowledged_as_windows_does_it() {
        let mut core = core();
        core.receive(&message(8, MsgType::SingleText, "a")).unwrap();
        core.receive(&message(8, MsgType::GroupText, "b")).unwrap();
        let [ack] = &sent(&mut core)[..] else { panic!("one acknowledgement") };
        assert_eq!((ack.as_pdu().command_id(), ack.as_pdu().seq_num()), (CID_MSG_DATA_ACK, 9));
        let ack: ImMsgDataAck = ack.as_pdu().decode().unwrap();
        assert_eq!((ack.user_id, ack.session_id, ack.msg_id, ack.session_type), (7, 8, 3, 1));
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let mut input = message(8, MsgType::SingleText, "a");
        let kick = ImKickUser { user_id: 7, kick_reason: 1 };
        input.extend(bytes(CID_LOGIN_KICK_USER, 0, &kick));
        input.extend(bytes(CID_LOGIN_RES_LOGINOUT, 4, &ImLogoutRsp { result_code: 0 }));
        for size in [1, 7, IM_PDU_HEADER_LEN, input.len()] {
            let mut core = core();
            input.chunks(size).for_each(|piece| core.receive(piece).unwrap());
            assert!(matches!(core.next_event(), Some(Event::Message(_))));
            assert_eq!(core.next_event(), Some(Event::Kicked(kick)));
            let Some(Event::Answer(answer)) = core.next_event() else { panic!("an answer") };
            assert_eq!(answer.as_pdu().seq_num(), 4);
            assert_eq!(core.next_event(), None);
        }
    }

    #[test]
    fn garbage_is_an_error_and_a_foreign_text_is_none() {
        assert!(core().receive(&[0; 16]).is_err());
        assert!(core().receive(&[0xff; 16]).is_err());
        let mut core = core();
        let msg = ImMsgData {
            msg_type: MsgType::SingleText.into(),
            msg_data: b"not cipher text".as_slice().into(),
            ..ImMsgData::default()
        };
        core.receive(&bytes(CID_MSG_DATA, 0, &msg)).unwrap();
        let Some(Event::Message(message)) = core.next_event() else { panic!("a message") };
        assert_eq!((message.text(), &message.data[..]), (None, &b"not cipher text"[..]));
        assert!(Core::new(b"short").is_err());
    }

    #[test]
    fn sequence_numbers_go_round_and_are_never_0() {
        let mut core = core();
        core.seq_num = u16::MAX - 1;
        let numbers = [(); 3].map(|()| core.request(1, &()));
        assert_eq!(numbers, [u16::MAX, 1, 2]);
    }
}
