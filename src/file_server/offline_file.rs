//! Offline files on the disk. Only workers, and the start, run what is in here.
//!
//! ```text
//! <OfflineFileDir>/lock                                   held while a file_server runs
//!                 /<first two characters>/<task id>       a stored file: header, then its bytes
//!                 /<first two characters>/<task id>.part  one that is being uploaded
//! ```

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use log::{info, warn};
use md5::{Digest, Md5};

use super::task_id::TaskId;
use crate::base::plain_file;

/// Bytes before those of the file.
pub const OFFLINE_FILE_HEADER_LEN: usize = 960;

/// An upload is written under its later name and this.
const PART: &str = "part";

/// Says that a checksum follows. It stands where the original has the file name, behind the NUL
/// that ends it: to the original the name is empty, as it is in its own files.
const CHECKSUM_MARK: &[u8] = b"md5:";

/// Where a field of the header begins and ends. Fields are text, filled up with NUL.
type Field = std::ops::Range<usize>;
const TASK_ID: Field = 0..128;
const FROM_USER_ID: Field = 128..192;
const TO_USER_ID: Field = 192..256;
const CREATE_TIME: Field = 256..384;
const FILE_NAME: Field = 384..896;
const CHECKSUM: Field = 385..421;
const FILE_SIZE: Field = 896..960;

/// What stands before the bytes of an offline file.
///
/// C++: file_server/transfer_task.h OfflineFileHeader
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OfflineFileHeader {
    /// The name of the file, too.
    pub task_id: TaskId,
    /// Who uploaded it.
    pub from_user_id: u32,
    /// Who may fetch it.
    pub to_user_id: u32,
    /// Unix seconds.
    pub create_time: u32,
    /// Bytes behind the header.
    pub file_size: u32,
    /// MD5 of these bytes. Files of the original have none.
    pub checksum: Option<[u8; 16]>,
}

impl OfflineFileHeader {
    fn to_bytes(self) -> [u8; OFFLINE_FILE_HEADER_LEN] {
        let mut bytes = [0; OFFLINE_FILE_HEADER_LEN];
        let mut put = |field: Field, text: &[u8]| {
            bytes[field.start..field.start + text.len()].copy_from_slice(text);
        };
        put(TASK_ID, self.task_id.text().as_bytes());
        put(FROM_USER_ID, self.from_user_id.to_string().as_bytes());
        put(TO_USER_ID, self.to_user_id.to_string().as_bytes());
        put(CREATE_TIME, self.create_time.to_string().as_bytes());
        put(FILE_SIZE, self.file_size.to_string().as_bytes());
        if let Some(checksum) = self.checksum {
            let digits: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
            put(CHECKSUM, &[CHECKSUM_MARK, digits.as_bytes()].concat());
        }
        bytes
    }

    fn parse(bytes: &[u8; OFFLINE_FILE_HEADER_LEN]) -> Option<Self> {
        let text = |field: Field| {
            let field = bytes[field].split(|byte| *byte == 0).next().unwrap_or_default();
            std::str::from_utf8(field).ok()
        };
        let number = |field: Field| {
            text(field).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
        };
        let checksum = match bytes[FILE_NAME.start] {
            0 => bytes[CHECKSUM].strip_prefix(CHECKSUM_MARK),
            _ => None,
        };
        Some(Self {
            task_id: TaskId::parse(text(TASK_ID)?)?,
            from_user_id: number(FROM_USER_ID)?,
            to_user_id: number(TO_USER_ID)?,
            create_time: number(CREATE_TIME)?,
            file_size: number(FILE_SIZE)?,
            checksum: checksum.and_then(parse_digits),
        })
    }
}

fn parse_digits(digits: &[u8]) -> Option<[u8; 16]> {
    let mut checksum = [0; 16];
    for (byte, pair) in checksum.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(checksum)
}

/// The directory of all offline files.
#[derive(Debug)]
pub struct OfflineFiles {
    dir: PathBuf,
    /// Locked: another file_server would take the uploads of this one for remains.
    _lock: File,
}

impl OfflineFiles {
    /// Makes the directory, if it is missing, and keeps others out of it.
    ///
    /// # Errors
    /// It cannot be made or written, or another file_server uses it.
    ///
    /// C++: file_server/transfer_task.cpp GetCurrentOfflinePath
    /// Differs: the directory is configured, and no second file_server gets it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let lock = || {
            fs::create_dir_all(dir)?;
            let mut options = OpenOptions::new();
            let lock = options.write(true).create(true).truncate(false).open(dir.join("lock"))?;
            lock.try_lock()?;
            Ok(lock)
        };
        Ok(Self { _lock: lock().map_err(|error| named(dir, &error))?, dir: dir.to_owned() })
    }

    /// Bytes that can still be stored on the disk.
    ///
    /// # Errors
    /// The system does not know.
    pub fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The headers of all stored files. Uploads that the last run did not finish are deleted: what
    /// became of their last blocks is not known.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn scan(&self) -> io::Result<Vec<OfflineFileHeader>> {
        self.scan_dirs().map_err(|error| named(&self.dir, &error))
    }

    fn scan_dirs(&self) -> io::Result<Vec<OfflineFileHeader>> {
        let mut headers = Vec::new();
        for sub_dir in fs::read_dir(&self.dir)? {
            let sub_dir = sub_dir?;
            if sub_dir.file_name().len() != 2 || !sub_dir.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(sub_dir.path())? {
                self.scan_file(&entry?.path(), &mut headers)?;
            }
        }
        Ok(headers)
    }

    fn scan_file(&self, path: &Path, headers: &mut Vec<OfflineFileHeader>) -> io::Result<()> {
        let Some(task_id) = path.file_stem().and_then(|s| s.to_str()).and_then(TaskId::parse)
        else {
            return Ok(());
        };
        if path == self.part_path(task_id) {
            info!("an upload of the last run is deleted");
            return fs::remove_file(path);
        }
        if path != self.path(task_id) {
            return Ok(());
        }
        match DownloadFile::open(path, task_id) {
            Ok(file) => headers.push(file.header),
            // It stays: whoever looks after the disk may know what it is.
            Err(error) => warn!("offline file ignored dir={:?}: {error}", path.parent()),
        }
        Ok(())
    }

    /// Begins an upload. Nobody sees the file before it is complete.
    ///
    /// # Errors
    /// The disk is full or fails.
    ///
    /// C++: file_server/transfer_task.cpp OpenByWrite
    /// Differs: written under another name until it is complete (F110).
    pub fn create(&self, header: OfflineFileHeader) -> io::Result<UploadFile> {
        let path = self.path(header.task_id);
        plain_file::make_dir(path.parent().unwrap_or(&self.dir))?;
        let temp_path = self.part_path(header.task_id);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&temp_path)?;
        let mut upload = UploadFile { file, temp_path, path, header, md5: Md5::new(), written: 0 };
        upload.file.write_all(&header.to_bytes())?;
        Ok(upload)
    }

    /// Opens a stored file.
    ///
    /// # Errors
    /// It is not there, or it is not what its name and its header say.
    ///
    /// C++: file_server/transfer_task.cpp OpenByRead
    pub fn open_file(&self, task_id: TaskId) -> io::Result<DownloadFile> {
        DownloadFile::open(&self.path(task_id), task_id)
    }

    /// Deletes a stored file. That it is gone already is fine.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove(&self, task_id: TaskId) -> io::Result<()> {
        match fs::remove_file(self.path(task_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, task_id: TaskId) -> PathBuf {
        let name = task_id.text();
        self.dir.join(&name[..2]).join(name)
    }

    fn part_path(&self, task_id: TaskId) -> PathBuf {
        self.path(task_id).with_extension(PART)
    }
}

/// A file that is being uploaded. Dropping it before it is finished deletes it.
#[derive(Debug)]
pub struct UploadFile {
    file: File,
    temp_path: PathBuf,
    path: PathBuf,
    header: OfflineFileHeader,
    md5: Md5,
    written: u64,
}

impl UploadFile {
    /// What will stand before its bytes, less the checksum.
    pub fn header(&self) -> &OfflineFileHeader {
        &self.header
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.md5.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// From here on, the disk takes nothing more.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self) {
        self.file = File::open(&self.temp_path).unwrap();
    }

    /// Makes the file visible, once all of it is on the disk.
    ///
    /// # Errors
    /// The disk is full or fails, or bytes are missing.
    pub fn finish(mut self) -> io::Result<OfflineFileHeader> {
        if self.written != u64::from(self.header.file_size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.header.checksum = Some(self.md5.clone().finalize().into());
        self.file.write_all_at(&self.header.to_bytes(), 0)?;
        self.file.sync_all()?;
        fs::rename(&self.temp_path, &self.path)?;
        let synced = self.path.parent().map_or(Ok(()), plain_file::sync_dir);
        if synced.is_err() {
            // Its uploader will be told that it is not stored, so it must not be.
            let _ = fs::remove_file(&self.path);
        }
        synced.map(|()| self.header)
    }
}

impl Drop for UploadFile {
    fn drop(&mut self) {
        // After the rename there is none of this name.
        let _ = fs::remove_file(&self.temp_path);
    }
}

/// A stored file that is being fetched, from its beginning to its end.
#[derive(Debug)]
pub struct DownloadFile {
    file: File,
    header: OfflineFileHeader,
    md5: Md5,
    offset: u64,
}

impl DownloadFile {
    /// C++: file_server/transfer_task.cpp OfflineTransferTask::LoadFromDisk
    fn open(path: &Path, task_id: TaskId) -> io::Result<Self> {
        let file = plain_file::open(path)?;
        let mut bytes = [0; OFFLINE_FILE_HEADER_LEN];
        file.read_exact_at(&mut bytes, 0)?;
        let header = OfflineFileHeader::parse(&bytes).filter(|header| header.task_id == task_id);
        let header = header.ok_or_else(|| invalid_data("its header is none"))?;
        let length = file.metadata()?.len();
        if length != OFFLINE_FILE_HEADER_LEN as u64 + u64::from(header.file_size) {
            return Err(invalid_data("its header says another size"));
        }
        Ok(Self { file, header, md5: Md5::new(), offset: 0 })
    }

    /// What stands before its bytes.
    pub fn header(&self) -> &OfflineFileHeader {
        &self.header
    }

    /// The next `len` bytes. The last ones come only if all of them are what was uploaded, so that
    /// nobody takes a damaged file for a good one.
    ///
    /// # Errors
    /// The disk fails, or the file is damaged.
    pub fn read(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, OFFLINE_FILE_HEADER_LEN as u64 + self.offset)?;
        self.md5.update(&bytes);
        self.offset += len as u64;
        let complete = self.offset == u64::from(self.header.file_size);
        let expected = self.header.checksum.filter(|_| complete);
        let checksum: [u8; 16] = self.md5.clone().finalize().into();
        if expected.is_some_and(|expected| expected != checksum) {
            return Err(invalid_data("its bytes are not those that were uploaded"));
        }
        Ok(bytes)
    }
}

/// What the operator has to look at.
fn named(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("OfflineFileDir {}: {error}", dir.display()))
}

fn invalid_data(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
