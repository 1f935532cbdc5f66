//! Shows how far a video is: a bar on a terminal, a plain line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Progress {
    name: String,
    total: u64,
    done: Arc<AtomicU64>,
    started: Instant,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    /// When the last line was printed.
    Lines(Mutex<Instant>),
    Nothing,
}

/// How a user wants to follow the work.
#[derive(Debug, Clone)]
pub enum Display {
    Visible,
    Hidden,
    /// Only counted, for somebody else to look at.
    Counted(Arc<AtomicU64>),
}

impl Progress {
    /// `total` frames of the video called `name`, to have done `action` to them.
    pub fn new(display: &Display, action: &str, name: &str, total: u64) -> Self {
        let done = if let Display::Counted(done) = display { done.clone() } else { Arc::default() };
        let shown = match display {
            Display::Hidden | Display::Counted(_) => Shown::Nothing,
            Display::Visible if stderr().is_terminal() => Shown::Bar(bar(action, name, total)),
            Display::Visible => Shown::Lines(Mutex::new(Instant::now())),
        };
        let name = format!("{action} {name}");
        Self { name, total, done, started: Instant::now(), shown }
    }

    pub fn frame_done(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.shown {
            Shown::Bar(bar) => bar.inc(1),
            Shown::Lines(last) => {
                let Ok(mut last) = last.try_lock() else { return };
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    eprintln!("{}", line(&self.name, done, self.total, self.started.elapsed()));
                }
            }
            Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(action: &str, name: &str, total: u64) -> ProgressBar {
    let template = "{prefix} {wide_bar:.cyan/dim} {pos}/{len}  {per_sec:>12}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("per_sec", |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0} frames/s", state.per_sec());
    });
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style).with_prefix(shortened(&format!("{action} {name}")))
}

/// Leaves room for the bar on a terminal of 80 columns.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 28;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn line(name: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = total.saturating_sub(done) as f64 / rate;
    format!("{name}: {done} of {total} frames, {rate:.0} frames/s, {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_rate_and_the_time_left() {
        let line = line("detecting a.mp4", 300, 1500, Duration::from_secs(3));
        assert_eq!(line, "detecting a.mp4: 300 of 1500 frames, 100 frames/s, 12 s left");
    }
}
