//! `Refusal`: why the pool answers a request itself, and with which status, outcome, wait and message.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use crate::clock::Timestamp;
use crate::gemini::request_body::unread::UnreadBody;
use crate::gemini::resources::listing::MAX_PAGE_BYTES;
use crate::gemini::target::{Surface, TargetError};
use crate::gemini::wrong_base::WrongBase;
use crate::pool::clients::admission::LimitReached;
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::keys::selection::LeaseObstacle;
use crate::pool::money::usd;
use crate::pool::outcome::Outcome;

/// How many bytes of the client's input a message repeats.
const REPEATED_BYTES: usize = 100;

/// Why the pool answers a request itself.
#[derive(Debug)]
pub enum Refusal {
    NoClientKey,
    WrongClientKey,
    DisabledClientKey,
    ExpiredClientKey,
    /// An ephemeral token that was not made through this pool.
    UnknownToken,
    TooManyAuthFailures(Duration),
    /// The scopes in the client key's row cannot be read.
    ScopesUnreadable,
    AddressOutOfScope(IpAddr),
    PathOutOfScope {
        allowed: String,
    },
    /// The request would hand out access to Google that bypasses the pool.
    DirectAccess,
    ModelOutOfScope {
        model: String,
        allowed: String,
    },
    /// The client key has a models scope, and the request names no model that can be read.
    ModelUnknown {
        allowed: String,
    },
    /// The client key has reached a limit of its own.
    Limited(LimitReached),
    BadTarget(TargetError),
    /// The path is that of an operation below a wrong base URL.
    WrongBase {
        /// The URL of the server.
        base: String,
        wrong_base: WrongBase,
    },
    /// A browser would run the answer as a part of a page.
    RequestedAsScript,
    AlteredPath,
    AmbiguousLength,
    NotAWebSocket,
    /// The first message of a live session did not arrive in time.
    SetupTooSlow,
    /// The first message of a live session is no setup.
    NoSetup,
    /// A later message of a live session contains what only the setup may.
    SecondSetup,
    /// A message names a resource that is in another project than its session.
    OtherSession(String),
    BodyTooLarge(u64),
    BodyTooSlow,
    BodyBroken,
    TooMuchHeld,
    /// The server is stopping, and the body has not arrived.
    Stopping,
    /// There is no upstream key at all.
    NoUpstreamKeys,
    /// No key can serve until an admin or a check restores one.
    NoUsableKey,
    /// The one project that owns the named resource has no usable key.
    OwnerGone {
        /// The resource; empty: not known.
        resource: String,
    },
    /// The named resources are in different projects; a group for each.
    ResourcesInDifferentProjects(Vec<Vec<String>>),
    /// No resource of this name exists for the client.
    NotFound(String),
    /// The body cannot be read completely, and the client's limits or scopes depend on what it contains.
    Unread(UnreadBody),
    /// The requests of a batch are in a file, which is not read, and the client key has a models scope.
    RequestFile {
        allowed: String,
    },
    /// The page token of a list is not one of ours.
    BadCursor,
    /// The owners of the named resources could not be read from the database.
    LookupFailed,
    /// Every ready key has as many concurrent requests as it may have.
    AllBusy,
    /// All keys are cooling down for this model.
    AllCoolingDown {
        model: String,
        /// The resource whose project alone may serve; empty: any project may.
        resource: String,
        retry_after: Duration,
        for_the_day: bool,
    },
    /// The circuit breaker of the model is open.
    Overloaded {
        model: String,
        retry_after: Duration,
    },
    /// Google throttles our address.
    AddressThrottled(Duration),
    /// The egress proxies of all keys that may serve are broken.
    EgressBroken(Duration),
    Unreachable,
    /// Google's error is too long to be searched for secrets, and so to be passed on.
    ErrorTooLong(StatusCode, Outcome),
    /// This process may open no more files, and so no connection to Google.
    TooManyOpenFiles,
    /// A page of a list is larger than is read.
    PageTooLarge,
    /// A page of a list is not what Gemini's lists look like.
    PageUnreadable,
    /// The upstream answered with a web page.
    WebPage,
    Timeout,
    /// An upload session that does not exist or belongs to another client; the answer does not tell which.
    UnknownUpload,
    /// Google redirects to another host, which gets no key of ours.
    ForeignRedirect,
    TooManyPendingRows,
    /// The database cannot be used, and the answer depends on it.
    NoDatabase,
}

/// How a refusal is answered.
#[derive(Debug)]
pub struct Description {
    pub status: StatusCode,
    /// The outcome of the request's row.
    pub outcome: Outcome,
    pub retry_after: Option<Duration>,
    /// What the client is told, and how to mend it.
    pub message: String,
}

impl Refusal {
    /// No key could be leased; without an obstacle one may be ready at once. `resource` names what limited the request to
    /// one project, or is empty.
    pub fn no_key(
        obstacle: Option<LeaseObstacle>,
        model: &str,
        resource: &str,
        now: Timestamp,
    ) -> Self {
        // At least a second: a client that retries at once meets the same state.
        let wait = |until: Timestamp| (until - now).max(Duration::from_secs(1));
        let (model, resource) = (short(model).to_owned(), short(resource).to_owned());
        match obstacle {
            Some(LeaseObstacle::NoKeys) => Self::NoUpstreamKeys,
            Some(LeaseObstacle::NoUsableKey) => Self::NoUsableKey,
            Some(LeaseObstacle::ProjectWithoutKeys) => Self::OwnerGone { resource },
            Some(LeaseObstacle::AllTried | LeaseObstacle::Busy) | None => Self::AllBusy,
            Some(LeaseObstacle::CoolingDown { until, for_the_day }) => Self::AllCoolingDown {
                model,
                resource,
                retry_after: wait(until),
                for_the_day,
            },
            Some(LeaseObstacle::Overloaded { until }) => Self::Overloaded {
                model,
                retry_after: wait(until),
            },
            Some(LeaseObstacle::AddressThrottled { until }) => Self::AddressThrottled(wait(until)),
            Some(LeaseObstacle::EgressBroken { until }) => Self::EgressBroken(wait(until)),
        }
    }

    /// How the refusal is answered. This is the one table of statuses, outcomes, waits and messages.
    #[expect(clippy::too_many_lines, reason = "one line per refusal")]
    pub fn describe(&self) -> Description {
        use Outcome::{ClientGone, Interrupted, Network, NoKey, Quota, Refused, UpstreamError};
        let soon = Some(Duration::from_secs(5));
        let (status, outcome, retry_after, text) = match self {
            Self::NoClientKey => (401, Refused, None, "no client key was sent. Send one as x-goog-api-key, as a bearer token, as \
                x-api-key or as ?key=".to_owned()),
            Self::WrongClientKey => (401, Refused, None, "this client key is not known. Ask the admin of the pool for a valid one".to_owned()),
            Self::DisabledClientKey => (403, Refused, None, "this client key is disabled".to_owned()),
            Self::ExpiredClientKey => (403, Refused, None, "this client key has expired".to_owned()),
            Self::UnknownToken => (401, Refused, None, "this ephemeral token was not made through this pool, or has expired. Make \
                another".to_owned()),
            Self::TooManyAuthFailures(wait) => (429, Refused, Some(*wait), "too many requests without a valid client key from this \
                address. Wait, then send a valid one".to_owned()),
            Self::ScopesUnreadable => (403, Refused, None, "the scopes of this client key cannot be read. Ask the admin of the pool \
                for another key".to_owned()),
            Self::AddressOutOfScope(address) => (403, Refused, None, format!("this client key may not be used from {address}. The \
                admin of the pool can allow it with --addresses")),
            Self::PathOutOfScope { allowed } => (403, Refused, None, format!("this client key may not use this path, only {allowed}. \
                The admin of the pool can allow it with --paths")),
            Self::DirectAccess => (403, Refused, None, "this client key may not hand out access to Google that bypasses the pool \
                (ephemeral tokens, permissions, webhooks, credentials). The admin of the pool can allow it with \
                --direct-access".to_owned()),
            Self::ModelOutOfScope { model, allowed } => (403, Refused, None, format!("this client key may not use the model {}, only \
                {allowed}. The admin of the pool can allow it with --models", short(model))),
            Self::ModelUnknown { allowed } => (403, Refused, None, format!("this client key may use only {allowed}, and the request \
                names no model. Name it as `model` in the body")),
            Self::Limited(denied) => (429, Refused, Some(denied.retry_after), limit_message(denied)),
            Self::BadTarget(TargetError::UnknownPath) => (404, Refused, None, TargetError::UnknownPath.to_string()),
            Self::BadTarget(TargetError::Method) => (405, Refused, None, TargetError::Method.to_string()),
            Self::BadTarget(why) => (400, Refused, None, why.to_string()),
            Self::WrongBase { base, wrong_base } => (if wrong_base.is_ambiguous { 400 } else { 404 }, Refused, None,
                wrong_base_message(base, wrong_base)),
            Self::RequestedAsScript => (403, Refused, None, "a browser requests this path to run the answer as a script, but the \
                answer is data. Fetch it instead".to_owned()),
            Self::AlteredPath => (400, Refused, None, "the path contains characters that cannot be sent unaltered. Percent-encode \
                them".to_owned()),
            Self::AmbiguousLength => (400, Refused, None, "the request announces its length in two ways".to_owned()),
            Self::NotAWebSocket => (400, Refused, None, "this path is for live sessions. Request a WebSocket, over HTTP/1.1".to_owned()),
            Self::SetupTooSlow => (408, Refused, None, "the first message, with the setup, did not arrive in time".to_owned()),
            Self::NoSetup => (400, Refused, None, "the first message of a live session must contain its setup".to_owned()),
            Self::SecondSetup => (400, Refused, None, "only the first message of a live session may contain a setup or a model".to_owned()),
            Self::OtherSession(name) => (403, Refused, None, format!("{} is not in the project of this session. Open another session that \
                names it first", short(name))),
            Self::BodyTooLarge(most) => (413, Refused, None, format!("the request body is larger than {most} bytes. The admin of the \
                pool can raise max_request_bytes")),
            Self::BodyTooSlow => (408, Refused, None, "the request body stopped arriving".to_owned()),
            Self::BodyBroken => (400, ClientGone, None, "the request body broke off".to_owned()),
            Self::TooMuchHeld => (503, Refused, soon, "too many large requests are in progress. Try again in a few seconds".to_owned()),
            Self::Stopping => (503, Interrupted, soon, "the pool is stopping. Try again in a few seconds".to_owned()),
            Self::NoUpstreamKeys => (503, NoKey, None, "the pool has no upstream key yet. The admin of the pool can add one with \
                `gemini-pool upstream-keys add`".to_owned()),
            Self::NoUsableKey => (503, NoKey, Some(Duration::from_mins(1)), "none of the upstream keys that this client key may use \
                can serve this request now. The admin of the pool finds the reasons with `gemini-pool upstream-keys list`".to_owned()),
            Self::OwnerGone { resource } => (503, NoKey, Some(Duration::from_mins(1)), format!("the project that owns {} has no \
                usable key, and no other project can read it. The admin of the pool finds the reasons with `gemini-pool \
                upstream-keys list`. Or create it again", if resource.is_empty() { "the named resource" } else { resource })),
            Self::ResourcesInDifferentProjects(groups) => {
                let groups: Vec<_> = groups.iter().map(|names| listed(names)).collect();
                (400, Refused, None, format!("the resources that this request names were created in different Google projects, and \
                    no project can read them all: {}. Create them again with this client key, so that they are in one project",
                    groups.join(" / ")))
            }
            Self::NotFound(name) => (404, Refused, None, format!("{} was not found: it does not exist, has expired, or was created \
                with another client key", short(name))),
            Self::Unread(why) => (400, Refused, None, format!("the request body cannot be read: {why}. Send one JSON document in UTF-8 by \
                RFC 8259, with each key once")),
            Self::RequestFile { allowed } => (403, Refused, None, format!("this client key may use only {allowed}, and the models in a \
                file of requests are not read. Send the requests inline")),
            Self::BadCursor => (400, Refused, None, "the page token of this list is not valid. Use the token or the id of the last \
                page, or start from the beginning".to_owned()),
            Self::LookupFailed => (503, Refused, soon, "the owners of the named resources could not be looked up. Try again in a few \
                seconds".to_owned()),
            Self::AllBusy => (503, NoKey, Some(Duration::from_secs(1)), "every upstream key is busy. Try again in a second".to_owned()),
            Self::AllCoolingDown { model, resource, retry_after, for_the_day } => {
                let model = if model.is_empty() { "this" } else { model };
                let scope = if *for_the_day { "for today" } else { "for now" };
                let keys = if resource.is_empty() {
                    "on every key".to_owned()
                } else {
                    format!("in the project that owns {resource}")
                };
                (429, Quota, Some(*retry_after), format!("the quota for {model} is used up {scope} {keys}. {}", retry_in(*retry_after)))
            }
            Self::Overloaded { model, retry_after } => (503, UpstreamError, Some(*retry_after), format!("{model} is overloaded at \
                Google. {}", retry_in(*retry_after))),
            Self::AddressThrottled(wait) => (429, Quota, Some(*wait), format!("Google throttles the address of this pool, whatever \
                the key. {}", retry_in(*wait))),
            Self::EgressBroken(wait) => (503, Network, Some(*wait), format!("every egress proxy of the upstream keys that may serve \
                this request is broken, and nothing is sent past them. The admin of the pool finds the reasons with `gemini-pool \
                egress-proxies list`. {}", retry_in(*wait))),
            Self::Unreachable => (503, Network, soon, "Gemini could not be reached. Try again in a few seconds".to_owned()),
            Self::ErrorTooLong(status, outcome) => (status.as_u16(), *outcome, None, "Gemini's error is too long to be shown. Its beginning \
                is in the log of the pool".to_owned()),
            Self::TooManyOpenFiles => (503, Network, soon, "the pool has as many open files and connections as it may have. Try again in \
                a few seconds. The admin of the pool can raise the limit (ulimit -n, or LimitNOFILE of systemd)".to_owned()),
            Self::PageTooLarge => (502, UpstreamError, None, format!("a page of this list is larger than {} MiB. Ask for fewer items with \
                pageSize, or limit", MAX_PAGE_BYTES / 1024 / 1024)),
            Self::PageUnreadable => (502, UpstreamError, None, "Gemini's page of this list cannot be read. The admin of the pool finds the \
                request in the log".to_owned()),
            Self::WebPage => (502, UpstreamError, None, "the upstream answered with a web page instead of Gemini's JSON. The admin of the \
                pool checks UPSTREAM_URL, and what stands between the pool and Google".to_owned()),
            Self::Timeout => (504, Network, None, "Gemini did not answer in time".to_owned()),
            Self::UnknownUpload => (404, Refused, None, "this upload is unknown or has ended. Start it again, with the client key that \
                will continue it".to_owned()),
            Self::ForeignRedirect => (502, UpstreamError, None, "Gemini answered with a redirect that the pool does not follow: no key is \
                sent there. The admin of the pool finds its target in the log, and checks UPSTREAM_URL".to_owned()),
            Self::TooManyPendingRows => (503, Refused, soon, "the pool's database cannot be written. Try again in a few \
                seconds".to_owned()),
            Self::NoDatabase => (503, Refused, soon, "the pool's database cannot be used now. Try again in a few seconds".to_owned()),
        };
        Description {
            status: StatusCode::from_u16(status).expect("the table holds valid statuses"),
            outcome,
            retry_after,
            message: format!("gemini-pool: {text}"),
        }
    }

    /// Whether the project that should serve could not, for whatever reason of its keys or of the connection to it.
    pub fn is_unavailability(&self) -> bool {
        matches!(
            self,
            Self::NoUpstreamKeys
                | Self::NoUsableKey
                | Self::OwnerGone { .. }
                | Self::AllBusy
                | Self::AllCoolingDown { .. }
                | Self::Overloaded { .. }
                | Self::AddressThrottled(_)
                | Self::EgressBroken(_)
                | Self::Unreachable
                | Self::TooManyOpenFiles
                | Self::PageUnreadable
                | Self::WebPage
                | Self::Timeout
        )
    }

    /// Whether waiting is useless before the next day.
    pub fn is_for_the_day(&self) -> bool {
        match self {
            Self::AllCoolingDown { for_the_day, .. } => *for_the_day,
            Self::Limited(denied) => is_daily(denied.limit),
            _ => false,
        }
    }
}

impl From<TargetError> for Refusal {
    fn from(why: TargetError) -> Self {
        Self::BadTarget(why)
    }
}

/// Rounded up, so that no client retries too early.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// In Google's words, which some clients search for.
fn retry_in(wait: Duration) -> String {
    format!("Please retry in {}s.", whole_seconds(wait))
}

/// Names the base URL that works, and the path that the request would have with it.
fn wrong_base_message(base: &str, wrong_base: &WrongBase) -> String {
    let WrongBase {
        surface,
        right_path,
        base_path,
        is_ambiguous,
    } = wrong_base;
    let fault = if *is_ambiguous {
        "the path has two slashes in a row, so the base URL of the client is probably wrong"
    } else {
        "no operation has this path, so the base URL of the client is probably wrong"
    };
    let client = match surface {
        Surface::OpenAi => "for clients of OpenAI",
        Surface::Native | Surface::Interactions => {
            "for clients of Gemini, which append the version themselves"
        }
    };
    format!(
        "{fault}. Set it to {base}{base_path} {client}; this request is then sent to {}",
        short(right_path)
    )
}

/// Which limit, how much of it is used, and when there is room again.
fn limit_message(denied: &LimitReached) -> String {
    let (most, used) = (denied.most, denied.used);
    let state = match denied.limit {
        ClientLimit::RequestsPerMinute => {
            let used = count(used, "request");
            format!("has sent {used} in the last minute and may send {most}")
        }
        ClientLimit::RequestsPerDay => {
            let used = count(used, "request");
            format!("has sent {used} today and may send {most}")
        }
        ClientLimit::TokensPerMinute => {
            let used = count(used, "token");
            format!("has used {used} in the last minute and may use {most}")
        }
        ClientLimit::TokensPerDay => {
            let used = count(used, "token");
            format!("has used {used} today and may use {most}")
        }
        ClientLimit::Concurrency => {
            let used = count(used, "request");
            format!("has {used} in progress and may have {most}")
        }
        ClientLimit::CostPerMonth => {
            let (used, most) = (usd(used), usd(most));
            format!("has spent {used} USD this month and may spend {most}")
        }
    };
    format!("this client key {state}. {}", retry_in(denied.retry_after))
}

/// `1 request`, `2 requests`.
fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Whether a limit has room again on another day only.
fn is_daily(limit: ClientLimit) -> bool {
    match limit {
        ClientLimit::RequestsPerDay | ClientLimit::TokensPerDay | ClientLimit::CostPerMonth => true,
        ClientLimit::RequestsPerMinute
        | ClientLimit::TokensPerMinute
        | ClientLimit::Concurrency => false,
    }
}

/// The first of these names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| short(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = shown.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPEATED_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_one_project_names_the_resource() {
        let now = Timestamp::from_millis(0);
        let cooling_down = LeaseObstacle::CoolingDown {
            until: now,
            for_the_day: false,
        };
        let cases = [
            (
                LeaseObstacle::ProjectWithoutKeys,
                "the project that owns files/x has no usable key",
            ),
            (
                cooling_down,
                "in the project that owns files/x. Please retry in 1s.",
            ),
        ];
        for (obstacle, expected) in cases {
            let refusal = Refusal::no_key(Some(obstacle), "m", "files/x", now);
            let message = refusal.describe().message;
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_message_repeats_only_the_beginning_of_long_input() {
        let refusal = Refusal::ModelOutOfScope {
            model: "é".repeat(1_000),
            allowed: "gemini-*".to_owned(),
        };

        assert!(refusal.describe().message.len() < 400);
    }

    #[test]
    fn each_limit_has_its_own_message() {
        let cases = [
            (
                ClientLimit::RequestsPerMinute,
                "has sent 12 requests in the last minute and may send 10",
            ),
            (
                ClientLimit::RequestsPerDay,
                "has sent 12 requests today and may send 10",
            ),
            (
                ClientLimit::TokensPerMinute,
                "has used 12 tokens in the last minute and may use 10",
            ),
            (
                ClientLimit::TokensPerDay,
                "has used 12 tokens today and may use 10",
            ),
            (
                ClientLimit::Concurrency,
                "has 12 requests in progress and may have 10",
            ),
            (
                ClientLimit::CostPerMonth,
                "has spent 0.000000012 USD this month and may spend 0.00000001",
            ),
        ];
        for (limit, state) in cases {
            let denied = LimitReached {
                limit,
                most: 10,
                used: 12,
                retry_after: Duration::from_millis(7_001),
            };
            let expected = format!("gemini-pool: this client key {state}. Please retry in 8s.");
            assert_eq!(Refusal::Limited(denied).describe().message, expected);
        }
    }
}
