//! The repository agrees with its documents and with its own rules.

mod cites;
mod cpp_map;
mod deviations;
mod lexer;
mod markdown;
mod scan;
mod style;
mod tree;

use std::path::Path;

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

#[test]
fn the_sources_keep_the_rules() {
    let (tree, code) = repository();
    report(style::check(&tree, &code));
}
