//! What README.md and docs/ tell people to type, to copy and to click on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tool::{run, teamtalk};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and docs/*.md, with their names.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            paths.push(format!("docs/{name}"));
        }
    }
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Each word that follows this one where something is typed: in a block of code, or in quotes.
fn typed_after(text: &str, command: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut words = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let quoted: Vec<&str> =
            if inside { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for typed in quoted {
            for rest in typed.split(&format!("{command} ")).skip(1) {
                let word = rest.split([' ', '\'', '`']).next().unwrap_or_default();
                if !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                    words.insert(word.to_owned());
                }
            }
        }
    }
    words
}

#[test]
fn the_example_in_the_readme_is_the_one_that_is_compiled() {
    let example = read("examples/say.rs");
    let code = example.split_once("\n\n").unwrap().1;
    let readme = read("README.md");
    assert!(readme.contains(&format!("```rust\n{code}```\n")), "copy examples/say.rs");
    assert!(readme.lines().count() < 250, "the README is a beginning");
}

#[test]
fn every_command_that_is_to_be_typed_exists() {
    let here = std::env::temp_dir();
    let makefile = read("Makefile");
    for (path, text) in documents() {
        for word in typed_after(&text, "make") {
            assert!(makefile.contains(&format!("\n{word}:")), "{path}: make {word}");
        }
        for word in typed_after(&text, "teamtalk").into_iter().filter(|w| !w.starts_with('-')) {
            let output = run(teamtalk(&here).args([&*word, "--help"]), "");
            // `sudo -u teamtalk teamtalk user`: there it is the name of the user.
            assert!(output.status.success() || word == "teamtalk", "{path}: teamtalk {word}");
        }
    }
}

#[test]
fn the_benchmarks_of_the_readme_can_be_run() {
    let readme = read("README.md");
    let rows = readme.split_once("| `teamtalk bench …` |").unwrap().1;
    let rows: Vec<&str> = rows.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let command = row.split('`').nth(1).unwrap();
        let mut bench = teamtalk(&std::env::temp_dir());
        bench.arg("bench").args(command.split(' ')).arg("--help");
        assert!(run(&mut bench, "").status.success(), "{row}");
    }
}

#[test]
fn every_key_of_the_table_of_addresses_is_in_its_sample() {
    let readme = read("README.md");
    let table = readme.split_once("| key | file | whose address").unwrap().1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut keys = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let files: Vec<&str> =
            cells[2].split(", ").filter(|file| file.ends_with(".conf")).collect();
        for key in cells[1].split('`').skip(1).step_by(2) {
            for file in &files {
                let sample = read(&format!("conf/{file}"));
                let has = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key}="));
                assert!(sample.lines().any(has), "{key} is not in conf/{file}");
                keys += 1;
            }
        }
    }
    assert!(keys >= 15, "only {keys}");
}

/// The name under which a heading can be reached.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_to_headings_lead_to_one() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap();
            let Some((file, wanted)) = link.split_once('#') else { continue };
            let directory = Path::new(&path).parent().unwrap();
            let target = if file.is_empty() {
                path.clone()
            } else {
                directory.join(file).display().to_string()
            };
            let known: Vec<String> =
                read(&target).lines().filter(|l| l.starts_with('#')).map(anchor).collect();
            assert!(known.iter().any(|known| known == wanted), "{path}: {link}");
        }
    }
}
