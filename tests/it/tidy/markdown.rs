//! As much of Markdown as the checks read: tables, back-quoted words, links.

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) cells: Vec<String>,
}

impl Row {
    pub(super) fn cell(&self, at: usize) -> &str {
        self.cells.get(at).map_or("", String::as_str)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) header: Row,
    pub(super) rows: Vec<Row>,
}

/// The lines outside fenced code, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((at + 1, line))
    })
}

pub(super) fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut inside = false;
    for (line, text) in lines(text) {
        let Some(cells) = cells(text) else {
            inside = false;
            continue;
        };
        let row = Row { line, cells };
        match tables.last_mut().filter(|_| inside) {
            None => tables.push(Table { header: row, rows: Vec::new() }),
            Some(table) if !is_separator(&row) => table.rows.push(row),
            Some(_) => {}
        }
        inside = true;
    }
    tables
}

fn is_separator(row: &Row) -> bool {
    row.cells.iter().all(|c| c.contains('-') && c.chars().all(|c| matches!(c, '-' | ':')))
}

/// The cells of a table line; `\|` is a bar inside a cell.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        let last = cells.len() - 1;
        match c {
            '\\' if chars.next_if_eq(&'|').is_some() => cells[last].push('|'),
            '|' => cells.push(String::new()),
            c => cells[last].push(c),
        }
    }
    Some(cells.into_iter().map(|c| c.trim().to_owned()).collect())
}

/// The text of every pair of back-quotes.
pub(super) fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A cell that is a list of back-quoted words separated by `, ` and nothing else.
pub(super) fn quoted_list(cell: &str) -> Option<Vec<&str>> {
    let words = quoted(cell);
    let rebuilt = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    (!words.is_empty() && rebuilt == cell).then_some(words)
}

/// Targets of links, without the part behind `#`.
pub(super) fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in lines(text) {
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            links.push((number, rest[..end].split('#').next().unwrap_or("")));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_with_their_lines() {
        let text =
            "# T\n\n| A | B |\n|---|:-:|\n| 1 | a \\| b |\n\n```\n| no | no |\n```\n| C |\n|-|\n";
        let found = tables(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].header.cells, ["A", "B"]);
        assert_eq!(found[0].rows, [Row { line: 5, cells: vec!["1".into(), "a | b".into()] }]);
        assert!(found[1].rows.is_empty());
    }

    #[test]
    fn a_list_of_words_has_one_form() {
        assert_eq!(quoted_list("`a::b`, `c`"), Some(vec!["a::b", "c"]));
        for wrong in ["", "a", "`a` and `b`", "`a`,`b`", "`a`, b"] {
            assert_eq!(quoted_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn links_lose_anchor_and_title() {
        let text = "[a](b.md#c) ![i](d/e.png \"t\") [x](#y)\n```\n[n](no)\n```";
        assert_eq!(links(text), [(1, "b.md"), (1, "d/e.png"), (1, "")]);
    }
}
