//! Tables as text: commas between values, quotes around those that have commas in them (RFC 4180).

use anyhow::bail;

/// One line of the table, which may be several lines of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The line of the file on which it begins, from 1 on.
    pub line: usize,
    /// Its values, without the blanks around those that stand in no quotes.
    pub values: Vec<String>,
}

/// The records of a file. Empty lines are none.
///
/// # Errors
/// A quote is not closed, or something stands behind one.
pub fn parse(text: &str) -> anyhow::Result<Vec<Record>> {
    // Spreadsheets mark UTF-8 so.
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut records = Vec::new();
    let (mut line, mut begin) = (1, 1);
    let mut values = Vec::new();
    loop {
        values.push(value(&mut chars, &mut line)?);
        match chars.next() {
            Some(',') => continue,
            Some('\r') if chars.peek() == Some(&'\n') => drop(chars.next()),
            _ => {}
        }
        let values = std::mem::take(&mut values);
        if values.iter().any(|value| !value.is_empty()) {
            records.push(Record { line: begin, values });
        }
        line += 1;
        begin = line;
        if chars.peek().is_none() {
            return Ok(records);
        }
    }
}

/// One value, up to the comma or line end behind it.
fn value(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    line: &mut usize,
) -> anyhow::Result<String> {
    while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    if chars.next_if_eq(&'"').is_none() {
        let mut value = String::new();
        while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
            value.push(c);
        }
        value.truncate(value.trim_end().len());
        return Ok(value);
    }
    let begin = *line;
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('"') if chars.next_if_eq(&'"').is_some() => value.push('"'),
            Some('"') => break,
            Some(c) => {
                *line += usize::from(c == '\n');
                value.push(c);
            }
            None => bail!("line {begin}: a quote is not closed"),
        }
    }
    while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    match chars.peek() {
        None | Some(',' | '\n' | '\r') => Ok(value),
        Some(_) => bail!("line {line}: something stands behind a closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        parse(text).unwrap().into_iter().map(|record| (record.line, record.values)).collect()
    }

    fn row(line: usize, values: &[&str]) -> (usize, Vec<String>) {
        (line, values.iter().map(|&value| value.to_owned()).collect())
    }

    #[test]
    fn values_may_be_quoted_and_lines_may_end_as_they_like() {
        let text =
            "\u{feff}name,nick\r\nalice,\"Baker, \"\"Al\"\"\nice\"\r\n\n , \nbob,\ncarol, c \n";
        assert_eq!(
            rows(text),
            [
                row(1, &["name", "nick"]),
                row(2, &["alice", "Baker, \"Al\"\nice"]),
                row(6, &["bob", ""]),
                row(7, &["carol", "c"]),
            ]
        );
        assert_eq!(rows("a, \" b \" ,c"), [row(1, &["a", " b ", "c"])]);
        assert_eq!(rows("a\rb\n"), [row(1, &["a"]), row(2, &["b"])]);
        assert_eq!(rows(""), []);
    }

    #[test]
    fn broken_quotes_are_told_with_their_line() {
        let error = parse("a\nb,\"c\nd\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: a quote is not closed");
        let error = parse("a\n\"b\"c\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: something stands behind a closing quote");
        assert_eq!(rows("a\"b\n"), [row(1, &["a\"b"])], "a quote within is one");
    }
}
