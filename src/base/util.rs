//! Small things with no better home: lists in configuration values, the pid file.

use std::path::{Path, PathBuf};
use std::{fs, io, process};

use thiserror::Error;

/// The items of a list such as `10.0.0.1;10.0.0.2`, without blanks around them.
///
/// C++: base/util.h CStrExplode
/// Differs: empty items are skipped; the original left their pointers uninitialised.
pub fn str_explode(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).map(str::trim).filter(|item| !item.is_empty())
}

/// The pid file could not be written.
#[derive(Debug, Error)]
#[error("cannot write pid file {}: {source}", path.display())]
pub struct PidFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes the number of this process, without a line end, for the scripts that stop a server.
///
/// C++: base/util.cpp writePid
/// Differs: the path is the caller's choice, and failing is an error instead of an abort.
pub fn write_pid(path: &Path) -> Result<(), PidFileError> {
    fs::write(path, process::id().to_string())
        .map_err(|source| PidFileError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explode(text: &str) -> Vec<&str> {
        str_explode(text, ';').collect()
    }

    #[test]
    fn f52_empty_items_are_skipped() {
        assert_eq!(explode("a;b"), ["a", "b"]);
        assert_eq!(explode("a;;b;"), ["a", "b"]);
        assert_eq!(explode(";a; \t;"), ["a"]);
        assert!(explode("").is_empty());
        assert!(explode(";;").is_empty());
    }

    #[test]
    fn blanks_around_an_item_do_not_belong_to_it() {
        assert_eq!(explode(" 10.0.0.1 ; ::1"), ["10.0.0.1", "::1"]);
    }

    #[test]
    fn the_pid_file_holds_the_bare_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.pid");
        fs::write(&path, "12345678901234567890").unwrap();
        write_pid(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), process::id().to_string());
    }

    #[test]
    fn a_failed_pid_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("server.pid");
        let error = write_pid(&path).unwrap_err().to_string();
        assert!(error.contains("missing/server.pid"), "{error}");
    }
}
