//! Reports the progress of a migration that takes long, on standard error or in the log.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::timer_instant;
use crate::storage::migrations::MigrationStep;

/// A step that ends sooner is not reported.
const SHORT: Duration = Duration::from_secs(2);
/// The time between two reports of a step.
const PERIOD: Duration = Duration::from_secs(5);
/// The same on a terminal, where a report replaces the one before.
const TERMINAL_PERIOD: Duration = Duration::from_secs(1);

/// Where progress is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressOutput {
    /// Standard error: one line that changes on a terminal, else a line per report.
    StandardError,
    /// The log of the server.
    Log,
}

/// The step that the migration is in, and since when.
#[derive(Debug, Default)]
pub struct CurrentStep(Mutex<Option<(MigrationStep, Instant)>>);

impl CurrentStep {
    /// The next step begins.
    pub fn begin(&self, step: MigrationStep) {
        *self.0.lock() = Some((step, timer_instant()));
    }

    /// The current step and how long it has taken, where that is worth a report.
    fn long_step(&self) -> Option<(MigrationStep, Duration)> {
        let (step, begun) = (*self.0.lock())?;
        let elapsed = timer_instant().duration_since(begun);
        (elapsed >= SHORT).then_some((step, elapsed))
    }
}

impl ProgressOutput {
    /// Waits for the end of `migration`, and reports the steps that take long meanwhile.
    pub async fn report<T>(self, step: &CurrentStep, migration: impl Future<Output = T>) -> T {
        let is_terminal = self == Self::StandardError && std::io::stderr().is_terminal();
        let period = if is_terminal { TERMINAL_PERIOD } else { PERIOD };
        let mut is_line_open = false;
        let result = report_each(period, step, migration, |text| match self {
            Self::Log => tracing::info!("{text}"),
            Self::StandardError if is_terminal => {
                is_line_open = true;
                let mut output = std::io::stderr().lock();
                // Returns to the begin of the line and erases it.
                let _ = write!(output, "\r\x1b[K{text}").and_then(|()| output.flush());
            }
            Self::StandardError => eprintln!("{text}"),
        })
        .await;
        if is_line_open {
            eprintln!();
        }
        result
    }
}

async fn report_each<T>(
    period: Duration,
    step: &CurrentStep,
    migration: impl Future<Output = T>,
    mut report: impl FnMut(String),
) -> T {
    let mut migration = std::pin::pin!(migration);
    let mut ticks = interval(TERMINAL_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<(MigrationStep, Instant)> = None;
    loop {
        tokio::select! {
            result = &mut migration => return result,
            _ = ticks.tick() => {}
        }
        let Some((current, elapsed)) = step.long_step() else {
            continue;
        };
        let now = timer_instant();
        let is_due = last.is_none_or(|(step, at)| step != current || now - at >= period);
        if is_due {
            report(describe(current, elapsed));
            last = Some((current, now));
        }
    }
}

fn describe(step: MigrationStep, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match step {
        MigrationStep::Copying => {
            format!("copying the database before the migration: {seconds} s so far")
        }
        MigrationStep::Applying {
            version,
            description,
        } => format!("applying the migration {version} {description}: {seconds} s so far"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn steps_of_more_than_two_seconds_are_reported_every_five() {
        let step = CurrentStep::default();
        let applying = |version, description| MigrationStep::Applying {
            version,
            description,
        };
        let migration = async {
            for (next, millis) in [
                (MigrationStep::Copying, 3_500),
                (applying(1, "short"), 1_500),
                (applying(2, "long"), 12_500),
            ] {
                step.begin(next);
                sleep(Duration::from_millis(millis)).await;
            }
            "done"
        };
        let mut reports = Vec::new();

        let result = report_each(PERIOD, &step, migration, |text| reports.push(text)).await;

        assert_eq!(result, "done");
        assert_eq!(
            reports,
            [
                "copying the database before the migration: 2 s so far",
                "applying the migration 2 long: 2 s so far",
                "applying the migration 2 long: 7 s so far",
                "applying the migration 2 long: 12 s so far",
            ]
        );
    }
}
