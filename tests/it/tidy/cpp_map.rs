//! docs/cpp-map.md against the code.

use super::cites::{Cites, stem};
use super::markdown::{self, Row};
use super::scan::Code;
use super::tree::{Problem, Tree};

pub(super) const FILE: &str = "docs/cpp-map.md";
pub(super) const HEADER: [&str; 5] = ["Id", "C++", "C++ file", "Rust", "Note"];
pub(super) const NOT_YET: &str = "not yet written";
pub(super) const NONE: &str = "none";

/// The rows of the C++ inventory, by group letter. Group K, constants and fields that the code
/// cites, grows as needed.
const GROUPS: [(char, usize); 13] = [
    ('B', 260),
    ('S', 23),
    ('L', 42),
    ('R', 36),
    ('H', 80),
    ('F', 106),
    ('G', 81),
    ('T', 4),
    ('M', 223),
    ('D', 255),
    ('P', 303),
    ('X', 64),
    ('Y', 18),
];

struct MapRow<'a> {
    row: &'a Row,
    symbols: Vec<&'a str>,
    stems: Vec<&'a str>,
    rust: Vec<&'a str>,
}

impl MapRow<'_> {
    fn matches(&self, file: &str, symbol: &str) -> bool {
        matches(self.row, &self.stems, &self.symbols, file, symbol)
    }
}

fn matches(row: &Row, stems: &[&str], symbols: &[&str], file: &str, symbol: &str) -> bool {
    let accessor = row.cell(1).starts_with("inline accessors");
    let name = symbol.rsplit("::").next().unwrap_or(symbol);
    stem(file).is_some_and(|stem| stems.contains(&stem))
        && symbols.iter().any(|known| {
            let family = known.strip_suffix('*').is_some_and(|start| symbol.starts_with(start));
            *known == symbol || family || accessor && *known == name
        })
}

/// Whether this row is where an item with this origin belongs.
pub(super) fn is_origin(row: &Row, file: &str, symbol: &str) -> bool {
    let stems: Vec<&str> = row.cell(2).split(", ").filter_map(stem).collect();
    matches(row, &stems, &markdown::quoted(row.cell(1)), file, symbol)
}

pub(super) fn check(tree: &Tree, code: &Code, cites: &Cites<'_>) -> Vec<Problem> {
    let Some(file) = tree.get(FILE) else {
        return vec![Problem::new(FILE, 1, "is missing")];
    };
    let mut problems = Vec::new();
    let tables = markdown::tables(&file.text);
    let tables = tables.iter().filter(|table| table.header.cells == HEADER);
    let rows: Vec<&Row> = tables.flat_map(|table| &table.rows).collect();
    check_ids(&rows, &GROUPS, &mut problems);
    let rows: Vec<MapRow<'_>> =
        rows.into_iter().filter_map(|row| read_row(row, &mut problems)).collect();
    for row in &rows {
        for path in row.rust.iter().filter(|path| !code.contains(path)) {
            let text = format!("no item `{path}` in src{}", code.similar(path));
            problems.push(Problem::new(FILE, row.row.line, text));
        }
    }
    for cite in &cites.cites {
        let known: Vec<_> = rows.iter().filter(|r| r.matches(cite.file, cite.symbol)).collect();
        let (file, symbol, path) = (cite.file, cite.symbol, &cite.item.path);
        let text = match known.first() {
            None => format!(
                "no row of {FILE} is `{symbol}` of {file}: correct the line, or give a constant or \
                 field a row in group K"
            ),
            Some(first) if known.iter().all(|row| !row.rust.contains(&path.as_str())) => {
                let (id, line) = (first.row.cell(0), first.row.line);
                format!("row {id} ({FILE}:{line}) does not name `{path}` in its Rust column")
            }
            Some(_) => continue,
        };
        problems.push(Problem::new(&cite.item.file, cite.line, text));
    }
    problems
}

fn read_row<'a>(row: &'a Row, problems: &mut Vec<Problem>) -> Option<MapRow<'a>> {
    let mut wrong = |text: &str| problems.push(Problem::new(FILE, row.line, text));
    if row.cells.len() != HEADER.len() {
        wrong("a row has five cells: Id, C++, C++ file, Rust, Note");
        return None;
    }
    let stems: Option<Vec<&str>> = row.cell(2).split(", ").map(stem).collect();
    if stems.is_none() {
        wrong("the C++ file ends in .h, .hpp or .cpp; several are separated by `, `");
    }
    let rust = match row.cell(3) {
        NOT_YET => Vec::new(),
        NONE if row.cell(4).is_empty() => {
            wrong("a row without counterpart gives the reason in its Note");
            Vec::new()
        }
        NONE => Vec::new(),
        cell => markdown::quoted_list(cell).unwrap_or_else(|| {
            wrong("the Rust column is `path`, `path`; or: not yet written; or: none");
            Vec::new()
        }),
    };
    let symbols = markdown::quoted(row.cell(1));
    Some(MapRow { row, symbols, stems: stems.unwrap_or_default(), rust })
}

/// Every id of every group once, and none besides.
fn check_ids(rows: &[&Row], groups: &[(char, usize)], problems: &mut Vec<Problem>) {
    let mut seen: Vec<(char, usize, usize)> = Vec::new();
    for row in rows {
        for part in row.cell(0).split(", ") {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            match (parse_id(from), parse_id(to)) {
                (Some((a, first)), Some((b, last))) if a == b && first <= last => {
                    seen.extend((first..=last).map(|n| (a, n, row.line)));
                }
                _ => {
                    let text = format!("`{part}` is no id: write B001, B001-B004 or B001, B004");
                    problems.push(Problem::new(FILE, row.line, text));
                }
            }
        }
    }
    seen.sort_unstable();
    for pair in seen.windows(2).filter(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        let text =
            format!("{}{:03} has a row already, in line {}", pair[1].0, pair[1].1, pair[0].2);
        problems.push(Problem::new(FILE, pair[1].2, text));
    }
    let constants = seen.iter().filter(|id| id.0 == 'K').map(|id| id.1).max().unwrap_or(0);
    for &(group, count) in groups.iter().chain(&[('K', constants)]) {
        for number in (1..=count).filter(|&n| !seen.iter().any(|s| (s.0, s.1) == (group, n))) {
            problems.push(Problem::new(FILE, 1, format!("{group}{number:03} has no row")));
        }
    }
    for &(group, number, line) in &seen {
        let known = groups.iter().find(|g| g.0 == group).map_or(0, |g| g.1);
        if group != 'K' && number > known {
            let text = format!("{group}{number:03} is not in the inventory");
            problems.push(Problem::new(FILE, line, text));
        }
    }
}

fn parse_id(id: &str) -> Option<(char, usize)> {
    let group = id.chars().next().filter(char::is_ascii_uppercase)?;
    let number = id[1..].parse().ok().filter(|_| id.len() == 4)?;
    Some((group, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rows: &str, source: &str) -> Vec<String> {
        let head = "| Id | C++ | C++ file | Rust | Note |\n|---|---|---|---|---|\n";
        let map = format!("{head}{rows}");
        let tree = Tree::of(&[(FILE, &map), ("src/a.rs", source)]);
        let code = Code::of(&tree);
        let mut found = check(&tree, &code, &Cites::of(&tree, &code));
        found.retain(|p| !p.to_string().ends_with("has no row"));
        found.iter().map(Problem::to_string).collect()
    }

    const SOURCE: &str = "/// C++: base/x.h CX::Go\nfn go() {}\n";

    #[test]
    fn a_row_and_its_item_agree() {
        let row = "| B001 | `CX::Go` | base/x.cpp | `a::go` | |\n";
        assert_eq!(problems(row, SOURCE), [""; 0]);
        let family = "| B001 | enum `CX::*` | base/x.h | `a::go` | |\n";
        assert_eq!(problems(family, SOURCE), [""; 0]);
        let accessors = "| B001 | inline accessors `Go` | base/x.h, y.h | `a::go` | |\n";
        assert_eq!(problems(accessors, SOURCE), [""; 0]);
    }

    #[test]
    fn a_planted_wrong_row_is_found() {
        let cases = [
            (
                "| B001 | `CX::Go` | base/x.cpp | `a::gone`, `a::go` | |",
                "docs/cpp-map.md:3: no item `a::gone`",
            ),
            ("| B001 | `CX::Go` | base/x.cpp | a::go | |", "docs/cpp-map.md:3: the Rust column"),
            ("| B001 | `CX::Go` | base/x.cpp | none | |", "docs/cpp-map.md:3: a row without"),
            (
                "| B001 | `CX::Go` | base/x.cpp | not yet written | |",
                "src/a.rs:1: row B001 (docs/cpp-map.md:3)",
            ),
            (
                "| B001 | `CX::Come` | base/x.cpp | `a::go` | |",
                "src/a.rs:1: no row of docs/cpp-map.md is `CX::Go`",
            ),
            (
                "| B001 | `CX::Go` | base/y.cpp | `a::go` | |",
                "src/a.rs:1: no row of docs/cpp-map.md",
            ),
            ("| B001 | `CX::Go` | base/x | `a::go` | |", "docs/cpp-map.md:3: the C++ file"),
            ("| B001 | `CX::Go` | `a::go` | |", "docs/cpp-map.md:3: a row has five cells"),
        ];
        for (row, expected) in cases {
            let found = problems(&format!("{row}\n"), SOURCE);
            assert!(found.iter().any(|p| p.starts_with(expected)), "{row}: {found:?}");
        }
    }

    #[test]
    fn ids_are_complete_and_unique() {
        let row = |id: &str| Row { line: 7, cells: vec![id.to_owned()] };
        let ids = |ids: &[&str]| -> Vec<String> {
            let rows: Vec<Row> = ids.iter().map(|id| row(id)).collect();
            let mut problems = Vec::new();
            check_ids(&rows.iter().collect::<Vec<_>>(), &[('B', 4)], &mut problems);
            problems.iter().map(Problem::to_string).collect()
        };
        assert_eq!(ids(&["B001-B002, B004", "B003", "K001"]), [""; 0]);
        assert_eq!(ids(&["B001-B002", "B004"]), ["docs/cpp-map.md:1: B003 has no row"]);
        assert_eq!(ids(&["B001-B004", "K002"]), ["docs/cpp-map.md:1: K001 has no row"]);
        assert_eq!(ids(&["B001-B004", "B002"]).len(), 1);
        assert_eq!(ids(&["B001-B005"]), ["docs/cpp-map.md:7: B005 is not in the inventory"]);
        assert_eq!(ids(&["B001-B004", "B1"]).len(), 1);
    }
}
