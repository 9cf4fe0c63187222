//! Files and directories that survive a power failure, and never turn out to be something else.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a plain file for reading.
///
/// # Errors
/// It cannot be opened, or is a directory or anything else without a content of its own.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened: opening a pipe would wait for somebody to write.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    File::open(path)
}

/// Makes one directory below an existing one, unless it is there.
///
/// # Errors
/// The disk is full or fails, or something else has this name.
pub fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes what was renamed or created in a directory survive a power failure.
///
/// # Errors
/// The disk fails.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    // The parent of a relative name without directories is empty.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"text").unwrap();
        assert!(open(&path).is_ok());
        symlink(&path, dir.path().join("link")).unwrap();
        for name in ["link", ".", "none", "file/below"] {
            assert!(open(&dir.path().join(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_is_made_once_and_never_instead_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        make_dir(&path).unwrap();
        make_dir(&path).unwrap();
        assert!(path.is_dir());
        fs::write(dir.path().join("b"), b"").unwrap();
        assert!(make_dir(&dir.path().join("b")).is_err());
        assert!(make_dir(&dir.path().join("no/such")).is_err());
        sync_dir(Path::new("")).unwrap();
    }
}
