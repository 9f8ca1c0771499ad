//! The keys a command applies to, and the confirmation before keys are removed.

use anyhow::Result;
use clap::Args;

use crate::cli::confirmation::confirm;
use crate::cli::output;

/// Keys to enable or disable.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Ids of the keys, as printed by `list`
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<i64>,
    /// All keys
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Keys to remove.
#[derive(Debug, Args)]
pub struct RemovalArgs {
    /// Ids of the keys, as printed by `list`
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Remove without confirmation
    #[arg(long, short)]
    yes: bool,
}

impl SelectionArgs {
    /// Each id once; `None`: all keys.
    pub fn ids(&self) -> Option<Vec<i64>> {
        (!self.all).then(|| unique(&self.ids))
    }
}

impl RemovalArgs {
    /// Each id once, after confirmation if standard input is a terminal.
    pub fn confirmed(&self, noun: &str) -> Result<Vec<i64>> {
        self.confirmed_as(|count| output::count(count, noun))
    }

    /// The same for a noun with another plural.
    pub fn confirmed_as(&self, counted: impl Fn(usize) -> String) -> Result<Vec<i64>> {
        let ids = unique(&self.ids);
        if !self.yes {
            let question = format!("remove {}?", counted(ids.len()));
            confirm(&question, "nothing was removed")?;
        }
        Ok(ids)
    }
}

fn unique(ids: &[i64]) -> Vec<i64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}
