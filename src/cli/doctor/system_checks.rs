//! The checks of the machine: file modes, disk space, limit of open files.

use std::path::Path;

use crate::cli::doctor::report::{Check, Report};
use crate::cli::open_files;
use crate::storage::backups;
use crate::storage::database_path::folder_of;
use crate::storage::file_mode::{self, Exposure};

const MIB: u64 = 1024 * 1024;
/// Below this the write-ahead log may fill the disk within minutes.
const LEAST_BYTES: u64 = 100 * MIB;
const FEW_BYTES: u64 = 1024 * MIB;
/// Each request needs two connections.
const FEW_FILES: u64 = 4_096;

/// Checks the files of the database, their disk and the limits of this process.
pub fn run(report: &mut Report, database: &Path) {
    check_modes(report, database);
    let folder = folder_of(database);
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            check_disk(report, folder, free);
        }
        Err(error) => report.warning(
            Check::DiskSpace,
            format!("the free space of {} is unknown: {error}", folder.display()),
            "check it with df",
        ),
    }
    check_open_files(report, open_files::hard_limit());
}

fn check_modes(report: &mut Report, database: &Path) {
    report.done(Check::FileModes);
    let copies = backups::list(database).unwrap_or_default();
    let copies = copies
        .iter()
        .map(|copy| backups::folder(database).join(&copy.name));
    for path in file_mode::files_of(database).into_iter().chain(copies) {
        let Some((exposure, mode)) = file_mode::exposure(&path) else {
            continue;
        };
        let name = path.display();
        match exposure {
            Exposure::Others => report.error(
                Check::FileModes,
                format!(
                    "every user of this machine can open {name} (mode {mode:o}), which holds keys"
                ),
                format!("run `chmod 600 {name}`"),
            ),
            Exposure::Group => report.warning(
                Check::FileModes,
                format!("the group of {name} can open it (mode {mode:o}), and it holds keys"),
                format!("run `chmod 600 {name}`, unless that is meant"),
            ),
        }
    }
}

fn check_disk(report: &mut Report, folder: &Path, free_bytes: u64) {
    report.done(Check::DiskSpace);
    if free_bytes >= FEW_BYTES {
        return;
    }
    let message = format!(
        "the disk of {} has {} MiB left",
        folder.display(),
        free_bytes / MIB
    );
    let remedy = "free space on it, or keep fewer log rows with the setting log_retention_days";
    if free_bytes < LEAST_BYTES {
        report.error(Check::DiskSpace, message, remedy);
    } else {
        report.warning(Check::DiskSpace, message, remedy);
    }
}

fn check_open_files(report: &mut Report, limit: Option<u64>) {
    report.done(Check::OpenFiles);
    if let Some(limit) = limit.filter(|limit| *limit < FEW_FILES) {
        report.warning(
            Check::OpenFiles,
            format!("only {limit} files and connections may be open at once, and each request needs two"),
            "raise the hard limit: LimitNOFILE of a systemd unit, --ulimit nofile of a container, or ulimit -Hn of a shell",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Severity;

    fn severity(check: impl FnOnce(&mut Report)) -> Option<Severity> {
        let mut report = Report::default();
        check(&mut report);
        report.findings().first().map(|finding| finding.severity)
    }

    #[test]
    fn little_space_is_a_warning_and_almost_none_an_error() {
        let of = |bytes| severity(|report| check_disk(report, Path::new("/data"), bytes));

        assert_eq!(of(2 * FEW_BYTES), None);
        assert_eq!(of(FEW_BYTES - 1), Some(Severity::Warning));
        assert_eq!(of(LEAST_BYTES - 1), Some(Severity::Error));
    }

    #[test]
    fn a_low_limit_of_open_files_is_a_warning() {
        let of = |limit| severity(|report| check_open_files(report, limit));

        assert_eq!(of(Some(1_024)), Some(Severity::Warning));
        assert_eq!(of(Some(65_536)), None);
        assert_eq!(of(None), None);
    }
}
