//! The first kernel's log as it was found in the vmcore, by the agent and by an independent reader: it must have the line that the
//! rig drew for this cell, and the panic that the rig triggered.

use crate::cell::{Reader, Trigger};
use crate::evidence::Evidence;
use guest_protocol::{ExitKind, KernelFacts, ReaderReport, Vmcore};

/// The first release whose log is in the ring buffer that the agent reads.
const RING_BUFFER_SINCE: (u32, u32) = (5, 10);

/// What is wrong with the log that the agent read.
pub(super) fn wrong(
    ready: &KernelFacts,
    trigger: Trigger,
    evidence: &Evidence,
    vmcore: &Vmcore,
) -> Option<String> {
    match &vmcore.log {
        Ok(log) => {
            let what = format!("the first kernel's log ({} records)", log.records);
            lacks(&log.tail, trigger, evidence).map(|missing| format!("{what} lacks {missing}"))
        }
        // Kernels before that are a local image's affair: what they have is another structure.
        Err(_) if version(&ready.release).is_some_and(|version| version < RING_BUFFER_SINCE) => None,
        Err(why) => Some(format!("the first kernel's log cannot be read: {why}")),
    }
}

/// What is wrong with what the reader said.
pub(super) fn reader_wrong(
    reader: &Reader,
    report: Option<&ReaderReport>,
    trigger: Trigger,
    evidence: &Evidence,
) -> Option<String> {
    let Some(report) = report else {
        return Some(format!("{reader} was to read it as well, and the agent does not say what it found"));
    };
    if report.exit != (ExitKind::Exited { status: 0 }) {
        let ended = match report.exit {
            ExitKind::Exited { status } => format!("ended with status {status}"),
            ExitKind::Signaled { signal } => format!("was killed by signal {signal}"),
            ExitKind::NotStarted { errno } => format!("did not start (errno {errno})"),
            ExitKind::TimedOut => "did not end in its time".to_owned(),
        };
        let said = report.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim();
        return Some(format!("{reader} {ended}, saying: {said}"));
    }
    lacks(&report.stdout, trigger, evidence)
        .map(|missing| format!("what {reader} reads of it lacks {missing}"))
}

/// What a log should have and does not.
fn lacks(text: &str, trigger: Trigger, evidence: &Evidence) -> Option<String> {
    let has = |wanted: &str| text.lines().any(|line| line.contains(wanted));
    if !has(&evidence.log_line) {
        return Some(format!("the line {:?} that the first kernel's agent wrote", evidence.log_line));
    }
    (!has(trigger.panic_text())).then(|| format!("the panic, {:?}", trigger.panic_text()))
}

/// Major and minor number of a release such as `5.10.0-32-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a kernel that is too new for the agent's reader is taken for one that is too old, and its log is never asked for.
    #[test]
    fn releases_are_compared_by_numbers() {
        assert_eq!(version("5.10.0-32-amd64"), Some((5, 10)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("4.19.0-rc1"), Some((4, 19)));
        for none in ["", "x5.10", "5", "5.x", "99999999999.1"] {
            assert_eq!(version(none), None, "{none:?}");
        }
        assert!(version("5.4.300").is_some_and(|version| version < RING_BUFFER_SINCE));
        assert!(version("5.10.0").is_some_and(|version| version >= RING_BUFFER_SINCE));
    }
}
