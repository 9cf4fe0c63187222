//! The log of one server, which does not grow for ever.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// A log that would become larger than this is renamed to `.log.old`, in place of the one before,
/// and begins anew: a server never has more than twice as much.
pub const LOG_LEN_MAX: u64 = 16 << 20;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct RotatingLog {
    path: PathBuf,
    file: File,
    len: u64,
    len_max: u64,
}

impl RotatingLog {
    /// Goes on with the file, if there is one.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: PathBuf, len_max: u64) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(&path);
        let file = open().with_context(|| path.display().to_string())?;
        let len = file.metadata().map_or(0, |meta| meta.len());
        Ok(Self { path, file, len, len_max })
    }

    /// Appends a line. A full disk must not stop the server, which would wait for somebody to read
    /// what it says: then the line is lost.
    pub(super) fn write_line(&mut self, line: &str) {
        let added = line.len() as u64 + 1;
        if self.len > 0 && self.len + added > self.len_max {
            self.rotate();
        }
        // In one call, so that it is whole or not there.
        if self.file.write_all(format!("{line}\n").as_bytes()).is_ok() {
            self.len += added;
        }
    }

    /// If the file cannot be renamed, it is emptied rather than let grow.
    fn rotate(&mut self) {
        if fs::rename(&self.path, self.path.with_extension("log.old")).is_err() {
            // In vain only where writing is in vain as well.
            let _ = self.file.set_len(0);
        } else if let Ok(file) = OpenOptions::new().create(true).append(true).open(&self.path) {
            self.file = file;
        } else {
            // What is open is the old one now.
            let _ = self.file.set_len(0);
        }
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_anew_when_it_is_full_and_one_old_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("msfs.log");
        let read = |extension| fs::read_to_string(path.with_extension(extension));
        let mut log = RotatingLog::open(path.clone(), 12).unwrap();
        for line in ["one", "two", "six"] {
            log.write_line(line);
        }
        assert_eq!(read("log").unwrap(), "one\ntwo\nsix\n");
        assert!(read("log.old").is_err());
        log.write_line("ten");
        assert_eq!((read("log").unwrap().as_str(), read("log.old").unwrap().len()), ("ten\n", 12));
        // The next start goes on where this one has ended.
        drop(log);
        let mut log = RotatingLog::open(path.clone(), 12).unwrap();
        log.write_line("1234567");
        log.write_line("longer than all of it");
        assert_eq!(read("log.old").unwrap(), "ten\n1234567\n");
        for number in 0..1000 {
            log.write_line(&number.to_string());
            let lens = ["log", "log.old"].map(|extension| read(extension).unwrap().len());
            assert!(lens.iter().all(|len| *len <= 22), "{lens:?}");
        }
        assert_eq!(read("log").unwrap(), "999\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_renamed_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("msfs.log");
        // A directory with something in it is in the way.
        fs::create_dir_all(path.with_extension("log.old").join("x")).unwrap();
        let mut log = RotatingLog::open(path.clone(), 8).unwrap();
        for line in ["one", "two", "six"] {
            log.write_line(line);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "six\n");
    }
}
