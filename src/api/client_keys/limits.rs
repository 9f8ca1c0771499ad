//! The limits of client keys in requests of the API.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::input::Patch;
use crate::api::problem::Problem;
use crate::pool::clients::client_key::{ClientLimit, ClientLimits};

/// Billionths in a dollar.
const NANO: f64 = 1e9;

/// Limits of a client key. A missing member keeps its value; `null` removes the limit.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsBody {
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    requests_per_minute: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    requests_per_day: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    tokens_per_minute: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    tokens_per_day: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    concurrency: Patch<u64>,
    /// In dollars.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    cost_per_month: Patch<f64>,
}

impl LimitsBody {
    /// The members that the body has; `None`: no limit.
    pub fn members(self) -> Result<Vec<(ClientLimit, Option<u64>)>, Problem> {
        let mut members = Vec::new();
        for (limit, member) in [
            (ClientLimit::RequestsPerMinute, self.requests_per_minute),
            (ClientLimit::RequestsPerDay, self.requests_per_day),
            (ClientLimit::TokensPerMinute, self.tokens_per_minute),
            (ClientLimit::TokensPerDay, self.tokens_per_day),
            (ClientLimit::Concurrency, self.concurrency),
        ] {
            match member {
                Patch::Missing => {}
                Patch::Null => members.push((limit, None)),
                Patch::Value(most) if (1..=ClientLimits::LARGEST).contains(&most) => {
                    members.push((limit, Some(most)));
                }
                Patch::Value(_) => {
                    return Err(Problem::invalid(format!(
                        "limits.{} must be a number from 1 to {}, or null for no limit",
                        limit.name(),
                        ClientLimits::LARGEST
                    )));
                }
            }
        }
        match self.cost_per_month {
            Patch::Missing => {}
            Patch::Null => members.push((ClientLimit::CostPerMonth, None)),
            Patch::Value(dollars) => {
                members.push((ClientLimit::CostPerMonth, Some(nano_usd(dollars)?)));
            }
        }
        Ok(members)
    }
}

fn nano_usd(dollars: f64) -> Result<u64, Problem> {
    let nano = (dollars * NANO).round();
    if !(1.0..=1e18).contains(&nano) {
        let detail =
            "limits.cost_per_month must be a positive amount of dollars, or null for no limit";
        return Err(Problem::invalid(detail));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds above"
    )]
    Ok(nano as u64)
}
