//! The migrations that this program knows.

use sqlx::migrate::Migrator;

/// All of them, in order.
pub static MIGRATOR: Migrator = sqlx::migrate!();
