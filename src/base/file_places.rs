//! Which file_server has which offline file: what msg_server and db_proxy_server tell each other in
//! attach data, for a msg_server that was not there when a file came (F114).
//!
//! The messages of the protocol have no place for it, and original servers pass it over.

use std::collections::HashMap;

use prost::Message;

use super::im_pdu::{PduError, PduRef};
use crate::pb::base_define::IpAddr;
use crate::pb::file::{ImFileHasOfflineReq, ImFileNotify};
use crate::pb::server::ImFileServerIpRsp;

/// Attach data of a request that says that a file is stored: where clients reach its file_server.
pub fn attach_of_server(addrs: &[IpAddr]) -> Vec<u8> {
    ImFileServerIpRsp { ip_addr_list: addrs.to_vec() }.encode_to_vec()
}

/// What [`attach_of_server`] has attached to a request; nothing if nobody has, or if it is of
/// another kind.
///
/// # Errors
/// The request does not parse.
pub fn server_of_request(pdu: PduRef<'_>) -> Result<Vec<IpAddr>, PduError> {
    // A message that has nothing but a user id and attach data, in the fields where all have them.
    let any: ImFileHasOfflineReq = pdu.decode()?;
    let attach = any.attach_data.unwrap_or_default();
    Ok(ImFileServerIpRsp::decode(attach).map(|msg| msg.ip_addr_list).unwrap_or_default())
}

/// The places of files, by task.
pub fn encode<'a>(places: impl Iterator<Item = (&'a str, &'a [IpAddr])>) -> Vec<u8> {
    let known = places.filter(|(_, addrs)| !addrs.is_empty());
    let place = |(task_id, addrs): (&str, &[IpAddr])| {
        let place = ImFileNotify {
            task_id: task_id.to_owned(),
            ip_addr_list: addrs.to_vec(),
            ..ImFileNotify::default()
        };
        place.encode_length_delimited_to_vec()
    };
    known.flat_map(place).collect()
}

/// What [`encode`] has written, as far as it can be read.
pub fn decode(mut bytes: &[u8]) -> HashMap<String, Vec<IpAddr>> {
    let mut places = HashMap::new();
    while !bytes.is_empty()
        && let Ok(place) = ImFileNotify::decode_length_delimited(&mut bytes)
    {
        places.insert(place.task_id, place.ip_addr_list);
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::im_pdu::ImPdu;
    use crate::pb::cmd::*;
    use crate::pb::file::ImFileAddOfflineReq;

    fn addr(port: u32) -> IpAddr {
        IpAddr { ip: "192.0.2.1".to_owned(), port }
    }

    #[test]
    fn f114_places_are_read_as_they_were_written() {
        let addrs = [vec![addr(1)], vec![], vec![addr(2), addr(3)]];
        let places = ["a", "b", "c"].into_iter().zip(addrs.iter().map(Vec::as_slice));
        let read = decode(&encode(places));
        assert_eq!(read.len(), 2, "what is not known is not told");
        assert_eq!((&read["a"], &read["c"]), (&addrs[0], &addrs[2]));
    }

    #[test]
    fn f114_a_request_carries_its_server_and_one_of_the_original_none() {
        let msg = ImFileAddOfflineReq { from_user_id: 5, ..ImFileAddOfflineReq::default() };
        let bare = ImPdu::encode(SID_FILE, CID_FILE_ADD_OFFLINE_REQ, 1, &msg);
        assert_eq!(server_of_request(bare.as_pdu()).unwrap(), []);
        let mut body = msg.encode_to_vec();
        prost::encoding::bytes::encode(20, &attach_of_server(&[addr(7)]), &mut body);
        let carrying = ImPdu::with_body(*bare.as_pdu().header(), &body);
        assert_eq!(server_of_request(carrying.as_pdu()).unwrap(), [addr(7)]);
        // Whoever does not know of it reads the rest.
        assert_eq!(carrying.as_pdu().decode::<ImFileAddOfflineReq>().unwrap(), msg);
    }

    proptest! {
        #[test]
        fn f114_any_bytes_are_survived(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
