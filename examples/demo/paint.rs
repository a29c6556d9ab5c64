//! Colours. `anstream` takes them away where there is no terminal, and where `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// A step's heading.
pub fn heading(text: &str) -> String {
    paint(BOLD, text)
}

/// What one could type.
pub fn command(text: &str) -> String {
    paint(AnsiColor::Cyan.on_default(), text)
}

/// What something is called.
pub fn label(text: &str) -> String {
    paint(DIM, text)
}

/// What matters in what went well.
pub fn good(text: &str) -> String {
    paint(AnsiColor::Green.on_default().bold(), text)
}

/// What matters in what did not.
pub fn bad(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
