//! The container: its file tree, made as the Dockerfile makes it and run under the same restrictions, and its health check.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::process::{PoolProcess, command};

/// The user of the image.
const USER: u32 = 10_001;
/// Runs a program in the tree `$1` as the image's user: the tree is read-only but for `data`, and no privilege can be gained. The
/// program of the tests, unlike that of the image, needs the libraries of this machine.
const RUN_IN_TREE: &str = r#"
set -eu
root=$1; shift
mount --bind "$root" "$root"
for folder in lib lib64 usr/lib; do
    if [ -e "/$folder" ]; then mkdir -p "$root/$folder"; mount --bind -o ro "/$folder" "$root/$folder"; fi
done
mount --bind "$root/data" "$root/data"
mount -o remount,bind,ro "$root"
cd /
exec setpriv --no-new-privs chroot --userspec=10001:10001 "$root" "$@"
"#;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this process may make namespaces and mounts. Says so if not.
fn can_make_containers() -> bool {
    let mut unshare = Command::new("unshare");
    let made = unshare
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind / / && setpriv --version",
        ])
        .output();
    let can = made.is_ok_and(|made| made.status.success());
    if !can {
        // Standard error of passing tests is hidden if it is written with the print macros.
        let left_out =
            "skipped: the file tree of the container, which needs root, unshare and setpriv\n";
        std::io::stderr().write_all(left_out.as_bytes()).unwrap();
    }
    can
}

fn make_tree(folder: &Path) {
    let certificates = folder.with_extension("crt");
    fs::write(&certificates, "").unwrap();
    let made = Command::new(repository().join("dist/container/image-root"))
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_gemini-pool"))
        .arg(&certificates)
        .status();
    assert!(made.unwrap().success());
}

/// The program in the tree, with the variables that the Dockerfile sets.
fn in_tree(tree: &Path, arguments: &[&str]) -> Command {
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).unwrap();
    let variables = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ENV "))
        .unwrap();
    let mut program = Command::new("unshare");
    program
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c"])
        .args([RUN_IN_TREE, "sh"])
        .arg(tree)
        .arg("/usr/bin/gemini-pool")
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for variable in variables.split(' ') {
        let (name, value) = variable.split_once('=').unwrap();
        program.env(name, value);
    }
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_of_the_image_serves_as_its_user_and_changes_its_volume_only() {
    if !can_make_containers() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("image");
    make_tree(&tree);
    chown(tree.join("data"), Some(USER), Some(USER)).unwrap();
    // A free port, because the health check asks at a known one.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let program = |arguments: &[&str]| {
        let mut program = in_tree(&tree, arguments);
        // An upstream that needs no CA certificates: those of the tree are empty.
        program
            .env("LISTEN", &address)
            .env("UPSTREAM_URL", "http://127.0.0.1:9");
        program
    };

    let unanswered = program(&["health"]).status().unwrap();
    assert_eq!(unanswered.code(), Some(1));
    let server = PoolProcess::spawn(program(&["serve"])).listening().await;
    let answered = program(&["health"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(answered.stdout, b"ready\n", "{}", server.log());

    let database = fs::metadata(tree.join("data/gemini-pool.db")).unwrap();
    assert_eq!((database.uid(), database.mode() & 0o777), (USER, 0o600));
    let changed = |name: &str| fs::metadata(tree.join(name)).unwrap().uid();
    assert_eq!([changed("usr"), changed("etc")], [0, 0]);
}

/// Starts the server in a folder that it cannot write.
fn serve_in_unwritable_folder(folder: &Path) -> Output {
    let mut serve = command(folder);
    serve.arg("serve").stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        // A copy that every user may start; root writes wherever it wants.
        let program = folder.join("gemini-pool");
        fs::copy(env!("CARGO_BIN_EXE_gemini-pool"), &program).unwrap();
        let variables: Vec<_> = serve
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        serve = Command::new(program);
        serve.arg("serve").env_clear().envs(variables);
        serve.current_dir(folder).stderr(Stdio::piped());
        serve.uid(USER).gid(USER);
    }
    fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
    let ended = serve.output().unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    ended
}

#[test]
fn a_volume_that_cannot_be_written_is_named_with_the_user_and_the_command() {
    let folder = tempfile::tempdir().unwrap();

    let ended = serve_in_unwritable_folder(folder.path());

    let reported = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{reported}");
    let user = if rustix::process::geteuid().is_root() {
        USER
    } else {
        rustix::process::geteuid().as_raw()
    };
    let path = folder.path().display();
    for part in [
        format!("the folder {path} cannot be written by user {user}"),
        format!("chown {user} {path}"),
        "in a container do this on the folder of the host".to_owned(),
    ] {
        assert!(reported.contains(&part), "{part}: {reported}");
    }
}

#[test]
fn the_dockerfile_names_the_user_the_health_check_and_an_existing_context() {
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).unwrap();

    assert!(dockerfile.contains(r#"CMD ["/usr/bin/gemini-pool", "health"]"#));
    assert!(dockerfile.contains(&format!("\nUSER {USER}:{USER}\n")));
    // Everything that the build copies is in its context.
    let context = fs::read_to_string(repository().join(".dockerignore")).unwrap();
    for needed in context.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(repository().join(needed).exists(), "{needed}");
    }
}
