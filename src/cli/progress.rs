//! The progress of long work, on standard error and only on a terminal.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often what moves is drawn.
const PERIOD: Duration = Duration::from_millis(100);

/// Work of unknown length; its message says what is done. Cleared by `finish_and_clear`.
pub fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    spinner.set_style(style.expect("the template is valid"));
    spinner.set_message(message);
    spinner.enable_steady_tick(PERIOD);
    spinner
}

/// Work on so many things of this name, as in `keys`.
pub fn bar(total: usize, noun: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} {msg}");
    bar.set_style(style.expect("the template is valid"));
    bar.set_message(noun);
    bar
}
