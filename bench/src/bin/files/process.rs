//! A role in a process of its own, and what it has taken.

use super::Failure;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    time::Instant,
};

/// What a process says at its end.
pub(super) struct Ended {
    pub(super) seconds: f64,
    /// By how many KiB its peak has grown since it was ready.
    pub(super) grown: u64,
}

/// A process that plays a role. It ends when its input is closed, or by itself.
pub(super) struct Child {
    role: &'static str,
    child: std::process::Child,
    lines: BufReader<ChildStdout>,
}

impl Child {
    pub(super) fn start(role: &'static str, args: &[&Path]) -> Result<Child, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(role).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Child { role, child, lines })
    }

    /// The next line that it says.
    pub(super) fn said(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        match line.trim() {
            "" => Err(format!("{} has ended early", self.role).into()),
            line => Ok(line.to_owned()),
        }
    }

    /// Waits for its end.
    pub(super) fn end(mut self) -> Result<Ended, Failure> {
        drop(self.child.stdin.take());
        let line = self.said()?;
        let (seconds, grown) = line.split_once(' ').ok_or("a strange end")?;
        self.child.wait()?;
        Ok(Ended { seconds: seconds.parse()?, grown: grown.parse()? })
    }
}

/// Measures the process itself from now on.
pub(super) struct Measure {
    began: Instant,
    peak: u64,
}

impl Measure {
    pub(super) fn begin() -> Result<Measure, Failure> {
        Ok(Measure { began: Instant::now(), peak: peak()? })
    }

    /// Tells who has started this process.
    pub(super) fn end(&self) -> Result<(), Failure> {
        println!("{} {}", self.began.elapsed().as_secs_f64(), peak()?.saturating_sub(self.peak));
        Ok(())
    }
}

/// The most memory that this process has had, in KiB.
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(Ok(0), |kib| kib.trim().parse())?)
}
