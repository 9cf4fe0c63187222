//! What tests of several modules need.

use uuid::Uuid;

use super::notification::Notification;
use super::push_queue::Job;
use super::push_session::Ticket;
use crate::netlib::NetHandle;
use crate::pb::base_define::ClientType;

/// A key for ES256 that was made for these tests.
pub(super) fn p8() -> String {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()
}

/// The token of this user's phone.
pub(super) fn token(user_id: u32) -> String {
    format!("{user_id:064x}")
}

pub(super) fn notification(user_id: u32) -> Notification {
    Notification {
        id: Uuid::from_u128(user_id.into()),
        user_id,
        client_type: ClientType::Ios,
        token: token(user_id),
        flash: "小明: hello".into(),
        data: r#"{"msg_type":1,"from_id":7}"#.into(),
        badge: 3,
        silent: false,
        expiration: 1_700_003_600,
    }
}

pub(super) fn job(user_id: u32) -> Job {
    let ticket = Ticket { session: NetHandle::from_u32(1), request: 1, index: 0 };
    Job { notification: notification(user_id), ticket, attempts: 0 }
}
