//! The rules of the pool: pure, without IO, clock or async.

pub mod alert_schedule;
pub mod alerts;
pub mod api_token;
pub mod backup_schedule;
pub mod batch_pace;
pub mod body_log;
pub mod calendar;
pub mod clients;
pub mod egress;
pub mod health;
pub mod hedging;
pub mod keys;
pub mod model_fallback;
pub mod model_prices;
pub mod model_timeouts;
pub mod money;
pub mod outcome;
pub mod quota;
pub mod request_id;
pub mod resources;
pub mod retention;
pub mod retry;
pub mod secret;
pub mod settings;
pub mod traceparent;
pub mod traffic_counters;
