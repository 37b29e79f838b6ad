//! What a program wrote, kept within a bound: its beginning and its end, since errors stand at either.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes kept of the beginning.
const HEAD: usize = 32 * 1024;

/// Bytes kept of the end. With [`HEAD`] it is 64 KiB for each of two streams. JSON makes at most 6 bytes of one
/// (`\u0000`), so that a report with both stays below `MAX_LINE`: 2 * 64 KiB * 6 = 768 KiB.
const TAIL: usize = 32 * 1024;

/// Bounded copy of a stream.
#[derive(Debug, Default)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), dropped: 0 }
    }

    /// Takes what was read next.
    pub fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        for &byte in rest {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
                self.dropped += 1;
            }
            self.tail.push_back(byte);
        }
    }

    /// The text, invalid UTF-8 replaced; where bytes were dropped, a line says how many.
    pub fn into_text(self) -> String {
        let mut bytes = self.head;
        if self.dropped > 0 {
            let mark = alloc::format!("\n[... {} bytes dropped by the guest agent ...]\n", self.dropped);
            bytes.extend_from_slice(mark.as_bytes());
        }
        bytes.extend(self.tail);
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::{ExitKind, LoadReport, MAX_LINE, Message, Report, Side};
    use std::vec;

    /// Catches a seam between beginning and end that shows although nothing was dropped.
    #[test]
    fn short_output_is_kept_whole() {
        let mut output = Output::new();
        let all = vec![b'a'; HEAD + TAIL];
        all.chunks(1000).for_each(|chunk| output.push(chunk));
        assert_eq!(output.into_text().as_bytes(), all);
    }

    /// Catches the last words of a noisy loader being lost, and a cut that is not told.
    #[test]
    fn long_output_keeps_both_ends() {
        let mut output = Output::new();
        output.push(b"first words ");
        output.push(&vec![b'.'; 3 * (HEAD + TAIL)]);
        output.push(b" last words");
        let text = output.into_text();
        assert!(text.starts_with("first words ") && text.ends_with(" last words"));
        let dropped = 2 * (HEAD + TAIL) + "first words ".len() + " last words".len();
        assert!(text.contains(&std::format!("[... {dropped} bytes dropped")), "{dropped}");
    }

    /// Catches a bound under which the worst output no longer fits into one line.
    #[test]
    fn the_worst_report_fits_into_a_line() {
        let worst = || {
            let mut output = Output::new();
            output.push(&vec![1; 2 * (HEAD + TAIL)]);
            output.into_text()
        };
        let report = Report {
            seq: u32::MAX,
            kernel: Side::Capture,
            message: Message::Loaded(LoadReport {
                loaded_before: None,
                exit: ExitKind::TimedOut,
                stdout: worst(),
                stderr: worst(),
                crash_loaded: false,
                milliseconds: u64::MAX,
                time: None,
            }),
        };
        assert!(serde_json::to_vec(&report).unwrap().len() < MAX_LINE);
    }

    /// Catches output that is refused, or ends the agent, because it is not UTF-8.
    #[test]
    fn foreign_bytes_are_replaced() {
        let mut output = Output::new();
        output.push(b"a\xffb");
        assert_eq!(output.into_text(), "a\u{fffd}b");
    }
}
