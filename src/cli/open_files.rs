//! How many files and connections the process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system lets the process. Each connection counts, and a request has one to its client and
/// one to Google; what shells and systemd set is often 1,024.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    let (soft, hard) = (shown(current), shown(maximum));
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => tracing::info!(
            soft_limit = current,
            hard_limit = maximum,
            "up to {hard} files and connections may be open at once (the soft limit was {soft})"
        ),
        Err(error) => tracing::warn!(
            soft_limit = current,
            hard_limit = maximum,
            "only {soft} files and connections may be open at once, because the limit could not be raised to {hard}: {error}"
        ),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string())
}
