//! Rebuilds when a migration is added or removed, because migrations are embedded, gives a release build its commit and
//! date, and links the C code of a static build to jemalloc.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=src/build.rs");
    for name in ["GEMINI_POOL_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // In other profiles each commit would compile the crate again.
    let version = if env::var("PROFILE").as_deref() == Ok("release") {
        release_version()
    } else {
        format!("{} (not a release build)", package_version())
    };
    println!("cargo:rustc-env=GEMINI_POOL_VERSION={version}");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        replace_allocator_of_c();
    }
}

/// Lets C code, which is SQLite, allocate with jemalloc, like the rest of the program. The allocator of musl is slow where threads share
/// it: an import of 50,000 keys took twice as long. jemalloc's own build can replace it for other C libraries only.
fn replace_allocator_of_c() {
    for function in [
        "malloc",
        "calloc",
        "realloc",
        "free",
        "aligned_alloc",
        "posix_memalign",
        "malloc_usable_size",
    ] {
        println!("cargo:rustc-link-arg-bins=-Wl,--defsym={function}=_rjem_{function}");
    }
}

fn package_version() -> String {
    env::var("CARGO_PKG_VERSION").expect("cargo sets it")
}

/// `0.1.0 (commit 0123456789ab, built 2027-01-31)`, without the commit where it cannot be found.
fn release_version() -> String {
    let date = build_date();
    match commit() {
        Some(commit) => format!("{} (commit {commit}, built {date})", package_version()),
        None => format!("{} (built {date})", package_version()),
    }
}

/// The commit that a packager names, or that of the git checkout, or that which `cargo package` wrote into a source archive.
fn commit() -> Option<String> {
    let named = env::var("GEMINI_POOL_COMMIT").ok();
    named
        .filter(|commit| !commit.is_empty())
        .or_else(commit_of_checkout)
        .or_else(commit_of_package)
        .map(|commit| commit.trim().chars().take(12).collect())
}

/// A source archive below another project's checkout is not part of it.
fn commit_of_checkout() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(here).ok()? {
        return None;
    }
    // A line is added for each commit and each checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn commit_of_package() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, after) = info.split_once("\"sha1\": \"")?;
    let (commit, _) = after.split_once('"')?;
    Some(commit.to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// Today's date in UTC, or the one that a reproducible build sets.
fn build_date() -> String {
    let fixed = env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = fixed
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "a build script cannot use the clock of the program"
            )]
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |since| since.as_secs())
        });
    date_of_day(seconds / 86_400)
}

/// The date of a day since 1970-01-01. Years are counted from March, so that a leap day is their last.
fn date_of_day(day: u64) -> String {
    let day = day + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}
