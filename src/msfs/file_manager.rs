//! Where files lie, and what they are called.

use std::path::{Path, PathBuf};
use std::{fs, io};

use log::warn;
use uuid::Uuid;

use super::file_lin::File;

/// The largest file that is stored.
///
/// C++: msfs/FileManager.cpp FileManager::uploadFile
pub const FILE_SIZE_MAX: usize = 5 << 20;

/// The group number in front of every path.
const GROUP: &str = "g0";

/// Where files are written before they get their name.
const TEMP_DIR: &str = ".tmp";

/// The longest file name that is looked for.
const NAME_LEN_MAX: usize = 100;

/// What a target of a request can be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A path below the base directory: `ddd/ddd/name`.
    File(PathBuf),
    /// Of a form that no stored file has.
    NoFile,
    /// There is nothing behind the group.
    NoGroup,
}

/// The directory tree: `BaseDir/ddd/ddd/name`, called `g0/ddd/ddd/name` by clients.
///
/// C++: msfs/FileManager.h FileManager
/// Differs: keeps no content: the page cache of the system does, within its own bounds (F122).
#[derive(Debug)]
pub struct FileManager {
    base_dir: PathBuf,
}

impl FileManager {
    /// Uses `base_dir`, which is made if it is missing, and clears away what a crash left there.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    ///
    /// C++: msfs/FileManager.cpp FileManager::initDir
    /// Differs: directories below are made when their first file comes (F126).
    pub fn init_dir(base_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(base_dir.join(TEMP_DIR))?;
        // Without symbolic links, so that a path that meets one below can be told.
        let base_dir = base_dir.canonicalize()?;
        for entry in fs::read_dir(base_dir.join(TEMP_DIR))? {
            let path = entry?.path();
            if let Err(error) = fs::remove_file(&path) {
                warn!("unfinished file stays: path={} {error}", path.display());
            }
        }
        Ok(Self { base_dir })
    }

    /// A path that no other file has and nobody can guess. `extend` is what follows the unique
    /// part: `.jpg`, or `_100x80.jpg`.
    ///
    /// C++: msfs/FileManager.cpp FileManager::createFileRelatePath
    /// Differs: name and directories are random; there is no counter to lose (F9, F123).
    fn create_file_relate_path(extend: &str) -> String {
        let unique = Uuid::new_v4();
        let [first, second, ..] = *unique.as_bytes();
        format!("{first:03}/{second:03}/{}{extend}", unique.simple())
    }

    /// Stores a file and returns its path with the group, as it stands in URLs.
    ///
    /// # Errors
    /// The disk is full or fails.
    ///
    /// C++: msfs/FileManager.cpp FileManager::uploadFile
    /// Differs: an error is reported instead of asserted (F118).
    pub fn upload_file(&self, extend: &str, content: &[u8]) -> io::Result<String> {
        let relate_path = Self::create_file_relate_path(extend);
        let path = self.base_dir.join(&relate_path);
        let temp_path = self.base_dir.join(TEMP_DIR).join(Uuid::new_v4().simple().to_string());
        for dir in path.ancestors().skip(1).take(2).collect::<Vec<_>>().into_iter().rev() {
            File::mkdir_no_recursion(dir)?;
        }
        File::create(&temp_path, &path, content)?;
        Ok(format!("{GROUP}/{relate_path}"))
    }

    /// What lies behind the target of a request. Only the form of stored files is let through: two
    /// directories of three digits, and a name of letters, digits, `_`, `-` and dots that does not
    /// begin with a dot. So no target can lead out of the base directory.
    ///
    /// C++: msfs/FileManager.cpp FileManager::getRelatePathByUrl
    pub fn relate_path_by_url(target: &str) -> Target {
        let Some((_group, path)) = target.strip_prefix('/').and_then(|url| url.split_once('/'))
        else {
            return Target::NoGroup;
        };
        let parts: Vec<_> = path.split('/').collect();
        let is_dir = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
        let is_name = |part: &str| {
            let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            (1..=NAME_LEN_MAX).contains(&part.len())
                && !part.starts_with('.')
                && part.bytes().all(is_char)
        };
        match parts[..] {
            [first, second, name] if is_dir(first) && is_dir(second) && is_name(name) => {
                Target::File(PathBuf::from(path))
            }
            _ => Target::NoFile,
        }
    }

    /// Opens a stored file.
    ///
    /// # Errors
    /// There is none, it cannot be opened, or a symbolic link is on the way.
    ///
    /// C++: msfs/FileManager.cpp FileManager::downloadFileByUrl
    pub fn open(&self, relate_path: &Path) -> io::Result<File> {
        let path = self.base_dir.join(relate_path);
        if path.canonicalize()? != path {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open(&path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(target: &str) -> PathBuf {
        match FileManager::relate_path_by_url(target) {
            Target::File(path) => path,
            other => panic!("{target}: {other:?}"),
        }
    }

    #[test]
    fn f9_f123_names_are_random_and_spread_over_all_directories() {
        let paths: Vec<_> =
            (0..2000).map(|_| FileManager::create_file_relate_path("_1x2.jpg")).collect();
        let mut first_dirs = [false; 256];
        for path in &paths {
            let parts: Vec<_> = path.split('/').collect();
            assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [3, 3, 32 + 8]);
            first_dirs[parts[0].parse::<usize>().unwrap()] = true;
        }
        // 2000 throws at 256 directories leave one out of reach with a chance of 1 in 2500.
        assert!(first_dirs.iter().filter(|hit| **hit).count() > 240);
        let mut names = paths;
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2000);
    }

    #[test]
    fn a_stored_file_is_found_again_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let manager = FileManager::init_dir(&dir.path().join("a/b")).unwrap();
        let path = manager.upload_file(".png", b"content").unwrap();
        assert!(path.starts_with("g0/") && path.ends_with(".png"), "{path}");
        let manager = FileManager::init_dir(&dir.path().join("a/b")).unwrap();
        let found = manager.open(&file(&format!("/{path}"))).unwrap();
        assert_eq!(found.read(0, 7).unwrap(), b"content");
        // The group is not looked at.
        assert_eq!(file(&path.replacen("g0", "/g7", 1)), file(&format!("/{path}")));
    }

    #[test]
    fn f126_directories_are_made_when_needed() {
        let dir = tempfile::tempdir().unwrap();
        let manager = FileManager::init_dir(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        manager.upload_file(".png", b"x").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_crash_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        FileManager::init_dir(dir.path()).unwrap();
        let left = dir.path().join(".tmp/half");
        fs::write(&left, b"ha").unwrap();
        FileManager::init_dir(dir.path()).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn no_target_leads_out_of_the_base_directory() {
        for target in [
            "/g0/../../etc/passwd",
            "/g0/000/000/..",
            "/g0/000/../passwd",
            "/g0//etc/passwd",
            "//etc/passwd",
            "/g0/000/000/%2e%2e",
            "/g0/000/000/%2e%2e%2fpasswd",
            "/g0/000/000/a%00.jpg",
            "/g0/000/000/a\0.jpg",
            "/g0/000/000/.hidden",
            "/g0/.tmp/000/a.jpg",
            "/g0/000/000/a/b.jpg",
            "/g0/000/000/",
            "/g0/00/000/a.jpg",
            "/g0/0000/000/a.jpg",
            "/g0/\u{661}\u{661}/000/a.jpg",
            "/g0/000/000/a\\b.jpg",
            "/g0/000/000/a.jpg?x",
            "/g0/",
            "http://h/g0/000/000/a.jpg",
        ] {
            let found = FileManager::relate_path_by_url(target);
            assert!(!matches!(found, Target::File(_)), "{target:?}");
        }
        let long = format!("/g0/000/000/{}", "a".repeat(NAME_LEN_MAX + 1));
        assert_eq!(FileManager::relate_path_by_url(&long), Target::NoFile);
        for target in ["/", "/g0", "", "*", "g0/000"] {
            assert_eq!(FileManager::relate_path_by_url(target), Target::NoGroup, "{target:?}");
        }
        // A name the original gave.
        file("/g0/000/017/1406601234567890_140213_100x80.JPG");
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let manager = FileManager::init_dir(&dir.path().join("base")).unwrap();
        let base = dir.path().join("base");
        fs::write(dir.path().join("secret"), b"s").unwrap();
        fs::create_dir_all(base.join("000/000")).unwrap();
        fs::write(base.join("000/000/real.jpg"), b"r").unwrap();
        symlink(dir.path().join("secret"), base.join("000/000/link.jpg")).unwrap();
        symlink(base.join("000"), base.join("001")).unwrap();
        manager.open(Path::new("000/000/real.jpg")).unwrap();
        for path in ["000/000/link.jpg", "001/000/real.jpg", "000/000", "002/000/none.jpg"] {
            assert!(manager.open(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn f118_a_disk_that_fails_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let manager = FileManager::init_dir(dir.path()).unwrap();
        fs::remove_dir(dir.path().join(TEMP_DIR)).unwrap();
        manager.upload_file(".png", b"x").unwrap_err();
    }
}
