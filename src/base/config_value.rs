//! Types a configuration value can be read as.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;

use super::util::str_explode;

/// A type a configuration value can be read as.
pub trait ConfigValue: Sized {
    /// What a value has to be, as the end of the sentence "expected ..".
    const EXPECTED: &str;

    /// The value, or `None` if the text is not one.
    fn parse(text: &str) -> Option<Self>;
}

impl ConfigValue for String {
    const EXPECTED: &str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// `str::parse` would take "+5" as well.
macro_rules! impl_number {
    ($($number:ty, $expected:literal;)*) => {$(
        impl ConfigValue for $number {
            const EXPECTED: &str = $expected;

            fn parse(text: &str) -> Option<Self> {
                text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
            }
        }
    )*};
}

impl_number! {
    u16, "a number from 0 to 65535";
    u32, "a number from 0 to 4294967295";
    u64, "a number from 0 to 18446744073709551615";
    usize, "a number";
    NonZeroUsize, "a number from 1";
}

impl ConfigValue for bool {
    const EXPECTED: &str = "1, true, yes, on or 0, false, no, off";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

macro_rules! impl_address {
    ($($address:ty, $expected:literal;)*) => {$(
        impl ConfigValue for $address {
            const EXPECTED: &str = $expected;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

impl_address! {
    IpAddr, "an IPv4 or IPv6 address";
    Ipv4Addr, "an IPv4 address";
    Ipv6Addr, "an IPv6 address";
    SocketAddr, "an address and a port, such as 127.0.0.1:9000";
}

/// A host name or an address. Whether the name resolves is not known here.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host(pub String);

impl ConfigValue for Host {
    const EXPECTED: &str = "a host name or address";

    fn parse(text: &str) -> Option<Self> {
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = text.bytes().all(name) || text.parse::<IpAddr>().is_ok();
        (is_host && !text.is_empty()).then(|| Self(text.to_owned()))
    }
}

/// Hosts separated by `;`, at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostList(pub Vec<String>);

impl ConfigValue for HostList {
    const EXPECTED: &str = "host names or addresses separated by ';'";

    fn parse(text: &str) -> Option<Self> {
        let hosts = str_explode(text, ';')
            .map(|item| Host::parse(item).map(|host| host.0))
            .collect::<Option<Vec<_>>>()?;
        (!hosts.is_empty()).then_some(Self(hosts))
    }
}

/// A password or key: itself, `env:NAME` for what is in an environment variable, or `file:PATH` for
/// the first line of a file. So the configuration file need not be a secret (F21).
pub struct Secret(pub String);

impl ConfigValue for Secret {
    const EXPECTED: &str =
        "a secret, env:NAME with a variable that is set, or file:PATH with a file that can be read";

    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return std::env::var(name).ok().map(Self);
        }
        let Some(path) = text.strip_prefix("file:") else { return Some(Self(text.to_owned())) };
        let contents = std::fs::read_to_string(path).ok()?;
        contents.lines().next().map(|line| Self(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f21_a_secret_need_not_stand_in_the_file() {
        let secret = |text: &str| Secret::parse(text).map(|secret| secret.0);
        assert_eq!(secret("s3cret").unwrap(), "s3cret");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "from a file\nand more\n").unwrap();
        assert_eq!(secret(&format!("file:{}", path.display())).unwrap(), "from a file");
        // A variable that is always there.
        assert_eq!(secret("env:PATH"), std::env::var("PATH").ok());
        assert_eq!(
            (secret("env:NO_SUCH_VARIABLE_HERE"), secret("file:/no/such/file")),
            (None, None)
        );
    }

    #[test]
    fn numbers_are_digits_in_range() {
        assert_eq!(u16::parse("65535"), Some(65535));
        for text in ["65536", "-1", "+1", "0x10", "80a", "", "8 0", "٣"] {
            assert_eq!(u16::parse(text), None, "{text:?}");
        }
        assert_eq!(u32::parse("4294967295"), Some(u32::MAX));
        assert_eq!(u32::parse("4294967296"), None);
        assert_eq!(u64::parse("18446744073709551615"), Some(u64::MAX));
        assert_eq!(usize::parse("7"), Some(7));
        assert_eq!(NonZeroUsize::parse("0"), None);
    }

    #[test]
    fn switches_have_four_spellings() {
        for text in ["1", "true", "Yes", "ON"] {
            assert_eq!(bool::parse(text), Some(true));
        }
        for text in ["0", "False", "no", "off"] {
            assert_eq!(bool::parse(text), Some(false));
        }
        assert_eq!(bool::parse("2"), None);
    }

    #[test]
    fn addresses_are_of_their_family() {
        assert_eq!(Ipv4Addr::parse("127.0.0.1"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(Ipv4Addr::parse("::1"), None);
        assert_eq!(Ipv6Addr::parse("::1"), Some(Ipv6Addr::LOCALHOST));
        assert!(IpAddr::parse("::").is_some() && IpAddr::parse("0.0.0.0").is_some());
        assert_eq!(IpAddr::parse("256.0.0.1"), None);
        assert!(SocketAddr::parse("127.0.0.1:9000").is_some_and(|addr| addr.port() == 9000));
        assert!(SocketAddr::parse("[::1]:9000").is_some());
        assert!(["9000", "localhost:9000", "127.0.0.1"].map(SocketAddr::parse) == [None; 3]);
    }

    #[test]
    fn a_host_list_skips_empty_items_but_is_not_empty() {
        let hosts = |text| HostList::parse(text).map(|list| list.0.join(" "));
        assert_eq!(hosts("0.0.0.0;;localhost; ::1;"), Some("0.0.0.0 localhost ::1".to_owned()));
        assert_eq!(hosts(";"), None);
        assert_eq!(hosts("a,b"), None);
        assert_eq!(hosts("a b;c"), None);
    }
}
