//! The checks of the egress: proxy, certificates, whether Google can be reached, and its clock.

use std::time::Duration;

use url::Url;

use crate::cli::doctor::database_checks::StoredConfig;
use crate::cli::doctor::report::{Check, Report};
use crate::clock::{self, Timestamp};
use crate::gemini::reachability::{self, Reachability};
use crate::gemini::transport::{ConnectionError, GeminiClient, SendError};
use crate::pool::health::clock_watch::CLOCK_TOLERANCE;

/// With such a difference certificates may seem invalid, and limits by the day begin at the wrong time.
const WRONG_CLOCK: Duration = Duration::from_mins(5);

/// Checks the configuration of the egress, and unless `offline` whether Google answers: through each enabled egress proxy, and
/// directly, which is the way of keys that no proxy applies to.
pub async fn run(report: &mut Report, upstream: &Url, config: &StoredConfig, offline: bool) {
    let gemini = match GeminiClient::new(upstream, &config.settings) {
        Ok(gemini) => gemini,
        Err(error) => return add_invalid(report, &error),
    };
    report.done(Check::Proxy);
    report.done(Check::TlsRoots);
    if offline {
        return;
    }
    report.begin(Check::Google);
    let host = upstream.host_str().unwrap_or_default();
    let way = match gemini.proxy_host() {
        Some(proxy) => format!("through the proxy {proxy}"),
        None => "without a proxy".to_owned(),
    };
    let remedy = "check the network, the name servers and the firewall of this machine, UPSTREAM_URL, and HTTPS_PROXY, ALL_PROXY \
                  and NO_PROXY, which the server must have too";
    let found = reachability::check(&gemini, None).await;
    check_answer(report, host, &way, &found, remedy);
    let mut server_time = found.ok().and_then(|found| found.server_time);
    for proxy in &config.egress {
        let way = format!(
            "through the egress proxy {} ({})",
            proxy.label, proxy.address
        );
        let remedy = "check the proxy and its password; `gemini-pool egress-proxies test` tests it, `disable` takes it out of use";
        let found = reachability::check_through(&gemini, &config.settings, &proxy.address).await;
        check_answer(report, host, &way, &found, remedy);
        server_time = server_time.or(found.ok().and_then(|found| found.server_time));
    }
    if let Some(server_time) = server_time {
        check_clock(report, host, clock::now(), server_time);
    }
}

fn add_invalid(report: &mut Report, error: &ConnectionError) {
    match error {
        ConnectionError::NoCertificates(_) => report.error(
            Check::TlsRoots,
            error,
            "install the package ca-certificates, or set SSL_CERT_FILE to a PEM file of CA certificates",
        ),
        ConnectionError::InvalidProxy(_) => {
            report.error(Check::Proxy, error, "correct the variable, or unset it");
        }
        ConnectionError::InvalidUpstream(_) => {
            report.error(Check::Google, error, "correct UPSTREAM_URL, or unset it");
        }
    }
}

fn check_answer(
    report: &mut Report,
    host: &str,
    way: &str,
    found: &Result<Reachability, SendError>,
    remedy: &str,
) {
    report.done(Check::Google);
    match found {
        Err(error) => report.error(
            Check::Google,
            format!("{host} cannot be reached {way}: {error}"),
            remedy,
        ),
        Ok(Reachability {
            is_json: false,
            status,
            ..
        }) => report.warning(
            Check::Google,
            format!("{host} answered {status} {way}, but not like Gemini: the answer is no JSON"),
            "check UPSTREAM_URL, and what stands between this machine and Google",
        ),
        Ok(_) => {}
    }
}

fn check_clock(report: &mut Report, host: &str, now: Timestamp, server_time: Timestamp) {
    report.done(Check::Clock);
    let (ahead, behind) = (now - server_time, server_time - now);
    let (difference, direction) = if ahead > behind {
        (ahead, "ahead of")
    } else {
        (behind, "behind")
    };
    if difference <= CLOCK_TOLERANCE {
        return;
    }
    let seconds = difference.as_secs();
    let message = format!("the clock of this machine is {seconds} s {direction} that of {host}");
    let remedy = "synchronize the clock of this machine, as with NTP";
    if difference > WRONG_CLOCK {
        report.error(Check::Clock, message, remedy);
    } else {
        report.warning(Check::Clock, message, remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Severity;

    #[test]
    fn a_wrong_clock_is_reported_by_its_difference() {
        let now = Timestamp::from_millis(1_795_334_400_000);
        for (server_time, expected, text) in [
            (now, None, ""),
            (now + Duration::from_secs(30), None, ""),
            (
                now + Duration::from_secs(90),
                Some(Severity::Warning),
                "90 s behind",
            ),
            (
                now - Duration::from_mins(10),
                Some(Severity::Error),
                "600 s ahead of",
            ),
        ] {
            let mut report = Report::default();
            check_clock(&mut report, "google", now, server_time);
            let finding = report.findings().first();
            assert_eq!(finding.map(|finding| finding.severity), expected);
            assert!(finding.is_none_or(|finding| finding.message.contains(text)));
        }
    }
}
