//! Which of the two addresses of a msg_server a client should try first.

use std::net::IpAddr;

use crate::base::allow_list::AllowList;
use crate::base::config_file_reader::{ConfigError, ConfigFileReader};

/// Tells the carriers apart.
///
/// C++: login_server/ipparser.h IpParser
#[derive(Clone, Debug, Default)]
pub struct IpParser {
    telecom: AllowList,
}

impl IpParser {
    /// Reads the key `TelecomIP`, a list of networks.
    ///
    /// # Errors
    /// The value is no such list.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        Ok(Self { telecom: config.get_opt("TelecomIP")?.unwrap_or_default() })
    }

    /// Whether the first address of a msg_server is the nearer one for this client. Without a list,
    /// it is for everybody.
    ///
    /// C++: login_server/ipparser.cpp IpParser::isTelcome
    /// Differs: the networks of the carrier may be configured (F57).
    pub fn is_telecom(&self, ip: IpAddr) -> bool {
        self.telecom.allows(ip)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ip_parser(text: &str) -> IpParser {
        let mut config = ConfigFileReader::parse(Path::new("loginserver.conf"), text.as_bytes());
        IpParser::read(&mut config).unwrap()
    }

    #[test]
    fn f57_without_a_list_everybody_prefers_the_first_address() {
        for ip in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1"] {
            assert!(ip_parser("").is_telecom(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn f57_a_list_of_networks_tells_the_carriers_apart() {
        let ip_parser = ip_parser("TelecomIP=58.32.0.0/11;240e::/20\n");
        for (ip, telecom) in [
            ("58.63.255.255", true),
            ("::ffff:58.32.0.1", true),
            ("240e:fff::1", true),
            ("58.64.0.0", false),
            ("2408::1", false),
        ] {
            assert_eq!(ip_parser.is_telecom(ip.parse().unwrap()), telecom, "{ip}");
        }
    }
}
