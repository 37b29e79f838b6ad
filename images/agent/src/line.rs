//! Orders out of the bytes of the channel: framing into lines, and telling orders from noise.

use alloc::string::String;
use alloc::vec::Vec;
use guest_protocol::{MAX_LINE, Order};

/// Collects bytes and gives out whole lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
    /// Whether the line that is being received has passed [`MAX_LINE`]: the rest of it is dropped.
    overlong: bool,
}

impl LineSplitter {
    /// An empty splitter.
    pub const fn new() -> Self {
        Self { pending: Vec::new(), overlong: false }
    }

    /// Takes one byte; gives the line, without its newline, that it ends. A line that is longer than [`MAX_LINE`] is
    /// dropped whole, since no half of it would be an order.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        if byte == b'\n' {
            let line = core::mem::take(&mut self.pending);
            return (!core::mem::take(&mut self.overlong)).then_some(line);
        }
        if self.pending.len() + 1 >= MAX_LINE {
            self.overlong = true;
            self.pending.clear();
        }
        if !self.overlong {
            self.pending.push(byte);
        }
        None
    }
}

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An order.
    Order(Order),
    /// It is meant as a JSON object, and is no order. A broken one counts as well: an order that lost a byte on its way
    /// must be answered, or the rig would wait for nothing.
    NotAnOrder(String),
    /// Neither: what firmware, a console or an open port left on the line.
    Noise,
}

/// Reads a line. NULs and white space around it, a carriage return included, are not part of it.
pub fn parse(line: &[u8]) -> Line {
    let is_padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let Some(start) = line.iter().position(|byte| !is_padding(byte)) else { return Line::Noise };
    let end = line.iter().rposition(|byte| !is_padding(byte)).map_or(start, |last| last + 1);
    let text = &line[start..end];
    if text[0] != b'{' {
        return Line::Noise;
    }
    match serde_json::from_slice(text) {
        Ok(order) => Line::Order(order),
        Err(error) => Line::NotAnOrder(alloc::format!("a line of {} bytes is no order: {error}", text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut splitter = LineSplitter::new();
        bytes.iter().filter_map(|&byte| splitter.push(byte)).collect()
    }

    /// Catches lines that are joined, cut, or given out before they are whole.
    #[test]
    fn lines_end_at_newlines_only() {
        assert_eq!(split(b"one\ntwo\r\n\nhalf"), vec![b"one".to_vec(), b"two\r".to_vec(), b"".to_vec()]);
    }

    /// Catches unbounded growth, and a tail of an overlong line that is taken for a line of its own.
    #[test]
    fn an_overlong_line_is_dropped_whole() {
        let mut bytes = vec![b'x'; 2 * MAX_LINE];
        bytes.extend_from_slice(b"\nnext\n");
        assert_eq!(split(&bytes), vec![b"next".to_vec()]);
    }

    /// Catches a longest legal line, newline included, being dropped.
    #[test]
    fn the_longest_line_passes() {
        let mut bytes = vec![b'x'; MAX_LINE - 1];
        bytes.push(b'\n');
        assert_eq!(split(&bytes)[0].len(), MAX_LINE - 1);
    }

    /// Catches an order that is not recognised for what stands around it.
    #[test]
    fn orders_are_found_between_padding() {
        for line in [&b"{\"type\":\"power-off\"}"[..], b"\0\0 {\"type\":\"power-off\"}\r"] {
            assert_eq!(parse(line), Line::Order(Order::PowerOff));
        }
    }

    /// Catches noise that is answered, and a damaged order that is not.
    #[test]
    fn noise_is_told_from_damaged_orders() {
        for noise in [&b""[..], b"\0\r", b"login:", b"7", b"[]", b"\xff\xfe"] {
            assert_eq!(parse(noise), Line::Noise, "{noise:?}");
        }
        for damaged in [&b"{\"type\":\"power-of\"}"[..], b"{\"type\":\"pow", b"{}", b"{\xff}"] {
            assert!(matches!(parse(damaged), Line::NotAnOrder(_)), "{damaged:?}");
        }
    }
}
