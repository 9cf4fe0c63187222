//! A private MariaDB and a private Redis for the tests: own data directory, own port, gone with
//! the test process, however that ends.
//!
//! A shell stands between: it starts the server and reads orders from a pipe. The pipe closes when
//! this process dies, even by `kill -9`; then the shell kills the server and removes its files. If
//! somebody kills the shell, the kernel kills the server.
//! No server that was not started here is ever touched.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use std::{env, fs, thread};

use teamtalk::storage::mysql::{MySqlConfig, MySqlConn};
use teamtalk::storage::redis::{RedisConfig, RedisConn};
use teamtalk::storage::{CacheConn, DbConn};

use crate::running::free_port;

/// A slow machine needs time, but not for ever.
const START_ATTEMPTS: u32 = 400;
const START_PAUSE: Duration = Duration::from_millis(50);

const REDIS_PASSWORD: &str = "p w%s\"'";

/// `$1` is the directory to remove, the rest is the server with its arguments. Interrupts from the
/// terminal reach the whole group, but the order of events is this script's.
const SUPERVISOR: &str = r#"
trap '' INT HUP TERM
dir=$1; shift
set -- setpriv --pdeathsig KILL "$@"
start() { "$@" >>"$dir/log" 2>&1 </dev/null & pid=$!; }
start "$@"
while read -r order; do
    case $order in
        start) start "$@" ;;
        kill) kill -KILL $pid; wait $pid ;;
        pause) kill -STOP $pid ;;
        continue) kill -CONT $pid ;;
    esac 2>/dev/null
    echo done
done
kill -KILL $pid; wait $pid
rm -rf "$dir"
"#;

/// A server process under the eyes of a shell.
pub(crate) struct Server {
    /// Nothing once the pipe is closed.
    shell: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    child: Child,
    dir: String,
    pub(crate) port: u16,
}

impl Server {
    fn start(program: &str, dir: &str, port: u16, args: &[String]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh", dir, program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shell = Mutex::new(Some((stdin, BufReader::new(stdout))));
        Self { shell, child, dir: dir.to_owned(), port }
    }

    fn order(&self, order: &str) {
        let mut shell = self.shell.lock().unwrap();
        let (orders, answers) = shell.as_mut().expect("open until the server is dropped");
        writeln!(orders, "{order}").expect("the supervisor is alive");
        answers.read_line(&mut String::new()).expect("the supervisor answers");
    }

    /// As a crash, or `kill -9`.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Once more, on the same port and the same files.
    pub(crate) fn start_again(&self) {
        self.order("start");
    }

    /// As a machine that hangs: connections stay, answers do not come.
    pub(crate) fn pause(&self) {
        self.order("pause");
    }

    /// The end of the pause.
    pub(crate) fn go_on(&self) {
        self.order("continue");
    }

    /// Waits until the server lets us in.
    fn wait<E: std::fmt::Display>(&self, try_it: impl Fn() -> Result<(), E>) {
        let mut last = String::new();
        for _ in 0..START_ATTEMPTS {
            match try_it() {
                Ok(()) => return,
                Err(error) => last = error.to_string(),
            }
            thread::sleep(START_PAUSE);
        }
        let log = fs::read_to_string(Path::new(&self.dir).join("log")).unwrap_or_default();
        panic!("the server does not start: {last}\n{log}");
    }
}

impl Drop for Server {
    /// For those that live shorter than the process. Statics are never dropped; the pipe is.
    fn drop(&mut self) {
        self.shell.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let _ = self.child.wait();
    }
}

/// A private MariaDB with one user.
pub(crate) struct MariaDb {
    pub(crate) server: Server,
}

impl MariaDb {
    /// The one all tests share; each takes a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One that may be killed.
    pub(crate) fn start() -> Self {
        // The first two have all programs and no service; not every system divides them so.
        install("mariadbd", &["mariadb-server-core mariadb-client-core", "mariadb-server"]);
        let dir = directory("mariadb");
        let port = free_port();
        let data = format!("{dir}/data");
        make_tables(&dir, &data);
        let init = format!("{dir}/init.sql");
        // One statement for each line.
        let user = "create or replace user test@'127.0.0.1' identified by '12345';\n\
                    grant all on *.* to test@'127.0.0.1';\n";
        fs::write(&init, user).unwrap();
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={data}"),
            format!("--tmpdir={dir}"),
            format!("--socket={dir}/socket"),
            format!("--pid-file={dir}/pid"),
            format!("--port={port}"),
            format!("--init-file={init}"),
        ];
        args.extend(mariadb_settings().map(str::to_owned));
        args.extend(as_root());
        let this = Self { server: Server::start("mariadbd", &dir, port, &args) };
        this.wait();
        this
    }

    /// Waits until it lets us in, after a start.
    pub(crate) fn wait(&self) {
        let config = MySqlConfig { dbname: "mysql".to_owned(), ..self.config("") };
        self.server.wait(|| MySqlConn::open(&config).map(drop));
    }

    fn config(&self, dbname: &str) -> MySqlConfig {
        MySqlConfig {
            host: "127.0.0.1".to_owned(),
            port: self.server.port,
            dbname: dbname.to_owned(),
            username: "test".to_owned(),
            password: "12345".to_owned(),
        }
    }

    /// A new, empty database, in the character set that the original gives it.
    pub(crate) fn database(&self, name: &str) -> MySqlConfig {
        let mut conn = MySqlConn::open(&self.config("mysql")).unwrap();
        conn.execute_update(&format!("drop database if exists {name}"), &[]).unwrap();
        let sql = format!("create database {name} character set utf8 collate utf8_general_ci");
        conn.execute_update(&sql, &[]).unwrap();
        self.config(name)
    }
}

/// As durable as in production, and otherwise small.
fn mariadb_settings() -> impl Iterator<Item = &'static str> {
    [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=32M",
        "--performance-schema=OFF",
        "--max-connections=200",
    ]
    .into_iter()
}

/// Its temporary files lie beside its data: those of two servers must not meet.
fn make_tables(dir: &str, data: &str) {
    let output = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--skip-name-resolve"])
        .arg(format!("--datadir={data}"))
        .arg(format!("--tmpdir={dir}"))
        .args(as_root())
        .output()
        .expect("mariadb-install-db can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mariadb-install-db: {text}");
}

/// MariaDB runs as root only if it is told to.
fn as_root() -> Option<String> {
    is_root().then(|| "--user=root".to_owned())
}

/// A private Redis with a password. It keeps nothing, so it comes back empty.
pub(crate) struct Redis {
    pub(crate) server: Server,
}

impl Redis {
    /// The one all tests share; each takes a database number of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One that may be killed or paused.
    pub(crate) fn start() -> Self {
        install("redis-server", &["redis-server"]);
        let dir = directory("redis");
        let port = free_port();
        // Quoted as the configuration file wants it.
        let password = REDIS_PASSWORD.replace('"', "\\\"");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {dir}\nrequirepass \"{password}\"\n\
             save \"\"\nappendonly no\ndatabases 64\n"
        );
        let file = format!("{dir}/redis.conf");
        fs::write(&file, settings).unwrap();
        let this = Self { server: Server::start("redis-server", &dir, port, &[file]) };
        this.wait();
        this
    }

    /// Waits until it lets us in, after a start.
    pub(crate) fn wait(&self) {
        let config = self.config(0);
        self.server.wait(|| RedisConn::open(&config)?.ping());
    }

    /// Database number `db`.
    pub(crate) fn config(&self, db: u32) -> RedisConfig {
        RedisConfig {
            host: "127.0.0.1".to_owned(),
            port: self.server.port,
            db,
            username: None,
            password: Some(REDIS_PASSWORD.to_owned()),
        }
    }
}

fn directory(name: &str) -> String {
    let dir = tempfile::Builder::new().prefix(&format!("teamtalk-{name}-")).tempdir().unwrap();
    // The supervisor removes it.
    dir.keep().to_str().expect("a temporary path is text").to_owned()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id can be started");
    id.stdout == b"0\n"
}

/// These tests never pass without the servers: what is missing is installed if we may, and asked
/// for if we may not.
fn install(program: &str, packages: &[&str]) {
    // Two tests may need two programs at once, and apt runs once at a time.
    static APT: Mutex<()> = Mutex::new(());
    let _one_at_a_time = APT.lock();
    if is_installed(program) {
        return;
    }
    let advice = format!("the storage tests need {program}: apt-get install {}", packages[0]);
    assert!(is_root(), "{advice}");
    let apt = |args: &str| {
        // With run level 1 the packages do not start a server of their own.
        let settings = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
        let mut apt = Command::new("apt-get");
        apt.args(args.split(' ')).envs(settings).stdout(Stdio::null()).status()
    };
    let _ = apt("update -qq");
    let done = packages.iter().any(|packages| {
        let install = format!("install -y -qq --no-install-recommends {packages}");
        apt(&install).is_ok_and(|status| status.success())
    });
    assert!(done && is_installed(program), "{advice}");
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
