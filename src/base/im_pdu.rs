//! The protocol data unit: 16 header bytes in network order, then a protobuf message.
//!
//! [`PduRef`] is a PDU that still lies in the input buffer: parsing copies nothing. [`ImPdu`] is
//! one that owns its bytes and is cheap to clone, so a broadcast encodes once and shares.

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

use super::attach_data::AttachDataError;

/// Bytes of a header, and so of the shortest PDU.
///
/// C++: base/ImPduBase.h IM_PDU_HEADER_LEN
pub const IM_PDU_HEADER_LEN: usize = 16;

/// What this server writes into the version field; it accepts any.
///
/// C++: base/ImPduBase.h IM_PDU_VERSION
pub const IM_PDU_VERSION: u16 = 1;

/// Why a PDU could not be used.
#[derive(Clone, Debug, Error)]
pub enum PduError {
    /// The stream is out of step or hostile: nothing after this can be trusted.
    #[error("pdu length {length} is outside {IM_PDU_HEADER_LEN}..={max}")]
    BadLength {
        /// What the header announced.
        length: u32,
        /// What this connection allows.
        max: u32,
    },
    /// The body is no message of this command. The PDU is dropped, the connection lives on.
    #[error("command {command_id:#06x} has a body that does not parse: {source}")]
    Decode {
        /// The command whose body it was.
        command_id: u16,
        /// What prost says.
        source: prost::DecodeError,
    },
    /// An answer does not tell whose it is. The PDU is dropped, the connection lives on: it carries
    /// the answers of everybody else (F27).
    #[error(transparent)]
    AttachData(#[from] AttachDataError),
    /// The peer asked for what it may not ask for now; the connection is closed.
    #[error("command {command_id:#06x} refused: {reason}")]
    Refused {
        /// The command that was refused.
        command_id: u16,
        /// Why, for the log.
        reason: &'static str,
    },
}

/// The 16 bytes in front of every body.
///
/// C++: base/ImPduBase.h PduHeader_t
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PduHeader {
    /// Bytes of the whole PDU, header included.
    pub length: u32,
    /// [`IM_PDU_VERSION`] from every known peer; never checked.
    pub version: u16,
    /// Zero from every known peer; kept when a PDU is passed on.
    pub flag: u16,
    /// Which family the command belongs to. Dispatch looks at `command_id` alone.
    pub service_id: u16,
    /// What the body is.
    pub command_id: u16,
    /// A reply carries the number of its request; what a server starts carries 0.
    pub seq_num: u16,
    /// Zero from every known peer; kept when a PDU is passed on. "reversed" in the C++.
    pub reserved: u16,
}

impl PduHeader {
    /// The header of a PDU this server starts; the length is filled in by the encoder.
    pub const fn new(service_id: u16, command_id: u16, seq_num: u16) -> Self {
        Self {
            length: IM_PDU_HEADER_LEN as u32,
            version: IM_PDU_VERSION,
            flag: 0,
            service_id,
            command_id,
            seq_num,
            reserved: 0,
        }
    }

    /// C++: base/ImPduBase.cpp CImPdu::ReadPduHeader
    fn parse(b: &[u8; IM_PDU_HEADER_LEN]) -> Self {
        let word = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        Self {
            length: u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
            version: word(4),
            flag: word(6),
            service_id: word(8),
            command_id: word(10),
            seq_num: word(12),
            reserved: word(14),
        }
    }

    /// C++: base/ImPduBase.cpp CImPdu::WriteHeader
    fn to_bytes(self, length: usize) -> [u8; IM_PDU_HEADER_LEN] {
        let length = u32::try_from(length).expect("a PDU is shorter than 4 GiB");
        let mut b = [0; IM_PDU_HEADER_LEN];
        b[..4].copy_from_slice(&length.to_be_bytes());
        let words = [
            self.version,
            self.flag,
            self.service_id,
            self.command_id,
            self.seq_num,
            self.reserved,
        ];
        for (at, word) in (4..).step_by(2).zip(words) {
            b[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
        b
    }
}

/// A whole PDU inside a buffer that somebody else owns.
#[derive(Clone, Copy, Debug)]
pub struct PduRef<'a> {
    header: PduHeader,
    bytes: &'a [u8],
}

impl<'a> PduRef<'a> {
    /// The PDU at the start of `input`, or `None` while it is incomplete.
    ///
    /// The length is judged as soon as its four bytes are there, before anything is kept for it.
    ///
    /// C++: base/ImPduBase.cpp CImPdu::ReadPdu
    /// Differs: lengths below 16 and above `len_max` are errors, not reads past the frame (F22,
    /// F23).
    #[inline]
    pub fn parse(input: &'a [u8], len_max: u32) -> Result<Option<Self>, PduError> {
        let Some(length) = input.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        if length < IM_PDU_HEADER_LEN as u32 || length > len_max {
            return Err(PduError::BadLength { length, max: len_max });
        }
        let Some(bytes) = input.get(..length as usize) else {
            return Ok(None);
        };
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Self { header: PduHeader::parse(header), bytes }))
    }

    /// All header fields.
    pub fn header(&self) -> &PduHeader {
        &self.header
    }

    /// The dispatch key.
    pub fn command_id(&self) -> u16 {
        self.header.command_id
    }

    /// The number a reply must carry.
    pub fn seq_num(&self) -> u16 {
        self.header.seq_num
    }

    /// Header and body.
    ///
    /// C++: base/ImPduBase.cpp CImPdu::GetBuffer
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The protobuf message.
    ///
    /// C++: base/ImPduBase.h CImPdu::GetBodyData
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[IM_PDU_HEADER_LEN..]
    }

    /// The body as the message its command promises.
    ///
    /// C++: base/ImPduBase.h CHECK_PB_PARSE_MSG
    pub fn decode<M: Message + Default>(&self) -> Result<M, PduError> {
        let command_id = self.command_id();
        M::decode(self.body()).map_err(|source| PduError::Decode { command_id, source })
    }

    /// A copy that outlives the handler, for a worker or a queue.
    pub fn to_owned(&self) -> ImPdu {
        ImPdu { header: self.header, bytes: Bytes::copy_from_slice(self.bytes) }
    }
}

/// A PDU that owns its bytes; clones share them.
///
/// C++: base/ImPduBase.h CImPdu
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImPdu {
    header: PduHeader,
    bytes: Bytes,
}

impl ImPdu {
    /// Encodes `msg` behind a fresh header.
    ///
    /// C++: base/ImPduBase.cpp CImPdu::SetPBMsg
    pub fn encode(service_id: u16, command_id: u16, seq_num: u16, msg: &impl Message) -> Self {
        Self::encode_with(PduHeader::new(service_id, command_id, seq_num), msg)
    }

    /// Encodes `msg` behind the header of another PDU, so that a relayed request keeps its sequence
    /// number, flag and reserved field.
    pub fn encode_with(header: PduHeader, msg: &impl Message) -> Self {
        let mut bytes = Vec::with_capacity(pdu_len(msg));
        append_pdu(&mut bytes, header, msg);
        Self::from_parts(header, bytes.into())
    }

    /// Puts a header before a body that is encoded already.
    pub fn with_body(header: PduHeader, body: &[u8]) -> Self {
        let length = IM_PDU_HEADER_LEN + body.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&header.to_bytes(length));
        bytes.extend_from_slice(body);
        Self::from_parts(header, bytes.into())
    }

    /// The same PDU as handlers see it.
    pub fn as_pdu(&self) -> PduRef<'_> {
        PduRef { header: self.header, bytes: &self.bytes }
    }

    /// Header and body, shared.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn from_parts(header: PduHeader, bytes: Bytes) -> Self {
        Self { header: PduHeader { length: bytes.len() as u32, ..header }, bytes }
    }
}

/// Bytes that [`append_pdu`] will write for `msg`.
pub(crate) fn pdu_len(msg: &impl Message) -> usize {
    IM_PDU_HEADER_LEN + msg.encoded_len()
}

/// Encodes a PDU straight into an output buffer.
pub(crate) fn append_pdu(out: &mut Vec<u8>, header: PduHeader, msg: &impl Message) {
    out.extend_from_slice(&header.to_bytes(pdu_len(msg)));
    msg.encode(out).expect("a Vec grows as needed");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN_MAX: u32 = 1 << 20;
    const HEARTBEAT: [u8; 16] = [0, 0, 0, 16, 0, 1, 0, 0, 0, 7, 7, 1, 0, 0, 0, 0];

    fn parse(bytes: &[u8]) -> Result<Option<PduRef<'_>>, PduError> {
        PduRef::parse(bytes, LEN_MAX)
    }

    #[test]
    fn a_heartbeat_is_exactly_sixteen_known_bytes() {
        let pdu = ImPdu::encode(7, 0x0701, 0, &());
        assert_eq!(pdu.as_pdu().as_bytes(), HEARTBEAT);
        let pdu = parse(&HEARTBEAT).unwrap().unwrap();
        assert_eq!(*pdu.header(), PduHeader::new(7, 0x0701, 0));
        assert_eq!(pdu.body(), b"");
    }

    #[test]
    fn every_header_field_is_read_from_its_place() {
        let bytes = [0, 0, 0, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xaa, 0xbb, 0xcc];
        let pdu = parse(&bytes).unwrap().unwrap();
        let header = PduHeader {
            length: 18,
            version: 0x0102,
            flag: 0x0304,
            service_id: 0x0506,
            command_id: 0x0708,
            seq_num: 0x090a,
            reserved: 0x0b0c,
        };
        assert_eq!(*pdu.header(), header);
        assert_eq!(pdu.body(), [0xaa, 0xbb]);
        assert_eq!(ImPdu::with_body(header, pdu.body()).as_pdu().as_bytes(), &bytes[..18]);
    }

    #[test]
    fn a_relayed_pdu_keeps_every_header_field_but_the_length() {
        let header = PduHeader { flag: 9, reserved: 8, ..PduHeader::new(3, 0x0301, 77) };
        let pdu = ImPdu::encode_with(header, &"twenty".to_owned());
        let expected = PduHeader { length: 24, ..header };
        assert_eq!(*pdu.as_pdu().header(), expected);
        assert_eq!(*parse(pdu.as_pdu().as_bytes()).unwrap().unwrap().header(), expected);
    }

    #[test]
    fn f22_lengths_below_the_header_are_refused() {
        for length in 0..16u32 {
            let mut bytes = [0xff; 64];
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            let result = parse(&bytes);
            assert!(matches!(result, Err(PduError::BadLength { length: l, .. }) if l == length));
        }
    }

    #[test]
    fn f23_a_length_above_the_limit_is_refused_after_four_bytes() {
        for length in [LEN_MAX + 1, u32::MAX] {
            assert!(matches!(parse(&length.to_be_bytes()), Err(PduError::BadLength { .. })));
        }
        assert!(parse(&LEN_MAX.to_be_bytes()).unwrap().is_none());
    }

    #[test]
    fn a_body_that_does_not_parse_names_its_command() {
        let pdu = ImPdu::with_body(PduHeader::new(3, 0x0301, 0), &[0x0a, 0xff]);
        let error = pdu.as_pdu().decode::<String>().unwrap_err().to_string();
        assert!(error.starts_with("command 0x0301 has a body that does not parse"), "{error}");
    }

    #[test]
    fn two_pdus_parse_the_same_at_every_split() {
        let first = ImPdu::with_body(PduHeader::new(1, 0x0103, 5), b"hello");
        let mut stream = first.as_pdu().as_bytes().to_vec();
        stream.extend_from_slice(&HEARTBEAT);
        for split in 0..stream.len() {
            let head = parse(&stream[..split]).unwrap();
            assert_eq!(head.is_some(), split >= 21);
        }
        let second = &stream[parse(&stream).unwrap().unwrap().as_bytes().len()..];
        assert_eq!(parse(second).unwrap().unwrap().as_bytes(), HEARTBEAT);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            max: u32,
        ) {
            if let Ok(Some(pdu)) = PduRef::parse(&bytes, max) {
                prop_assert_eq!(pdu.as_bytes(), &bytes[..pdu.header().length as usize]);
                prop_assert!(pdu.header().length <= max);
                prop_assert_eq!(pdu.body().len() + IM_PDU_HEADER_LEN, pdu.as_bytes().len());
            }
        }

        #[test]
        fn what_was_encoded_is_what_parses(
            ids: (u16, u16, u16),
            body in prop::collection::vec(any::<u8>(), 0..300),
            tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let pdu = ImPdu::with_body(PduHeader::new(ids.0, ids.1, ids.2), &body);
            let mut stream = pdu.as_pdu().as_bytes().to_vec();
            stream.extend_from_slice(&tail);
            let parsed = parse(&stream).unwrap().unwrap();
            prop_assert_eq!(*parsed.header(), *pdu.as_pdu().header());
            prop_assert_eq!(parsed.body(), &body[..]);
        }
    }
}
