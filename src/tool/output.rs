//! What commands print: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::Value;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For programs or for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one thing: `value` for programs, `text` for people.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn one(&self, value: &Value, text: &str) -> anyhow::Result<()> {
        let line = if self.json { value.to_string() } else { printable(text) };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("writing to standard output")
    }

    /// Prints a list of objects: a line each for programs, a table of `columns` for people.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn list(&self, columns: &[&str], rows: &[Value]) -> anyhow::Result<()> {
        let text = if self.json {
            rows.iter().map(|row| row.to_string() + "\n").collect()
        } else {
            table(columns, rows)
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).context("writing to standard output")
    }
}

/// Columns as wide as what stands in them.
fn table(columns: &[&str], rows: &[Value]) -> String {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) => {
            let items = items.iter().map(|item| item.to_string().trim_matches('"').to_owned());
            items.collect::<Vec<_>>().join(",")
        }
        value => value.to_string(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|c| c.to_uppercase()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|c| cell(row, c)).collect()));
    let width = |at: usize| lines.iter().map(|line| display_width(&line[at])).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row += cell;
            row.extend(std::iter::repeat_n(' ', width + 2 - display_width(cell)));
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

/// Columns of a terminal that a text takes.
fn display_width(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

/// What may be written to a terminal: a message must not move the cursor or change colours.
pub fn printable(text: &str) -> String {
    let show = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_columns_as_wide_as_their_cells() {
        let rows = [json!({"name": "爱丽丝", "id": 1, "groups": [1, 2]}), json!({"name": "bob"})];
        assert_eq!(
            table(&["name", "id", "groups"], &rows),
            "NAME    ID  GROUPS\n爱丽丝  1   1,2\nbob\n"
        );
    }

    #[test]
    fn a_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\tc\nd"), "a\u{fffd}[2Jb\tc\nd");
    }
}
