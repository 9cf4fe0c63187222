//! One notification for one phone.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::pb::base_define::ClientType;

/// What a phone is to show, and which one.
#[derive(Clone)]
pub struct Notification {
    /// Names it in all attempts, so that a provider can tell a repetition.
    pub id: Uuid,
    /// Whose phone it is.
    pub user_id: u32,
    /// Which kind of phone.
    pub client_type: ClientType,
    /// By which the provider knows the phone.
    pub token: String,
    /// What is shown. Shared by all phones of a request.
    pub flash: Arc<str>,
    /// JSON for the app: the kind of message, and where it belongs. Shared like the text.
    pub data: Arc<str>,
    /// Unread messages in all.
    pub badge: u32,
    /// Nothing is shown or heard: its owner sits at a PC.
    pub silent: bool,
    /// Unix seconds. Later on there is no point in delivering it.
    pub expiration: u32,
}

/// Neither text nor token gets into a log (F19).
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, user_id, silent, .. } = self;
        write!(f, "push={id} user={user_id} silent={silent}")
    }
}
