//! How far a long work has come, for whoever watches it at a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps. It is drawn on standard error, and only if that is a terminal.
pub fn progress(what: &'static str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    let style = "{msg:12} {bar:30} {human_pos}/{human_len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
