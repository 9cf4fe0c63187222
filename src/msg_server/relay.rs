//! Requests and answers that pass through: whose they are is changed, all else stays as it came.
//!
//! In every request that is relayed, and in every answer, field 1 is the user id and field 20 the
//! attach data. Only these two are looked at. Fields this server does not know, texts that are not
//! UTF-8 and long lists cost nothing and are kept.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::base::attach_data::DbAttachData;
use crate::base::attach_data::msg_server::ATTACH_TYPE_HANDLE;
use crate::base::im_pdu::{ImPdu, PduError, PduHeader, PduRef};
use crate::netlib::NetHandle;

const USER_ID: u32 = 1;
const ATTACH_DATA: u32 = 20;

/// One field of a message.
struct Field<'a> {
    tag: u32,
    wire_type: WireType,
    /// Key and value.
    bytes: &'a [u8],
    value: &'a [u8],
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, DecodeError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let whole = *rest;
    let (tag, wire_type) = decode_key(rest)?;
    let value = *rest;
    skip_field(wire_type, tag, rest, DecodeContext::default())?;
    let bytes = &whole[..whole.len() - rest.len()];
    let value = &value[..value.len() - rest.len()];
    Ok(Some(Field { tag, wire_type, bytes, value }))
}

/// The attach data that leads an answer back to a client connection.
pub(super) fn handle_attach(conn: NetHandle) -> Vec<u8> {
    DbAttachData::new(ATTACH_TYPE_HANDLE, conn.to_u32()).encode()
}

/// The request of a client as the other server gets it: with the true user id, whatever the client
/// wrote, and with our attach data or none.
pub(super) fn request(pdu: PduRef<'_>, user_id: u32, attach: &[u8]) -> Result<ImPdu, PduError> {
    let mut body = Vec::with_capacity(pdu.body().len() + attach.len() + 16);
    prost::encoding::uint32::encode(USER_ID, &user_id, &mut body);
    copy_fields(pdu, &mut body, |_| ())?;
    if !attach.is_empty() {
        prost::encoding::bytes::encode(ATTACH_DATA, &attach.to_vec(), &mut body);
    }
    Ok(ImPdu::with_body(*pdu.header(), &body))
}

/// The answer of another server.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whose it is.
    pub(super) user_id: u32,
    /// What the request had carried.
    pub(super) attach: Vec<u8>,
    header: PduHeader,
    /// Without attach data: what a client may see (F73).
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(pdu: PduRef<'_>) -> Result<Self, PduError> {
        let mut answer = Self {
            user_id: 0,
            attach: Vec::new(),
            header: *pdu.header(),
            body: Vec::with_capacity(pdu.body().len()),
        };
        let mut body = std::mem::take(&mut answer.body);
        let mut user_field = Vec::new();
        copy_fields(pdu, &mut body, |field| match (field.tag, field.wire_type) {
            (USER_ID, WireType::Varint) => {
                answer.user_id = decode_varint(&mut &*field.value).unwrap_or(0) as u32;
                user_field = field.bytes.to_vec();
            }
            (ATTACH_DATA, WireType::LengthDelimited) => {
                let mut value = field.value;
                if decode_varint(&mut value).is_ok() {
                    answer.attach = value.to_vec();
                }
            }
            _ => {}
        })?;
        user_field.extend_from_slice(&body);
        answer.body = user_field;
        Ok(answer)
    }

    /// Appends an encoded field.
    pub(super) fn append(&mut self, tag: u32, msg: &impl prost::Message) {
        let mut field = msg.encode_to_vec();
        prost::encoding::encode_key(tag, WireType::LengthDelimited, &mut self.body);
        prost::encoding::encode_varint(field.len() as u64, &mut self.body);
        self.body.append(&mut field);
    }

    /// The connection that is answered.
    ///
    /// # Errors
    /// The attach data is too short.
    pub(super) fn handle(&self) -> Result<NetHandle, PduError> {
        Ok(NetHandle::from_u32(DbAttachData::parse(&self.attach)?.handle))
    }

    /// What the client gets.
    pub(super) fn pdu(&self) -> ImPdu {
        ImPdu::with_body(self.header, &self.body)
    }
}

/// Copies all fields but user id and attach data, which are shown to `look`.
fn copy_fields<'a>(
    pdu: PduRef<'a>,
    body: &mut Vec<u8>,
    mut look: impl FnMut(&Field<'a>),
) -> Result<(), PduError> {
    let mut rest = pdu.body();
    let command_id = pdu.command_id();
    let wrong = |source| PduError::Decode { command_id, source };
    while let Some(field) = next_field(&mut rest).map_err(wrong)? {
        if field.tag == USER_ID || field.tag == ATTACH_DATA {
            look(&field);
        } else {
            body.extend_from_slice(field.bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::pb::base_define::{IpAddr, SessionType};
    use crate::pb::buddy::{ImAllUserReq, ImRemoveSessionRsp};
    use crate::pb::cmd::*;
    use crate::pb::file::ImFileHasOfflineRsp;

    fn pdu(msg: &impl Message) -> ImPdu {
        ImPdu::encode(SID_BUDDY_LIST, CID_BUDDY_LIST_ALL_USER_REQUEST, 7, msg)
    }

    #[test]
    fn a_request_carries_the_true_user_and_our_attach_data() {
        let msg = ImAllUserReq {
            user_id: 666,
            latest_update_time: 9,
            attach_data: Some(b"forged".to_vec().into()),
        };
        let pdu = pdu(&msg);
        let relayed = request(pdu.as_pdu(), 5, b"ours").unwrap();
        assert_eq!(relayed.as_pdu().seq_num(), 7);
        let read: ImAllUserReq = relayed.as_pdu().decode().unwrap();
        let attach_data = Some(b"ours".to_vec().into());
        assert_eq!(read, ImAllUserReq { user_id: 5, latest_update_time: 9, attach_data });
        let bare: ImAllUserReq = request(pdu.as_pdu(), 5, b"").unwrap().as_pdu().decode().unwrap();
        assert_eq!((bare.user_id, bare.attach_data), (5, None));
    }

    #[test]
    fn a_user_id_written_twice_or_as_text_does_not_get_through() {
        // Field 1 as a number, once more, and as bytes; field 2.
        let body = [0x08, 9, 0x10, 1, 0x08, 8, 0x0a, 1, b'x'];
        let header = PduHeader::new(SID_BUDDY_LIST, CID_BUDDY_LIST_ALL_USER_REQUEST, 1);
        let pdu = ImPdu::with_body(header, &body);
        let relayed = request(pdu.as_pdu(), 5, b"").unwrap();
        assert_eq!(relayed.as_pdu().body(), [0x08, 5, 0x10, 1]);
    }

    #[test]
    fn f73_an_answer_loses_its_attach_data_and_nothing_else() {
        let attach = handle_attach(NetHandle::from_u32(77));
        let msg = ImRemoveSessionRsp {
            user_id: 5,
            result_code: 1,
            session_type: SessionType::Group.into(),
            session_id: 3,
            attach_data: Some(attach.into()),
        };
        let answer = Answer::parse(pdu(&msg).as_pdu()).unwrap();
        assert_eq!((answer.user_id, answer.handle().unwrap().to_u32()), (5, 77));
        let read: ImRemoveSessionRsp = answer.pdu().as_pdu().decode().unwrap();
        assert_eq!(read, ImRemoveSessionRsp { attach_data: None, ..msg });
    }

    #[test]
    fn a_field_can_be_appended() {
        let msg = ImFileHasOfflineRsp { user_id: 5, ..ImFileHasOfflineRsp::default() };
        let mut answer = Answer::parse(pdu(&msg).as_pdu()).unwrap();
        let addr = IpAddr { ip: "192.0.2.1".to_owned(), port: 8600 };
        answer.append(3, &addr);
        let read: ImFileHasOfflineRsp = answer.pdu().as_pdu().decode().unwrap();
        assert_eq!(read.ip_addr_list, [addr]);
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body: Vec<u8>) {
            let pdu = ImPdu::with_body(PduHeader::new(1, 2, 3), &body);
            let _ = request(pdu.as_pdu(), 1, b"a");
            if let Ok(answer) = Answer::parse(pdu.as_pdu()) {
                let _ = answer.handle();
            }
        }
    }
}
