//! What `make docs` writes into the documents: what the code says. What people wrote there stays.

use super::cites::{Cites, Differs};
use super::cpp_map;
use super::deviations::{self, EMPTY, OPEN};
use super::markdown::{self, Row, Table};
use super::scan::Code;

/// Stands where only a person knows the tests; the checks do not let it pass.
const UNKNOWN: &str = "..";

/// `docs/deviations.md` with all `Differs:` lines, and with the items and tests that name a flaw
/// in its row.
pub(super) fn deviations(text: &str, code: &Code, cites: &Cites<'_>) -> String {
    let tables = markdown::tables(text);
    let of = |header: &[&str]| -> Vec<&Table> {
        tables.iter().filter(|table| table.header.cells == header).collect()
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(old) = of(&deviations::DIFFERS).first().copied() else { return text.to_owned() };
    let rows = differs_rows(&old.rows, code, cites);
    for row in of(&deviations::FLAWS).into_iter().flat_map(|table| &table.rows) {
        if let Some(cells) = flaw_cells(row, &rows, code) {
            lines[row.line - 1] = line(&cells);
        }
    }
    let mut new: Vec<String> = rows.iter().map(|cells| line(cells)).collect();
    new.sort();
    let first = old.header.line + 1;
    lines.splice(first..first + old.rows.len(), new);
    lines.join("\n") + "\n"
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    // An empty cell has one blank, as everywhere in these documents.
    format!("| {} |", cells.join(" | ")).replace("|  |", "| |")
}

/// A row for each `Differs:` line. One whose text was changed keeps what else its row says.
fn differs_rows(old: &[Row], code: &Code, cites: &Cites<'_>) -> Vec<Vec<String>> {
    let says = |row: &&Row, line: &&Differs<'_>| {
        row.cell(0) == format!("`{}`", line.item.path) && row.cell(1) == line.text
    };
    let gone = |row: &&Row| !cites.differs.iter().any(|line| says(row, &line));
    let mut reworded: Vec<&Row> = old.iter().filter(gone).collect();
    let row = |line: &Differs<'_>| {
        let item = format!("`{}`", line.item.path);
        let known = old.iter().find(|row| says(row, &line)).or_else(|| {
            let at = reworded.iter().position(|row| row.cell(0) == item)?;
            Some(reworded.remove(at))
        });
        let listed = known.map_or(EMPTY, |row| row.cell(2));
        let mut ids: Vec<&str> = listed.split(", ").filter(|id| *id != EMPTY).collect();
        for id in deviations::mentioned(&line.text) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let tests = known.map_or_else(|| tests_for(line, &ids, code), |row| row.cell(3).to_owned());
        vec![item, line.text.clone(), or_empty(ids.join(", ")), tests]
    };
    cites.differs.iter().map(row).collect()
}

fn or_empty(cell: String) -> String {
    if cell.is_empty() { EMPTY.to_owned() } else { cell }
}

/// The tests that are named for a flaw that the line speaks of, from its own file if it has some.
fn tests_for(line: &Differs<'_>, ids: &[&str], code: &Code) -> String {
    let named: Vec<_> = code
        .items
        .iter()
        .filter(|item| item.is_test)
        .filter(|item| deviations::named_for(item).iter().any(|id| ids.contains(&id.as_str())))
        .collect();
    let near: Vec<_> = named.iter().copied().filter(|t| t.file == line.item.file).collect();
    let tests = if near.is_empty() { named } else { near };
    let tests: Vec<String> = tests.iter().map(|test| format!("`{}`", test.path)).collect();
    if tests.is_empty() { UNKNOWN.to_owned() } else { tests.join(", ") }
}

/// The cells of a flaw, if something has to be added.
fn flaw_cells(row: &Row, differs: &[Vec<String>], code: &Code) -> Option<Vec<String>> {
    let id = row.cell(0);
    let answering = differs.iter().filter(|cells| cells[2].split(", ").any(|other| other == id));
    let items: Vec<&str> = answering.map(|cells| cells[0].trim_matches('`')).collect();
    let named = code.items.iter().filter(|item| item.is_test);
    let named = named.filter(|item| deviations::named_for(item).iter().any(|other| other == id));
    let tests: Vec<&str> = named.map(|item| item.path.as_str()).collect();
    let cells: Vec<String> = (0..row.cells.len())
        .map(|at| match at {
            5 => with(row.cell(5), &items),
            6 => with(row.cell(6), &tests),
            _ => row.cell(at).to_owned(),
        })
        .collect();
    (cells != row.cells).then_some(cells)
}

/// A list of back-quoted paths with these in it as well.
fn with(cell: &str, paths: &[&str]) -> String {
    let known = markdown::quoted(cell);
    let mut new: Vec<&str> = Vec::new();
    for path in paths {
        if !known.contains(path) && !new.contains(path) {
            new.push(path);
        }
    }
    let new: Vec<String> = new.iter().map(|path| format!("`{path}`")).collect();
    match (new.is_empty(), cell) {
        (true, _) => cell.to_owned(),
        (false, "" | EMPTY | cpp_map::NOT_YET) => new.join(", "),
        (false, OPEN) => format!("{OPEN}, {}", new.join(", ")),
        (false, _) => format!("{cell}, {}", new.join(", ")),
    }
}

/// `docs/cpp-map.md` with each item in the row of its origin. A row that says `none` is the
/// decision of a person and stays.
pub(super) fn cpp_map(text: &str, cites: &Cites<'_>) -> String {
    let tables = markdown::tables(text);
    let tables = tables.iter().filter(|table| table.header.cells == cpp_map::HEADER);
    let rows: Vec<&Row> = tables.flat_map(|table| &table.rows).collect();
    let mut items: Vec<Vec<&str>> = vec![Vec::new(); rows.len()];
    for cite in &cites.cites {
        let matching = |row: &&Row| cpp_map::is_origin(row, cite.file, cite.symbol);
        let path = cite.item.path.as_str();
        let known = |row: &&Row| markdown::quoted(row.cell(3)).contains(&path);
        let found: Vec<usize> = (0..rows.len()).filter(|at| matching(&rows[*at])).collect();
        if let Some(&first) = found.first()
            && !found.iter().any(|at| known(&rows[*at]))
        {
            items[first].push(path);
        }
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (row, items) in rows.iter().zip(&items) {
        if items.is_empty() || row.cell(3) == cpp_map::NONE {
            continue;
        }
        let mut cells = row.cells.clone();
        cells[3] = with(row.cell(3), items);
        if row.cell(3) == cpp_map::NOT_YET && row.cell(4).starts_with("planned: ") {
            cells[4].clear();
        }
        lines[row.line - 1] = line(&cells);
    }
    lines.join("\n") + "\n"
}

/// The first line that is not the same.
pub(super) fn first_difference(old: &str, new: &str) -> Option<usize> {
    let common = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    (old != new).then_some(common + 1)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    const SOURCE: &str = "/// C++: base/x.h CX::Go\n/// Differs: goes on (F22).\nfn go() {}\n\
        mod tests {\n#[test] fn f22_it_goes() {}\n#[test] fn it_stays() {}\n}\n";
    const FLAWS: &str = "| # | Severity | C++ place | What the original does | \
        How this server answers it | Where | Tests |\n|---|---|---|---|---|---|---|\n";
    const DIFFERS: &str = "| Rust item | Differs | Rows | Tests |\n|---|---|---|---|\n";

    fn page(flaw: &str, differs: &str) -> String {
        let before = format!("{FLAWS}{flaw}\n\n{DIFFERS}{differs}\nThe end.\n");
        let tree = Tree::of(&[("src/a.rs", SOURCE)]);
        let code = Code::of(&tree);
        let cites = Cites::of(&tree, &code);
        let after = deviations(&before, &code, &cites);
        assert_eq!(deviations(&after, &code, &cites), after, "twice is once");
        after
    }

    #[test]
    fn what_is_missing_is_added() {
        let after = page("| F22 | C | x | y \\| z | z | open | – |", "");
        let flaw = "| F22 | C | x | y \\| z | z | open, `a::go` | `a::tests::f22_it_goes` |";
        let differs = "| `a::go` | goes on (F22). | F22 | `a::tests::f22_it_goes` |\n";
        assert_eq!(after, format!("{FLAWS}{flaw}\n\n{DIFFERS}{differs}\nThe end.\n"));
    }

    #[test]
    fn what_was_written_by_hand_stays_when_a_line_is_reworded_and_goes_with_it() {
        let flaw = "| F22 | C | x | y | z | `b`, `a::go` | `b::t`, `a::tests::f22_it_goes` |";
        let row = "| `a::go` | goes. | F3 | `a::tests::it_stays` |\n";
        let gone = "| `a::gone` | was there. | – | `a::tests::it_stays` |\n";
        let differs = "| `a::go` | goes on (F22). | F3, F22 | `a::tests::it_stays` |\n";
        let after = page(flaw, &format!("{row}{gone}"));
        assert_eq!(after, format!("{FLAWS}{flaw}\n\n{DIFFERS}{differs}\nThe end.\n"));
    }

    #[test]
    fn a_test_that_nobody_can_guess_is_left_to_a_person() {
        let tree = Tree::of(&[(
            "src/a.rs",
            "/// C++: base/x.h CX::Go\n/// Differs: stops.\nfn go() {}\n",
        )]);
        let code = Code::of(&tree);
        let after = deviations(DIFFERS, &code, &Cites::of(&tree, &code));
        assert_eq!(after, format!("{DIFFERS}| `a::go` | stops. | – | .. |\n"));
    }

    #[test]
    fn an_item_gets_into_the_row_of_its_origin() {
        let tree = Tree::of(&[("src/a.rs", SOURCE)]);
        let code = Code::of(&tree);
        let cites = Cites::of(&tree, &code);
        let head = "| Id | C++ | C++ file | Rust | Note |\n|---|---|---|---|---|\n";
        for (before, after) in [
            ("not yet written | planned: src/a.rs |", "`a::go` | |"),
            ("not yet written | why |", "`a::go` | why |"),
            ("`a::x` | |", "`a::x`, `a::go` | |"),
            ("`a::go` | |", "`a::go` | |"),
            ("none | why |", "none | why |"),
        ] {
            let row = |rest: &str| format!("{head}| B001 | `CX::Go` | base/x.h | {rest}\n");
            assert_eq!(cpp_map(&row(before), &cites), row(after));
        }
    }
}
