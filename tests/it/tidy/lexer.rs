//! Rust source to tokens, as far as finding items needs it.

/// What a token is; strings and numbers lose their text, because no check looks inside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Ident,
    Lifetime,
    Literal,
    /// One character, or `::`, `->`, `=>`.
    Punct,
    /// The text behind `///`.
    OuterDoc,
    /// The text behind `//!`.
    InnerDoc,
    /// The text behind `//`; block comments are dropped.
    Comment,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Counted from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Ident | Kind::Punct) && self.text == text
    }
}

pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { rest: source, line: 1, out: Vec::new() };
    while let Some(first) = lexer.rest.chars().next() {
        lexer.step(first);
    }
    lexer.out
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    out: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self, first: char) {
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if self.rest.starts_with("//") {
            self.line_comment();
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if let Some((prefix, hashes)) = raw_string_start(self.rest) {
            self.raw_string(prefix, hashes);
        } else if let Some(prefix) = string_start(self.rest) {
            self.quoted(prefix, '"');
        } else if self.rest.starts_with("b'") {
            self.quoted(2, '\'');
        } else if first == '\'' {
            self.char_or_lifetime();
        } else if first == '_' || first.is_alphabetic() {
            self.ident();
        } else if first.is_ascii_digit() {
            self.number();
        } else {
            let joined = ["::", "->", "=>"].iter().any(|p| self.rest.starts_with(p));
            self.push(Kind::Punct, if joined { 2 } else { first.len_utf8() });
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, len: usize) {
        let line = self.line;
        let text = self.take(len);
        self.out.push(Token { kind, text, line });
    }

    fn line_comment(&mut self) {
        let line = self.line;
        let text = self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        let (kind, skip) = match text.as_bytes() {
            [_, _, b'/', b'/', ..] => (Kind::Comment, 2),
            [_, _, b'/', ..] => (Kind::OuterDoc, 3),
            [_, _, b'!', ..] => (Kind::InnerDoc, 3),
            _ => (Kind::Comment, 2),
        };
        self.out.push(Token { kind, text: text[skip..].trim_end(), line });
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
            } else if let Some(c) = self.rest.chars().next() {
                self.take(c.len_utf8());
            } else {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) {
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &self.rest[prefix..];
        let len = body.find(&end).map_or(self.rest.len(), |at| prefix + at + end.len());
        self.push(Kind::Literal, len);
    }

    fn quoted(&mut self, prefix: usize, end: char) {
        let mut escaped = false;
        let mut len = self.rest.len();
        for (at, c) in self.rest[prefix..].char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == end {
                len = prefix + at + 1;
                break;
            }
        }
        self.push(Kind::Literal, len);
    }

    fn char_or_lifetime(&mut self) {
        let mut chars = self.rest[1..].chars();
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') || second == Some('\'') {
            self.quoted(1, '\'');
        } else {
            let len = 1 + ident_len(&self.rest[1..]);
            self.push(Kind::Lifetime, len);
        }
    }

    fn ident(&mut self) {
        if self.rest.starts_with("r#") {
            self.take(2);
        }
        self.push(Kind::Ident, ident_len(self.rest));
    }

    fn number(&mut self) {
        let mut len = ident_len(self.rest);
        let behind = &self.rest[len..];
        if behind.starts_with('.') && behind[1..].starts_with(|c: char| c.is_ascii_digit()) {
            len += 1 + ident_len(&behind[1..]);
        }
        self.push(Kind::Literal, len);
    }
}

fn ident_len(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

/// The length of `r##"` and the like, and its number of `#`.
fn raw_string_start(text: &str) -> Option<(usize, usize)> {
    let start = ["r", "br", "cr"].into_iter().find(|p| {
        text.strip_prefix(p).is_some_and(|t| t.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text[start.len()..].find('"')?;
    Some((start.len() + hashes + 1, hashes))
}

fn string_start(text: &str) -> Option<usize> {
    ["\"", "b\"", "c\""].into_iter().find(|p| text.starts_with(p)).map(str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().filter(|t| t.kind != Kind::Literal).map(|t| t.text).collect()
    }

    #[test]
    fn strings_of_all_kinds_hide_their_content() {
        let source = r####"a "fn \" {" b'{' b"}" br#"" fn "# r"\" c"x" 'x' '\'' '{' z"####;
        assert_eq!(texts(source), ["a", "z"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(texts("&'a str '_ 'x'"), ["&", "'a", "str", "'_"]);
    }

    #[test]
    fn comments_nest_and_count_lines() {
        let found = tokens("/* { /* \n */ } */ x\n// y\n/// z\n//// w\n//! v");
        let seen: Vec<_> = found.iter().map(|t| (t.kind, t.text, t.line)).collect();
        let expected = [
            (Kind::Ident, "x", 2),
            (Kind::Comment, " y", 3),
            (Kind::OuterDoc, " z", 4),
            (Kind::Comment, "// w", 5),
            (Kind::InnerDoc, " v", 6),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_range_is_not_a_float() {
        assert_eq!(
            texts("0..5 1.5 x.0 a::b -> =>"),
            [".", ".", "x", ".", "a", "::", "b", "->", "=>"]
        );
    }
}
