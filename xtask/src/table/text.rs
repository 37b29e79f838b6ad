//! Text for a terminal of 80 columns: labels at the left, text beside them. Pure.

use super::paint::HEAD_WIDTH;
use harness::last_lines::ConsoleLine;

/// Columns of a terminal that nobody has widened, and of most CI logs.
const WIDTH: usize = 80;
/// Columns beside the labels.
const ROOM: usize = WIDTH - HEAD_WIDTH - 1;

/// A label and text that may be broken between its words.
pub(super) fn told(label: &str, text: &str) -> Vec<String> {
    let lines = wrapped(&one_line(text), ROOM);
    labelled(label, lines.into_iter())
}

/// A label and what must stay on one line, to be copied: a command, a path.
pub(super) fn verbatim(label: &str, text: &str) -> String {
    format!("{label:>HEAD_WIDTH$} {text}")
}

/// A label and lines of a guest's, each cut to the width.
pub(super) fn quoted(label: &str, lines: &[ConsoleLine]) -> Vec<String> {
    /// Sets them off from what this program says.
    const BAR: &str = "| ";
    /// A line that the guest did not get to end.
    const UNFINISHED: &str = " [unfinished]";
    let line = |line: &ConsoleLine| {
        let mark = if line.finished { "" } else { UNFINISHED };
        format!("{BAR}{}{mark}", cut(&one_line(&line.text), ROOM - BAR.len() - mark.len()))
    };
    labelled(label, lines.iter().map(line))
}

fn labelled(label: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    lines
        .zip([label].into_iter().chain(std::iter::repeat("")))
        .map(|(line, label)| verbatim(label, &line))
        .collect()
}

/// Breaks text between words, as far as they are short enough. At least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// At most so many characters; what is cut ends in a sign of it.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Seconds as the table has them.
pub(super) fn bracketed(seconds: f64) -> String {
    format!("[{seconds:>8.1}s]")
}

/// Text from guests on one line, without what would move the cursor or change colours.
pub(crate) fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches blocks that a terminal of 80 columns breaks anywhere, and text that is lost at a break.
    #[test]
    fn text_keeps_to_its_columns() {
        let text = "word ".repeat(40);
        let lines = told("why", &text);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[0].starts_with("         why word") && lines[1].starts_with("             word"));
        assert_eq!(lines.concat().matches("word").count(), 40);
        assert_eq!(told("why", "").len(), 1, "a label without text is still shown");
        let long = "x".repeat(200);
        assert_eq!(told("why", &format!("a {long} b")).len(), 3, "a long word has its own line");
        let escaping = ConsoleLine { text: "a\x1b[2Jb".into(), finished: true };
        assert_eq!(quoted("console", &[escaping])[0].trim_start(), "console | a [2Jb", "no escape sequences");
        let quoted = quoted("console", &[ConsoleLine { text: long, finished: false }]);
        assert_eq!(quoted[0].chars().count(), WIDTH);
        assert!(quoted[0].ends_with("x… [unfinished]"), "{quoted:?}");
    }
}
