//! Asks for a confirmation before a command does what is hard to reverse.

use std::io::{IsTerminal, stdin};

use anyhow::{Result, bail};

/// Asks the person at the terminal, and fails with `refused` unless the answer is yes. Without a terminal it passes, so that
/// scripts need no flag.
pub fn confirm(question: &str, refused: &str) -> Result<()> {
    if !stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        bail!("{refused}");
    }
    Ok(())
}
