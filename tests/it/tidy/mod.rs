//! The repository agrees with its documents and with its own rules.

mod cites;
mod cpp_map;
mod deviations;
mod generate;
mod lexer;
mod markdown;
mod scan;
mod style;
mod tree;

use std::path::Path;
use std::{env, fs};

use cites::Cites;
use scan::Code;
use tree::{Problem, Tree};

fn repository() -> (Tree, Code) {
    let tree =
        Tree::load(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the repository is readable");
    assert!(tree.has_any(&["src"]) && tree.has_any(&["tests"]), "nothing to check");
    let code = Code::of(&tree);
    (tree, code)
}

#[track_caller]
fn report(mut problems: Vec<Problem>) {
    problems.sort();
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(lines.is_empty(), "{} problems:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn the_lines_that_cite_the_original_have_one_form() {
    let (tree, code) = repository();
    report(Cites::of(&tree, &code).problems);
}

#[test]
fn the_map_of_the_original_is_complete_and_true() {
    let (tree, code) = repository();
    report(cpp_map::check(&tree, &code, &Cites::of(&tree, &code)));
}

#[test]
fn the_list_of_deviations_is_complete_and_true() {
    let (tree, code) = repository();
    report(deviations::check(&tree, &code, &Cites::of(&tree, &code)));
}

/// `make docs` sets this variable, and then looks again.
#[test]
fn the_documents_say_what_the_code_says() {
    let (tree, code) = repository();
    let cites = Cites::of(&tree, &code);
    let text = |path: &str| tree.get(path).map_or("", |file| file.text.as_str());
    let documents = [
        (deviations::FILE, generate::deviations(text(deviations::FILE), &code, &cites)),
        (cpp_map::FILE, generate::cpp_map(text(cpp_map::FILE), &cites)),
    ];
    for (path, new) in documents {
        let old = text(path);
        if env::var_os("TIDY_WRITE").is_some_and(|value| value == "1") {
            if old != new {
                fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), new).unwrap();
            }
        } else if let Some(line) = generate::first_difference(old, &new) {
            panic!("`make docs` writes another {path}, from line {line} on");
        }
    }
}

#[test]
fn the_sources_keep_the_rules() {
    let (tree, code) = repository();
    report(style::check(&tree, &code));
}
