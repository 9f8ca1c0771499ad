//! `undo`: lists the latest acts that can be undone, and undoes one.

use anyhow::Result;
use clap::Args;
use http::Method;

use crate::cli::confirmation::confirm;
use crate::cli::pool_access::PoolAccess;
use crate::cli::{database, output};
use crate::clock;
use crate::storage::audit::{Action, Subject};
use crate::storage::paging::Page;
use crate::storage::undo::{self, UndoableAct, UndoneAct};

#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The act to undo, by the id that the list shows; without it, list the acts of the last 24 hours that can be undone
    id: Option<i64>,
    /// Maximum number of acts
    #[arg(long, default_value_t = 20, conflicts_with = "id")]
    limit: usize,
    /// Undo without confirmation
    #[arg(long, short, requires = "id")]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(pool: &PoolAccess, arguments: UndoArgs) -> Result<()> {
    match arguments.id {
        Some(id) => undo(pool, id, &arguments).await,
        None => list(pool, &arguments).await,
    }
}

async fn list(pool: &PoolAccess, arguments: &UndoArgs) -> Result<()> {
    let acts = match pool {
        PoolAccess::File(args) => {
            let db = database::open_to_read(args).await?;
            let acts = undo::list(&db.readers, clock::now(), arguments.limit).await?;
            db.close().await;
            acts
        }
        PoolAccess::Server(server) => {
            let page = server.page(&["undoable-acts"], &[], None, arguments.limit);
            page.await?.items
        }
    };
    if arguments.json {
        return output::json(&Page::whole(acts));
    }
    if acts.is_empty() {
        return output::line("nothing of the last 24 hours can be undone");
    }
    let rows = acts.iter().map(|act| {
        let by = match &act.address {
            Some(address) => format!("{} ({address})", act.actor),
            None => act.actor.clone(),
        };
        [
            act.id.to_string(),
            output::timestamp(Some(act.at)),
            by,
            describe(act),
        ]
    });
    output::table(["ID", "WHEN", "BY", "WHAT"], rows)?;
    output::line("`gemini-pool undo ID` undoes one")
}

async fn undo(pool: &PoolAccess, id: i64, arguments: &UndoArgs) -> Result<()> {
    if !arguments.yes {
        let act = find(pool, id).await?;
        let when = output::timestamp(Some(act.at));
        let question = format!("undo what {} did at {when}: {}?", act.actor, describe(&act));
        confirm(&output::printable(&question), "nothing was undone")?;
    }
    let undone: UndoneAct = match pool {
        PoolAccess::File(args) => {
            database::change(args, async |tx, act| Ok(undo::undo(tx, id, act).await?)).await?
        }
        PoolAccess::Server(server) => {
            let path = ["undoable-acts", &id.to_string(), "undo"];
            server.send(Method::POST, &path, None).await?
        }
    };
    if arguments.json {
        return output::json(&undone);
    }
    let count = output::count(undone.undone, "change");
    output::line(format!(
        "undid {count}; a running server applies it within 2 seconds"
    ))
}

async fn find(pool: &PoolAccess, id: i64) -> Result<UndoableAct> {
    match pool {
        PoolAccess::File(args) => {
            let db = database::open_to_read(args).await?;
            let found = undo::find(&db.readers, id, clock::now()).await;
            db.close().await;
            Ok(found?)
        }
        PoolAccess::Server(server) => {
            let path = ["undoable-acts", &id.to_string()];
            server.get(&path, &[]).await
        }
    }
}

/// `deleted 3 upstream keys: primary and 2 others`.
fn describe(act: &UndoableAct) -> String {
    let done = match act.action {
        Action::Delete => "deleted",
        Action::Enable => "enabled",
        Action::Disable => "disabled",
        Action::Update
        | Action::Create
        | Action::Clear
        | Action::Restore
        | Action::Download
        | Action::Export
        | Action::View
        | Action::Rotate
        | Action::Try
        | Action::SignIn
        | Action::SignOut
        | Action::ChangePassword => "changed",
    };
    let noun = match act.subject {
        Subject::UpstreamKey => "upstream key",
        Subject::ClientKey => "client key",
        Subject::AlertTarget => "alert target",
        Subject::EgressProxy => "egress proxy",
        Subject::Setting => "setting",
        Subject::Project
        | Subject::Admin
        | Subject::Backup
        | Subject::RequestLog
        | Subject::RequestBodies
        | Subject::ApiToken
        | Subject::MasterKey => act.subject.name(),
    };
    let count = output::count(usize::try_from(act.changes).unwrap_or_default(), noun);
    let others = match act.changes {
        ..=1 => String::new(),
        2 => " and another one".to_owned(),
        changes => format!(" and {} others", changes - 1),
    };
    format!("{done} {count}: {}{others}", act.name)
}
