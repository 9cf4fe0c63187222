//! Which msg_server to go to.

use serde_json::Value;

use super::error::ClientError;
use crate::base::http_client::HttpClient;

/// The longest answer of login_server that is read.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What login_server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MsgServer {
    /// Where to connect, `address:port`.
    pub prior: String,
    /// Where to connect if that does not work.
    pub backup: String,
    /// Where pictures are stored, a URL; may be empty.
    pub msfs: String,
}

/// Asks login_server for a msg_server, over HTTP. `login_server` is `host:port`.
///
/// # Errors
/// It cannot be asked, has none ([`ClientError::Refused`]), or answers something else.
pub fn msg_server(login_server: &str) -> Result<MsgServer, ClientError> {
    let url = format!("http://{login_server}/msg_server");
    let answer = HttpClient::default().get(&url, ANSWER_LEN_MAX)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<MsgServer, ClientError> {
    let answer: Value =
        serde_json::from_slice(answer).map_err(|_| ClientError::NoSuchKey("JSON"))?;
    let text = |key: &'static str| {
        answer[key].as_str().map(str::to_owned).ok_or(ClientError::NoSuchKey(key))
    };
    let code = answer["code"].as_u64().ok_or(ClientError::NoSuchKey("code"))?;
    if code != 0 {
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        return Err(ClientError::Refused { what: text("msg")?, code });
    }
    let port = text("port")?;
    let with_port = |ip: String| {
        // An IPv6 address needs brackets beside its port.
        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    };
    Ok(MsgServer {
        prior: with_port(text("priorIP")?),
        backup: with_port(text("backupIP")?),
        msfs: text("msfsPrior").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_server_or_says_why_there_is_none() {
        let answer = br#"{"code":0,"msg":"","priorIP":"10.0.0.1","backupIP":"::1","port":"8000",
            "msfsPrior":"http://m/","msfsBackup":"http://m/","discovery":""}"#;
        let server = parse(answer).unwrap();
        assert_eq!((&*server.prior, &*server.backup), ("10.0.0.1:8000", "[::1]:8000"));
        assert_eq!(server.msfs, "http://m/");
        let error = parse(r#"{"code":2,"msg":"负载过高"}"#.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "refused: 负载过高 (code 2)");
        for (answer, missing) in
            [("", "JSON"), ("[]", "code"), (r#"{"code":0}"#, "port"), (r#"{"code":1}"#, "msg")]
        {
            let error = parse(answer.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
    }
}
