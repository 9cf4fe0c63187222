//! A talk as rows of a terminal.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::line::{graphemes, width};
use super::state::State;
use super::talk::{Body, Delivery, Talk};
use crate::client::Session;
use crate::tool::output::printable;

/// Rows after the first one of a message begin below the name.
const INDENT: usize = 6;

/// What the user himself says.
const MINE: Color = Color::Green;
/// What others say.
const THEIRS: Color = Color::Cyan;

/// A text on rows of so many columns, broken between words where that is possible.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut rows = Vec::new();
    for line in text.split('\n') {
        let (mut row, mut used, mut space) = (String::new(), 0, None::<usize>);
        for grapheme in graphemes(line) {
            let wide = width(grapheme);
            // A space at the end of a row takes no room.
            while grapheme != " " && used + wide > columns && !row.is_empty() {
                let rest = space.take().map_or_else(String::new, |at| row.split_off(at));
                rows.push(row.trim_end().to_owned());
                used = width(&rest);
                row = rest;
            }
            row.push_str(grapheme);
            used += wide;
            if grapheme == " " {
                space = Some(row.len());
            }
        }
        rows.push(row.trim_end().to_owned());
    }
    rows
}

/// What is typed on rows of so many columns, broken anywhere, and where the cursor is.
pub fn wrap_input(
    text: &str,
    before_cursor: &str,
    columns: usize,
) -> (Vec<String>, (usize, usize)) {
    let columns = columns.max(2);
    let (mut rows, mut row, mut used, mut bytes) = (Vec::new(), String::new(), 0, 0);
    let mut cursor = None;
    for grapheme in graphemes(text) {
        let wide = width(grapheme);
        if grapheme != "\n" && used + wide > columns {
            rows.push(std::mem::take(&mut row));
            used = 0;
        }
        if bytes == before_cursor.len() {
            cursor = Some((used, rows.len()));
        }
        bytes += grapheme.len();
        if grapheme == "\n" {
            rows.push(std::mem::take(&mut row));
            used = 0;
        } else {
            row.push_str(grapheme);
            used += wide;
        }
    }
    if used == columns {
        rows.push(std::mem::take(&mut row));
        used = 0;
    }
    let cursor = cursor.unwrap_or((used, rows.len()));
    rows.push(row);
    (rows, cursor)
}

/// What may be shown of a text that came from somewhere.
fn harmless(text: &str) -> String {
    printable(text).replace('\t', "    ")
}

fn local_time(seconds: u32, zone: &TimeZone) -> Zoned {
    Timestamp::from_second(seconds.into()).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// A talk as rows of so many columns.
pub fn rows(state: &State, session: Session, columns: usize) -> Vec<Line<'static>> {
    let Some(talk) = state.talks.get(&session) else { return Vec::new() };
    let mut page = Page { state, columns, day: None, rows: Vec::new() };
    if talk.complete && talk.items.is_empty() && talk.outgoing.is_empty() && talk.notes.is_empty() {
        page.rule("nothing has been said yet");
    } else if talk.loading {
        page.rule("loading");
    } else if !talk.complete && !talk.items.is_empty() {
        page.rule("Page Up loads more");
    }
    let mut notes = talk.notes.iter().peekable();
    for (id, item) in &talk.items {
        while let Some(note) = notes.next_if(|note| note.after < *id) {
            page.note(&note.text);
        }
        if talk.marker.is_some_and(|marker| marker + 1 == *id) {
            page.rule("new");
        }
        let mine = item.from == state.me;
        let mark = if mine { " ✓" } else { "" };
        page.message(item.from, item.time, &item.body, mark, Style::new().fg(Color::DarkGray));
    }
    notes.for_each(|note| page.note(&note.text));
    page.outgoing(talk);
    page.rows
}

struct Page<'a> {
    state: &'a State,
    columns: usize,
    day: Option<jiff::civil::Date>,
    rows: Vec<Line<'static>>,
}

impl Page<'_> {
    fn rule(&mut self, text: &str) {
        let side = "─".repeat(self.columns.saturating_sub(width(text) + 2) / 2);
        let dim = Style::new().fg(Color::DarkGray);
        self.rows.push(Line::styled(format!("{side} {text} {side}"), dim));
    }

    fn note(&mut self, text: &str) {
        let style = Style::new().fg(Color::Yellow).add_modifier(Modifier::ITALIC);
        self.indented(text, style);
    }

    fn indented(&mut self, text: &str, style: Style) {
        let rows = wrap(&harmless(text), self.columns.saturating_sub(INDENT));
        self.rows.extend(
            rows.into_iter().map(|row| {
                Line::from(vec![Span::raw(" ".repeat(INDENT)), Span::styled(row, style)])
            }),
        );
    }

    fn message(&mut self, from: u32, time: u32, body: &Body, mark: &str, mark_style: Style) {
        let time = local_time(time, &self.state.time_zone);
        if self.day != Some(time.date()) {
            self.day = Some(time.date());
            self.rule(&time.strftime("%a %Y-%m-%d").to_string());
        }
        let name = self.state.roster.user_name(from);
        let color = if from == self.state.me { MINE } else { THEIRS };
        let head = format!("{name}: ");
        // The head is wrapped with the text, and coloured afterwards.
        let text = format!("{head}{}{mark}", harmless(&body.shown()));
        let rows = wrap(&text, self.columns.saturating_sub(INDENT));
        let last = rows.len() - 1;
        for (at, row) in rows.into_iter().enumerate() {
            let left = match at {
                0 => time.strftime("%H:%M ").to_string(),
                _ => " ".repeat(INDENT),
            };
            let mut spans = vec![Span::styled(left, Style::new().fg(Color::DarkGray))];
            let mut rest = row.as_str();
            if let Some(after) = rest.strip_prefix(&*head).filter(|_| at == 0) {
                let bold = Style::new().fg(color).add_modifier(Modifier::BOLD);
                spans.push(Span::styled(head.clone(), bold));
                rest = after;
            }
            match rest.strip_suffix(mark).filter(|_| at == last && !mark.is_empty()) {
                Some(before) => {
                    spans.push(Span::raw(before.to_owned()));
                    spans.push(Span::styled(mark.to_owned(), mark_style));
                }
                None => spans.push(Span::raw(rest.to_owned())),
            }
            self.rows.push(Line::from(spans));
        }
    }

    fn outgoing(&mut self, talk: &Talk) {
        for out in &talk.outgoing {
            let (mark, color, more) = match &out.delivery {
                Delivery::Sending(_) => (" …", Color::DarkGray, None),
                Delivery::Unsure => {
                    (" …", Color::Yellow, Some("waits for the connection".to_owned()))
                }
                Delivery::Failed(why) => {
                    (" ✗", Color::Red, Some(format!("not sent: {why}; Ctrl-R tries again")))
                }
            };
            let (me, body, style) =
                (self.state.me, Body::Text(out.text.clone()), Style::new().fg(color));
            self.message(me, out.time, &body, mark, style);
            if let Some(more) = more {
                self.indented(&more, style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one  two", 4), ["one", "two"]);
        assert_eq!(wrap("abcdefgh i", 3), ["abc", "def", "gh", "i"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("", 0), [""]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(wrap("你好世界", 5), ["你好", "世界"]);
        assert_eq!(wrap("x 你好", 4), ["x", "你好"]);
        assert_eq!(wrap("你", 1), ["你"]);
        assert_eq!(wrap("e\u{301}e\u{301}e", 2), ["e\u{301}e\u{301}", "e"]);
    }

    #[test]
    fn the_cursor_is_where_the_next_character_goes() {
        let at = |text: &str, cursor: usize| wrap_input(text, &text[..cursor], 4);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!(at("", 0), (rows(&[""]), (0, 0)));
        assert_eq!(at("abc", 3), (rows(&["abc"]), (3, 0)));
        assert_eq!(at("abcd", 4), (rows(&["abcd", ""]), (0, 1)));
        assert_eq!(at("abcde", 4), (rows(&["abcd", "e"]), (0, 1)));
        assert_eq!(at("你好世", 3), (rows(&["你好", "世"]), (2, 0)));
        assert_eq!(at("a你好", 7), (rows(&["a你", "好"]), (2, 1)));
        assert_eq!(at("a\nb", 1), (rows(&["a", "b"]), (1, 0)));
        assert_eq!(at("a\nb", 2), (rows(&["a", "b"]), (0, 1)));
        assert_eq!(at("abcd\n", 5), (rows(&["abcd", ""]), (0, 1)));
    }
}
