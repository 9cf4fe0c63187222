//! db_proxy_server: its handlers on both kinds of storage, and the whole over sockets.

mod faults;
mod files;
mod groups;
pub mod installation;
mod load;
pub mod original;
mod texts;
mod tokens;
mod unread;

use prost::Message;
use teamtalk::base::im_pdu::{ImPdu, PduHeader};
use teamtalk::base::md5::md5_hex;
use teamtalk::db_proxy_server::{DbProxyServer, DbProxyServerConfig};
use teamtalk::pb::base_define::MsgType;
use teamtalk::pb::cmd::*;
use teamtalk::pb::message::{ImGetMsgListReq, ImGetMsgListRsp, ImMsgData};
use teamtalk::pb::server::{ImValidateReq, ImValidateRsp};
use teamtalk::storage::DbManager;
use teamtalk::storage::db_pool::TEAMTALK_MASTER;

pub use installation::{embedded_pools, server_pools};

use crate::running::{Peer, Running, config};

fn text_of(directory: &tempfile::TempDir) -> String {
    text_with(&embedded_pools(directory))
}

pub fn text_with(pools: &str) -> String {
    format!(
        "ListenIP=127.0.0.1\nListenPort=0\nThreadNum=4\nMsfsSite=127.0.0.1:1\n\
         aesKey=12345678901234567890123456789012\n{pools}"
    )
}

fn start(directory: &tempfile::TempDir) -> Running {
    let config = config(&text_of(directory), DbProxyServerConfig::read);
    Running::start(DbProxyServer::dispatch(config, || 1_700_000_000).unwrap())
}

fn request(command_id: u16, seq_num: u16, msg: &impl Message) -> ImPdu {
    ImPdu::encode_with(PduHeader::new(SID_OTHER, command_id, seq_num), msg)
}

fn message(from_user_id: u32, to_session_id: u32, text: &str) -> ImMsgData {
    ImMsgData {
        from_user_id,
        to_session_id,
        msg_id: 0,
        create_time: 1_600_000_000,
        msg_type: MsgType::SingleText.into(),
        msg_data: text.as_bytes().to_vec().into(),
        attach_data: None,
    }
}

fn stored(peer: &mut Peer, user_id: u32, session_id: u32) -> Vec<(u32, String)> {
    let msg = ImGetMsgListReq {
        user_id,
        session_type: 1,
        session_id,
        msg_id_begin: 0,
        msg_cnt: 100,
        attach_data: None,
    };
    peer.send(&request(CID_MSG_LIST_REQUEST, 9, &msg));
    let answer: ImGetMsgListRsp = peer.receive().as_pdu().decode().unwrap();
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    answer.msg_list.iter().map(|info| (info.msg_id, text(&info.msg_data))).collect()
}

#[test]
fn a_user_logs_in() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(&directory);
    let db = config(&text_of(&directory), DbManager::from_config);
    let password = md5_hex(format!("{}77", md5_hex(b"secret")).as_bytes());
    db.db_conn(TEAMTALK_MASTER)
        .unwrap()
        .execute_update(
            "insert into IMUser (id, name, password, salt, departId, created, updated) \
             values (5, 'alice', ?, '77', 1, 1, 1)",
            &[password.into()],
        )
        .unwrap();
    let mut peer = server.peer();
    for (password, result) in [("secret", 0), ("Secret", 1)] {
        let msg = ImValidateReq {
            user_name: "alice".to_owned(),
            password: md5_hex(password.as_bytes()),
            attach_data: None,
        };
        peer.send(&request(CID_OTHER_VALIDATE_REQ, 3, &msg));
        let answer = peer.receive();
        assert_eq!(answer.as_pdu().header().command_id, CID_OTHER_VALIDATE_RSP);
        let answer: ImValidateRsp = answer.as_pdu().decode().unwrap();
        assert_eq!(answer.result_code, result);
    }
}

#[test]
fn messages_of_a_conversation_keep_their_order_and_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    {
        let server = start(&directory);
        let mut peer = server.peer();
        // Three conversations, written without waiting for any answer.
        for i in 0..300u32 {
            let (from, to) = [(1, 2), (2, 1), (1, 3)][i as usize % 3];
            peer.send(&request(CID_MSG_DATA, i as u16, &message(from, to, &format!("m{i}"))));
            expected.push((i as u16, [1, 1, 0][i as usize % 3]));
        }
        let mut last = [0; 2];
        for _ in 0..300 {
            let answer = peer.receive();
            let conversation = expected[answer.as_pdu().header().seq_num as usize].1;
            let answer: ImMsgData = answer.as_pdu().decode().unwrap();
            assert_eq!(answer.msg_id, last[conversation] + 1, "in order and without a gap");
            last[conversation] = answer.msg_id;
        }
        assert_eq!(last, [100, 200]);
    }
    let server = start(&directory);
    let mut peer = server.peer();
    let page = stored(&mut peer, 1, 2);
    assert_eq!((page.len(), page[0].clone()), (100, (200, "m298".to_owned())));
    assert_eq!(stored(&mut peer, 3, 1)[0], (100, "m299".to_owned()));
    peer.send(&request(CID_MSG_DATA, 1, &message(1, 2, "after")));
    let answer: ImMsgData = peer.receive().as_pdu().decode().unwrap();
    assert_eq!(answer.msg_id, 201);
}

#[test]
fn garbage_and_unknown_commands_disturb_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(&directory);
    let (mut peer, mut hostile) = (server.peer(), server.peer());
    hostile.send(&request(0x7fff, 0, &()));
    for (command_id, _) in COMMANDS {
        let header = PduHeader::new(SID_OTHER, *command_id, 0);
        hostile.send(&ImPdu::with_body(header, &[0x08, 0xff]));
    }
    hostile.send_bytes(&[0; 16]);
    peer.send(&request(CID_MSG_DATA, 7, &message(1, 2, "m")));
    assert_eq!(peer.receive().as_pdu().header().seq_num, 7);
    drop(hostile);
    assert_eq!(stored(&mut peer, 1, 2), [(1, "m".to_owned())]);
}
