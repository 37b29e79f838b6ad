//! The message channel's bytes to lines, and lines to reports. Pure; tolerates whatever a dying kernel leaves on a wire.

use guest_protocol::{MAX_LINE, Report};

/// How much of a line that is no report is kept as evidence.
const KEPT_OF_FOREIGN: usize = 4096;

/// The beginning of every report, as the agent's serialiser writes it ([`Report`]'s first field).
const REPORT_START: &[u8] = b"{\"seq\":";

/// What was on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A report of an agent.
    Report(Box<Report>),
    /// Something else: cut, foreign, garbage. Lossy text, cut to 4096 bytes.
    Foreign(String),
}

/// Splits the channel's bytes into lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
    /// The current line is over [`MAX_LINE`]: dropped up to its newline.
    overlong: bool,
}

impl LineSplitter {
    /// Takes bytes and returns the lines that they end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if !self.overlong {
                self.partial.extend_from_slice(text);
                // The newline counts to the length.
                if self.partial.len() >= MAX_LINE {
                    self.overlong = true;
                    self.partial.truncate(KEPT_OF_FOREIGN);
                }
            }
            if ended {
                self.end_line(&mut lines);
            }
        }
        lines
    }

    /// The last line, whose newline never came.
    pub fn finish(mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.end_line(&mut lines);
        lines
    }

    fn end_line(&mut self, lines: &mut Vec<Line>) {
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.overlong) {
            lines.push(foreign(&line));
        } else {
            parse(&line, lines);
        }
    }
}

/// Parses one line. Half a line of the first kernel may stand before a whole one of the capture kernel: both are kept.
fn parse(line: &[u8], lines: &mut Vec<Line>) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    let starts = (0..line.len()).rev().filter(|at| line[*at..].starts_with(REPORT_START));
    // Outermost first: a report may quote such text in a string, and is then whole from its own start.
    for start in starts.collect::<Vec<_>>().into_iter().rev() {
        if let Ok(report) = serde_json::from_slice::<Report>(&line[start..]) {
            if start > 0 {
                lines.push(foreign(&line[..start]));
            }
            lines.push(Line::Report(Box::new(report)));
            return;
        }
    }
    lines.push(foreign(line));
}

fn foreign(line: &[u8]) -> Line {
    Line::Foreign(String::from_utf8_lossy(&line[..line.len().min(KEPT_OF_FOREIGN)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::{Message, Side};
    use proptest::prelude::*;

    fn report(seq: u32, message: Message) -> Report {
        Report { seq, kernel: Side::First, message }
    }

    fn json(report: &Report) -> Vec<u8> {
        serde_json::to_vec(report).unwrap()
    }

    fn lines_of(bytes: &[u8]) -> Vec<Line> {
        let mut splitter = LineSplitter::default();
        let mut lines = splitter.push(bytes);
        lines.extend(splitter.finish());
        lines
    }

    /// Bug: the agent's start depends on the constant, so renaming or reordering a field loses cut-line recovery.
    #[test]
    fn reports_begin_as_assumed() {
        assert!(json(&report(0, Message::Done)).starts_with(REPORT_START));
    }

    /// Bug: the capture kernel's first message is lost because the first kernel died in the middle of a line.
    #[test]
    fn half_a_line_before_a_whole_one() {
        let whole = report(0, Message::Done);
        let mut bytes = b"\0\0{\"seq\":3,\"kern".to_vec();
        bytes.extend(json(&whole));
        bytes.extend(b"\r\n");
        let lines = lines_of(&bytes);
        assert_eq!(lines, [Line::Foreign("\0\0{\"seq\":3,\"kern".into()), Line::Report(Box::new(whole))]);
    }

    /// Bug: a report that quotes a report (a loader that prints JSON) is taken for the quoted one.
    #[test]
    fn a_quoted_report_is_not_the_message() {
        let quoting = report(
            1,
            Message::Trouble {
                what: "{\"seq\":0,\"kernel\":\"first\",\"message\":{\"type\":\"done\"}}".into(),
            },
        );
        let mut bytes = json(&quoting);
        bytes.push(b'\n');
        assert_eq!(lines_of(&bytes), [Line::Report(Box::new(quoting))]);
    }

    /// Bug: an endless line eats the host's memory, or swallows the line after it.
    #[test]
    fn an_overlong_line_is_cut_and_the_next_is_read() {
        let mut bytes = vec![b'x'; 2 * MAX_LINE];
        bytes.push(b'\n');
        bytes.extend(json(&report(0, Message::Done)));
        bytes.push(b'\n');
        let lines = lines_of(&bytes);
        assert_eq!(lines[0], Line::Foreign("x".repeat(KEPT_OF_FOREIGN)));
        assert_eq!(lines[1], Line::Report(Box::new(report(0, Message::Done))));
    }

    proptest! {
        /// Bug: where the reads happen to split the stream changes what is read.
        #[test]
        fn chunks_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), any::<u8>()], 0..200), cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            let mut splitter = LineSplitter::default();
            let mut lines = splitter.push(&bytes[..cut]);
            lines.extend(splitter.push(&bytes[cut..]));
            lines.extend(splitter.finish());
            prop_assert_eq!(lines, lines_of(&bytes));
        }
    }
}
