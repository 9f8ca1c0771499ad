//! Everything specific to Google's API. Pure, except the sending of requests: `transport`, its `connections`, `egress`,
//! `tls`, `name_lookup` and `proxy_variables`, and `key_check` and `reachability`, which use it.

mod block_filter;
pub mod connections;
pub mod egress;
pub mod errors;
pub mod headers;
pub mod key_check;
pub mod key_mask;
pub mod live;
pub mod model_list;
pub mod name_lookup;
pub mod prices;
pub mod proxy_variables;
pub mod quota_estimate;
pub mod reachability;
pub mod redact;
pub mod request_body;
pub mod resources;
pub mod response;
pub mod system_parameters;
pub mod target;
pub mod tls;
pub mod transport;
pub mod upload;
pub mod url;
pub mod wrong_base;
