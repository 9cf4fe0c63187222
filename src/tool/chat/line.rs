//! The line that is being typed.

use ratatui::text::Span;

/// What a line holds at most, in bytes.
pub const LINE_LEN_MAX: usize = 16 * 1024;

/// How many lines that were sent are remembered.
pub const SENT_MAX: usize = 200;

/// A line, a cursor in it, and the lines before it. The cursor never stands within what a reader
/// takes for one character.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    /// In bytes.
    cursor: usize,
    sent: Vec<String>,
    /// How far back one has gone among what was sent.
    back: usize,
    /// What was being typed before going back.
    draft: String,
}

/// The characters of a text as a reader sees them: several code points may be one.
pub fn graphemes(text: &str) -> Vec<&str> {
    if text.is_ascii() {
        return text.split_inclusive(|_| true).collect();
    }
    let mut all = Vec::new();
    for piece in text.split_inclusive(char::is_control) {
        let control = piece.chars().next_back().filter(|c| c.is_control());
        let (plain, control) = piece.split_at(piece.len() - control.map_or(0, char::len_utf8));
        let span = Span::raw(plain);
        let mut rest = plain;
        for grapheme in span.styled_graphemes(ratatui::style::Style::default()) {
            let (head, tail) = rest.split_at(grapheme.symbol.len());
            all.push(head);
            rest = tail;
        }
        if !control.is_empty() {
            all.push(control);
        }
    }
    all
}

/// Columns of a terminal that a text takes.
pub fn width(text: &str) -> usize {
    if let [b' '..=b'~'] = text.as_bytes() {
        return 1;
    }
    Span::raw(text).width()
}

/// The beginning of a text, so many bytes at most.
fn head(text: &str, len: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= len);
    &text[..end.last().unwrap_or(0)]
}

/// What may stand in a line: new lines, but nothing else that moves a cursor.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

impl Line {
    /// What is typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Puts a text in, as far as there is room.
    pub fn insert(&mut self, text: &str) {
        let room = LINE_LEN_MAX - self.text.len();
        let text = clean(text);
        let text = head(&text, room);
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces everything, the cursor behind it.
    pub fn set(&mut self, text: &str) {
        self.text.clear();
        self.cursor = 0;
        self.back = 0;
        self.insert(text);
    }

    /// Takes the line out.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        self.back = 0;
        std::mem::take(&mut self.text)
    }

    /// Takes the line out and remembers it among what was sent.
    pub fn send(&mut self) -> String {
        let text = self.take();
        if self.sent.last() != Some(&text) && !text.is_empty() {
            if self.sent.len() == SENT_MAX {
                self.sent.remove(0);
            }
            self.sent.push(text.clone());
        }
        text
    }

    /// To the line that was sent before.
    pub fn older(&mut self) {
        if self.back == 0 {
            self.draft = self.text.clone();
        }
        self.back_to((self.back + 1).min(self.sent.len()));
    }

    /// To the line that was sent after, at last to what was being typed.
    pub fn newer(&mut self) {
        self.back_to(self.back.saturating_sub(1));
    }

    fn back_to(&mut self, back: usize) {
        if back == self.back {
            return;
        }
        let text = match back {
            0 => std::mem::take(&mut self.draft),
            _ => self.sent[self.sent.len() - back].clone(),
        };
        self.set(&text);
        self.back = back;
    }

    fn previous(&self) -> usize {
        self.cursor - graphemes(self.before_cursor()).last().map_or(0, |last| last.len())
    }

    fn next(&self) -> usize {
        self.cursor + graphemes(&self.text[self.cursor..]).first().map_or(0, |first| first.len())
    }

    fn word_start(&self) -> usize {
        let before = self.before_cursor().trim_end();
        before
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace())
            .map_or(0, |(at, c)| at + c.len_utf8())
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let start = rest.len() - rest.trim_start().len();
        let word = rest[start..].find(char::is_whitespace).unwrap_or(rest.len() - start);
        self.cursor + start + word
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// One character to the left.
    pub fn left(&mut self) {
        self.cursor = self.previous();
    }

    /// One character to the right.
    pub fn right(&mut self) {
        self.cursor = self.next();
    }

    /// To the beginning of the word.
    pub fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    /// To the end of the word.
    pub fn word_right(&mut self) {
        self.cursor = self.word_end();
    }

    /// To the beginning.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Takes the character before the cursor away.
    pub fn backspace(&mut self) {
        self.cut(self.previous(), self.cursor);
    }

    /// Takes the character at the cursor away.
    pub fn delete(&mut self) {
        self.cut(self.cursor, self.next());
    }

    /// Takes the word before the cursor away.
    pub fn delete_word(&mut self) {
        self.cut(self.word_start(), self.cursor);
    }

    /// Takes everything before the cursor away.
    pub fn delete_to_start(&mut self) {
        self.cut(0, self.cursor);
    }

    /// Takes everything behind the cursor away.
    pub fn delete_to_end(&mut self) {
        self.cut(self.cursor, self.text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let mut line = Line::default();
        line.insert(text);
        line
    }

    #[test]
    fn what_a_reader_takes_for_one_character_is_one() {
        assert_eq!(graphemes("e\u{301}爱\n👨‍👩‍👧x"), ["e\u{301}", "爱", "\n", "👨‍👩‍👧", "x"]);
        let mut line = line("a爱e\u{301}👨‍👩‍👧");
        let mut widths = vec![width(line.before_cursor())];
        for _ in 0..5 {
            line.left();
            widths.push(width(line.before_cursor()));
        }
        assert_eq!(widths, [6, 4, 3, 1, 0, 0]);
        line.right();
        line.right();
        line.backspace();
        assert_eq!(line.text(), "ae\u{301}👨‍👩‍👧");
        line.delete();
        line.delete();
        line.delete();
        assert_eq!(line.text(), "a");
    }

    #[test]
    fn words_are_crossed_and_taken_away() {
        let mut line = line("eins 二 drei");
        line.word_left();
        assert_eq!(line.before_cursor(), "eins 二 ");
        line.delete_word();
        assert_eq!((line.text(), line.before_cursor()), ("eins drei", "eins "));
        line.home();
        line.word_right();
        assert_eq!(line.before_cursor(), "eins");
        line.delete_to_start();
        assert_eq!(line.text(), " drei");
        line.word_right();
        line.word_right();
        assert_eq!(line.before_cursor(), " drei");
        line.home();
        line.delete_to_end();
        assert_eq!(line.text(), "");
        line.delete_word();
        line.backspace();
        line.delete();
    }

    #[test]
    fn lines_that_were_sent_come_back() {
        let mut line = line("one");
        assert_eq!(line.send(), "one");
        line.insert("two");
        line.send();
        line.insert("dra");
        let mut seen = Vec::new();
        for _ in 0..3 {
            line.older();
            seen.push(line.text().to_owned());
        }
        assert_eq!(seen, ["two", "one", "one"]);
        line.newer();
        line.newer();
        line.newer();
        assert_eq!((line.text(), line.before_cursor()), ("dra", "dra"));
        for number in 0..2 * SENT_MAX {
            line.set(&number.to_string());
            line.send();
        }
        assert_eq!(line.sent.len(), SENT_MAX);
    }

    #[test]
    fn nothing_that_moves_a_cursor_gets_in() {
        assert_eq!(line("a\x1b[2Jb\tc\r\nd\re\x7f\u{9b}").text(), "a[2Jb    c\nd\ne");
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut line = line(&"爱".repeat(LINE_LEN_MAX));
        assert_eq!(line.text().len(), LINE_LEN_MAX - 1);
        line.insert("爱");
        assert_eq!(line.text().len(), LINE_LEN_MAX - 1);
        line.insert("xy");
        assert_eq!(line.text().len(), LINE_LEN_MAX);
    }
}
