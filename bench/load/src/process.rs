//! What the kernel says about a process: the CPU time it used and the memory it holds (`proc(5)`).

use std::collections::BTreeMap;
use std::fs;

use crate::error::{Error, Result};

/// The kernel's `USER_HZ`, the unit of the times in `/proc/PID/stat`; 100 on every Linux port with this ABI.
const MICROS_A_TICK: f64 = 10_000.0;

/// CPU time of a process up to one moment.
pub(crate) struct Cpu {
    /// utime + stime of the whole process, threads that have ended included, in ticks of 10 ms.
    ticks: u64,
    /// Nanoseconds on the CPU of each living thread, from `schedstat`.
    threads: BTreeMap<u32, u64>,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Cpu> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        let ticks = ticks(&stat).ok_or_else(|| Error::Process(format!("/proc/{pid}/stat is not as proc(5) says")))?;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            let tid = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
            // A thread may end between the listing and the reading.
            let spent = fs::read_to_string(path.join("schedstat")).ok();
            let spent = spent.as_deref().and_then(|s| s.split(' ').next()).and_then(|ns| ns.parse().ok());
            if let (Some(tid), Some(spent)) = (tid, spent) {
                threads.insert(tid, spent);
            }
        }
        Ok(Cpu { ticks, threads })
    }

    /// Microseconds of CPU time since `earlier`: exact while all threads of then still live, else in steps of 10 ms.
    pub(crate) fn micros_since(&self, earlier: &Cpu) -> f64 {
        let ended = earlier.threads.keys().any(|tid| !self.threads.contains_key(tid));
        if ended || earlier.threads.is_empty() {
            return self.ticks.saturating_sub(earlier.ticks) as f64 * MICROS_A_TICK;
        }
        let (now, then): (u64, u64) = (self.threads.values().sum(), earlier.threads.values().sum());
        now.saturating_sub(then) as f64 / 1_000.0
    }
}

fn ticks(stat: &str) -> Option<u64> {
    // The command's name may hold blanks and parentheses; fields count from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of a process in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// All resident pages, those of mapped files (the program's text, libraries) included.
    pub(crate) rss: f64,
    /// Resident anonymous pages: heap and stacks.
    pub(crate) anonymous: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Memory> {
        let status = read(&format!("/proc/{pid}/status"))?;
        match (kib(&status, "VmRSS:"), kib(&status, "RssAnon:")) {
            (Some(rss), Some(anonymous)) => Ok(Memory { rss: rss * 1024.0, anonymous: anonymous * 1024.0 }),
            _ => Err(Error::Process(format!("/proc/{pid}/status names no VmRSS and RssAnon"))),
        }
    }
}

fn kib(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|l| l.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::Process(format!("cannot read {path} ({e}); is the process alive?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_survive_a_hostile_command_name() {
        let stat = "77 (a) R 1 (b) S 1 77 77 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 3 0 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("77 (short) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tx\nVmRSS:\t   2048 kB\nRssAnon:\t     512 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(2048.0));
        assert_eq!(kib(status, "RssAnon:"), Some(512.0));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn ended_threads_fall_back_to_ticks() {
        let then = Cpu { ticks: 10, threads: BTreeMap::from([(1, 1_000), (2, 9_000_000)]) };
        let alive = Cpu { ticks: 12, threads: BTreeMap::from([(1, 3_000), (2, 9_000_000), (3, 500)]) };
        let ended = Cpu { ticks: 12, threads: BTreeMap::from([(1, 3_000)]) };
        assert_eq!(alive.micros_since(&then), 2.5);
        assert_eq!(ended.micros_since(&then), 20_000.0);
    }
}
