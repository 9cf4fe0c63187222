//! The logger: one line per record, to stderr or appended to a file.
//!
//! ```text
//! 2026-01-31T09:15:00.123Z INFO  teamtalk::login_server listening addr=0.0.0.0:8008
//! ```
//!
//! Times are UTC, so that the logs of several machines can be merged. The level comes from
//! `RUST_LOG`, else from the configuration, else it is info.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

use env_logger::{Builder, Env, Target};
use log::{LevelFilter, Record, SetLoggerError};
use thiserror::Error;

use super::config_file_reader::{ConfigError, ConfigFileReader};
use super::config_value::ConfigValue;

/// Longer lines are cut. Bytes, with the line end.
///
/// C++: slog/slog_api.cpp MAX_LOG_LENGTH
pub const MAX_LOG_LENGTH: usize = 10 * 1024;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file cannot be opened for appending.
    #[error("cannot open log file {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process has a logger already.
    #[error("the logger is set up twice")]
    Twice(#[from] SetLoggerError),
}

/// Where the log goes and how much of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogOptions {
    /// Unless `RUST_LOG` says otherwise.
    pub level: LevelFilter,
    /// Else stderr.
    pub file: Option<PathBuf>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: LevelFilter::Info, file: None }
    }
}

impl LogOptions {
    /// Reads the optional keys `LogLevel` and `LogFile`.
    pub fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let level = config.get_or("LogLevel", LevelFilter::Info)?;
        let file = config.get_opt::<String>("LogFile")?.map(PathBuf::from);
        Ok(Self { level, file })
    }
}

impl ConfigValue for LevelFilter {
    const EXPECTED: &str = "off, error, warn, info, debug or trace";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Sets up the logger of the process.
///
/// C++: slog/slog_api.h CSLog
/// Differs: no log4cxx.properties that is read again every ten seconds, no rotation of its own.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    Ok(builder(options, Env::default())?.try_init()?)
}

fn builder(options: &LogOptions, env: Env<'_>) -> Result<Builder, LogError> {
    let mut builder = Builder::new();
    builder.filter_level(options.level).parse_env(env).format(|out, record| {
        let time = out.timestamp_millis();
        out.write_all(format_line(time, record).as_bytes())
    });
    if let Some(path) = &options.file {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| LogError::Open { path: path.clone(), source })?;
        builder.target(Target::Pipe(Box::new(file)));
    }
    Ok(builder)
}

fn format_line(time: impl fmt::Display, record: &Record<'_>) -> String {
    let mut line = LogLine(String::with_capacity(160));
    let (level, target, message) = (record.level(), record.target(), record.args());
    // The only error is the one that stops formatting at the limit.
    let _ = write!(line, "{time} {level:<5} {target} {message}");
    line.0.push('\n');
    line.0
}

/// Keeps text within one line of limited length.
struct LogLine(String);

impl fmt::Write for LogLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            // What a peer sends can end up in a message: it must not begin a line of its own or
            // reach the terminal of the reader as a command.
            let escaped = needs_escape(char);
            let length = if escaped { char.escape_default().len() } else { char.len_utf8() };
            if self.0.len() + length >= MAX_LOG_LENGTH {
                return Err(fmt::Error);
            }
            if escaped {
                self.0.extend(char.escape_default());
            } else {
                self.0.push(char);
            }
        }
        Ok(())
    }
}

/// Control characters, line separators, and the marks that reorder what is displayed.
fn needs_escape(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use log::{Level, Log};

    use super::*;

    fn line(message: &str) -> String {
        let args = format_args!("{message}");
        let record =
            Record::builder().args(args).level(Level::Warn).target("teamtalk::test").build();
        format_line("2026-01-31T09:15:00.123Z", &record)
    }

    fn log(logger: &impl Log, level: Level, message: &str) {
        let args = format_args!("{message}");
        logger.log(&Record::builder().args(args).level(level).build());
    }

    #[test]
    fn a_line_has_time_level_target_and_message() {
        assert_eq!(
            line("conn=7 closed"),
            "2026-01-31T09:15:00.123Z WARN  teamtalk::test conn=7 closed\n"
        );
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let line = line("user=\r\n2026-01-31T09:15:00.124Z INFO forged\u{1b}[2J\u{2028}\u{202e}\0");
        assert!(line.ends_with(
            "user=\\r\\n2026-01-31T09:15:00.124Z INFO forged\\u{1b}[2J\\u{2028}\\u{202e}\\u{0}\n"
        ));
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let prefix = line("").len() - 1;
        for filler in ["", "a", "aa"] {
            let line = line(&format!("{filler}{}", "没".repeat(5000)));
            assert!((MAX_LOG_LENGTH - 2..=MAX_LOG_LENGTH).contains(&line.len()), "{}", line.len());
            assert!(line.ends_with("没\n"));
        }
        let fits = "a".repeat(MAX_LOG_LENGTH - 1 - prefix);
        assert!(line(&fits).ends_with(&format!("{fits}\n")));
        assert_eq!(line(&format!("{fits}b")), line(&fits));
    }

    #[test]
    fn an_escape_is_not_cut_in_two() {
        let line = line(&"\u{1b}".repeat(5000));
        assert!(line.ends_with("\\u{1b}\n"));
    }

    #[test]
    fn a_file_is_appended_to_with_the_level_of_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "before\n").unwrap();
        let options = LogOptions { level: LevelFilter::Info, file: Some(path.clone()) };
        let unset = || Env::new().filter("TEAMTALK_TEST_UNSET");
        let logger = builder(&options, unset()).unwrap().build();
        log(&logger, Level::Info, "told");
        log(&logger, Level::Debug, "not told");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "before"));
        assert!(lines[1].ends_with(" told"));
        let time = lines[1].split(' ').next().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");

        let env = unset().default_filter_or("debug");
        let logger = builder(&options, env).unwrap().build();
        log(&logger, Level::Debug, "told by the environment");
        assert!(fs::read_to_string(&path).unwrap().ends_with(" told by the environment\n"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let options =
            LogOptions { file: Some("/nonexistent/x.log".into()), ..LogOptions::default() };
        let error = init(&options).unwrap_err().to_string();
        assert!(error.starts_with("cannot open log file /nonexistent/x.log: "), "{error}");
    }

    #[test]
    fn setting_up_twice_is_an_error_value() {
        let options = LogOptions { level: LevelFilter::Off, ..LogOptions::default() };
        // Another test of this process may have been first.
        let _ = init(&options);
        assert!(matches!(init(&options), Err(LogError::Twice(_))));
    }

    #[test]
    fn level_and_file_come_from_the_configuration() {
        let read = |text: &str| {
            LogOptions::read(&mut ConfigFileReader::parse(Path::new("x.conf"), text.as_bytes()))
        };
        assert_eq!(read("").unwrap(), LogOptions::default());
        let options = read("LogLevel=Debug\nLogFile=log/x.log").unwrap();
        assert_eq!(options.level, LevelFilter::Debug);
        assert_eq!(options.file.as_deref(), Some(Path::new("log/x.log")));
        assert_eq!(
            read("LogLevel=loud").unwrap_err().to_string(),
            "x.conf: LogLevel=loud is wrong, expected off, error, warn, info, debug or trace"
        );
    }
}
