//! The machine, and what is known of it to everybody: limits, disks, clock, secrets.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Report;
use super::config::Conf;
use crate::base::unix_time::unix_time;
use crate::tool::account::AES_KEY;

/// Connections to other servers, files and listeners, besides clients.
const OPEN_FILES_BESIDES: u64 = 200;

/// A disk should have so much room …
const FREE_MIN_KIB: u64 = 1 << 20;
/// … and this part of it.
const FREE_MIN_PERCENT: u64 = 5;

/// No clock that is right shows an earlier time: 2023.
const EARLIEST_TIME: u32 = 1_672_531_200;

/// Secrets that stand in samples and manuals.
const SAMPLES: [&str; 10] = [
    "change-me",
    "changeme",
    "secret",
    "password",
    "12345",
    "123456",
    "test",
    "root",
    "admin",
    "teamtalk",
];

/// All about the machine.
pub fn check(confs: &[Conf], report: &mut Report) {
    if let Ok((_, hard)) = rlimit::Resource::NOFILE.get() {
        check_open_files(confs, hard, report);
    }
    check_clock(unix_time(), report);
    for directory in directories(confs) {
        check_disk(&directory, report);
    }
    for conf in confs {
        check_secrets(conf, report);
    }
    check_keys(confs, report);
}

fn check_open_files(confs: &[Conf], hard: u64, report: &mut Report) {
    for conf in confs {
        let Some(clients) = conf.value("MaxConnCnt").and_then(|text| text.parse::<u64>().ok())
        else {
            continue;
        };
        let wanted = clients.saturating_add(OPEN_FILES_BESIDES);
        if hard < wanted {
            report.problem(
                &conf.name(),
                format!("MaxConnCnt={clients}, but a process like this one may open {hard} files"),
                format!(
                    "raise the hard limit to {wanted} (LimitNOFILE= of systemd, \
                     /etc/security/limits.conf), or lower MaxConnCnt"
                ),
            );
        }
    }
}

fn check_clock(now: u32, report: &mut Report) {
    if now < EARLIEST_TIME {
        report.problem(
            "clock",
            "this machine believes that it is years ago",
            "let NTP set it; messages would stand before older ones",
        );
    }
}

/// Where something is written.
fn directories(confs: &[Conf]) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    for conf in confs {
        for (key, value) in conf.file.entries() {
            let path = Path::new(value);
            if key == "BaseDir" {
                // msfs makes what does not exist.
                directories.extend(path.exists().then(|| path.to_owned()));
            } else if key == "LogFile" || key == "PidFile" || key.ends_with("_path") {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                directories.insert(parent.unwrap_or_else(|| Path::new(".")).to_owned());
            }
        }
    }
    directories
}

fn check_disk(directory: &Path, report: &mut Report) {
    let place = directory.display().to_string();
    if !directory.exists() {
        report.note(&place, "does not exist yet", "make it, and let the servers write there");
        return;
    }
    let df = Command::new("df").arg("-Pk").arg("--").arg(directory).env("LC_ALL", "C").output();
    let Some((size, free)) = df.ok().and_then(|df| room(&String::from_utf8_lossy(&df.stdout)))
    else {
        return;
    };
    if free < FREE_MIN_KIB || free < size / 100 * FREE_MIN_PERCENT {
        report.problem(
            &place,
            format!("only {} MiB of {} MiB are free", free / 1024, size / 1024),
            "make room, or move what is kept there: a full disk refuses every message",
        );
    }
}

/// Size and room of a file system in KiB, of what `df -Pk` prints.
fn room(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    // The name may have blanks in it; what follows has five fields.
    let numbers = fields.len().checked_sub(5)?;
    Some((fields[numbers].parse().ok()?, fields[numbers + 2].parse().ok()?))
}

fn check_secrets(conf: &Conf, report: &mut Report) {
    let is_secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        key.ends_with("password") || key.ends_with("secret") || key.starts_with("appkey")
    };
    // What is elsewhere is not in this file.
    let is_here = |value: &str| !value.starts_with("env:") && !value.starts_with("file:");
    let mut secrets: Vec<(&str, &str)> =
        conf.file.entries().filter(|(key, value)| is_secret(key) && is_here(value)).collect();
    secrets.sort_unstable();
    for (key, _) in secrets.iter().filter(|(_, value)| SAMPLES.contains(value)) {
        report.problem(
            &conf.name(),
            format!("{key} is one that everybody knows"),
            "choose one of your own, as `openssl rand -hex 16` makes it",
        );
    }
    let mode = fs::metadata(&conf.path).map_or(0, |file| file.permissions().mode());
    if !secrets.is_empty() && mode & 0o004 != 0 {
        report.problem(
            &conf.name(),
            "has passwords in it, and everybody on this machine may read it",
            format!("chmod o-rwx {}", conf.path.display()),
        );
    }
}

/// The key of message texts is one for all.
fn check_keys(confs: &[Conf], report: &mut Report) {
    let keys = confs.iter().filter_map(|conf| Some((conf, conf.value("aesKey")?)));
    let keys: Vec<(&Conf, &str)> = keys.collect();
    let Some(((first, key), others)) = keys.split_first() else { return };
    for (conf, _) in others.iter().filter(|(_, other)| other != key) {
        report.problem(
            &conf.name(),
            format!("aesKey is not that of {}, so texts cannot be read everywhere", first.name()),
            "take the one that the clients were built with, in all files",
        );
    }
    if *key == AES_KEY {
        report.note(
            &first.name(),
            "aesKey is that of all published clients, which everybody knows",
            "clients of your own may have another one, in all files",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_read_from_what_df_prints() {
        let text = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    my disk          263173100 46000000 206000000      19% /\n";
        assert_eq!(room(text), Some((263_173_100, 206_000_000)));
        assert_eq!(room("Filesystem\n"), None);
        assert_eq!(room("a\nb c\n"), None);
    }

    #[test]
    fn a_clock_that_stands_at_the_beginning_is_told() {
        let mut report = Report::default();
        check_clock(EARLIEST_TIME, &mut report);
        assert_eq!(report.problems(), 0);
        check_clock(100, &mut report);
        assert_eq!(report.problems(), 1);
    }
}
