//! The console's last line for a display: of whatever a guest prints, little is kept, and little is told. Pure.

use std::time::{Duration, Instant};

/// Lines are told at most this often: faster, nobody could read them.
const PERIOD: Duration = Duration::from_millis(200);
/// Characters of a line that are kept; more than a terminal has columns.
const MOST: usize = 160;
/// Bytes of a line that are kept: enough for as many characters of UTF-8.
const MOST_BYTES: usize = MOST * 4;

/// The end of a console that grows.
#[derive(Debug, Default)]
pub(super) struct ConsoleTail {
    /// The line that is being written, cut.
    current: Vec<u8>,
    /// The last whole line that was not blank, cut.
    last: Vec<u8>,
    told: Option<Instant>,
    told_line: String,
}

impl ConsoleTail {
    /// Takes what the guest wrote.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    // Asked of every line of a flood: no text is made for it.
                    if self.current.iter().any(|byte| byte.is_ascii_graphic() || !byte.is_ascii()) {
                        std::mem::swap(&mut self.last, &mut self.current);
                    }
                    self.current.clear();
                }
                byte if self.current.len() < MOST_BYTES => self.current.push(byte),
                _ => {}
            }
        }
    }

    /// The last line that is not blank, if it is time to tell it and it was not told yet. Of a guest that is `quiet` an unfinished
    /// one as well: of others it is only half written.
    pub(super) fn due(&mut self, now: Instant, quiet: bool) -> Option<String> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < PERIOD) {
            return None;
        }
        let lines = [Some(&self.current).filter(|_| quiet), Some(&self.last)];
        let line = lines.into_iter().flatten().map(|line| text(line)).find(|line| !line.is_empty())?;
        if line == self.told_line {
            return None;
        }
        self.told = Some(now);
        self.told_line.clone_from(&line);
        Some(line)
    }
}

/// A line's text without control characters: they would move the cursor of whoever shows it.
fn text(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let shown: String = text.chars().filter(|c| !c.is_control()).take(MOST).collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a guest that floods its console floods the terminal, or the last line before it falls silent is never shown.
    #[test]
    fn a_flood_is_told_now_and_then_and_its_end_surely() {
        let mut tail = ConsoleTail::default();
        let begin = Instant::now();
        let mut told = Vec::new();
        for ms in 0..1000 {
            tail.push(format!("line {ms}\r\n").as_bytes());
            told.extend(tail.due(begin + Duration::from_millis(ms), false));
        }
        assert_eq!(told, ["line 0", "line 200", "line 400", "line 600", "line 800"]);
        assert_eq!(tail.due(begin + Duration::from_millis(1500), true).as_deref(), Some("line 999"));
        assert_eq!(tail.due(begin + Duration::from_millis(2500), true), None, "it was told");
    }

    /// Bug: escape sequences of a guest act on the terminal; a line without end, or with much in it, grows for ever; an
    /// unfinished last line, where a guest died, is not shown.
    #[test]
    fn lines_are_clean_and_short() {
        let mut tail = ConsoleTail::default();
        let begin = Instant::now();
        tail.push(b"whole\r\n \r\n\x1b[31mhalf \xff");
        assert_eq!(tail.due(begin, false).as_deref(), Some("whole"), "the rest may be on its way");
        let begin = begin + PERIOD;
        assert_eq!(tail.due(begin, true).as_deref(), Some("[31mhalf \u{fffd}"));
        tail.push(&[b'x'; 100_000]);
        assert_eq!(tail.due(begin + PERIOD, true).map(|line| line.chars().count()), Some(MOST));
        assert!(tail.current.len() <= MOST_BYTES);
    }
}
