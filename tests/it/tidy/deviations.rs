//! docs/deviations.md against the code and its tests.

use super::cites::Cites;
use super::markdown::{self, Row};
use super::scan::{Code, Item};
use super::tree::{Problem, Tree};

pub(super) const FILE: &str = "docs/deviations.md";
pub(super) const FLAWS: [&str; 7] = [
    "#",
    "Severity",
    "C++ place",
    "What the original does",
    "How this server answers it",
    "Where",
    "Tests",
];
pub(super) const DIFFERS: [&str; 4] = ["Rust item", "Differs", "Rows", "Tests"];
pub(super) const OPEN: &str = "open";
/// An empty cell that is empty on purpose.
pub(super) const EMPTY: &str = "–";
/// F: flaws of the servers. S: flaws of the stored data.
const COUNTS: [(char, usize); 2] = [('F', 144), ('S', 26)];

struct Page<'a> {
    flaws: Vec<&'a Row>,
    differs: Vec<&'a Row>,
    problems: Vec<Problem>,
}

pub(super) fn check(tree: &Tree, code: &Code, cites: &Cites<'_>) -> Vec<Problem> {
    let Some(file) = tree.get(FILE) else {
        return vec![Problem::new(FILE, 1, "is missing")];
    };
    let tables = markdown::tables(&file.text);
    let rows = |header: &[&str]| -> Vec<&Row> {
        let tables = tables.iter().filter(|table| table.header.cells == header);
        tables.flat_map(|table| &table.rows).collect()
    };
    let mut page = Page { flaws: rows(&FLAWS), differs: rows(&DIFFERS), problems: Vec::new() };
    page.check_ids();
    for row in page.flaws.clone() {
        page.check_flaw(row, tree, code);
    }
    page.check_named_tests(code);
    page.check_differs_rows(code, cites);
    page.check_differs_lines(cites);
    page.problems
}

impl<'a> Page<'a> {
    fn wrong(&mut self, row: &Row, text: impl Into<String>) {
        self.problems.push(Problem::new(FILE, row.line, text));
    }

    fn flaw(&self, id: &str) -> Option<&'a Row> {
        self.flaws.iter().copied().find(|row| row.cell(0) == id)
    }

    fn check_ids(&mut self) {
        for (group, count) in COUNTS {
            for id in (1..=count).map(|n| format!("{group}{n}")) {
                let found: Vec<&Row> =
                    self.flaws.iter().copied().filter(|row| row.cell(0) == id).collect();
                match found.as_slice() {
                    [_] => {}
                    [] => self.problems.push(Problem::new(FILE, 1, format!("{id} has no row"))),
                    [_, second, ..] => self.wrong(second, format!("{id} has a row already")),
                }
            }
        }
        for row in self.flaws.clone() {
            if parse_id(row.cell(0)).is_none() {
                self.wrong(row, format!("`{}` is neither F1..F144 nor S1..S26", row.cell(0)));
            }
        }
    }

    fn check_flaw(&mut self, row: &Row, tree: &Tree, code: &Code) {
        if row.cells.len() != FLAWS.len() {
            self.wrong(row, format!("a row has seven cells: {}", FLAWS.join(", ")));
            return;
        }
        if !["C", "H", "M", "L"].contains(&row.cell(1)) {
            self.wrong(row, "the severity is C, H, M or L");
        }
        let paths = match row.cell(5).strip_prefix(OPEN) {
            Some("") if row.cell(6) == EMPTY => return,
            Some("") => {
                let text = "an open row names no test; with a part done write: open, `path`";
                return self.wrong(row, text);
            }
            Some(rest) => rest.strip_prefix(", ").and_then(markdown::quoted_list),
            None => markdown::quoted_list(row.cell(5)),
        };
        match paths {
            None => self.wrong(row, "Where is: open; or open, `path`; or `path`, `path`"),
            Some(paths) => {
                for path in paths.into_iter().filter(|p| !exists(p, tree, code)) {
                    let text = format!("no item or file `{path}`{}", code.similar(path));
                    self.wrong(row, text);
                }
            }
        }
        self.check_tests(row, row.cell(6), code);
    }

    fn check_tests(&mut self, row: &Row, cell: &str, code: &Code) {
        let Some(paths) = markdown::quoted_list(cell) else {
            self.wrong(row, "Tests is a list: `path`, `path`, with at least one");
            return;
        };
        for path in paths.into_iter().filter(|path| !code.is_test(path)) {
            self.wrong(row, format!("no test `{path}`{}", code.similar(path)));
        }
    }

    /// A test that is named for a row, as `f22_f23_bad_lengths` is, stands in that row.
    fn check_named_tests(&mut self, code: &Code) {
        for item in code.items.iter().filter(|item| item.is_test) {
            for id in named_for(item) {
                let Some(row) = self.flaw(&id) else { continue };
                if !markdown::quoted(row.cell(6)).contains(&item.path.as_str()) {
                    let path = &item.path;
                    let line = row.line;
                    let text = format!(
                        "the test is named for {id}: add `{path}` to its row ({FILE}:{line})"
                    );
                    self.problems.push(Problem::new(&item.file, item.line, text));
                }
            }
        }
    }

    fn check_differs_rows(&mut self, code: &Code, cites: &Cites<'_>) {
        for row in self.differs.clone() {
            let item = markdown::quoted(row.cell(0)).first().copied().unwrap_or("");
            let mut lines = cites.differs.iter().filter(|d| d.item.path == item).peekable();
            if row.cells.len() != DIFFERS.len() {
                self.wrong(row, format!("a row has four cells: {}", DIFFERS.join(", ")));
            } else if lines.peek().is_none() {
                let text = format!("`{item}` has no `Differs:` line{}", code.similar(item));
                self.wrong(row, text);
            } else if !lines.any(|d| d.text == row.cell(1)) {
                self.wrong(row, format!("no `Differs:` line of `{item}` has this text"));
            } else {
                self.check_tests(row, row.cell(3), code);
                self.check_flaws_of(row, item);
            }
        }
    }

    /// The rows that a `Differs:` line answers name its item.
    fn check_flaws_of(&mut self, row: &Row, item: &str) {
        let listed: Vec<&str> = match row.cell(2) {
            EMPTY => Vec::new(),
            cell => cell.split(", ").collect(),
        };
        for id in mentioned(row.cell(1)).filter(|id| !listed.contains(id)) {
            self.wrong(row, format!("the text speaks of {id}, the Rows column does not"));
        }
        for id in listed {
            match self.flaw(id) {
                None => self.wrong(row, format!("there is no row {id}; without one write {EMPTY}")),
                Some(flaw) if !markdown::quoted(flaw.cell(5)).contains(&item) => {
                    let line = flaw.line;
                    let text = format!("row {id} (line {line}) does not name `{item}` in Where");
                    self.wrong(row, text);
                }
                Some(_) => {}
            }
        }
    }

    fn check_differs_lines(&mut self, cites: &Cites<'_>) {
        for line in &cites.differs {
            let quoted = format!("`{}`", line.item.path);
            let listed = self.differs.iter().any(|r| r.cell(0) == quoted && r.cell(1) == line.text);
            if !listed {
                let cell = line.text.replace('|', "\\|");
                let text =
                    format!("not listed in {FILE}; add: | {quoted} | {cell} | {EMPTY} | .. |");
                self.problems.push(Problem::new(&line.item.file, line.line, text));
            }
        }
    }
}

fn exists(path: &str, tree: &Tree, code: &Code) -> bool {
    if path.contains('/') { tree.exists(path) } else { code.contains(path) }
}

/// The rows that a test is named for.
pub(super) fn named_for(test: &Item) -> Vec<String> {
    let name = test.path.rsplit("::").next().unwrap_or(&test.path);
    name.split('_').map(str::to_uppercase).take_while(|id| parse_id(id).is_some()).collect()
}

/// `F22` or `S3`, if there is such a row.
fn parse_id(id: &str) -> Option<(char, usize)> {
    let group = id.chars().next()?;
    let count = COUNTS.iter().find(|c| c.0 == group)?.1;
    let number = id[1..].parse().ok().filter(|n| (1..=count).contains(n))?;
    (format!("{group}{number}") == id).then_some((group, number))
}

/// The rows that a text names.
pub(super) fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| parse_id(word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "/// C++: base/x.h CX::Go\n/// Differs: goes on (F22).\nfn go() {}\n\
        mod tests {\n#[test] fn f22_it_goes() {}\n#[test] fn it_stays() {}\n}\n";
    const FLAW: &str = "| F22 | C | x | y | z | `a::go` | `a::tests::f22_it_goes` |";
    const DIFFERS_ROW: &str = "| `a::go` | goes on (F22). | F22 | `a::tests::it_stays` |";

    fn problems(flaw: &str, differs: &str) -> Vec<String> {
        let head = |cells: &[&str]| {
            format!("| {} |\n|{}\n", cells.join(" | "), "---|".repeat(cells.len()))
        };
        let page = format!("{}{flaw}\n\n{}{differs}\n", head(&FLAWS), head(&DIFFERS));
        let tree = Tree::of(&[(FILE, &page), ("src/a.rs", SOURCE)]);
        let code = Code::of(&tree);
        let mut found = check(&tree, &code, &Cites::of(&tree, &code));
        found.retain(|p| !p.to_string().ends_with("has no row"));
        found.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_page_that_agrees_with_the_code_is_silent() {
        assert_eq!(problems(FLAW, DIFFERS_ROW), [""; 0]);
        let part = FLAW.replace("`a::go`", "open, `a::go`");
        assert_eq!(problems(&part, DIFFERS_ROW), [""; 0]);
    }

    #[test]
    fn a_planted_wrong_flaw_is_found() {
        let cases = [
            (
                FLAW.replace("`a::go`", "`a::gone`"),
                "docs/deviations.md:3: no item or file `a::gone`",
            ),
            (
                FLAW.replace("`a::go`", "`src/b.rs`"),
                "docs/deviations.md:3: no item or file `src/b.rs`",
            ),
            (FLAW.replace("`a::go`", "later"), "docs/deviations.md:3: Where is"),
            (FLAW.replace("`a::go`", "open"), "docs/deviations.md:3: an open row names no test"),
            (FLAW.replace("f22_it_goes", "it_stays"), "src/a.rs:5: the test is named for F22"),
            (FLAW.replace("f22_it_goes", "no_test"), "docs/deviations.md:3: no test"),
            (FLAW.replace("`a::tests::f22_it_goes`", "–"), "docs/deviations.md:3: Tests is a list"),
            (FLAW.replace("| C |", "| X |"), "docs/deviations.md:3: the severity"),
            (FLAW.replace("F22", "F145"), "docs/deviations.md:3: `F145` is neither"),
            (format!("{FLAW}\n{FLAW}"), "docs/deviations.md:4: F22 has a row already"),
            (FLAW.replace("| z ", ""), "docs/deviations.md:3: a row has seven cells"),
        ];
        for (row, expected) in cases {
            let found = problems(&row, DIFFERS_ROW);
            assert!(found.iter().any(|p| p.starts_with(expected)), "{row}: {found:?}");
        }
    }

    #[test]
    fn differs_lines_and_rows_agree_in_both_directions() {
        let cases = [
            (
                String::new(),
                "src/a.rs:2: not listed in docs/deviations.md; add: | `a::go` | goes on",
            ),
            (
                DIFFERS_ROW.replace("goes on", "goes"),
                "docs/deviations.md:7: no `Differs:` line of `a::go`",
            ),
            (DIFFERS_ROW.replace("`a::go`", "`a::no`"), "docs/deviations.md:7: `a::no` has no"),
            (
                DIFFERS_ROW.replace("| F22 |", "| – |"),
                "docs/deviations.md:7: the text speaks of F22",
            ),
            (
                DIFFERS_ROW.replace("| F22 |", "| F22, F999 |"),
                "docs/deviations.md:7: there is no row F999",
            ),
            (DIFFERS_ROW.replace("it_stays", "no"), "docs/deviations.md:7: no test"),
        ];
        for (row, expected) in cases {
            let found = problems(FLAW, &row);
            assert!(found.iter().any(|p| p.starts_with(expected)), "{row}: {found:?}");
        }
        let elsewhere = FLAW.replace("`a::go`", "`a`");
        assert!(problems(&elsewhere, DIFFERS_ROW)[0].contains("row F22 (line 3) does not name"));
    }

    #[test]
    fn ids_are_exact() {
        assert_eq!(mentioned("xF22 (F22, F023; S3) F145").collect::<Vec<_>>(), ["F22", "S3"]);
    }
}
