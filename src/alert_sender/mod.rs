//! Sends messages of alerts to receivers outside, in the form that each of them reads.

pub mod chat;
pub mod email;
pub mod http_post;
pub mod message;
pub mod send;
pub mod send_error;
pub mod target_input;
pub mod test_message;
pub mod webhook;
