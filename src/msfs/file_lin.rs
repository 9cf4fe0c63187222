//! One file: stored whole or not at all, read piece by piece.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::base::plain_file;

/// A stored file, open for reading.
///
/// C++: msfs/FileLin.h File
/// Differs: opened for reading only, without a lock, and an error is a value (F127).
#[derive(Debug)]
pub struct File {
    file: fs::File,
    size: u64,
    etag: String,
}

impl File {
    /// Opens a plain file.
    ///
    /// # Errors
    /// It cannot be opened, or is a directory or anything else without a content of its own.
    ///
    /// C++: msfs/FileLin.cpp File::open
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = plain_file::open(path)?;
        let meta = file.metadata()?;
        let etag = format!("\"{:x}-{:x}-{:x}\"", meta.len(), meta.mtime(), meta.mtime_nsec());
        Ok(Self { file, size: meta.len(), etag })
    }

    /// Bytes at the time it was opened.
    ///
    /// C++: msfs/FileLin.cpp File::getSize
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Names this content among all that the path had or will have, in the form of the HTTP header.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Reads exactly `len` bytes.
    ///
    /// # Errors
    /// The file has become shorter, or cannot be read.
    ///
    /// C++: msfs/FileLin.cpp File::read
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; len];
        self.file.read_exact_at(&mut buf, offset)?;
        Ok(buf)
    }

    /// Stores a new file under `path`. Nobody sees it before it is complete and on the disk, and
    /// after an error nothing is left of it.
    ///
    /// # Errors
    /// The disk is full or fails, or a directory is missing.
    ///
    /// C++: msfs/FileLin.cpp File::create
    /// Differs: written under another name, which is then replaced (F118).
    pub fn create(temp_path: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
        let result = Self::write(temp_path, content).and_then(|()| fs::rename(temp_path, path));
        if result.is_err() {
            // Whether or not there is one: the first error is the one to report.
            let _ = fs::remove_file(temp_path);
        }
        result?;
        path.parent().map_or(Ok(()), Self::sync)
    }

    /// C++: msfs/FileLin.cpp File::write
    fn write(path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Makes what was renamed or created in a directory survive a power failure.
    ///
    /// C++: msfs/FileLin.cpp File::sync
    pub fn sync(dir: &Path) -> io::Result<()> {
        plain_file::sync_dir(dir)
    }

    /// Makes one directory below an existing one, unless it is there.
    ///
    /// C++: msfs/FileLin.cpp File::mkdirNoRecursion
    pub fn mkdir_no_recursion(path: &Path) -> io::Result<()> {
        plain_file::make_dir(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn f127_a_file_nobody_may_write_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        File::create(&dir.path().join("t"), &path, b"content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!((file.size(), file.read(3, 4).unwrap()), (7, b"tent".to_vec()));
        assert!(file.read(3, 5).is_err());
        assert!(File::open(&dir.path().join("none")).is_err());
        assert!(File::open(dir.path()).is_err());
    }

    #[test]
    fn what_cannot_be_stored_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let temp_path = dir.path().join("t");
        File::create(&temp_path, &dir.path().join("no/such/dir"), b"x").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_content_has_another_etag() {
        let dir = tempfile::tempdir().unwrap();
        let (temp_path, path) = (dir.path().join("t"), dir.path().join("a"));
        File::create(&temp_path, &path, b"one").unwrap();
        let etag = File::open(&path).unwrap().etag().to_owned();
        assert_eq!(File::open(&path).unwrap().etag(), etag);
        File::create(&temp_path, &path, b"three").unwrap();
        assert_ne!(File::open(&path).unwrap().etag(), etag);
    }
}
