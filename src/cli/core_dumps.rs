//! Disables core dumps of the server, whose memory holds the keys.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets the limit of a core file to nothing, for this process and what it starts.
pub fn disable() {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // A service manager may have done so, and may forbid the call.
    if getrlimit(Resource::Core).current == Some(0) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Core, nothing) {
        tracing::warn!("core dumps could not be disabled: {error}");
    }
}
