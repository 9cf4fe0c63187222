//! What a chat looks like.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::commands::COMMANDS;
use super::line::{graphemes, width};
use super::roster::Row;
use super::rows;
use super::state::{Focus, Link, State};
use crate::client::Session;
use crate::pb::base_define::UserStatType;

/// The widest the list gets.
const LIST_COLUMNS_MAX: u16 = 32;

/// Terminals with less columns show the list or the talk, not both.
const BOTH_COLUMNS_MIN: u16 = 50;

/// What is typed takes so many rows at most.
const INPUT_ROWS_MAX: usize = 6;

/// Stands before what is typed.
const PROMPT: &str = "> ";

/// The keys, for the help.
const KEYS: [(&str, &str); 10] = [
    ("Tab", "from the list to the line and back"),
    ("Enter", "open what is chosen; send"),
    ("Alt-Enter", "a new line"),
    ("Page Up/Down", "scroll, load older messages"),
    ("Up/Down", "what was sent before"),
    ("Alt-Up/Down", "the talk above, below"),
    ("Ctrl-F", "search people and groups"),
    ("Ctrl-N", "the next unread talk"),
    ("Ctrl-R", "send again what failed"),
    ("Ctrl-C", "end"),
];

/// Where everything is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Areas {
    /// The list.
    pub list: Rect,
    /// With whom one talks.
    pub header: Rect,
    /// What was said.
    pub history: Rect,
    /// What is typed.
    pub input: Rect,
    /// How things are.
    pub status: Rect,
}

/// Where everything is, in a terminal of this size.
pub fn areas(state: &State) -> Areas {
    let (columns, rows) = state.size;
    let [body, status] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)])
        .areas(Rect::new(0, 0, columns, rows));
    let list_columns = match columns {
        _ if columns >= BOTH_COLUMNS_MIN => (columns / 3).min(LIST_COLUMNS_MAX),
        _ if state.focus == Focus::Input => 0,
        _ => columns,
    };
    let [list, talk] =
        Layout::horizontal([Constraint::Length(list_columns), Constraint::Min(0)]).areas(body);
    let typed = input_rows(state, talk.width).0.len().clamp(1, INPUT_ROWS_MAX);
    let [header, history, input] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(u16::try_from(typed).unwrap_or(1) + 1),
    ])
    .areas(talk);
    Areas { list, header, history, input, status }
}

fn input_rows(state: &State, columns: u16) -> (Vec<String>, (usize, usize)) {
    let columns = usize::from(columns).saturating_sub(width(PROMPT));
    rows::wrap_input(state.line.text(), state.line.before_cursor(), columns)
}

/// Draws everything.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let areas = areas(state);
    draw_list(state, frame, areas.list);
    draw_header(state, frame, areas.header);
    draw_history(state, frame, areas.history);
    draw_input(state, frame, areas.input);
    frame.render_widget(status_line(state), areas.status);
    if state.help {
        draw_help(frame);
    }
}

/// What fits in so many columns.
fn fitting(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut cut, mut used) = (String::new(), 1);
    for grapheme in graphemes(text) {
        used += width(grapheme);
        if used > columns {
            break;
        }
        cut += grapheme;
    }
    cut + "…"
}

fn presence_mark(state: &State, session: Session) -> (&'static str, Color) {
    match session {
        Session::Group(_) => ("# ", Color::Blue),
        Session::User(id) => match state.roster.status(id) {
            UserStatType::UserStatusOnline => ("● ", Color::Green),
            UserStatType::UserStatusLeave => ("◐ ", Color::Yellow),
            UserStatType::UserStatusOffline => ("○ ", Color::DarkGray),
        },
    }
}

fn list_row(state: &State, row: &Row, columns: usize) -> Line<'static> {
    let (section, session) = match row {
        Row::Heading(text) => {
            let style = Style::new().fg(Color::DarkGray).add_modifier(Modifier::BOLD);
            return Line::styled(fitting(text, columns), style);
        }
        Row::Entry(section, session) => (*section, *session),
    };
    let unread = state.talks.get(&session).map_or(0, |talk| talk.unread);
    let count = if unread > 0 { format!(" {unread}") } else { String::new() };
    let (mark, color) = presence_mark(state, session);
    let room = columns.saturating_sub(width(mark) + width(&count) + 1);
    let name = fitting(&state.roster.name(session), room);
    let gap = " ".repeat(room - width(&name).min(room));
    let bold = if unread > 0 { Modifier::BOLD } else { Modifier::empty() };
    let mut style = Style::new().add_modifier(bold);
    if state.open == Some(session) {
        style = style.add_modifier(Modifier::UNDERLINED);
    }
    let count_style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
    let line = Line::from(vec![
        Span::styled(mark, Style::new().fg(color)),
        Span::styled(name, style),
        Span::raw(gap),
        Span::styled(count, count_style),
        Span::raw(" "),
    ]);
    let chosen = state.selected == Some((section, session)) && state.focus != Focus::Input;
    if chosen { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

fn draw_list(state: &State, frame: &mut Frame<'_>, area: Rect) {
    if area.width < 3 {
        return;
    }
    let block = Block::new().borders(Borders::RIGHT).border_style(Style::new().fg(Color::DarkGray));
    let mut inner = block.inner(area);
    frame.render_widget(block, area);
    if state.focus == Focus::Search {
        let columns = usize::from(inner.width);
        let text = format!("/ {}", state.search.text());
        frame.render_widget(Line::raw(fitting(&text, columns)), Rect { height: 1, ..inner });
        let at = (2 + width(state.search.before_cursor())).min(columns.saturating_sub(1));
        frame.set_cursor_position((inner.x + u16::try_from(at).unwrap_or(0), inner.y));
        inner = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    }
    let rows = state.list();
    let chosen = |row: &Row| match row {
        Row::Entry(section, session) => state.selected == Some((*section, *session)),
        Row::Heading(_) => false,
    };
    let height = usize::from(inner.height);
    // What is chosen stands in the middle once the list is longer than the screen.
    let at = rows.iter().position(chosen).unwrap_or(0);
    let skip = at.saturating_sub(height / 2).min(rows.len().saturating_sub(height));
    let columns = usize::from(inner.width);
    let shown = rows.iter().skip(skip).take(height);
    let lines: Vec<_> = shown.map(|row| list_row(state, row, columns)).collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn draw_header(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let Some(session) = state.open else {
        let hint = " Enter opens, Ctrl-F searches, F1 helps";
        frame.render_widget(Line::styled(hint, Style::new().fg(Color::DarkGray)), area);
        return;
    };
    let name = state.roster.name(session);
    let about = match session {
        Session::Group(id) => format!("{} members", state.roster.members(id).len()),
        Session::User(id) => {
            let writing = state.open_talk().is_some_and(|talk| talk.writing_until > state.now);
            let status = match state.roster.status(id) {
                _ if writing => "is typing…",
                UserStatType::UserStatusOnline => "online",
                UserStatType::UserStatusLeave => "away",
                UserStatType::UserStatusOffline => "offline",
            };
            let sign = state.roster.sign(id);
            if sign.is_empty() { status.to_owned() } else { format!("{status} · {sign}") }
        }
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let dim = Style::new().fg(Color::DarkGray);
    let line = Line::from(vec![
        Span::raw(" "),
        Span::styled(name, bold),
        Span::styled(format!("  {about}"), dim),
    ]);
    frame.render_widget(line, area);
}

fn draw_history(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let Some(session) = state.open else { return };
    let rows = rows::rows(state, session, area.width.into());
    let height = usize::from(area.height);
    let max = rows.len().saturating_sub(height);
    let scroll = state.open_talk().map_or(0, |talk| talk.scroll).min(max);
    let shown: Vec<_> = rows.into_iter().skip(max - scroll).take(height).collect();
    // A talk grows from the bottom.
    let empty = area.height - u16::try_from(shown.len()).unwrap_or(area.height);
    let area = Rect { y: area.y + empty, height: area.height - empty, ..area };
    frame.render_widget(Paragraph::new(shown), area);
}

fn draw_input(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::TOP).border_style(Style::new().fg(Color::DarkGray));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let (rows, (x, y)) = input_rows(state, inner.width);
    let height = usize::from(inner.height);
    let skip = (y + 1).saturating_sub(height);
    let lines: Vec<_> = rows
        .into_iter()
        .enumerate()
        .skip(skip)
        .take(height)
        .map(|(at, row)| Line::raw(format!("{}{row}", if at == 0 { PROMPT } else { "  " })))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
    if state.focus == Focus::Input && !state.help {
        let column = u16::try_from(x + width(PROMPT)).unwrap_or(0);
        let row = u16::try_from(y - skip).unwrap_or(0);
        frame.set_cursor_position((inner.x + column, inner.y + row));
    }
}

fn status_line(state: &State) -> Line<'static> {
    let (link, color) = match &state.link {
        Link::Connecting => ("connecting".to_owned(), Color::Yellow),
        Link::Online => ("online".to_owned(), Color::Green),
        Link::Lost(why) => (format!("connection lost, trying again ({why})"), Color::Red),
    };
    let me = if state.me == 0 { String::new() } else { state.roster.user_name(state.me) };
    let mut spans = vec![
        Span::styled(format!(" {me} "), Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(link, Style::new().fg(color)),
    ];
    let unread = state.unread();
    if unread > 0 {
        spans.push(Span::styled(format!(" · {unread} unread"), Style::new().fg(Color::Yellow)));
    }
    for moving in state.moving.values() {
        let (done, size) = moving.done;
        let percent = u64::from(done) * 100 / u64::from(size).max(1);
        let arrow = if moving.offer.is_some() { "↓" } else { "↑" };
        spans.push(Span::raw(format!(" · {arrow} {} {percent} %", moving.name)));
    }
    if state.notice.is_empty() {
        let dim = Style::new().fg(Color::DarkGray);
        spans.push(Span::styled(" · F1 help", dim));
    } else {
        spans.push(Span::raw(format!(" · {}", state.notice)));
    }
    Line::from(spans)
}

fn draw_help(frame: &mut Frame<'_>) {
    let left = KEYS.iter().chain(&COMMANDS).map(|(key, _)| width(key)).max().unwrap_or(0);
    let line = |(key, what): &(&str, &str)| Line::raw(format!(" {key:left$}  {what} "));
    let lines: Vec<_> = KEYS.iter().chain(&COMMANDS).map(line).collect();
    let columns = lines.iter().map(Line::width).max().unwrap_or(0) + 2;
    let area = frame.area();
    let columns = u16::try_from(columns).unwrap_or(u16::MAX).min(area.width);
    let rows = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let popup = Rect {
        x: area.x + (area.width - columns) / 2,
        y: area.y + (area.height - rows) / 2,
        width: columns,
        height: rows,
    };
    frame.render_widget(Clear, popup);
    let block = Block::bordered().title(" Help (any key goes on) ");
    frame.render_widget(Paragraph::new(lines).block(block), popup);
}
