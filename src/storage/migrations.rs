//! The migrations of this program, and how they are applied one by one.

use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::storage::error::Result;

/// What a migration of a database does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationStep {
    /// The database is copied before it is changed.
    Copying,
    Applying {
        version: i64,
        description: &'static str,
    },
}

/// All of them, in order.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Applies all migrations that a database does not have, each in its own transaction, and reports each one before it begins.
pub async fn apply_each(db: &SqlitePool, on_step: impl Fn(MigrationStep)) -> Result<()> {
    let applied = applied(&mut *db.acquire().await?).await?;
    let pending = MIGRATOR
        .iter()
        .filter(|migration| !applied.contains(&migration.version));
    for migration in pending {
        on_step(MigrationStep::Applying {
            version: migration.version,
            description: &migration.description,
        });
        let until = MIGRATOR.iter();
        let until = until.filter(|other| other.version <= migration.version);
        let mut migrator = Migrator {
            migrations: until.cloned().collect(),
            ..Migrator::DEFAULT
        };
        // A later one may have been applied before this one was written.
        migrator.set_ignore_missing(true).run(db).await?;
    }
    MIGRATOR.run(db).await?;
    Ok(())
}

/// The versions of the migrations that a database has. Only reads.
pub async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>> {
    let table = "SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let table: Option<i64> = sqlx::query_scalar(table)
        .fetch_optional(&mut *connection)
        .await?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    let applied = connection.list_applied_migrations().await?;
    let versions = applied.into_iter().map(|migration| migration.version);
    Ok(versions.collect())
}
