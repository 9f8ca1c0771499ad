//! The protocol of service managers such as systemd: the socket they pass, readiness, the end, the watchdog.

use std::time::Duration;

use anyhow::{Context, ensure};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

use crate::clock::ticks;

/// The listening socket that the service manager passes (`LISTEN_FDS`); `None`: it passes none. Only the first call finds it.
pub fn inherited_listener() -> anyhow::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let number = sockets.len();
    ensure!(
        number <= 1,
        "the service manager passes {number} sockets, but the server listens on one: leave one ListenStream= in the socket unit"
    );
    let taken = sockets.take_tcp_listener(0).context(
        "the service manager passes a socket that is none of TCP: give ListenStream= an address and a port",
    );
    let Some(listener) = taken? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    Ok(Some(TcpListener::from_std(listener)?))
}

/// Reports that requests are answered from now on.
pub fn report_ready() {
    notify(NotifyState::Ready);
}

/// Reports that the server ends.
pub fn report_stopping() {
    notify(NotifyState::Stopping);
}

/// Reports twice in each period of the watchdog that the tasks of the server run; without a watchdog it only waits.
pub async fn answer_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO)
    else {
        return std::future::pending().await;
    };
    let mut ticks = ticks(period / 2);
    loop {
        ticks.tick().await;
        notify(NotifyState::Watchdog);
    }
}

/// Does nothing where no service manager listens (`NOTIFY_SOCKET`).
fn notify(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the service manager cannot be notified: {error}");
    }
}
