//! Figures of this process, as Linux reports them.

use std::fs;

/// Memory, files and processor time; `None`: the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    pub resident_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub max_files: Option<u64>,
    pub cpu_seconds: Option<f64>,
}

impl ProcessFigures {
    pub fn read() -> Self {
        let open_files = fs::read_dir("/proc/self/fd").ok();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            resident_bytes: fs::read_to_string("/proc/self/statm")
                .ok()
                .and_then(|text| resident_bytes(&text)),
            open_files: open_files.map(|files| files.count() as u64),
            max_files: limit.current,
            cpu_seconds: fs::read_to_string("/proc/self/stat")
                .ok()
                .and_then(|text| cpu_seconds(&text)),
        }
    }
}

/// The second field of `statm` is in pages.
fn resident_bytes(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// User and system time: the 14th and 15th field of `stat`, whose second one is a name in parentheses with any characters.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some((f64::from(user) + f64::from(system)) / f64::from(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_system_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap();
        assert_eq!(cpu_seconds(stat), Some(300.0 / f64::from(ticks)));
        let page = rustix::param::page_size() as u64;
        assert_eq!(resident_bytes("100 20 3 4 0 5 0"), Some(20 * page));
        assert_eq!(cpu_seconds(""), None);

        let own = ProcessFigures::read();
        assert!(
            own.resident_bytes > Some(0) && own.open_files > Some(0),
            "{own:?}"
        );
    }
}
