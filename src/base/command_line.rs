//! What the mains of all servers share: options, configuration, logger, exit code.
//!
//! ```text
//! find and read the configuration  ->  --check-config: tell what is wrong with it, exit
//!                                  ->  set up the logger, run the server
//! ```

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches, Parser};
use log::{error, info, warn};
use thiserror::Error;

use super::config_file_reader::{ConfigError, ConfigFileReader};
use super::slog::{self, LogOptions};
use super::util::write_pid;

/// What a server is called.
#[derive(Clone, Copy, Debug)]
pub struct ServerName {
    /// Name of the program, e.g. `msg_server`.
    pub program: &'static str,
    /// File name of the configuration, e.g. `msgserver.conf`.
    pub config: &'static str,
    /// What the server does, in one sentence without full stop. Opens `--help`.
    pub about: &'static str,
}

#[derive(Debug, Parser)]
#[command(after_help = "The level of the log is taken from the environment variable RUST_LOG \
                  (off, error, warn, info, debug or trace), else from the key LogLevel of the \
                  configuration, else it is info. The log goes to the file named by the key \
                  LogFile, else to standard error.\n\n\
                  SIGTERM and SIGINT stop the server in good order, a second one stops it at \
                  once.")]
struct CommandLine {
    /// Configuration file
    ///
    /// Without this option the file is looked for in the current directory, then in the
    /// directory conf below it.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// Read the configuration, tell what is wrong with it, and exit
    ///
    /// The exit code is 0 if the server could start with it and 1 if not. Keys without effect
    /// are told and do not count.
    #[arg(long)]
    check_config: bool,

    /// Print name, version and build
    #[arg(short = 'v', long)]
    version: bool,
}

/// Neither place has a configuration file.
#[derive(Debug, Error)]
#[error("no configuration file: neither {} nor {} exists", first.display(), second.display())]
pub struct NoConfig {
    first: PathBuf,
    second: PathBuf,
}

/// Runs a server from `main` on: `read` takes what it needs from the configuration, `run` serves
/// until told to stop. Whatever goes wrong is one line on stderr and exit code 1.
///
/// C++: route_server/route_server.cpp main
/// Differs: a missing or malformed key is told by name; the original crashed on some (F51).
pub fn main<C, E: fmt::Display>(
    name: ServerName,
    read: impl FnOnce(&mut ConfigFileReader) -> Result<C, ConfigError>,
    run: impl FnOnce(C) -> Result<(), E>,
) -> ExitCode {
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    ExitCode::from(start(name, env::args_os(), Path::new(""), out, err, read, run))
}

/// [`main`] with its surroundings as arguments; `directory` is the current one.
fn start<C, E: fmt::Display>(
    name: ServerName,
    args: impl IntoIterator<Item = OsString>,
    directory: &Path,
    out: &mut impl Write,
    err: &mut impl Write,
    read: impl FnOnce(&mut ConfigFileReader) -> Result<C, ConfigError>,
    run: impl FnOnce(C) -> Result<(), E>,
) -> u8 {
    let command_line = match parse(name, args) {
        Ok(command_line) => command_line,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            print(out, error.render());
            return 0;
        }
        Err(error) => {
            print(err, error.render());
            return 2;
        }
    };
    if command_line.version {
        print(out, format_args!("{} {}\n", name.program, version()));
        return 0;
    }
    let path = match find_config(directory, command_line.config, name.config) {
        Ok(path) => path,
        Err(error) => return fail(name, err, &error),
    };
    let (config, options, value) = match read_config(&path, read) {
        Ok(read) => read,
        Err(error) => return fail(name, err, &error),
    };
    if command_line.check_config {
        for warning in config.warnings() {
            print(out, format_args!("{}: {warning}\n", path.display()));
        }
        print(out, format_args!("{}: ok\n", path.display()));
        return 0;
    }
    if let Err(error) = slog::init(&options.log) {
        return fail(name, err, &error);
    }
    info!("{} {} starting config={}", name.program, version(), path.display());
    config.log_warnings();
    match run_with_pid_file(options.pid_file.as_deref(), || run(value)) {
        Ok(()) => {
            info!("{} stopped", name.program);
            0
        }
        Err(text) => {
            // With the log on stderr this would be the same line twice.
            if options.log.file.is_some() {
                error!("{text}");
            }
            fail(name, err, &text)
        }
    }
}

/// The pid file exists while the server runs, and for whoever finds it after a crash.
fn run_with_pid_file<E: fmt::Display>(
    pid_file: Option<&Path>,
    run: impl FnOnce() -> Result<(), E>,
) -> Result<(), String> {
    if let Some(path) = pid_file {
        write_pid(path).map_err(|error| error.to_string())?;
    }
    // Alternate form: `anyhow` puts the whole chain into one line.
    let result = run().map_err(|error| format!("{error:#}"));
    if let Some(path) = pid_file
        && let Err(error) = fs::remove_file(path)
    {
        warn!("removing {}: {error}", path.display());
    }
    result
}

fn parse(
    name: ServerName,
    args: impl IntoIterator<Item = OsString>,
) -> Result<CommandLine, clap::Error> {
    CommandLine::from_arg_matches(&command(name).try_get_matches_from(args)?)
}

/// The options of a server, for its help and its manual page.
pub fn command(name: ServerName) -> Command {
    CommandLine::command().name(name.program).about(name.about)
}

/// Version and build. The commit is known if the build was told it.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match BUILD {
        Some(build) => format!("{version} ({PROFILE} build {build})"),
        None => format!("{version} ({PROFILE} build)"),
    }
}

const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

const BUILD: Option<&str> = option_env!("TEAMTALK_BUILD");

/// Which build of the version runs, as a label of the metrics.
pub(crate) fn build() -> (&'static str, &'static str) {
    ("build", BUILD.unwrap_or(PROFILE))
}

/// The file that was named, else `file_name` in `directory`, else in `conf` below it.
///
/// # Errors
/// None was named, and neither place has one.
pub fn find_config(
    directory: &Path,
    given: Option<PathBuf>,
    file_name: &str,
) -> Result<PathBuf, NoConfig> {
    if let Some(path) = given {
        return Ok(path);
    }
    let first = directory.join(file_name);
    let second = directory.join("conf").join(file_name);
    // A file that exists and cannot be read is told as such by the reader.
    if first.exists() {
        Ok(first)
    } else if second.exists() {
        Ok(second)
    } else {
        Err(NoConfig { first, second })
    }
}

/// The keys every server knows.
pub(crate) struct CommonOptions {
    log: LogOptions,
    pid_file: Option<PathBuf>,
}

impl CommonOptions {
    /// Reads `LogLevel`, `LogFile` and `PidFile`.
    pub(crate) fn read(config: &mut ConfigFileReader) -> Result<Self, ConfigError> {
        let log = LogOptions::read(config)?;
        let pid_file = config.get_opt::<String>("PidFile")?.map(PathBuf::from);
        Ok(Self { log, pid_file })
    }
}

fn read_config<C>(
    path: &Path,
    read: impl FnOnce(&mut ConfigFileReader) -> Result<C, ConfigError>,
) -> Result<(ConfigFileReader, CommonOptions, C), ConfigError> {
    let mut config = ConfigFileReader::load(path)?;
    let options = CommonOptions::read(&mut config)?;
    let value = read(&mut config)?;
    Ok((config, options, value))
}

fn fail(name: ServerName, err: &mut impl Write, error: &impl fmt::Display) -> u8 {
    let text = format!("{error:#}").replace(['\r', '\n'], " ");
    print(err, format_args!("{}: {text}\n", name.program));
    1
}

/// There is nobody to tell if the terminal is gone.
fn print(to: &mut impl Write, text: impl fmt::Display) {
    let _ = write!(to, "{text}").and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ServerName = ServerName {
        program: "route_server",
        config: "routeserver.conf",
        about: "Passes messages between msg_servers",
    };

    /// Exit code, stdout and stderr of a server that needs a port and fails to run.
    fn start_in(directory: &Path, args: &[&str]) -> (u8, String, String) {
        let args = ["route_server"].iter().chain(args).map(OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = start(
            NAME,
            args,
            directory,
            &mut out,
            &mut err,
            |config| config.get::<u16>("ListenMsgPort"),
            |port| Err(anyhow::anyhow!("port {port} is\nin use").context("cannot listen")),
        );
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        dir
    }

    #[test]
    fn version_and_help_need_no_configuration() {
        for flag in ["-v", "--version"] {
            let (code, out, err) = start_in(Path::new("/nonexistent"), &[flag]);
            assert_eq!((code, err.as_str()), (0, ""));
            let start = concat!("route_server ", env!("CARGO_PKG_VERSION"), " (");
            assert!(out.starts_with(start) && out.contains(" build"), "{out}");
        }
        let (code, out, _) = start_in(Path::new("/nonexistent"), &["--help"]);
        assert_eq!(code, 0);
        for text in ["Passes messages", "--config <PATH>", "--check-config", "RUST_LOG", "-v"] {
            assert!(out.contains(text), "{text} in {out}");
        }
    }

    #[test]
    fn an_unknown_option_is_a_usage_error() {
        let (code, out, err) = start_in(Path::new("/nonexistent"), &["--daemon"]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("--daemon"), "{err}");
    }

    #[test]
    fn f51_without_configuration_both_places_are_named() {
        let dir = directory(&[]);
        let (code, _, err) = start_in(dir.path(), &[]);
        assert_eq!(code, 1);
        let path = dir.path().display();
        assert_eq!(
            err,
            format!(
                "route_server: no configuration file: neither {path}/routeserver.conf \
                 nor {path}/conf/routeserver.conf exists\n"
            )
        );
    }

    #[test]
    fn f51_a_missing_key_is_one_line_and_exit_code_1() {
        let dir = directory(&[("routeserver.conf", "ListenIP=0.0.0.0\n")]);
        for args in [&[][..], &["--check-config"]] {
            let (code, out, err) = start_in(dir.path(), args);
            assert_eq!((code, out.as_str()), (1, ""));
            assert!(err.ends_with("routeserver.conf: key ListenMsgPort is missing\n"), "{err}");
            assert_eq!(err.lines().count(), 1);
        }
    }

    #[test]
    fn f139_a_good_configuration_is_told_with_its_warnings() {
        let dir =
            directory(&[("conf/routeserver.conf", "ListenMsgPort=8200\nLogLevel=warn\nx=1\n")]);
        let (code, out, err) = start_in(dir.path(), &["--check-config"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("conf/routeserver.conf: line 3: key x is unknown"), "{out}");
        assert!(lines[1].ends_with("conf/routeserver.conf: ok"), "{out}");
    }

    #[test]
    fn the_current_directory_comes_before_conf_and_an_option_before_both() {
        let good = "ListenMsgPort=8200\n";
        let dir = directory(&[
            ("routeserver.conf", good),
            ("conf/routeserver.conf", "ListenMsgPort=x"),
            ("other.conf", "ListenMsgPort=y"),
        ]);
        assert_eq!(start_in(dir.path(), &["--check-config"]).0, 0);
        let other = dir.path().join("other.conf");
        let (code, _, err) =
            start_in(dir.path(), &["--check-config", "-c", other.to_str().unwrap()]);
        assert_eq!(code, 1);
        assert!(err.contains("other.conf: ListenMsgPort=y is wrong"), "{err}");
        let (_, _, err) = start_in(dir.path(), &["--config", "/nonexistent/a.conf"]);
        assert!(err.starts_with("route_server: cannot read /nonexistent/a.conf: "), "{err}");
    }

    #[test]
    fn a_failure_after_the_start_is_one_line_too() {
        let error = anyhow::anyhow!("port 1 is\nin use").context("cannot listen");
        let mut err = Vec::new();
        assert_eq!(fail(NAME, &mut err, &error), 1);
        let err = String::from_utf8(err).unwrap();
        assert_eq!(err, "route_server: cannot listen: port 1 is in use\n");
    }

    #[test]
    fn the_pid_file_exists_while_the_server_runs() {
        let dir = directory(&[]);
        let path = dir.path().join("server.pid");
        let result = run_with_pid_file(Some(&path), || {
            assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
            Err(anyhow::anyhow!("inner").context("outer"))
        });
        assert_eq!(result, Err("outer: inner".to_owned()));
        assert!(!path.exists());
        let nowhere = dir.path().join("no/such/directory");
        let result = run_with_pid_file(Some(&nowhere), || -> anyhow::Result<()> { panic!("ran") });
        assert!(result.unwrap_err().contains("no/such/directory"));
    }
}
