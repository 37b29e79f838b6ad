//! Where a guest died: what its evidence tells people beside the outcome.

use super::text::{ConsoleLine, last_lines};
use harness::evidence::Evidence;
use harness::phase::Phase;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Lines of a console that are shown: a panic's call trace is longer, and in the file.
const LINES: usize = 8;
/// Bytes of a growing console file that are looked at for its last lines.
const TAIL: u64 = 8 << 10;

/// What is left of a guest, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    /// The last phase that it entered.
    pub(super) last_phase: Option<Phase>,
    /// The last lines of its console.
    pub(super) console: Vec<ConsoleLine>,
}

impl Scene {
    /// Of the evidence in `folder`. Where there is none, as of a guest that was never started, there is nothing to show.
    pub(super) fn read(folder: &Path) -> Self {
        harness::report::load_evidence(folder).map(|evidence| Self::of(&evidence)).unwrap_or_default()
    }

    fn of(evidence: &Evidence) -> Self {
        Self {
            last_phase: evidence.phases.last().map(|phase| phase.what),
            console: last_lines(&evidence.console, LINES),
        }
    }
}

/// The last lines of a console that QEMU still writes. None where it has not begun to.
pub(super) fn growing_console(file: &Path) -> Vec<ConsoleLine> {
    let tail = || {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        std::io::Result::Ok(tail)
    };
    tail().map(|tail| last_lines(&tail, LINES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a console of megabytes that is read whole for eight lines, and a missing one that is an error.
    #[test]
    fn only_the_end_of_a_growing_console_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let console: String = (0..10_000).map(|line| format!("line {line}\r\n")).collect();
        std::fs::write(file.path(), console).unwrap();
        let lines = growing_console(file.path());
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.last().map(|line| line.text.as_str()), Some("line 9999"));
        assert_eq!(growing_console(Path::new("/nonexistent/console")), []);
        assert_eq!(Scene::read(Path::new("/nonexistent")), Scene::default());
    }
}
