//! What must hold for any bytes from outside. The fuzz targets call the same functions.

use std::path::Path;

use teamtalk::base::attach_data::{DbAttachData, PduAttachData};
use teamtalk::base::config_file_reader::ConfigFileReader;
use teamtalk::base::http_parser_wrapper::{HttpLimits, HttpRequest};
use teamtalk::base::im_pdu::{IM_PDU_HEADER_LEN, PduError, PduRef};

/// The first byte chooses a length limit, the rest is a stream: it falls into whole PDUs, a bad
/// length, or a start that waits for more, and no split of it changes that.
pub fn pdu(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else {
        return;
    };
    let len_max = 16 + u32::from(first) * 4;
    let mut rest = stream;
    loop {
        match PduRef::parse(rest, len_max) {
            Ok(Some(pdu)) => {
                let length = pdu.header().length as usize;
                assert!((IM_PDU_HEADER_LEN..=len_max as usize).contains(&length));
                assert_eq!(pdu.as_bytes(), &rest[..length]);
                assert_eq!(&pdu.as_bytes()[IM_PDU_HEADER_LEN..], pdu.body());
                for split in 0..length {
                    let start = PduRef::parse(&rest[..split], len_max);
                    assert!(matches!(start, Ok(None)), "a prefix of {split} bytes is a PDU");
                }
                let owned = pdu.to_owned();
                assert_eq!(owned.as_pdu().as_bytes(), pdu.as_bytes());
                rest = &rest[length..];
            }
            Ok(None) => {
                let announced = rest.first_chunk().map(|length| u32::from_be_bytes(*length));
                assert!(announced.is_none_or(|length| length as usize > rest.len()));
                return;
            }
            Err(PduError::BadLength { length, max }) => {
                assert_eq!(max, len_max);
                assert!(length < IM_PDU_HEADER_LEN as u32 || length > len_max);
                return;
            }
            Err(error) => panic!("framing answered {error}"),
        }
    }
}

/// Attach data that parses is what encodes to the same bytes; shorter bytes are refused.
pub fn attach_data(data: &[u8]) {
    match DbAttachData::parse(data) {
        Ok(attach) => assert_eq!(attach.encode(), data[..DbAttachData::LENGTH]),
        Err(_) => assert!(data.len() < DbAttachData::LENGTH),
    }
    if let Ok(attach) = PduAttachData::parse(data) {
        let encoded = attach.encode();
        assert_eq!(encoded, data[..encoded.len()]);
        assert!(PduAttachData::parse(&encoded[..encoded.len() - 1]).is_err());
    }
}

/// Any file reads; what it yields obeys the syntax, and says the same when written down again.
pub fn config(data: &[u8]) {
    let path = Path::new("any.conf");
    let mut config = ConfigFileReader::parse(path, data);
    let lines = data.split(|&byte| byte == b'\n').count();
    for warning in config.warnings() {
        assert!((1..=lines).contains(&warning.line), "{warning}");
    }
    let text = String::from_utf8_lossy(data);
    let keys = text.lines().filter_map(|line| line.split(['=', '#']).next()).map(str::trim);
    for key in keys {
        let Ok(Some(value)) = config.get_opt::<String>(key) else {
            continue;
        };
        assert!(!value.is_empty() && !value.contains(['#', '\n']), "{key:?} {value:?}");
        assert!(!value.starts_with([' ', '\t']) && !value.ends_with([' ', '\t', '\r']));
        // On the second line: in front of the first a byte order mark means nothing.
        let again = format!("\n{key}={value}\n");
        let mut again = ConfigFileReader::parse(path, again.as_bytes());
        assert_eq!(again.get::<String>(key).ok(), Some(value));
    }
}

/// A request, an error or a wait for more: the same however the bytes were split.
pub fn http(data: &[u8]) {
    let limits = HttpLimits { header_bytes_max: 256, header_count_max: 8, body_bytes_max: 100 };
    let whole = HttpRequest::parse(data, &limits);
    if let Ok(Some((request, length))) = &whole {
        assert!(*length <= data.len() && request.body.len() <= limits.body_bytes_max);
        assert!(data[..*length].ends_with(request.body));
    }
    for split in 0..data.len() {
        let start = HttpRequest::parse(&data[..split], &limits);
        match (&whole, start) {
            (Ok(None), start) => assert_eq!(start.ok(), Some(None), "split at {split}"),
            (Ok(Some((request, length))), Ok(Some(start))) => {
                assert!(split >= *length && start == (request.clone(), *length));
            }
            (Ok(Some((_, length))), start) => {
                assert_eq!((start.ok(), split < *length), (Some(None), true), "split at {split}");
            }
            (Err(error), Err(start)) => assert_eq!(start.status(), error.status()),
            (Err(_), Ok(start)) => assert!(start.is_none(), "split at {split}"),
        }
    }
}
