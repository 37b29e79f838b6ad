//! A guest's last words on its console, for people.

use harness::last_lines::{ConsoleLine, last_lines};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Lines of a console that are shown: a panic's call trace is longer, and in the file.
const LINES: usize = 8;
/// Bytes of a growing console file that are looked at for its last lines.
const TAIL: u64 = 8 << 10;

/// The last lines of the console in `folder` of evidence. None where there is no evidence, as of a guest that was never started.
pub(super) fn last_words(folder: &Path) -> Vec<ConsoleLine> {
    let evidence = harness::report::load_evidence(folder);
    evidence.map(|evidence| last_lines(&evidence.console, LINES)).unwrap_or_default()
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
        assert_eq!(last_words(Path::new("/nonexistent")), []);
    }
}
