//! What rustfmt and clippy do not check.

use super::lexer::{self, Kind, Token};
use super::markdown;
use super::scan::{Code, ItemKind};
use super::tree::{Problem, SourceFile, Tree};

const LINE_MAX: usize = 100;
const FILE_MAX: usize = 600;
const FUNCTION_MAX: usize = 70;

/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// The only places that read a clock: the loop, the log, and those that run on workers, without a
/// loop: a client that blocks, what measures their work, and the pools of connections. The others
/// are the time of the world and the client.
const CLOCKS: [&str; 9] = [
    "src/netlib/event_dispatch.rs",
    "src/base/slog.rs",
    "src/base/http_client.rs",
    "src/base/histogram.rs",
    "src/storage/pool.rs",
    "src/base/unix_time.rs",
    "src/client/wire.rs",
    "src/tool/bench/mod.rs",
    "src/push_server/sender.rs",
];

const SERVICES: [&str; 8] = [
    "login_server",
    "msg_server",
    "route_server",
    "db_proxy_server",
    "file_server",
    "msfs",
    "http_msg_server",
    "push_server",
];

/// Files that are read for unfinished work.
const SOURCES: [&str; 9] =
    [".rs", ".toml", ".md", ".proto", ".conf", ".sql", ".sh", ".yml", "Makefile"];

pub(super) fn check(tree: &Tree, code: &Code) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_lengths(tree, code, &mut problems);
    for file in tree.rust_files(&["src"]) {
        let tokens = lexer::tokens(&file.text);
        let tokens: Vec<_> = tokens.into_iter().filter(|t| t.kind != Kind::Comment).collect();
        check_clock(file, &tokens, code, &mut problems);
        check_sharing(file, &tokens, &mut problems);
        check_layers(file, &tokens, &mut problems);
        check_unsafe(file, &tokens, &mut problems);
    }
    for file in tree.files() {
        check_unfinished(file, &mut problems);
        check_links(file, tree, &mut problems);
        check_prose(file, code, &mut problems);
    }
    problems
}

fn check_lengths(tree: &Tree, code: &Code, problems: &mut Vec<Problem>) {
    for file in tree.rust_files(&["src", "tests", "benches"]) {
        for (at, line) in file.text.lines().enumerate() {
            let len = line.chars().count();
            if len > LINE_MAX {
                let text = format!("{len} columns, {LINE_MAX} are allowed");
                problems.push(Problem::new(&file.path, at + 1, text));
            }
        }
    }
    for file in tree.rust_files(&["src"]) {
        let len = file.text.lines().count();
        if len > FILE_MAX && !LONG_FILES.iter().any(|(path, _)| *path == file.path) {
            let text = format!("{len} lines, {FILE_MAX} are allowed: split it by subject");
            problems.push(Problem::new(&file.path, FILE_MAX + 1, text));
        }
    }
    for (path, reason) in LONG_FILES {
        let needed = tree.get(path).is_some_and(|f| f.text.lines().count() > FILE_MAX);
        if !needed || reason.is_empty() {
            problems.push(Problem::new(path, 1, "its exemption has no reason, or is not needed"));
        }
    }
    for item in code.items.iter().filter(|i| i.kind == ItemKind::Fn && !i.test_code) {
        let len = item.end_line + 1 - item.line;
        if len > FUNCTION_MAX {
            let text = format!("{} has {len} lines, {FUNCTION_MAX} are allowed", item.path);
            problems.push(Problem::new(&item.file, item.line, text));
        }
    }
}

/// Where this run of tokens begins.
fn find<'a>(tokens: &'a [Token<'a>], run: &[&str]) -> Vec<&'a Token<'a>> {
    let same = |window: &&[Token<'_>]| window.iter().zip(run).all(|(t, text)| t.is(text));
    tokens.windows(run.len()).filter(same).map(|window| &window[0]).collect()
}

fn check_clock(file: &SourceFile, tokens: &[Token<'_>], code: &Code, problems: &mut Vec<Problem>) {
    if CLOCKS.contains(&file.path.as_str()) {
        return;
    }
    let in_tests = |line: usize| {
        let here = code.items.iter().filter(|item| item.file == file.path && item.test_code);
        here.into_iter().any(|i| i.kind == ItemKind::Module && i.line <= line && line <= i.end_line)
            || file.path.contains("/tests/")
            || file.path.ends_with("/tests.rs")
    };
    for clock in ["Instant", "SystemTime"] {
        for token in find(tokens, &[clock, "::", "now"]).into_iter().filter(|t| !in_tests(t.line)) {
            let text = format!("{clock}::now: take the tick or the time as an argument");
            problems.push(Problem::new(&file.path, token.line, text));
        }
    }
}

fn check_sharing(file: &SourceFile, tokens: &[Token<'_>], problems: &mut Vec<Problem>) {
    let banned: [&[&str]; 4] = [&["Rc", "<"], &["Rc", "::"], &["RefCell"], &["static", "mut"]];
    for run in banned {
        for token in find(tokens, run) {
            let text = format!("`{}`: the loop owns its state, handles name it", run.join(" "));
            problems.push(Problem::new(&file.path, token.line, text));
        }
    }
}

/// Services know the libraries and never each other; libraries know no service. The tool, like the
/// mains, stands above all of them.
fn check_layers(file: &SourceFile, tokens: &[Token<'_>], problems: &mut Vec<Problem>) {
    let own = file.path.split('/').nth(1).map_or("", |part| part.trim_end_matches(".rs"));
    if ["bin", "lib", "tool"].contains(&own) {
        return;
    }
    let foreign = |t: &Token<'_>| t.text != own && SERVICES.iter().any(|service| t.is(service));
    for (at, token) in tokens.iter().enumerate() {
        let above = token.is("super") && SERVICES.contains(&own);
        let behind = &tokens[at + 1..];
        if !(token.is("crate") || above) || !behind.first().is_some_and(|t| t.is("::")) {
            continue;
        }
        for found in heads(&behind[1..]).into_iter().filter(|t| foreign(t)) {
            let text = format!("{own} must not know {}: share it through base", found.text);
            problems.push(Problem::new(&file.path, found.line, text));
        }
    }
}

/// The first names behind `crate::`, several if it is followed by braces.
fn heads<'a>(tokens: &'a [Token<'a>]) -> Vec<&'a Token<'a>> {
    if !tokens.first().is_some_and(|t| t.is("{")) {
        return tokens.first().into_iter().collect();
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            _ if depth == 1 && (tokens[at - 1].is("{") || tokens[at - 1].is(",")) => {
                names.push(token);
            }
            _ => {}
        }
    }
    names
}

fn check_unsafe(file: &SourceFile, tokens: &[Token<'_>], problems: &mut Vec<Problem>) {
    let binary = file.path.strip_prefix("src/bin/").is_some_and(|rest| !rest.contains('/'));
    let root = file.path == "src/lib.rs" || binary || file.path.ends_with("/main.rs");
    let forbid = ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
    if root && find(tokens, &forbid).is_empty() {
        problems.push(Problem::new(&file.path, 1, "must begin with #![forbid(unsafe_code)]"));
    }
}

fn check_unfinished(file: &SourceFile, problems: &mut Vec<Problem>) {
    // Written apart, so that this file passes.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    let macros = [["todo", "!"], ["unimplemented", "!"]].map(|halves| halves.concat());
    if !SOURCES.iter().any(|end| file.path.ends_with(end)) {
        return;
    }
    for (at, line) in file.text.lines().enumerate() {
        let mut parts = line.split(|c: char| c != '_' && !c.is_alphanumeric());
        let word = parts.find(|part| words.iter().any(|w| w == part));
        let found = word.or_else(|| macros.iter().map(String::as_str).find(|m| line.contains(m)));
        if let Some(found) = found {
            let text = format!("{found}: finish it, or write down why it is left out");
            problems.push(Problem::new(&file.path, at + 1, text));
        }
    }
}

fn check_links(file: &SourceFile, tree: &Tree, problems: &mut Vec<Problem>) {
    if !file.path.ends_with(".md") {
        return;
    }
    let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    for (line, target) in markdown::links(&file.text) {
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let path = resolve_link(dir, target);
        if !path.is_some_and(|path| path.is_empty() || tree.exists(&path)) {
            let text = format!("the link leads to `{target}`, which is not in the repository");
            problems.push(Problem::new(&file.path, line, text));
        }
    }
}

fn resolve_link(dir: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Rust paths in the text around the tables of docs/.
fn check_prose(file: &SourceFile, code: &Code, problems: &mut Vec<Problem>) {
    if !file.path.ends_with(".md") {
        return;
    }
    for (number, line) in markdown::lines(&file.text).filter(|(_, line)| !line.starts_with('|')) {
        for path in markdown::quoted(line) {
            let ours = path.split_once("::").is_some_and(|(top, _)| code.contains(top));
            let plain = path.chars().all(|c| c == '_' || c == ':' || c.is_alphanumeric());
            if ours && plain && !code.contains(path) {
                let text = format!("no item `{path}`{}", code.similar(path));
                problems.push(Problem::new(&file.path, number, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(path, text), ("docs/there.md", "")]);
        check(&tree, &Code::of(&tree)).iter().map(Problem::to_string).collect()
    }

    /// One problem, in this line, with this text.
    fn finds(path: &str, text: &str, expected: &str) {
        let found = problems(path, text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }

    fn passes(path: &str, text: &str) {
        assert_eq!(problems(path, text), [""; 0], "{text}");
    }

    #[test]
    fn long_lines_files_and_functions_are_found() {
        let long = format!("// {}\n", "ä".repeat(98));
        finds("benches/a.rs", &long, "benches/a.rs:1: 101 columns");
        passes("tests/a.rs", &long.replacen('ä', "", 1));
        finds("src/a.rs", &"\n".repeat(601), "src/a.rs:601: 601 lines");
        let body = format!("fn f() {{\n{}}}\n", "\n".repeat(69));
        finds("src/a.rs", &body, "src/a.rs:1: a::f has 71 lines");
        passes("src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{body}}}\n"));
    }

    #[test]
    fn only_the_loop_and_the_log_read_the_clock() {
        let source = "fn f() { std::time::Instant::now(); }";
        finds("src/netlib/timer.rs", source, "src/netlib/timer.rs:1: Instant::now");
        passes("src/netlib/event_dispatch.rs", source);
        passes("src/netlib/timer.rs", &format!("#[cfg(test)] mod tests {{ {source} }}"));
        passes("benches/a.rs", source);
        passes("src/a.rs", "// Instant::now() would\nconst S: &str = \"Instant::now()\";");
    }

    #[test]
    fn shared_state_is_found() {
        for source in ["struct A(Rc<u8>);", "use std::cell::RefCell;", "static mut X: u8 = 0;"] {
            finds("src/a.rs", source, "src/a.rs:1: `");
        }
        passes("src/a.rs", "struct A(Arc<u8>);");
    }

    #[test]
    fn services_do_not_know_each_other() {
        let wrong = ["use crate::login_server::X;", "use crate::{base, login_server::{a, b}};"];
        for source in wrong.into_iter().chain(["use super::super::login_server;"]) {
            finds("src/msg_server/mod.rs", source, "src/msg_server/mod.rs:1: msg_server must not");
        }
        finds(
            "src/base/util.rs",
            "use crate::msfs::X;",
            "src/base/util.rs:1: base must not know msfs",
        );
        passes("src/msg_server/a.rs", "use crate::{base::x::{msfs}, msg_server::b};");
        passes("src/base/attach_data.rs", "use super::msg_server::ATTACH_TYPE_HANDLE;");
        passes("src/bin/a.rs", "#![forbid(unsafe_code)] use crate::login_server;");
        passes("src/tool/a.rs", "use crate::login_server::X;");
    }

    #[test]
    fn roots_forbid_unsafe_code() {
        finds("src/lib.rs", "//! Doc.\n", "src/lib.rs:1: must begin");
        finds("src/bin/a.rs", "fn main() {}", "src/bin/a.rs:1: must begin");
        passes("src/lib.rs", "//! Doc.\n#![forbid(unsafe_code)]\n");
    }

    #[test]
    fn unfinished_work_is_found() {
        let word = ["TO", "DO"].concat();
        finds("docs/a.md", &format!("one\n{word}: two"), "docs/a.md:2: ");
        finds("src/a.rs", &format!("fn f() {{ {}!() }}", ["to", "do"].concat()), "src/a.rs:1: ");
        passes("docs/a.md", &format!("{word}S and {}", word.to_lowercase()));
    }

    #[test]
    fn links_lead_somewhere() {
        passes("docs/a.md", "[x](there.md#y) [x](../docs/there.md) [x](https://a.b) [x](..)");
        finds("docs/a.md", "[x](gone.md)", "docs/a.md:1: the link leads to `gone.md`");
        finds("docs/a.md", "[x](../../there.md)", "docs/a.md:1: the link leads to");
    }

    #[test]
    fn paths_in_prose_exist() {
        let page = |text: &str| {
            let tree = Tree::of(&[("docs/a.md", text), ("src/n.rs", "fn go() {}")]);
            check(&tree, &Code::of(&tree)).len()
        };
        assert_eq!(page("`n::go` `std::fmt` `CX::Go` `n`"), 0);
        assert_eq!(page("`n::gone`"), 1);
    }
}
