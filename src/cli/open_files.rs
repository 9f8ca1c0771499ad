//! Raises the limit of open files and connections of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit. Each request needs a connection to its client and one to Google; shells and
/// systemd often set a limit of 1,024.
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

/// The hard limit, up to which a server raises its own; `None`: no limit.
pub fn hard_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string())
}
