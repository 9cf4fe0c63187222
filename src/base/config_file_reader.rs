//! The servers' configuration files: `key = value` lines with `#` comments.
//!
//! Reading is strict where the original was silent: a missing key and a value of the wrong type
//! are errors that name file and key, and whatever the file says in vain is a warning.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, hash_map};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use log::warn;
use thiserror::Error;

use super::config_rewrite::{replace_file, with_value};
use super::config_value::{ConfigValue, Host};
pub use super::config_warning::{ConfigWarning, ConfigWarningKind};

/// Larger files are not configuration.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Why the configuration cannot be used. At start this is the line on stderr.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than [`CONFIG_BYTES_MAX`].
    #[error("{}: larger than {CONFIG_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A key without which the server cannot run.
    #[error("{}: key {key} is missing", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value of the wrong type or out of range.
    #[error("{}: {key}={value} is wrong, expected {expected}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value as it stands in the file.
        value: String,
        /// What it should have been.
        expected: String,
    },
    /// Key or value cannot be expressed in the syntax of the file.
    #[error("{}: {key}={value:?} cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The file cannot be replaced.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The contents of one configuration file. Remembers what it was asked for.
///
/// C++: base/ConfigFileReader.h CConfigFileReader
/// Differs: lines have no limit, carriage returns are trimmed, and what is missing is an error.
#[derive(Debug)]
pub struct ConfigFileReader {
    path: PathBuf,
    entries: HashMap<String, Entry>,
    warnings: BTreeSet<ConfigWarning>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    value: String,
    asked: bool,
}

impl ConfigFileReader {
    /// Reads a file.
    ///
    /// C++: base/ConfigFileReader.cpp CConfigFileReader::_LoadFile
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::parse(path, &read_file(path)?))
    }

    /// Reads the contents of a file; `path` is for messages.
    pub fn parse(path: &Path, contents: &[u8]) -> Self {
        let mut config =
            Self { path: path.to_owned(), entries: HashMap::new(), warnings: BTreeSet::new() };
        for (index, line) in contents.split(|&byte| byte == b'\n').enumerate() {
            config.parse_line(index + 1, line);
        }
        config
    }

    /// C++: base/ConfigFileReader.cpp CConfigFileReader::_ParseLine
    fn parse_line(&mut self, line: usize, bytes: &[u8]) {
        let text = String::from_utf8_lossy(without_comment(line, bytes));
        if matches!(text, Cow::Owned(_)) {
            self.warn(line, ConfigWarningKind::NotUtf8);
        }
        let Some((key, value)) = text.split_once('=') else {
            if !trim_space(&text).is_empty() {
                self.warn(line, ConfigWarningKind::NoEqualSign);
            }
            return;
        };
        let (key, value) = (trim_space(key).to_owned(), trim_space(value).to_owned());
        if key.is_empty() {
            self.warn(line, ConfigWarningKind::EmptyKey);
        } else if value.is_empty() {
            self.warn(line, ConfigWarningKind::EmptyValue(key));
        } else if let Some(key) = self.insert_first(line, key, value) {
            self.warn(line, ConfigWarningKind::Duplicate(key));
        }
    }

    /// Gives the key back if it is there already.
    fn insert_first(&mut self, line: usize, key: String, value: String) -> Option<String> {
        match self.entries.entry(key) {
            hash_map::Entry::Occupied(occupied) => Some(occupied.key().clone()),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Entry { line, value, asked: false });
                None
            }
        }
    }

    /// The file this was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value as it stands in the file. It is not asked for thereby.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.value.as_str())
    }

    /// All keys with their values, as they stand in the file, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// The value of a key the server cannot do without.
    ///
    /// C++: base/ConfigFileReader.cpp CConfigFileReader::GetConfigName
    /// Differs: a number followed by letters is refused; `atoi` read its beginning.
    pub fn get<T: ConfigValue>(&mut self, key: &str) -> Result<T, ConfigError> {
        self.get_opt(key)?
            .ok_or_else(|| ConfigError::MissingKey { path: self.path.clone(), key: key.to_owned() })
    }

    /// The value of a key, if it is there.
    pub fn get_opt<T: ConfigValue>(&mut self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.entries.get_mut(key) else {
            return Ok(None);
        };
        entry.asked = true;
        let value = T::parse(&entry.value);
        if value.is_none() {
            return Err(self.bad_value(key, T::EXPECTED));
        }
        Ok(value)
    }

    /// The value of a key, or the default if it is not there.
    pub fn get_or<T: ConfigValue>(&mut self, key: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.get_opt(key)?.unwrap_or(default))
    }

    /// Servers to connect to: `<ip_key>1` and `<port_key>1`, then 2 and so on. May be empty.
    ///
    /// C++: base/ServInfo.cpp read_server_config
    /// Differs: numbers behind a gap, or without partner, are reported; they are still not used.
    pub fn read_server_config(
        &mut self,
        ip_key: &str,
        port_key: &str,
    ) -> Result<Vec<(String, u16)>, ConfigError> {
        let mut servers = Vec::new();
        loop {
            let number = servers.len() + 1;
            let (ip_key, port_key) = (format!("{ip_key}{number}"), format!("{port_key}{number}"));
            if !(self.entries.contains_key(&ip_key) && self.entries.contains_key(&port_key)) {
                break;
            }
            servers.push((self.get::<Host>(&ip_key)?.0, self.get(&port_key)?));
        }
        for (key, entry) in &mut self.entries {
            let numbered = [ip_key, port_key]
                .iter()
                .filter_map(|prefix| key.strip_prefix(prefix))
                .any(|number| number.parse::<u32>().is_ok());
            if numbered && !entry.asked {
                entry.asked = true;
                let kind = ConfigWarningKind::OutOfSequence(key.clone());
                self.warnings.insert(ConfigWarning { line: entry.line, kind });
            }
        }
        Ok(servers)
    }

    /// The error for a value of `key` that is of the right type and still wrong.
    pub fn bad_value(&self, key: &str, expected: &str) -> ConfigError {
        ConfigError::BadValue {
            path: self.path.clone(),
            key: key.to_owned(),
            value: self.entries.get(key).map(|entry| entry.value.clone()).unwrap_or_default(),
            expected: expected.to_owned(),
        }
    }

    /// Keys of the file that were never asked for, by line.
    pub fn unknown_keys(&self) -> Vec<ConfigWarning> {
        let mut unknown: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.asked)
            .map(|(key, entry)| ConfigWarning {
                line: entry.line,
                kind: ConfigWarningKind::Unknown(key.clone()),
            })
            .collect();
        unknown.sort_unstable();
        unknown
    }

    /// All the file says in vain, by line. Complete once every key was asked for.
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        let mut all: Vec<_> = self.warnings.iter().cloned().chain(self.unknown_keys()).collect();
        all.sort_unstable();
        all
    }

    /// Logs each of [`ConfigFileReader::warnings`] once.
    pub fn log_warnings(&self) {
        for warning in self.warnings() {
            warn!("{}: {warning}", self.path.display());
        }
    }

    /// Sets a value in the file. All other lines stay as they are, and a reader of the file sees
    /// the old or the new contents, nothing between.
    ///
    /// C++: base/ConfigFileReader.cpp CConfigFileReader::SetConfigValue
    /// Differs: keeps comments, order and long values, and what was edited since the start.
    pub fn set_config_value(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let unfit = |text: &str| {
            text.is_empty() || trim_space(text) != text || text.contains(['#', '\n', '\r', '\0'])
        };
        if unfit(key) || key.contains('=') || unfit(value) {
            let (key, value) = (key.to_owned(), value.to_owned());
            return Err(ConfigError::Unwritable { path: self.path.clone(), key, value });
        }
        let contents = with_value(&read_file(&self.path)?, key, value);
        replace_file(&self.path, &contents)
            .map_err(|source| ConfigError::Write { path: self.path.clone(), source })?;
        if let Some(entry) = self.entries.get_mut(key) {
            value.clone_into(&mut entry.value);
        } else {
            let line = contents.split(|&byte| byte == b'\n').count() - 1;
            self.entries
                .insert(key.to_owned(), Entry { line, value: value.to_owned(), asked: true });
        }
        Ok(())
    }

    fn warn(&mut self, line: usize, kind: ConfigWarningKind) {
        self.warnings.insert(ConfigWarning { line, kind });
    }
}

/// A line without its comment.
pub(super) fn without_comment(number: usize, line: &[u8]) -> &[u8] {
    // Some editors begin a file with a byte order mark; it would become part of the key.
    let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
    line.split(|&byte| byte == b'#').next().unwrap_or_default()
}

/// C++: base/ConfigFileReader.cpp CConfigFileReader::_TrimSpace
pub(super) fn trim_space(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let read = || {
        let mut contents = Vec::new();
        File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut contents)?;
        Ok(contents)
    };
    let contents = read().map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if contents.len() as u64 > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::super::config_value::HostList;
    use super::*;

    fn config(text: &str) -> ConfigFileReader {
        ConfigFileReader::parse(Path::new("conf/x.conf"), text.as_bytes())
    }

    fn told(warnings: &[ConfigWarning]) -> Vec<String> {
        warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_equal_sign_splits_and_blanks_are_trimmed() {
        let mut config = config("a=1\n \tb c \t=\t x = y \n");
        assert_eq!(config.get::<String>("a").unwrap(), "1");
        assert_eq!(config.get::<String>("b c").unwrap(), "x = y");
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn a_comment_begins_anywhere() {
        let mut config = config("# a=1\na=2 # two\nb=x#y\n  # end");
        assert_eq!(config.get::<String>("a").unwrap(), "2");
        assert_eq!(config.get::<String>("b").unwrap(), "x");
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn f50_carriage_returns_and_a_byte_order_mark_are_not_part_of_a_value() {
        let mut config = config("\u{feff}ListenIP=0.0.0.0\r\n\r\nListenPort=8000\r\n");
        assert_eq!(config.get::<String>("ListenIP").unwrap(), "0.0.0.0");
        assert_eq!(config.get::<u16>("ListenPort").unwrap(), 8000);
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn f50_a_file_that_cannot_be_opened_is_an_error() {
        let error = ConfigFileReader::load(Path::new("/nonexistent/msg_server.conf")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/msg_server.conf: "));
    }

    #[test]
    fn f51_a_missing_key_is_named_with_its_file() {
        let error = config("a=1").get::<u16>("ListenPort").unwrap_err();
        assert_eq!(error.to_string(), "conf/x.conf: key ListenPort is missing");
    }

    #[test]
    fn a_wrong_value_is_told_with_what_was_expected() {
        let mut config = config("ListenPort=80a\nHosts=a b");
        assert_eq!(
            config.get::<u16>("ListenPort").unwrap_err().to_string(),
            "conf/x.conf: ListenPort=80a is wrong, expected a number from 0 to 65535"
        );
        assert!(config.get_opt::<HostList>("Hosts").is_err());
        assert!(config.get_or::<u32>("ListenPort", 1).is_err(), "a default hides no mistake");
    }

    #[test]
    fn defaults_serve_absent_keys_only() {
        let mut config = config("a=5");
        assert_eq!(config.get_or("a", 1u32).unwrap(), 5);
        assert_eq!(config.get_or("b", 1u32).unwrap(), 1);
        assert_eq!(config.get_opt::<u32>("b").unwrap(), None);
    }

    #[test]
    fn the_first_of_two_equal_keys_wins_and_the_second_is_told() {
        let mut config = config("a=1\nb=2\na=3");
        assert_eq!(config.get::<u32>("a").unwrap(), 1);
        assert_eq!(config.get::<u32>("b").unwrap(), 2);
        assert_eq!(told(&config.warnings()), ["line 3: ignored, key a is set further up"]);
    }

    #[test]
    fn malformed_lines_are_told_by_number() {
        let contents = b"nonsense\n= 1\nb=\na=\xff\n";
        let mut config = ConfigFileReader::parse(Path::new("x"), contents);
        assert_eq!(config.get::<String>("a").unwrap(), "\u{fffd}");
        assert_eq!(
            told(&config.warnings()),
            [
                "line 1: ignored, there is no '='",
                "line 2: ignored, there is no key",
                "line 3: ignored, key b has no value",
                "line 4: is not UTF-8",
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_told_exactly_once() {
        let mut config = config("typo=1\na=1\ntypo=2\n");
        config.get::<u32>("a").unwrap();
        assert_eq!(told(&config.unknown_keys()), ["line 1: key typo is unknown"]);
        assert_eq!(config.warnings().len(), 2, "the second is a duplicate");
    }

    #[test]
    fn numbered_servers_end_at_the_first_gap() {
        let mut config = config("IP1=a\nPort1=1\nIP2=::1\nPort2=2\nIP4=d\nPort4=4\nIP3=c\nIPs=x\n");
        let servers = config.read_server_config("IP", "Port").unwrap();
        assert_eq!(servers, [("a".to_owned(), 1), ("::1".to_owned(), 2)]);
        assert_eq!(
            told(&config.warnings()),
            [
                "line 5: ignored, key IP4 is out of sequence or has no partner",
                "line 6: ignored, key Port4 is out of sequence or has no partner",
                "line 7: ignored, key IP3 is out of sequence or has no partner",
                "line 8: key IPs is unknown",
            ]
        );
        assert!(config.read_server_config("No", "Such").unwrap().is_empty());
    }

    #[test]
    fn a_service_can_refuse_a_value_in_the_same_words() {
        let error = config("ThreadNum=0").bad_value("ThreadNum", "at least 1");
        assert_eq!(error.to_string(), "conf/x.conf: ThreadNum=0 is wrong, expected at least 1");
    }

    fn in_file(contents: &str) -> (tempfile::TempDir, ConfigFileReader) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("msfs.conf");
        fs::write(&path, contents).unwrap();
        let config = ConfigFileReader::load(&path).unwrap();
        (dir, config)
    }

    #[test]
    fn setting_a_value_keeps_everything_else() {
        let before = "# files\r\nFileCnt =\t7 # so far\r\nFileCnt=9\r\nBaseDir=/a";
        let (_dir, mut config) = in_file(before);
        config.set_config_value("FileCnt", "1234").unwrap();
        assert_eq!(config.get::<u32>("FileCnt").unwrap(), 1234);
        let after = fs::read_to_string(config.path()).unwrap();
        assert_eq!(after, before.replace("7 #", "1234 #"));
    }

    #[test]
    fn setting_a_new_key_appends_a_line() {
        let (dir, mut config) = in_file("#FileCnt=1\nFileCnt=\na=b");
        config.set_config_value("FileCnt", "0").unwrap();
        let after = fs::read_to_string(config.path()).unwrap();
        assert_eq!(after, "#FileCnt=1\nFileCnt=\na=b\nFileCnt=0\n");
        assert_eq!(config.get::<u32>("FileCnt").unwrap(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn setting_a_value_respects_what_was_edited_meanwhile() {
        let (_dir, mut config) = in_file("a=1\nFileCnt=1\n");
        fs::write(config.path(), "a=2\nb=3\nFileCnt=1\n").unwrap();
        config.set_config_value("FileCnt", "2").unwrap();
        assert_eq!(fs::read_to_string(config.path()).unwrap(), "a=2\nb=3\nFileCnt=2\n");
    }

    #[test]
    fn a_value_the_syntax_cannot_hold_is_refused() {
        let (_dir, mut config) = in_file("a=1\n");
        for (key, value) in [("a", "x#y"), ("a", "x\nb=2"), ("a", ""), ("a", " x"), ("a=b", "x")] {
            assert!(config.set_config_value(key, value).is_err(), "{key}={value:?}");
        }
        assert_eq!(fs::read_to_string(config.path()).unwrap(), "a=1\n");
    }

    proptest! {
        #[test]
        fn any_file_is_survived(contents: Vec<u8>) {
            ConfigFileReader::parse(Path::new("x"), &contents).warnings();
        }
    }
}
