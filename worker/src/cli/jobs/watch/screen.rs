//! A part of the terminal that is drawn over and over.

use console::{Term, truncate_str};
use std::io::{self, Write};

/// What was drawn last stays when this is dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: Term,
    drawn: usize,
}

/// How much there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub lines: usize,
    pub columns: usize,
}

/// Clears from the cursor to the end of the line, and to the end of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

impl Screen {
    pub fn new() -> Self {
        Self { terminal: Term::stdout(), drawn: 0 }
    }

    /// Draws over what was drawn before, in one piece: nothing flickers, and nothing scrolls.
    pub fn show(&mut self, lines: impl FnOnce(Size) -> Vec<String>) -> io::Result<()> {
        let (lines_there, columns) = self.terminal.size();
        let size = Size { lines: usize::from(lines_there), columns: usize::from(columns) };
        let lines = lines(size);
        let picture = picture(&lines, self.drawn, size);
        // The line with the cursor is one of the terminal's.
        self.drawn = lines.len().min(size.lines.saturating_sub(1));
        self.terminal.write_all(picture.as_bytes())?;
        self.terminal.flush()
    }
}

fn picture(lines: &[String], drawn: usize, size: Size) -> String {
    let mut picture = if drawn > 0 { format!("\x1b[{drawn}A\r") } else { String::new() };
    for line in lines.iter().take(size.lines.saturating_sub(1)) {
        // A line that is as wide as the terminal can count as two.
        picture += &truncate_str(line, size.columns.saturating_sub(1), "…");
        picture += CLEAR_LINE;
        picture.push('\n');
    }
    picture + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_fits_and_covers_what_was_there() {
        let lines = ["short", "much too long a line", "third", "fourth"].map(str::to_owned);
        let size = Size { lines: 4, columns: 11 };
        let first = picture(&lines, 0, size);
        assert_eq!(first, "short\x1b[K\nmuch too …\x1b[K\nthird\x1b[K\n\x1b[J");
        assert!(picture(&lines[..1], 3, size).starts_with("\x1b[3A\rshort\x1b[K\n"));
        assert_eq!(picture(&["漢字漢字漢字".to_owned()], 0, size), "漢字漢字…\x1b[K\n\x1b[J");
    }
}
