//! `admin`: sets passwords of admins, adds the first admin, and creates API tokens.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::auth::password::{self, PasswordWeakness};
use crate::cli::time_argument::TimeArgument;
use crate::cli::{database, output};
use crate::clock;
use crate::config::{DatabaseArgs, FirstAdmin, InvalidConfig};
use crate::pool::api_token::{self, ApiScope, TokenAccess, TokenGrant};
use crate::pool::secret::Secret;
use crate::storage::api_tokens::ApiToken;
use crate::storage::audit::{Act, Actor};
use crate::storage::db::Db;
use crate::storage::{admins, api_tokens, sign_ins};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set an admin's password, and end all sessions of that admin. The password is read from the terminal or standard input
    SetPassword(SetPasswordArgs),
    /// Create a token for the admin API and print it once
    CreateToken(CreateTokenArgs),
}

#[derive(Debug, Args)]
pub struct SetPasswordArgs {
    /// The admin's user name; optional if there is only one admin
    #[arg(long)]
    username: Option<String>,
    /// Generate a password and print it
    #[arg(long)]
    generate: bool,
}

#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// The program that uses it
    #[arg(value_parser = token_name)]
    name: String,
    /// Allow changes
    #[arg(long)]
    write: bool,
    /// Only these resources, separated by commas: upstream-keys, logs …; default: everything
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = scopes())]
    scope: Vec<ApiScope>,
    /// When the token expires: 2027-01-31T08:00:00Z, or 90d from now; default: never
    #[arg(long, value_name = "TIME")]
    expires: Option<TimeArgument>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The only output that contains the token.
#[derive(Debug, Serialize)]
struct CreatedToken {
    #[serde(flatten)]
    token: ApiToken,
    secret: String,
}

/// How the first admin signs in.
#[derive(Debug)]
pub struct FirstSignIn {
    pub username: String,
    /// The generated password, shown once; `None`: it was given.
    pub generated: Option<String>,
}

/// Adds the first admin if there is none.
pub async fn add_first(db: &Db, first: &FirstAdmin, actor: Actor) -> Result<Option<FirstSignIn>> {
    if !admins::is_empty(&db.readers).await? {
        return Ok(None);
    }
    let generated = first.password.is_none().then(password::generate);
    let given = first.password.as_ref().map(Secret::expose);
    let password = given.or(generated.as_deref()).unwrap_or_default();
    let hash = password::hash(password).await;
    let mut tx = db.begin().await?;
    let act = Act::without_revision(actor, clock::now());
    admins::insert(&mut tx, &first.username, &hash, &act).await?;
    tx.commit().await?;
    Ok(Some(FirstSignIn {
        username: first.username.clone(),
        generated,
    }))
}

pub async fn run(args: &DatabaseArgs, command: Command) -> Result<()> {
    match command {
        Command::SetPassword(arguments) => set_password(args, arguments).await,
        Command::CreateToken(arguments) => create_token(args, arguments).await,
    }
}

/// Warns if the given password is not that of the admin: it is only used while there is no admin.
pub async fn warn_of_unused_password(db: &Db, first: &FirstAdmin) -> Result<()> {
    let Some(password) = &first.password else {
        return Ok(());
    };
    let username = &first.username;
    let admin = admins::find_named(&db.readers, username).await?;
    let hash = admin.as_ref().map(|admin| admin.password_hash.as_str());
    if hash.is_some() && password::verify(password.expose(), hash).await {
        return Ok(());
    }
    let names = admins::list_usernames(&db.readers).await?.join(", ");
    tracing::warn!(
        "ADMIN_PASSWORD has no effect: it is used only while there is no admin, and {names} has another password. \
         Change it with `gemini-pool admin set-password`"
    );
    Ok(())
}

async fn set_password(args: &DatabaseArgs, arguments: SetPasswordArgs) -> Result<()> {
    let db = database::open_existing(args).await?;
    let names = admins::list_usernames(&db.readers).await?;
    let username = match (arguments.username, names.as_slice()) {
        (Some(name), _) => name,
        (None, []) => FirstAdmin::default().username,
        (None, [only]) => only.clone(),
        (None, several) => {
            let several = several.join(", ");
            return Err(InvalidConfig::new(&format!("name one with --username: {several}")).into());
        }
    };
    let password = if arguments.generate {
        password::generate()
    } else {
        read_password()?
    };
    if let Some(weakness) = password::weakness(&password) {
        let why = match weakness {
            PasswordWeakness::TooShort => "is shorter than 8 characters",
            PasswordWeakness::TooLong => "is longer than 200 characters",
            PasswordWeakness::Common => "is a well-known default",
        };
        return Err(InvalidConfig::new(&format!("the password {why}: choose a better one")).into());
    }
    let hash = password::hash(&password).await;
    let mut tx = db.begin().await?;
    let act = Act::without_revision(Actor::cli(), clock::now());
    let admin = admins::find_named(&mut *tx, &username).await?;
    let ended = match &admin {
        Some(admin) => {
            admins::update_password(&mut tx, admin.id, &hash, &act).await?;
            sign_ins::delete_others(&mut tx, admin.id, None, &act).await?
        }
        None if names.is_empty() => {
            admins::insert(&mut tx, &username, &hash, &act).await?;
            0
        }
        None => anyhow::bail!(
            "no admin is named {username}: the admins are {}",
            names.join(", ")
        ),
    };
    tx.commit().await?;
    db.close().await;
    if arguments.generate {
        output::line(format!("password: {password}"))?;
    }
    let ended = output::count(ended, "sign-in");
    output::line(format!("the password of {username} is set; {ended} ended"))?;
    Ok(())
}

fn token_name(text: &str) -> Result<String, &'static str> {
    api_token::parse_name(text).map(str::to_owned)
}

fn scopes() -> impl TypedValueParser<Value = ApiScope> {
    let names = ApiScope::ALL.iter().map(|scope| scope.name());
    PossibleValuesParser::new(names).map(|name| name.parse().expect("only names of scopes pass"))
}

async fn create_token(args: &DatabaseArgs, arguments: CreateTokenArgs) -> Result<()> {
    let (name, now) = (&arguments.name, clock::now());
    let access = if arguments.write {
        TokenAccess::Write
    } else {
        TokenAccess::Read
    };
    let expires_at = arguments
        .expires
        .map(|expires| expires.resolve_forward(now));
    let grant = TokenGrant::new(access, arguments.scope, expires_at);
    if grant.is_expired(now) {
        return Err(InvalidConfig::new("--expires is in the past").into());
    }
    let secret = api_token::generate(&mut rand::rng());
    let db = database::open(args).await?;
    let mut tx = db.begin().await?;
    let act = Act::without_revision(Actor::cli(), now);
    let Some(id) = api_tokens::insert(&mut tx, name, &secret, &grant, &act).await? else {
        anyhow::bail!("a token is named {name}: choose another name, or revoke that one first");
    };
    tx.commit().await?;
    let token = api_tokens::find(&db.readers, id).await?;
    db.close().await;
    if arguments.json {
        return output::json(&CreatedToken {
            token,
            secret: secret.expose().to_owned(),
        });
    }
    eprintln!("API token {name} (store it now: it is shown only once):");
    output::line(secret.expose())
}

fn read_password() -> Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.context("cannot read the password from standard input")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password("New password: ")?;
    if rpassword::prompt_password("Repeat the password: ")? != password {
        return Err(InvalidConfig::new("the passwords differ: nothing was changed").into());
    }
    Ok(password)
}
