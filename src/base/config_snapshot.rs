//! What a configuration file said when the server started, for a server that reads it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::command_line::CommonOptions;
use super::config_file_reader::{ConfigError, ConfigFileReader};

/// The file and its values.
#[derive(Clone, Debug)]
pub struct ConfigSnapshot {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl ConfigSnapshot {
    /// Of a file that was just read.
    pub fn of(config: &ConfigFileReader) -> Self {
        let values = config.entries().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { path: config.path().to_owned(), values: values.collect() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again, as at the start. Keys without effect are logged.
    ///
    /// # Errors
    /// The server could not start with it.
    pub fn read_again<C>(
        &self,
        read: impl FnOnce(&mut ConfigFileReader) -> Result<C, ConfigError>,
    ) -> Result<C, ConfigError> {
        let mut config = ConfigFileReader::load(&self.path)?;
        CommonOptions::read(&mut config)?;
        let value = read(&mut config)?;
        config.log_warnings();
        Ok(value)
    }

    /// Keys whose value in the other file is another one, or that only one of them has.
    pub fn changed<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let keys = self.values.keys().chain(other.values.keys());
        keys.filter(|key| self.values.get(*key) != other.values.get(*key))
            .map(String::as_str)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn snapshot(text: &str) -> ConfigSnapshot {
        ConfigSnapshot::of(&ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes()))
    }

    #[test]
    fn what_was_changed_added_or_removed_is_named() {
        let (old, new) = (snapshot("a=1\nb=1\nc=1\n"), snapshot("d=1\nc=2\na=1 # same\n"));
        assert_eq!(old.changed(&new), ["b", "c", "d"].into());
        assert_eq!(old.changed(&old), [].into());
    }

    #[test]
    fn the_file_is_read_as_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.conf");
        fs::write(&path, "port=1\n").unwrap();
        let snapshot = ConfigSnapshot::of(&ConfigFileReader::load(&path).unwrap());
        let port = || snapshot.read_again(|config| config.get::<u16>("port"));
        fs::write(&path, "port=2\n").unwrap();
        assert_eq!(port().unwrap(), 2);
        for (wrong, named) in [("", "port is missing"), ("port=2\nLogLevel=loud\n", "LogLevel")] {
            fs::write(&path, wrong).unwrap();
            assert!(port().unwrap_err().to_string().contains(named));
        }
        fs::remove_file(&path).unwrap();
        assert!(port().unwrap_err().to_string().contains("cannot read"));
    }
}
