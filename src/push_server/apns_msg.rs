//! What Apple is told of a notification.

use serde_json::{Map, Value, json};

use super::notification::Notification;

/// Bytes of a payload.
pub const PAYLOAD_LEN_MAX: usize = 4096;

/// Hexadecimal digits of a token: 64 today, and up to 100 bytes by Apple's word.
pub const TOKEN_DIGITS: std::ops::RangeInclusive<usize> = 64..=200;

/// The sound of the original's apps.
pub const SOUND: &str = "bingbong.aiff";

/// Whether this can be a token of Apple, so that it can be part of a URL. The original takes 64
/// characters, whatever they are (F134).
pub fn is_token(token: &str) -> bool {
    TOKEN_DIGITS.contains(&token.len())
        && token.len().is_multiple_of(2)
        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The JSON for a phone; `None` if there is no room for it whatever is cut. A silent notification
/// changes the badge and nothing else.
///
/// C++: push_server/apns_msg.cpp CAPNSGateWayMsg::_BuildPayload
/// Differs: up to 4096 bytes, and a text that does not fit is cut (F134).
pub fn build_payload(notification: &Notification, sound: &str) -> Option<Vec<u8>> {
    let whole = payload(notification, &notification.flash, sound);
    if whole.len() <= PAYLOAD_LEN_MAX {
        return Some(whole);
    }
    // JSON may need several bytes for one of the text, so that what there is room for is searched.
    let fits = |len: usize| {
        let text = shortened(&notification.flash, len);
        payload(notification, &text, sound).len() <= PAYLOAD_LEN_MAX
    };
    if !fits(0) {
        return None;
    }
    let (mut low, mut high) = (0, notification.flash.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(payload(notification, &shortened(&notification.flash, low), sound))
}

/// The beginning of a text, up to so many bytes.
fn shortened(text: &str, len: usize) -> String {
    let end = (0..=len).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

fn payload(notification: &Notification, text: &str, sound: &str) -> Vec<u8> {
    let mut aps = Map::new();
    if !notification.silent {
        aps.insert("alert".to_owned(), json!({ "body": text }));
    }
    aps.insert("badge".to_owned(), notification.badge.into());
    if !notification.silent {
        aps.insert("sound".to_owned(), sound.into());
    }
    let custom = Value::from(&*notification.data);
    json!({ "aps": aps, "custom": custom }).to_string().into_bytes()
}

/// What belongs to the same conversation, by its data.
pub fn collapse_id(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    let id = |key: &str| data[key].as_u64();
    id("group_id")
        .map(|group| format!("group-{group}"))
        .or_else(|| id("from_id").map(|user| format!("user-{user}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push_server::testing::notification;

    fn json_of(notification: &Notification) -> Value {
        serde_json::from_slice(&build_payload(notification, SOUND).unwrap()).unwrap()
    }

    #[test]
    fn a_normal_push_is_shown_and_heard_and_a_silent_one_is_not() {
        let mut push = notification(1);
        let expected = json!({
            "aps": { "alert": { "body": "小明: hello" }, "badge": 3, "sound": "bingbong.aiff" },
            "custom": r#"{"msg_type":1,"from_id":7}"#,
        });
        assert_eq!(json_of(&push), expected);
        push.silent = true;
        assert_eq!(json_of(&push)["aps"], json!({ "badge": 3 }));
    }

    #[test]
    fn f134_a_long_text_is_cut_between_two_characters_to_what_there_is_room_for() {
        for text in ["字".repeat(2000), "\u{1}".repeat(5000), "🐱".repeat(1023)] {
            let push = Notification { flash: text.as_str().into(), ..notification(1) };
            let payload = build_payload(&push, SOUND).unwrap();
            // Not a character more would have fitted, each of which needs up to 6 bytes.
            assert!((PAYLOAD_LEN_MAX - 6..=PAYLOAD_LEN_MAX).contains(&payload.len()));
            let json: Value = serde_json::from_slice(&payload).unwrap();
            let body = json["aps"]["alert"]["body"].as_str().unwrap();
            assert!(text.starts_with(body.strip_suffix('…').unwrap()));
        }
        let fits = Notification { flash: "x".repeat(3900).into(), ..notification(1) };
        assert_eq!(json_of(&fits)["aps"]["alert"]["body"].as_str().unwrap().len(), 3900);
        let hopeless = Notification { data: "x".repeat(4096).into(), ..notification(1) };
        assert_eq!(build_payload(&hopeless, SOUND), None);
        let silent = Notification { silent: true, ..hopeless };
        assert_eq!(build_payload(&silent, SOUND), None);
    }

    #[test]
    fn f134_a_token_is_hexadecimal() {
        let digits = "0123456789abcdefABCDEF0123456789";
        assert!(is_token(&digits.repeat(2)) && is_token(&digits.repeat(5)));
        for wrong in [
            String::new(),
            "../".repeat(32),
            digits.to_owned(),
            "é".repeat(32),
            "0".repeat(65),
            "0".repeat(202),
        ] {
            assert!(!is_token(&wrong), "{wrong}");
        }
    }

    #[test]
    fn conversations_have_names() {
        let id = |data: &str| collapse_id(data);
        assert_eq!(id(r#"{"msg_type":1,"from_id":7}"#).unwrap(), "user-7");
        assert_eq!(id(r#"{"msg_type":17,"from_id":7,"group_id":9}"#).unwrap(), "group-9");
        assert_eq!((id("{}"), id("no JSON"), id(r#"{"from_id":"x"}"#)), (None, None, None));
    }
}
