//! A thread for each file that is sent or fetched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::event::{Event, News, Offer};
use crate::client::{Client, ClientError, Transfer};
use crate::pb::base_define::TransferFileType;
use crate::pb::file::ImFileRsp;

/// How long the other one has to accept a file.
const PATIENCE: Duration = Duration::from_secs(600);

/// Names tried for a file before it is given up: `a.txt`, `a (1).txt` and so on.
const NAMES_MAX: u32 = 1_000;

/// The longest name a file gets, in bytes: file systems take 255.
const NAME_LEN_MAX: usize = 200;

/// What the servers are told afterwards.
#[derive(Debug)]
pub enum Uploaded {
    /// This file, of this size, waits for its receiver.
    Here(Box<ImFileRsp>, u32),
    /// This file is fetched and need not be kept.
    There {
        /// Who sent it.
        from: u32,
        /// Which.
        task_id: String,
    },
}

/// Where news of a transfer go: to the user, and to the thread with the connection.
pub type Places = (Sender<Event>, Sender<Uploaded>);

/// Asks for a transfer, and sends the file on a thread of its own.
///
/// # Errors
/// There is no such file, or the server does not let it through.
pub fn send(
    client: &mut Client,
    local: u64,
    to: u32,
    path: &Path,
    online: bool,
    places: Places,
) -> Result<(), ClientError> {
    let path = at_home(path);
    let mut file = File::open(&path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ClientError::File("this is no file"));
    }
    let size = u32::try_from(metadata.len())
        .map_err(|_| ClientError::File("only files below 4 GiB can be sent"))?;
    let name = path.file_name().map_or_else(String::new, |name| name.display().to_string());
    let mode =
        if online { TransferFileType::FileTypeOnline } else { TransferFileType::FileTypeOffline };
    let rsp = client.request_file(to, &name, size, mode)?;
    let (transfer, me) = (Transfer::of_response(&rsp, size), client.user_id());
    thread::spawn(move || {
        let progress = |done| tell(&places, News::Progress { local, done: (done, size) });
        let result = transfer.send(me, &mut file, PATIENCE, progress);
        if result.is_ok() && !online {
            // Nobody takes it once the chat has ended.
            let _ = places.1.send(Uploaded::Here(Box::new(rsp), size));
        }
        let result = result.map(|()| name).map_err(|error| error.to_string());
        tell(&places, News::Finished { local, result });
    });
    Ok(())
}

/// Fetches a file on a thread of its own.
pub fn fetch(me: u32, local: u64, offer: Offer, downloads: PathBuf, places: Places) {
    thread::spawn(move || {
        let result = fetch_file(me, local, &offer, &downloads, &places);
        if result.is_ok() && offer.transfer.trans_mode == TransferFileType::FileTypeOffline {
            let (from, task_id) = (offer.from, offer.transfer.task_id);
            let _ = places.1.send(Uploaded::There { from, task_id });
        }
        tell(&places, News::Finished { local, result });
    });
}

fn fetch_file(
    me: u32,
    local: u64,
    offer: &Offer,
    downloads: &Path,
    places: &Places,
) -> Result<String, String> {
    let size = offer.transfer.size;
    let made = fs::create_dir_all(downloads).and_then(|()| create(downloads, &offer.name));
    let (path, mut file) = made.map_err(|error| format!("{}: {error}", downloads.display()))?;
    let progress = |done| tell(places, News::Progress { local, done: (done, size) });
    if let Err(error) = offer.transfer.fetch(me, &mut file, PATIENCE, progress) {
        // Half a file is worth nothing, and its name is wanted for the next attempt.
        let _ = fs::remove_file(&path);
        return Err(error.to_string());
    }
    Ok(path.display().to_string())
}

/// Does not want a file. The sender hears of it if he waits for an answer.
///
/// # Errors
/// The connection broke.
pub fn refuse(client: &mut Client, offer: Offer, events: Sender<Event>) -> Result<(), ClientError> {
    let me = client.user_id();
    match offer.transfer.trans_mode {
        TransferFileType::FileTypeOffline => {
            client.del_offline_file(offer.from, &offer.transfer.task_id)
        }
        TransferFileType::FileTypeOnline => {
            thread::spawn(move || {
                if let Err(error) = offer.transfer.refuse(me) {
                    let _ = events.send(Event::News(News::Notice(error.to_string())));
                }
            });
            Ok(())
        }
    }
}

fn tell(places: &Places, news: News) {
    let _ = places.0.send(Event::News(news));
}

/// `~/` is the home of the user, as in a shell.
fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The name under which a file is kept, whatever the sender calls it: it stays in its directory,
/// is not hidden, and shows what it is.
fn safe_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let ok = |c: char| if c.is_control() { '_' } else { c };
    let name: String = name.trim().trim_start_matches('.').chars().map(ok).collect();
    // The end of a name tells what the file is, so the beginning goes.
    let starts = name.char_indices().map(|(at, _)| at);
    let start = starts.chain([name.len()]).find(|start| name.len() - start <= NAME_LEN_MAX);
    let name = &name[start.unwrap_or(0)..];
    if name.is_empty() { "file".to_owned() } else { name.to_owned() }
}

/// A new file; nothing is overwritten.
fn create(directory: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let name = safe_name(name);
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => (stem.to_owned(), format!(".{end}")),
        _ => (name, String::new()),
    };
    for number in 0..NAMES_MAX {
        let name = match number {
            0 => format!("{stem}{end}"),
            _ => format!("{stem} ({number}){end}"),
        };
        let path = directory.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "too many files of this name are there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_directory() {
        for (name, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\报告.doc", "报告.doc"),
            (".bashrc", "bashrc"),
            ("..", "file"),
            ("", "file"),
            ("a/", "file"),
            ("a\x1b[2J\n.txt", "a_[2J_.txt"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        let long = safe_name(&format!("{}.txt", "爱".repeat(200)));
        assert!(long.len() <= NAME_LEN_MAX && long.ends_with("爱.txt"));
    }

    #[test]
    fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for name in ["a.txt", "x/a.txt", "a.txt", "b", "b"] {
            let (path, _) = create(directory.path(), name).unwrap();
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!(names, ["a.txt", "a (1).txt", "a (2).txt", "b", "b (1)"]);
        for number in 2..NAMES_MAX {
            File::create(directory.path().join(format!("b ({number})"))).unwrap();
        }
        assert!(create(directory.path(), "b").is_err());
        assert!(create(&directory.path().join("none"), "b").is_err());
    }

    #[test]
    fn a_path_may_begin_at_home() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(at_home(Path::new("~/a")), home.join("a"));
        assert_eq!(at_home(Path::new("~a/b")), Path::new("~a/b"));
        assert_eq!(at_home(Path::new("/a")), Path::new("/a"));
    }
}
