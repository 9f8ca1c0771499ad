//! The program: reads its arguments, runs the command, turns an error into an exit status.

use std::process::ExitCode;

use gemini_pool::cli;
use tikv_jemallocator::Jemalloc;

/// Returns memory to the system within seconds after a burst, by a thread of its own.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let command_line = match cli::read_dotenv() {
        Ok(()) => cli::CommandLine::read(),
        Err(error) => return cli::fail(&error),
    };
    let done = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(command_line.run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::fail(&error),
    }
}
