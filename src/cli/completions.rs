//! `completions` and `man`: scripts that complete commands in shells, and manual pages, generated from the definitions
//! of the commands.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::output;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that reads the script
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder for a page per command, such as /usr/local/share/man/man1; default: the main page on standard output
    folder: Option<PathBuf>,
}

/// Prints a script that completes commands and flags, for some shells the names of settings too.
pub fn print_completions(arguments: &CompletionsArgs, mut command: clap::Command) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    // Not written by the generator, which panics when the reader has closed the pipe.
    Ok(io::stdout().lock().write_all(&script)?)
}

/// Writes the manual in the format of `man`.
pub fn write_manual(arguments: &ManArgs, command: clap::Command) -> Result<()> {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return Ok(io::stdout().lock().write_all(&page)?);
    };
    let cannot_write = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot_write)?;
    clap_mangen::generate_to(command, folder).with_context(cannot_write)?;
    output::line(format!("the manual is in {}", folder.display()))
}
