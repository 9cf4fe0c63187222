//! What a server puts into the `attach_data` of a request to recognise the answer by.
//!
//! The peer copies the bytes unchanged, so originals and ports have to agree on them. Only the
//! server that wrote them reads them, hence two sets of type numbers.
//!
//! Bytes behind the last field are ignored, as in the original. They have to be: the 16-byte form
//! is written for some requests whose answer is read as the 12-byte form.

use thiserror::Error;

use super::util_pdu::{ByteReader, ByteStreamError, ByteWriter};

/// Types written by msg_server.
///
/// C++: msg_server/AttachData.h ATTACH_TYPE_HANDLE
pub mod msg_server {
    /// Handle of the client connection that asked.
    pub const ATTACH_TYPE_HANDLE: u32 = 1;
    /// Never written.
    pub const ATTACH_TYPE_PDU: u32 = 2;
    /// Handle of the sender, or 0 if the message came from route_server, and an `IMMsgData`.
    pub const ATTACH_TYPE_HANDLE_AND_PDU: u32 = 3;
    /// An `IMPushToUserReq` for a user who is not on this msg_server.
    pub const ATTACH_TYPE_PDU_FOR_PUSH: u32 = 4;
    /// Handle of the sender and an `IMFileTransferReq`.
    pub const ATTACH_TYPE_HANDLE_AND_PDU_FOR_FILE: u32 = 5;
}

/// Types written by http_msg_server.
///
/// C++: http_msg_server/AttachData.h ATTACH_TYPE_HANDLE
pub mod http_msg_server {
    /// Never written.
    pub const ATTACH_TYPE_PDU_FOR_XIAOT: u32 = 1;
    /// Never written.
    pub const ATTACH_TYPE_PDU_FOR_INTERNAL: u32 = 2;
    /// Handle of the HTTP connection that asked.
    pub const ATTACH_TYPE_HANDLE: u32 = 3;
}

/// The attached bytes are shorter than their form. Drop that answer, not the connection (F27).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("attach data is too short: {0}")]
pub struct AttachDataError(#[from] ByteStreamError);

/// The short form: who asked.
///
/// C++: msg_server/AttachData.h CDbAttachData
/// Differs: too few bytes are an error value; the original closed the connection to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DbAttachData {
    /// One of the writer's types.
    pub attach_type: u32,
    /// Handle of a connection of the writer.
    pub handle: u32,
    /// Always written as 0.
    pub service_type: u32,
}

impl DbAttachData {
    /// Bytes of the encoded form.
    pub const LENGTH: usize = 12;

    /// With service type 0.
    pub fn new(attach_type: u32, handle: u32) -> Self {
        Self { attach_type, handle, service_type: 0 }
    }

    /// Reads the form back from an answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttachDataError> {
        Ok(Self::read(&mut ByteReader::new(bytes))?)
    }

    /// The bytes to attach.
    pub fn encode(&self) -> Vec<u8> {
        let mut buf = Vec::with_capacity(Self::LENGTH);
        self.write(&mut ByteWriter::new(&mut buf));
        buf
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, ByteStreamError> {
        Ok(Self {
            attach_type: reader.read_u32()?,
            handle: reader.read_u32()?,
            service_type: reader.read_u32()?,
        })
    }

    fn write(&self, writer: &mut ByteWriter<'_>) {
        writer.write_u32(self.attach_type);
        writer.write_u32(self.handle);
        writer.write_u32(self.service_type);
    }
}

/// The long form: who asked, and a serialised message to go on with.
///
/// C++: msg_server/AttachData.h CPduAttachData
/// Differs: too few bytes are an error value; the original closed the connection to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PduAttachData<'a> {
    /// One of the writer's types.
    pub attach_type: u32,
    /// Handle of a connection of the writer.
    pub handle: u32,
    /// Always written as 0.
    pub service_type: u32,
    /// Body of a message, without a PDU header. May be empty.
    pub pdu: &'a [u8],
}

impl<'a> PduAttachData<'a> {
    /// With service type 0.
    pub fn new(attach_type: u32, handle: u32, pdu: &'a [u8]) -> Self {
        Self { attach_type, handle, service_type: 0, pdu }
    }

    /// Reads the form back from an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AttachDataError> {
        let mut reader = ByteReader::new(bytes);
        let DbAttachData { attach_type, handle, service_type } = DbAttachData::read(&mut reader)?;
        Ok(Self { attach_type, handle, service_type, pdu: reader.read_data()? })
    }

    /// The bytes to attach.
    pub fn encode(&self) -> Vec<u8> {
        let Self { attach_type, handle, service_type, pdu } = *self;
        let mut buf = Vec::with_capacity(DbAttachData::LENGTH + 4 + pdu.len());
        let mut writer = ByteWriter::new(&mut buf);
        DbAttachData { attach_type, handle, service_type }.write(&mut writer);
        writer.write_data(pdu);
        buf
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORT: [u8; 12] = [0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0];
    const LONG: [u8; 19] = [0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, b'p', b'd', b'u'];

    #[test]
    fn the_short_form_has_three_words() {
        let data = DbAttachData::new(msg_server::ATTACH_TYPE_HANDLE, 0xdead_beef);
        assert_eq!(data.encode(), SHORT);
        assert_eq!(DbAttachData::parse(&SHORT), Ok(data));
    }

    #[test]
    fn the_long_form_adds_a_counted_payload() {
        let data = PduAttachData::new(msg_server::ATTACH_TYPE_HANDLE_AND_PDU, 9, b"pdu");
        assert_eq!(data.encode(), LONG);
        assert_eq!(PduAttachData::parse(&LONG), Ok(data));
    }

    #[test]
    fn the_long_form_can_be_read_as_the_short_one() {
        let long = PduAttachData::new(msg_server::ATTACH_TYPE_HANDLE, 7, b"").encode();
        assert_eq!(long.len(), 16);
        assert_eq!(DbAttachData::parse(&long), Ok(DbAttachData::new(1, 7)));
    }

    #[test]
    fn bytes_behind_the_payload_are_ignored() {
        let bytes = [&LONG[..], b"garbage"].concat();
        assert_eq!(PduAttachData::parse(&bytes).unwrap().pdu, b"pdu");
    }

    #[test]
    fn f27_every_shorter_form_is_an_error_value() {
        for end in 0..SHORT.len() {
            assert!(DbAttachData::parse(&SHORT[..end]).is_err(), "{end}");
        }
        for end in 0..LONG.len() {
            assert!(PduAttachData::parse(&LONG[..end]).is_err(), "{end}");
        }
        let error = PduAttachData::parse(&LONG[..17]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attach data is too short: 3 bytes wanted at offset 16, 1 left"
        );
    }

    proptest! {
        #[test]
        fn f27_any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok(data) = PduAttachData::parse(&bytes) {
                prop_assert!(bytes.starts_with(&data.encode()));
            }
            if let Ok(data) = DbAttachData::parse(&bytes) {
                prop_assert!(bytes.starts_with(&data.encode()));
            }
        }
    }
}
