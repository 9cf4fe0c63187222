//! What clients tell each other past the storage: writing, shaking the window.
//!
//! The JSON is that of the Windows, Mac and iOS clients.

use serde_json::{Value, json};

const SERVICE_SHAKE: u32 = 1;
const SERVICE_WRITING: u32 = 2;

/// The number of a command holds that of its service.
const COMMAND_SHAKE: u32 = SERVICE_SHAKE << 16 | 1;
const COMMAND_WRITING: u32 = SERVICE_WRITING << 16 | 1;
const COMMAND_STOP_WRITING: u32 = SERVICE_WRITING << 16 | 2;

/// What a client tells another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum P2p {
    /// Look here!
    Shake,
    /// Somebody is typing.
    Writing,
    /// He is not any more.
    StopWriting,
}

impl P2p {
    /// As it goes over the wire.
    pub fn encode(self) -> String {
        let (service_id, cmd_id, content) = match self {
            Self::Shake => (SERVICE_SHAKE, COMMAND_SHAKE, "shakewindow"),
            Self::Writing => (SERVICE_WRITING, COMMAND_WRITING, "writing"),
            Self::StopWriting => (SERVICE_WRITING, COMMAND_STOP_WRITING, "stop writing"),
        };
        json!({ "service_id": service_id, "cmd_id": cmd_id, "content": content }).to_string()
    }

    /// What came, if it is one of these.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(data).ok()?;
        let number = |key: &str| u32::try_from(value[key].as_u64()?).ok();
        match (number("service_id")?, number("cmd_id")?) {
            (SERVICE_SHAKE, COMMAND_SHAKE) => Some(Self::Shake),
            (SERVICE_WRITING, COMMAND_WRITING) => Some(Self::Writing),
            (SERVICE_WRITING, COMMAND_STOP_WRITING) => Some(Self::StopWriting),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_the_mac_client_writes_it() {
        let mac = |cmd: u32, content: &str, service: u32| {
            format!("{{\"cmd_id\":{cmd},\"content\":\"{content}\",\"service_id\":{service}}}")
        };
        for (p2p, text) in [
            (P2p::Shake, mac(65_537, "shakewindow", 1)),
            (P2p::Writing, mac(131_073, "writing", 2)),
            (P2p::StopWriting, mac(131_074, "stop writing", 2)),
        ] {
            assert_eq!(p2p.encode(), text);
            assert_eq!(P2p::decode(text.as_bytes()), Some(p2p));
            // The Windows client ends the line.
            assert_eq!(P2p::decode(format!("{text}\n").as_bytes()), Some(p2p));
        }
    }

    #[test]
    fn what_is_none_of_these_is_nothing() {
        let unknown = r#"{"service_id":3,"cmd_id":196609,"content":"x"}"#;
        let mixed = r#"{"service_id":1,"cmd_id":131073}"#;
        let large = r#"{"service_id":4294967297,"cmd_id":65537}"#;
        for data in ["", "[]", "{", "typing", unknown, mixed, large, "\u{1}"] {
            assert_eq!(P2p::decode(data.as_bytes()), None, "{data}");
        }
        assert_eq!(P2p::decode(&[0xff]), None);
    }
}
