//! `PoolProcess`: the program itself, started and killed as an operator or the kernel does.

use parking_lot::Mutex;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use gemini_pool::storage::db::Db;

use super::admin::{PASSWORD, USERNAME};
use super::api::ApiClient;
use super::{CLIENT_KEY, change_settings, eventually};

/// A running `gemini-pool serve`. Killed when dropped.
pub struct PoolProcess {
    pub url: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl PoolProcess {
    /// Starts with the database in `folder` and waits until it listens.
    pub async fn start(folder: &Path, upstream_url: &str, keys: &[String]) -> Self {
        Self::start_with(folder, upstream_url, keys, &[]).await
    }

    /// The same with additional environment variables.
    pub async fn start_with(
        folder: &Path,
        upstream_url: &str,
        keys: &[String],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut program = command(folder);
        program.envs(variables.iter().copied());
        Self::launch(program, folder, upstream_url, keys).await
    }

    /// The same where no file may be larger than so many KiB: writing beyond it fails, as on a full disk.
    pub async fn start_with_largest_file(
        folder: &Path,
        upstream_url: &str,
        keys: &[String],
        kibibytes: u64,
    ) -> Self {
        // The shell counts blocks of 512 bytes. Without the trap the signal of a refused write ends the program.
        let script = format!(
            r#"trap "" XFSZ; ulimit -f {}; exec "$0" "$@""#,
            2 * kibibytes
        );
        let mut program = command_of("/bin/sh", folder);
        program.args(["-c", &script, env!("CARGO_BIN_EXE_gemini-pool")]);
        Self::launch(program, folder, upstream_url, keys).await
    }

    /// The same with a command of its own.
    pub async fn launch(
        mut program: Command,
        folder: &Path,
        upstream_url: &str,
        keys: &[String],
    ) -> Self {
        let db = database(folder).await;
        db.migrate().await.unwrap();
        // Only requests of clients, no checks.
        change_settings(&db, &[("check_new_keys", "off")]).await;
        db.close().await;
        program
            .arg("serve")
            .env("UPSTREAM_URL", upstream_url)
            .env("ALLOWED_API_KEYS", CLIENT_KEY)
            .env("ADMIN_USERNAME", USERNAME)
            .env("ADMIN_PASSWORD", PASSWORD)
            .env("GEMINI_API_KEYS", keys.join(","));
        Self::spawn(program).listening().await
    }

    /// Starts the given command.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn({
            let log = log.clone();
            move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = log.lock();
                    *log += &line;
                    *log += "\n";
                }
            }
        });
        Self {
            url: String::new(),
            child,
            log,
        }
    }

    /// Waits until the server listens.
    pub async fn listening(mut self) -> Self {
        self.url = eventually("the program listens", async || {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "the program has ended: {}", self.log());
            let log = self.log();
            let (_, url) = log.split_once("listening on ")?;
            url.split_whitespace().next().map(ToOwned::to_owned)
        })
        .await;
        self
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Its peak memory.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let peak = line.unwrap().split_whitespace().nth(1);
        peak.unwrap().parse().unwrap()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let signal = format!("-{name}");
        let status = Command::new("kill").args([&signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the program has ended", async || child.try_wait().unwrap()).await
    }
}

impl Drop for PoolProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with an empty environment, listening on a free port, its database in `folder`.
pub fn command(folder: &Path) -> Command {
    command_of(env!("CARGO_BIN_EXE_gemini-pool"), folder)
}

fn command_of(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .current_dir(folder)
        .env("LISTEN", "127.0.0.1:0")
        .env("DATABASE_URL", database_url(folder))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Runs a command to its end, with the database in `folder`.
pub fn run_command(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder);
    command.args(arguments).stdout(Stdio::piped());
    command.output().unwrap()
}

/// Runs a command on a server, whose token is in the environment, beside an empty database in `folder`.
pub fn run_remotely(api: &ApiClient, folder: &Path, arguments: &[&str]) -> Output {
    let server = api.url.trim_end_matches("/api/v1");
    let mut command = command(folder);
    command
        .args(arguments)
        .args([
            "--server",
            server,
            "--database-url",
            "sqlite://missing/pool.db",
        ])
        .env("GEMINI_POOL_TOKEN", &api.token)
        .stdout(Stdio::piped());
    command.output().unwrap()
}

/// The program after shell commands, such as `umask 077`.
pub fn command_after(commands: &str, folder: &Path) -> Command {
    let program = command(folder);
    let mut shell = Command::new("/bin/sh");
    let script = format!(r#"{commands}; exec "$0" "$@""#);
    shell.arg("-c").arg(script).arg(program.get_program());
    shell.env_clear().current_dir(folder);
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.stdin(Stdio::null()).stdout(Stdio::null());
    shell
}

pub fn database_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("pool.db").display())
}

/// The program's database, opened by the test.
pub async fn database(folder: &Path) -> Db {
    Db::open(&database_url(folder)).await.unwrap()
}
