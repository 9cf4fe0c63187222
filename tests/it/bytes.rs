//! The properties of `properties.rs` for random bytes, and for bytes that are nearly right.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::properties;

/// PDUs, now and then with a wrong length or a missing end.
fn pdu_stream() -> impl Strategy<Value = Vec<u8>> {
    let pdu = (vec(any::<u8>(), 0..40), -2..3i32).prop_map(|(body, wrong)| {
        let wrong = if wrong.abs() == 2 { wrong } else { 0 };
        let length = 16 + body.len() as i32 + wrong;
        let mut pdu = length.to_be_bytes().to_vec();
        pdu.extend_from_slice(&[0, 1, 0, 0, 0, 3, 3, 1, 0, 9, 0, 0]);
        pdu.extend_from_slice(&body);
        pdu
    });
    (any::<u8>(), vec(pdu, 0..6)).prop_map(|(first, pdus)| {
        let mut stream = vec![first];
        stream.extend(pdus.concat());
        stream
    })
}

fn attach_bytes() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 12), 0..20u32, vec(any::<u8>(), 0..24))
        .prop_map(|(head, length, pdu)| [&head[..], &length.to_be_bytes(), &pdu].concat())
}

fn config_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("="),
        Just("#"),
        Just("\n"),
        Just("\r\n"),
        Just(" "),
        Just("\t"),
        Just("key"),
        Just("ListenIP"),
        Just("8000"),
        Just("a=b"),
        Just("\u{4f60}"),
        Just("\0"),
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn http_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\n"),
        Just("POST /query/CreateGroup HTTP/1.0\r\n"),
        Just("Host: a\r\n"),
        Just("Content-Length: 5\r\n"),
        Just("content-length: 5\r\n"),
        Just("Content-Length: 101\r\n"),
        Just("Content-Length-X: 9\r\n"),
        Just("\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("hello"),
        Just(" "),
        Just("\n"),
        Just("Expect: 100-continue\r\n"),
        Just("Connection: close\r\n"),
        Just("\0"),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

proptest! {
    #[test]
    fn any_stream_falls_into_pdus(data in prop_oneof![any_bytes(), pdu_stream()]) {
        properties::pdu(&data);
    }

    #[test]
    fn any_attach_data_is_parsed_or_refused(data in prop_oneof![any_bytes(), attach_bytes()]) {
        properties::attach_data(&data);
    }

    #[test]
    fn any_file_is_a_configuration(data in prop_oneof![any_bytes(), config_text()]) {
        properties::config(&data);
    }

    #[test]
    fn any_split_of_a_request_means_the_same(data in prop_oneof![any_bytes(), http_text()]) {
        properties::http(&data);
    }
}
