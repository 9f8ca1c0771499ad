//! `migrate`: applies pending migrations to the database, or lists them, or tries them on a copy.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use sqlx::migrate::Migration;

use crate::cli::{database, output};
use crate::config::DatabaseArgs;
use crate::storage::backup;
use crate::storage::database_path::folder_of;
use crate::storage::migrations::MIGRATOR;
use crate::storage::paging::Page;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// List the migrations and apply none
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// With --status: as JSON
    #[arg(long, requires = "status")]
    json: bool,
    /// Apply the migrations to a temporary copy only
    #[arg(long)]
    dry_run: bool,
}

/// A migration as `--status` lists it.
#[derive(Debug, Serialize)]
struct ListedMigration {
    version: i64,
    description: String,
    state: MigrationState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
enum MigrationState {
    Applied,
    Pending,
    /// Applied by a newer version of the program.
    Unknown,
}

pub async fn run(args: &DatabaseArgs, arguments: &MigrateArgs) -> Result<()> {
    let path = database::path(args)?;
    if arguments.status {
        // Listing must not create a database.
        let applied = if path.exists() {
            let db = database::open_as_it_is(args).await?;
            let applied = db.applied().await?;
            db.close().await;
            applied
        } else {
            Vec::new()
        };
        return show(list(&applied), arguments.json);
    }
    if arguments.dry_run {
        let folder = folder_of(&path);
        let applied = if path.exists() {
            let db = database::open_as_it_is(args).await?;
            let applied = backup::dry_run_migrations(Some(&db), folder).await?;
            db.close().await;
            applied
        } else {
            backup::dry_run_migrations(None, folder).await?
        };
        let count = output::count(applied.len(), "migration");
        print_migrations(&applied, "would be applied")?;
        return output::line(format!(
            "{count} succeeded on a copy; the database was not changed"
        ));
    }
    let db = database::open_as_it_is(args).await?;
    let migrating = async {
        let applied = database::migrate_without_server(&db).await?;
        database::settle_journal(&db).await?;
        Ok::<_, anyhow::Error>(applied)
    };
    let applied = migrating.await;
    db.close().await;
    let applied = applied?;
    print_migrations(&applied, "applied")?;
    output::line(format!("{} is up to date", path.display()))
}

fn list(applied: &[i64]) -> Vec<ListedMigration> {
    let known = MIGRATOR.iter().map(|migration| ListedMigration {
        version: migration.version,
        description: migration.description.clone().into_owned(),
        state: if applied.contains(&migration.version) {
            MigrationState::Applied
        } else {
            MigrationState::Pending
        },
    });
    let unknown = applied
        .iter()
        .filter(|version| !MIGRATOR.version_exists(**version));
    let unknown = unknown.map(|version| ListedMigration {
        version: *version,
        description: "applied by a newer version".to_owned(),
        state: MigrationState::Unknown,
    });
    known.chain(unknown).collect()
}

fn show(migrations: Vec<ListedMigration>, json: bool) -> Result<()> {
    if json {
        return output::json(&Page::whole(migrations));
    }
    let rows = migrations.into_iter().map(|migration| {
        let state: &str = migration.state.into();
        [
            migration.version.to_string(),
            state.to_owned(),
            migration.description,
        ]
    });
    output::table(["VERSION", "STATE", "DESCRIPTION"], rows)
}

fn print_migrations(migrations: &[&Migration], what: &str) -> Result<()> {
    for Migration {
        version,
        description,
        ..
    } in migrations
    {
        output::line(format!("{what}: {version} {description}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_is_applied_pending_or_unknown() {
        let first = MIGRATOR.iter().next().unwrap().version;

        let is_pending = |migration: &ListedMigration| migration.state == MigrationState::Pending;
        assert!(list(&[]).iter().all(is_pending));
        let listed = list(&[first, 99_999_999_999_999]);
        assert_eq!(listed.first().unwrap().state, MigrationState::Applied);
        assert_eq!(listed.last().unwrap().state, MigrationState::Unknown);
    }
}
