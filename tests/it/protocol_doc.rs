//! docs/protocol.md says what the code does: its commands, and its example byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prost::Message;
use teamtalk::base::enc_dec::Aes;
use teamtalk::base::im_pdu::ImPdu;
use teamtalk::base::md5::md5_hex;
use teamtalk::pb::base_define::{ClientType, MsgType, SessionType, UserInfo, UserStatType};
use teamtalk::pb::cmd::*;
use teamtalk::pb::login::{ImLoginReq, ImLoginRes};
use teamtalk::pb::message::{ImMsgData, ImMsgDataAck};

const KEY: &[u8] = b"12345678901234567890123456789012";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    fs::read_to_string(path).unwrap()
}

/// The bytes of each block of hex digits; what stands behind the bar is for people.
fn examples(text: &str) -> Vec<Vec<u8>> {
    let blocks = text.split("```hex\n").skip(1).map(|block| block.split("```").next().unwrap());
    let byte = |digits: &str| u8::from_str_radix(digits, 16).unwrap();
    let line = |line: &str| -> Vec<u8> {
        line.split('|').next().unwrap().split_whitespace().map(byte).collect()
    };
    blocks.map(|block| block.lines().flat_map(line).collect()).collect()
}

fn number(id: &str) -> Option<u16> {
    u16::from_str_radix(id.strip_prefix("0x")?, 16).ok()
}

fn pdu(service_id: u16, command_id: u16, seq_num: u16, msg: &impl Message) -> Vec<u8> {
    ImPdu::encode(service_id, command_id, seq_num, msg).as_pdu().as_bytes().to_vec()
}

#[test]
fn the_example_of_the_document_is_what_goes_over_the_wire() {
    let text = document();
    let password = md5_hex(b"secret");
    let cipher = Aes::new(KEY).unwrap().encrypt(b"hello").unwrap();
    assert!(text.contains(&format!("`{password}`")) && text.contains(&format!("`{cipher}`")));
    let login = ImLoginReq {
        user_name: "alice".to_owned(),
        password,
        online_status: UserStatType::UserStatusOnline.into(),
        client_type: ClientType::Windows.into(),
        client_version: Some("EXAMPLE/1.0".to_owned()),
    };
    let user_info = UserInfo {
        user_id: 1,
        user_gender: 2,
        user_nick_name: "Alice".to_owned(),
        department_id: 1,
        user_real_name: "alice".to_owned(),
        ..UserInfo::default()
    };
    let logged_in = ImLoginRes {
        server_time: 1_767_225_600,
        result_code: 0,
        result_string: None,
        online_status: Some(UserStatType::UserStatusOnline.into()),
        user_info: Some(user_info),
    };
    let message = ImMsgData {
        from_user_id: 1,
        to_session_id: 2,
        msg_type: MsgType::SingleText.into(),
        msg_data: cipher.into(),
        ..ImMsgData::default()
    };
    let session_type = SessionType::Single.into();
    let ack = ImMsgDataAck { user_id: 1, session_id: 2, msg_id: 1, session_type };
    let expected = [
        b"hello\0\0\0\0\0\0\0\0\0\0\x05".to_vec(),
        pdu(SID_OTHER, CID_OTHER_HEARTBEAT, 0, &()),
        pdu(SID_LOGIN, CID_LOGIN_REQ_USERLOGIN, 1, &login),
        pdu(SID_LOGIN, CID_LOGIN_RES_USERLOGIN, 1, &logged_in),
        pdu(SID_MSG, CID_MSG_DATA, 2, &message),
        pdu(SID_MSG, CID_MSG_DATA_ACK, 2, &ack),
    ];
    assert_eq!(examples(&text), expected);
}

#[test]
fn every_command_is_in_the_document_with_a_body_that_exists() {
    let text = document();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let protos: String = fs::read_dir(proto)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let mut documented = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| 0x")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", id, command, body, from_to, when, answer, ""] = cells[..] else { continue };
        let (command, body) = (command.trim_matches('`'), body.trim_matches('`'));
        assert!(protos.contains(&format!("message {body} {{")), "{row}");
        assert!(!from_to.is_empty() && !when.is_empty(), "{row}");
        if let Some(answer) = number(answer) {
            assert_ne!(command_name(answer), "unknown", "{row}");
        }
        let id = number(id).unwrap();
        assert_eq!(documented.insert(id, command.to_owned()), None, "{row}");
    }
    let known: BTreeMap<u16, String> =
        COMMANDS.iter().map(|&(id, name)| (id, name.to_owned())).collect();
    assert_eq!(documented, known);
}
