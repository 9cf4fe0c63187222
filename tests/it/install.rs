//! `make install`, `make uninstall`, and the units of systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{output, run, teamtalk};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// All servers, in the order in which a machine starts them.
const SERVERS: [&str; 8] = [
    "db_proxy_server",
    "route_server",
    "file_server",
    "msfs",
    "push_server",
    "login_server",
    "msg_server",
    "http_msg_server",
];

/// The servers by the names of their mains, with their configurations.
fn servers() -> Vec<(String, String)> {
    let mut servers = Vec::new();
    for entry in fs::read_dir(Path::new(REPOSITORY).join("src/bin")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name != "teamtalk" {
            let source = fs::read_to_string(&path).unwrap();
            let config = source.split_once("config: \"").unwrap().1;
            let config = config.split_once('"').unwrap().0;
            servers.push((name.to_owned(), config.to_owned()));
        }
    }
    servers.sort();
    servers
}

/// Section, key and value of each line that says something.
fn unit(name: &str) -> Vec<(String, String, String)> {
    let path = Path::new(REPOSITORY).join("systemd").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut section, mut lines) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric()), "{name}: {line}");
        assert!(["Unit", "Service", "Install"].contains(&section.as_str()), "{name}: {line}");
        lines.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    lines
}

/// The values of a key, and of its repetitions.
fn values<'a>(unit: &'a [(String, String, String)], key: &str) -> Vec<&'a str> {
    unit.iter().filter(|line| line.1 == key).flat_map(|line| line.2.split(' ')).collect()
}

#[test]
fn f141_each_server_has_a_unit_that_starts_it_with_its_configuration() {
    let mut units: BTreeSet<String> = SERVERS.map(|name| format!("teamtalk-{name}.service")).into();
    units.extend(["teamtalk.target".to_owned(), "teamtalk.sysusers".to_owned()]);
    let found = fs::read_dir(Path::new(REPOSITORY).join("systemd")).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), units);
    let names: BTreeSet<String> = servers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, SERVERS.map(str::to_owned).into());
    for (name, config) in servers() {
        let unit = unit(&format!("teamtalk-{name}.service"));
        let start = format!("/usr/local/bin/{name} -c /usr/local/etc/teamtalk/{config}");
        assert_eq!(values(&unit, "ExecStart").join(" "), start);
        assert!(Path::new(REPOSITORY).join("conf").join(&config).exists(), "conf/{config}");
    }
}

#[test]
fn the_units_differ_in_nothing_but_names_order_and_open_files() {
    const OWN: [&str; 5] =
        ["ExecStart", "WorkingDirectory", "StateDirectory", "LimitNOFILE", "ExecReload"];
    let common = |name: &str| -> Vec<(String, String, String)> {
        let lines = unit(&format!("teamtalk-{name}.service")).into_iter();
        lines.filter(|line| line.0 != "Unit" && !OWN.contains(&line.1.as_str())).collect()
    };
    let first = common(SERVERS[0]);
    for (key, value) in [
        ("Type", "notify"),
        ("Restart", "on-failure"),
        ("User", "teamtalk"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("MemoryDenyWriteExecute", "yes"),
        ("CapabilityBoundingSet", ""),
        ("WantedBy", "teamtalk.target"),
    ] {
        assert_eq!(values(&first, key), [value], "{key}");
    }
    for name in SERVERS {
        assert_eq!(common(name), first, "{name}");
        let unit = unit(&format!("teamtalk-{name}.service"));
        assert_eq!(values(&unit, "StateDirectory"), [format!("teamtalk/{name}")]);
        assert_eq!(values(&unit, "WorkingDirectory"), [format!("%S/teamtalk/{name}")]);
        // The only one that reads anything again.
        let reload = values(&unit, "ExecReload");
        assert_eq!(reload == ["/bin/kill", "-HUP", "$MAINPID"], name == "msg_server", "{reload:?}");
        assert_eq!(values(&unit, "Documentation"), [format!("man:{name}(8)")]);
        let open_files: u32 = values(&unit, "LimitNOFILE")[0].parse().unwrap();
        assert!(open_files >= 65536);
    }
}

#[test]
fn msg_servers_start_behind_the_servers_they_need() {
    for (at, name) in SERVERS.iter().enumerate() {
        let unit = unit(&format!("teamtalk-{name}.service"));
        let after: BTreeSet<&str> = values(&unit, "After")
            .into_iter()
            .filter_map(|other| other.strip_prefix("teamtalk-")?.strip_suffix(".service"))
            .collect();
        let earlier = |count: usize| SERVERS[..count].iter().copied().collect::<BTreeSet<_>>();
        let expected = match *name {
            "login_server" | "msg_server" => earlier(at),
            "http_msg_server" => earlier(2),
            _ => BTreeSet::new(),
        };
        assert_eq!(after, expected, "{name}");
    }
}

/// What `make` installs from, and where.
struct Installation {
    directory: tempfile::TempDir,
}

impl Installation {
    /// The servers are stand-ins: their debug builds are large, and the tool alone is run.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let build = directory.path().join("build");
        fs::create_dir(&build).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_teamtalk"), build.join("teamtalk")).unwrap();
        for (name, _) in servers() {
            fs::write(build.join(name), "#!/bin/sh\n").unwrap();
        }
        Self { directory }
    }

    #[track_caller]
    fn make(&self, target: &str, more: &[&str]) -> String {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut make = Command::new("make");
        // Another `make` that runs these tests has its own options.
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").current_dir(REPOSITORY);
        make.args([target, &format!("BUILD={}", path("build")), &format!("DESTDIR={}", path(""))]);
        output(make.args(more), "")
    }

    /// The files below `DESTDIR`, with their modes.
    fn files(&self) -> BTreeMap<String, u32> {
        let mut files = BTreeMap::new();
        let mut directories: Vec<PathBuf> = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.directory.path()).unwrap().to_str().unwrap();
                if path.is_dir() && name != "build" {
                    directories.push(path);
                } else if path.is_file() {
                    let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
                    files.insert(name.to_owned(), mode);
                }
            }
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[test]
fn what_is_installed_has_its_place_and_mode() {
    let installation = Installation::new();
    installation.make("install", &[]);
    let files = installation.files();
    let mut expected = vec![
        ("usr/local/bin/teamtalk".to_owned(), 0o755),
        ("usr/local/share/man/man1/teamtalk.1".to_owned(), 0o644),
        ("usr/local/share/man/man1/teamtalk-user-add.1".to_owned(), 0o644),
        ("usr/local/share/bash-completion/completions/teamtalk".to_owned(), 0o644),
        ("usr/local/share/zsh/site-functions/_teamtalk".to_owned(), 0o644),
        ("usr/local/share/fish/vendor_completions.d/teamtalk.fish".to_owned(), 0o644),
        ("usr/local/share/doc/teamtalk/operations.md".to_owned(), 0o644),
        ("usr/local/lib/systemd/system/teamtalk.target".to_owned(), 0o644),
        ("usr/local/lib/sysusers.d/teamtalk.conf".to_owned(), 0o644),
    ];
    for (name, config) in servers() {
        expected.push((format!("usr/local/bin/{name}"), 0o755));
        expected.push((format!("usr/local/etc/teamtalk/{config}"), 0o640));
        expected.push((format!("usr/local/share/man/man8/{name}.8"), 0o644));
        expected.push((format!("usr/local/lib/systemd/system/teamtalk-{name}.service"), 0o644));
    }
    for (name, mode) in expected {
        assert_eq!(files.get(&name), Some(&mode), "{name} of {files:#?}");
    }
    assert!(files.keys().all(|name| name.starts_with("usr/local/")), "{files:#?}");
}

#[test]
fn units_and_completions_name_the_prefix() {
    let installation = Installation::new();
    installation.make("install", &["PREFIX=/usr"]);
    let unit = installation.path("usr/lib/systemd/system/teamtalk-msg_server.service");
    let unit = fs::read_to_string(unit).unwrap();
    let start = "ExecStart=/usr/bin/msg_server -c /etc/teamtalk/msgserver.conf\n";
    assert!(unit.contains(start), "{unit}");
    assert!(!unit.contains("/usr/local"), "{unit}");
    assert!(installation.path("etc/teamtalk/msgserver.conf").exists());
    let completions = installation.path("usr/share/bash-completion/completions/teamtalk");
    assert!(fs::read_to_string(completions).unwrap().contains("complete -F _teamtalk"));
}

#[test]
fn a_changed_configuration_outlives_a_second_installation_and_the_end() {
    let installation = Installation::new();
    installation.make("install", &[]);
    let before = installation.files();
    let conf = installation.path("usr/local/etc/teamtalk/msgserver.conf");
    fs::write(&conf, "ListenIP=10.0.0.1\n").unwrap();
    let said = installation.make("install", &[]);
    assert!(said.contains("msgserver.conf was changed: the new sample is msgserver.conf.new"));
    assert_eq!(fs::read_to_string(&conf).unwrap(), "ListenIP=10.0.0.1\n");
    let sample = fs::read_to_string(Path::new(REPOSITORY).join("conf/msgserver.conf")).unwrap();
    assert_eq!(fs::read_to_string(conf.with_extension("conf.new")).unwrap(), sample);
    assert_eq!(installation.files().len(), before.len() + 1);

    let said = installation.make("uninstall", &[]);
    assert!(said.contains("msgserver.conf was changed, and stays"), "{said}");
    let left: Vec<String> = installation.files().into_keys().collect();
    assert_eq!(left, ["usr/local/etc/teamtalk/msgserver.conf"]);
    assert!(!installation.path("usr/local/share/doc/teamtalk").exists());
    // Nothing is left to remove: that is no mistake.
    installation.make("uninstall", &[]);
}

#[test]
fn nothing_is_installed_before_something_is_built() {
    let directory = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").current_dir(REPOSITORY);
    let path = directory.path().display();
    make.args(["install", &format!("BUILD={path}/none"), &format!("DESTDIR={path}/to")]);
    let output = run(&mut make, "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("make build"));
    assert!(!directory.path().join("to").exists());
}

#[test]
fn every_command_and_every_server_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    output(teamtalk(directory.path()).args(["man", "pages"]), "");
    let page = |name: &str| {
        fs::read_to_string(directory.path().join("pages").join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let tool = page("teamtalk.1");
    let help = output(teamtalk(directory.path()).arg("--help"), "");
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    for line in commands.lines().filter(|line| !line.trim_start().starts_with("help ")) {
        let Some(command) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else {
            continue;
        };
        let name = format!("teamtalk-{}", command.split(' ').next().unwrap());
        assert!(page(&format!("{name}.1")).contains("teamtalk(1)"), "{name}");
        assert!(tool.replace('\\', "").contains(&name), "{name}");
    }
    assert!(page("teamtalk-user-add.1").contains("teamtalk\\-user(1)"));
    let build = Path::new(env!("CARGO_BIN_EXE_teamtalk")).parent().unwrap();
    for (name, config) in servers() {
        let page = page(&format!("{name}.8")).replace('\\', "");
        for part in [".SH FILES", ".SH SIGNALS", ".SH \"SEE ALSO\"", "check-config", &config] {
            assert!(page.contains(part), "{name}.8 has no {part}:\n{page}");
        }
        // Both say what the server is for; the table is in src/tool/man.rs.
        let help = output(Command::new(build.join(&name)).arg("--help"), "");
        let about = help.lines().next().unwrap();
        assert!(page.contains(&format!("{name} - {about}")), "{name}.8 does not say: {about}");
    }
}
