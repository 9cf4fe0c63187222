//! What it looks like.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::figures::{Health, Row};
use super::state::{Column, CommandOrder, State};

/// Most lines about what is wrong.
const REASONS_MAX: usize = 4;

/// Draws everything.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let rows = state.rows();
    let reasons: Vec<Line<'_>> = rows.iter().filter_map(|row| reason(row)).collect();
    let reason_lines = reasons.len().min(REASONS_MAX) as u16;
    let [servers, wrong, commands, keys] = Layout::vertical([
        Constraint::Length(rows.len() as u16 + 1),
        Constraint::Length(reason_lines),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_servers(state, &rows, frame, servers);
    frame.render_widget(Paragraph::new(reasons), wrong);
    draw_commands(state, frame, commands);
    frame.render_widget(key_line(state), keys);
}

/// What is wrong with a server.
fn reason<'a>(row: &'a Row) -> Option<Line<'a>> {
    let text = row.health.reason()?;
    let name = Span::styled(row.server.as_str(), style_of(&row.health));
    Some(Line::from(vec![name, Span::raw(": "), Span::raw(text)]))
}

fn style_of(health: &Health) -> Style {
    match health {
        Health::Ready => Style::new().fg(Color::Green),
        Health::NotReady(_) => Style::new().fg(Color::Yellow),
        Health::Silent(_) => Style::new().fg(Color::Red),
    }
}

/// Name and width of a column.
fn heading(column: Column) -> (&'static str, u16) {
    match column {
        Column::Server => ("SERVER", 16),
        Column::State => ("STATE", 9),
        Column::Connections => ("CONNS", 7),
        Column::MessagesIn => ("MSG IN/s", 8),
        Column::MessagesOut => ("MSG OUT/s", 9),
        Column::BytesIn => ("IN/s", 8),
        Column::BytesOut => ("OUT/s", 8),
        Column::Queue => ("QUEUE", 6),
        Column::Turn => ("TURN p99", 8),
        Column::Storage => ("DB p99", 8),
        Column::Drops => ("DROPS/s", 7),
        Column::Cpu => ("CPU %", 6),
        Column::Memory => ("MEMORY", 8),
        Column::Uptime => ("UP", 8),
    }
}

fn draw_servers(state: &State, rows: &[&Row], frame: &mut Frame<'_>, area: Rect) {
    let plain = Style::new().add_modifier(Modifier::BOLD);
    let header = Column::ALL.map(|column| {
        let (text, width) = heading(column);
        let text = align(column, text, width);
        let style =
            if column == state.sort { plain.add_modifier(Modifier::REVERSED) } else { plain };
        Cell::from(text).style(style)
    });
    let lines = rows.iter().map(|row| {
        TableRow::new(Column::ALL.map(|column| {
            let cell = Cell::from(align(column, &cell(row, column), heading(column).1));
            if column == Column::State { cell.style(style_of(&row.health)) } else { cell }
        }))
    });
    let widths = Column::ALL.map(|column| Constraint::Length(heading(column).1));
    frame.render_widget(Table::new(lines, widths).header(TableRow::new(header)), area);
}

/// Texts to the left, numbers to the right.
fn align(column: Column, text: &str, width: u16) -> String {
    let width = usize::from(width);
    if matches!(column, Column::Server | Column::State) {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}

fn cell(row: &Row, column: Column) -> String {
    let text =
        |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), show);
    match column {
        Column::Server => row.server.clone(),
        Column::State => row.health.word().to_owned(),
        Column::Connections => text(row.connections, count),
        Column::MessagesIn => text(row.messages_in, count),
        Column::MessagesOut => text(row.messages_out, count),
        Column::BytesIn => text(row.bytes_in, bytes),
        Column::BytesOut => text(row.bytes_out, bytes),
        Column::Queue => text(row.queue, count),
        Column::Turn => text(row.turn_p99, time),
        Column::Storage => text(row.storage_p99, time),
        Column::Drops => text(row.drops, count),
        Column::Cpu => text(row.cpu, |percent| format!("{percent:.1}")),
        Column::Memory => text(row.memory, bytes),
        Column::Uptime => text(row.uptime, uptime),
    }
}

fn draw_commands(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let commands = state.commands();
    if commands.is_empty() {
        return;
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let sorted = bold.add_modifier(Modifier::REVERSED);
    let heading = |order: CommandOrder, text: &str, width: usize| {
        let style = if state.command_order == order { sorted } else { bold };
        Cell::from(format!("{text:>width$}")).style(style)
    };
    let header = TableRow::new([
        Cell::from("COMMAND").style(bold),
        Cell::from("SERVER").style(bold),
        heading(CommandOrder::Rate, "PER s", 8),
        heading(CommandOrder::Mean, "MEAN", 8),
        heading(CommandOrder::P99, "p99", 8),
    ]);
    let lines = commands.iter().map(|row| {
        let rate = row.rate.map_or_else(|| "-".to_owned(), count);
        TableRow::new([
            row.command.clone(),
            row.server.clone(),
            format!("{rate:>8}"),
            format!("{:>8}", time(row.mean)),
            format!("{:>8}", time(row.p99)),
        ])
    });
    let widths = [44, 16, 8, 8, 8].map(Constraint::Length);
    let [_, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Table::new(lines, widths).header(header), area);
}

fn key_line(state: &State) -> Line<'static> {
    let keys: String = Column::ALL.map(Column::key).iter().collect();
    let paused = if state.paused { "PAUSED · " } else { "" };
    let text =
        format!("{paused}q quit · ←→ {keys} sort · r reverse · Tab sort commands · Space pause");
    Line::styled(text, Style::new().add_modifier(Modifier::DIM))
}

/// With thousands as `k` and millions as `M`.
fn count(value: f64) -> String {
    match value {
        value if value >= 10_000_000.0 => format!("{:.0}M", value / 1e6),
        value if value >= 1_000_000.0 => format!("{:.1}M", value / 1e6),
        value if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        value if value > 0.0 && value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let (mut value, mut unit) = (value, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0}{}", UNITS[unit])
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.2}s"),
        seconds if seconds >= 0.01 => format!("{:.0}ms", seconds * 1e3),
        seconds if seconds >= 0.001 => format!("{:.1}ms", seconds * 1e3),
        seconds => format!("{:.0}µs", seconds * 1e6),
    }
}

fn uptime(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds / 86_400 {
        0 => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        days => format!("{days}d {}h", seconds / 3600 % 24),
    }
}

/// The rows as text, for what is no terminal.
pub fn table(state: &State) -> String {
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        text += cells.join(" ").trim_end();
        text.push('\n');
    };
    line(Column::ALL.map(|column| align(column, heading(column).0, heading(column).1)).to_vec());
    let rows = state.rows();
    for row in &rows {
        line(Column::ALL.map(|c| align(c, &cell(row, c), heading(c).1)).to_vec());
    }
    for row in rows {
        if let Some(reason) = row.health.reason() {
            line(vec![format!("{}: {reason}", row.server)]);
        }
    }
    let commands = state.commands();
    if !commands.is_empty() {
        line(Vec::new());
        line(vec![format!("{:<44} {:>8} {:>8} {:>8}", "COMMAND", "PER s", "MEAN", "p99")]);
    }
    for row in commands {
        let rate = row.rate.map_or_else(|| "-".to_owned(), count);
        let (mean, p99) = (time(row.mean), time(row.p99));
        line(vec![format!("{:<44} {rate:>8} {mean:>8} {p99:>8}", row.command)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 0.5, 12.4, 9_999.0, 12_345.0, 1_234_567.0, 99_999_999.0].map(count);
        assert_eq!(counts, ["0", "0.5", "12", "9999", "12k", "1.2M", "100M"]);
        let sizes = [0.0, 999.0, 2048.0, 5e8, 3e12].map(bytes);
        assert_eq!(sizes, ["0B", "999B", "2.0K", "477M", "2.7T"]);
        let times = [0.00005, 0.0025, 0.0499, 1.5].map(time);
        assert_eq!(times, ["50µs", "2.5ms", "50ms", "1.50s"]);
        assert_eq!([59.0, 3_661.0, 200_000.0].map(uptime), ["0:00:59", "1:01:01", "2d 7h"]);
    }
}
