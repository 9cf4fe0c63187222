//! Pictures of terminals, for the documents.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

const CELL_WIDTH: f32 = 8.4;
const CELL_HEIGHT: f32 = 18.0;
const FONT_SIZE: f32 = 14.0;
/// Around the screen; above it there is a bar with a title.
const MARGIN: f32 = 12.0;
const BAR_HEIGHT: f32 = 30.0;
const BACKGROUND: &str = "#1e2127";
const FOREGROUND: &str = "#d7dae0";

/// The colours that programs know by number.
const COLORS: [&str; 16] = [
    "#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0",
    "#7f848e", "#ef8a92", "#b1d598", "#f0d399", "#8cc5f5", "#d699e8", "#7fcdd6", "#ffffff",
];

/// How a cell looks, beside what is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Look {
    foreground: String,
    background: String,
    bold: bool,
    dim: bool,
    underline: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let mut foreground = color(cell.fgcolor()).unwrap_or_else(|| FOREGROUND.to_owned());
        let mut background = color(cell.bgcolor()).unwrap_or_else(|| BACKGROUND.to_owned());
        if cell.inverse() {
            std::mem::swap(&mut foreground, &mut background);
        }
        let (bold, dim, underline) = (cell.bold(), cell.dim(), cell.underline());
        Self { foreground, background, bold, dim, underline }
    }
}

/// `None` is the default colour.
fn color(color: Color) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Idx(at @ 0..16) => Some(COLORS[usize::from(at)].to_owned()),
        // A cube of colours, then greys.
        Color::Idx(at @ 16..232) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let (red, green, blue) = ((at - 16) / 36, (at - 16) / 6 % 6, (at - 16) % 6);
            Some(format!("#{:02x}{:02x}{:02x}", level(red), level(green), level(blue)))
        }
        Color::Idx(at) => {
            let level = 8 + 10 * (at - 232);
            Some(format!("#{level:02x}{level:02x}{level:02x}"))
        }
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

/// Neighbours in a row that look the same.
struct Run {
    column: u16,
    width: u16,
    text: String,
    look: Look,
}

fn runs(screen: &Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..screen.size().1 {
        let Some(cell) = screen.cell(row, column) else { continue };
        if cell.is_wide_continuation() {
            continue;
        }
        let (look, width) = (Look::of(cell), if cell.is_wide() { 2 } else { 1 });
        let text = if cell.has_contents() { cell.contents() } else { " " };
        // A wide character may be wider or narrower than two others: it stands alone.
        let alone = width == 2
            || runs.last().is_some_and(|run| run.width == 2 && run.text.chars().count() == 1);
        match runs.last_mut().filter(|run| run.look == look && !alone) {
            Some(run) => {
                run.text.push_str(text);
                run.width += width;
            }
            None => runs.push(Run { column, width, text: text.to_owned(), look }),
        }
    }
    runs
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The screen as a picture, in a window with this title.
pub fn svg(title: &str, screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let width = f32::from(columns) * CELL_WIDTH + 2.0 * MARGIN;
    let height = f32::from(rows) * CELL_HEIGHT + 2.0 * MARGIN + BAR_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"{FONT_SIZE}\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        title = escaped(title)
    );
    for (at, color) in [COLORS[1], COLORS[3], COLORS[2]].iter().enumerate() {
        let x = 18 + 18 * at;
        let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"17\" r=\"5.5\" fill=\"{color}\"/>");
    }
    let _ = writeln!(
        svg,
        "<text x=\"50%\" y=\"22\" text-anchor=\"middle\" fill=\"{}\">{}</text>",
        COLORS[8],
        escaped(title)
    );
    for row in 0..rows {
        let top = BAR_HEIGHT + MARGIN + f32::from(row) * CELL_HEIGHT;
        for run in runs(screen, row) {
            draw(&mut svg, &run, top);
        }
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, run: &Run, top: f32) {
    let (x, width) =
        (MARGIN + f32::from(run.column) * CELL_WIDTH, f32::from(run.width) * CELL_WIDTH);
    let look = &run.look;
    if look.background != BACKGROUND {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{CELL_HEIGHT}\" \
             fill=\"{}\"/>",
            look.background
        );
    }
    if run.text.trim().is_empty() {
        return;
    }
    // The length makes columns stand below each other in every font.
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" xml:space=\"preserve\" \
         fill=\"{}\"",
        top + 13.5,
        look.foreground
    );
    for (is, attribute) in [
        (look.bold, " font-weight=\"bold\""),
        (look.dim, " opacity=\"0.6\""),
        (look.underline, " text-decoration=\"underline\""),
    ] {
        if is {
            svg.push_str(attribute);
        }
    }
    let _ = writeln!(svg, ">{}</text>", escaped(&run.text));
}

/// What such a picture says, row by row, without its title.
pub fn text(svg: &str) -> String {
    let lines = svg.lines().filter(|line| line.contains("xml:space"));
    let run = |line: &str| line.split_once('>')?.1.strip_suffix("</text>").map(str::to_owned);
    let row = |line: &str| Some(line.split_once(" y=\"")?.1.split_once('"')?.0.to_owned());
    let (mut text, mut last) = (String::new(), None);
    for line in lines {
        if last.is_some() && last != row(line) {
            text.push('\n');
        }
        last = row(line);
        text += &run(line).unwrap_or_default();
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn a_screen_becomes_a_picture_with_its_colours_and_columns() {
    let mut parser = vt100::Parser::new(2, 10, 0);
    parser.process(
        "a<\x1b[1;32mbc\x1b[0m早\r\n\x1b[7mx\x1b[0m\x1b[48;5;16m \x1b[38;2;1;2;3my".as_bytes(),
    );
    let svg = svg("t & u", parser.screen());
    for part in [
        "<title>t &amp; u</title>",
        " textLength=\"16.8\" xml:space=\"preserve\" fill=\"#d7dae0\">a&lt;</text>",
        "<text x=\"28.8\"",
        "fill=\"#98c379\" font-weight=\"bold\">bc</text>",
        "textLength=\"16.8\" xml:space=\"preserve\" fill=\"#d7dae0\">早</text>",
        "width=\"8.4\" height=\"18\" fill=\"#d7dae0\"/>",
        "fill=\"#1e2127\">x</text>",
        "fill=\"#000000\"/>",
        "fill=\"#010203\"",
    ] {
        assert!(svg.contains(part), "{part} is not in\n{svg}");
    }
    assert_eq!(text(&svg), "a<bc早\nxy");
}
