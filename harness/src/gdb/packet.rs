//! The frames of the gdb remote protocol, both ways (gdb manual, "Remote Protocol", Overview): pure.
//!
//! A packet is `$payload#` and two hexadecimal digits, the sum of the payload's bytes modulo 256 as they travel. In what the
//! stub sends `}` stands before a byte that was changed by 0x20, and `*` before a count of how often the byte in front of it
//! comes again. Every packet is answered with `+`, or with `-` where it was damaged.

/// Longest payload that is taken, in bytes as they travel. QEMU's stub never sends more than 4 KiB (`MAX_PACKET_LENGTH`,
/// gdbstub.c), the frame's four bytes included.
const MOST: usize = 4096;

/// Longest payload after repetitions were written out: each byte that travels stands for less than this many (see [`COUNT_BASE`]).
const MOST_EXPANDED: usize = MOST * 32;

/// A count of `n` more bytes travels as `n` + 29, so that it is a printable character.
const COUNT_BASE: u8 = 29;

/// Changed in a byte that stands behind `}`.
const ESCAPE: u8 = 0x20;

/// Something that the stub sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// It took a packet.
    Taken,
    /// It saw a damaged packet and wants it again.
    Again,
    /// A packet's payload, written out.
    Packet(Vec<u8>),
    /// What cannot be a packet, and why.
    Damaged(String),
}

/// A packet with this payload, which must be text without any of `$`, `#`, `}` and `*`: all that this client sends is.
pub(super) fn encode(payload: &str) -> Vec<u8> {
    debug_assert!(!payload.contains(['$', '#', '}', '*']), "{payload:?} would need escapes");
    let mut packet = Vec::with_capacity(payload.len() + 4);
    packet.push(b'$');
    packet.extend_from_slice(payload.as_bytes());
    packet.extend_from_slice(format!("#{:02x}", sum(payload.as_bytes())).as_bytes());
    packet
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// Takes the stub's bytes apart, in whatever pieces they come.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Between packets.
    #[default]
    Idle,
    /// In a payload.
    Payload(Vec<u8>),
    /// Behind `#`; with the first digit of the sum, once it is there.
    Sum(Vec<u8>, Option<u8>),
}

impl Decoder {
    /// Takes one byte; gives what it completes.
    pub(super) fn push(&mut self, byte: u8) -> Option<Incoming> {
        let (next, complete) = match (std::mem::take(&mut self.state), byte) {
            (State::Idle, b'+') => (State::Idle, Some(Incoming::Taken)),
            (State::Idle, b'-') => (State::Idle, Some(Incoming::Again)),
            (State::Idle, b'$') => (State::Payload(Vec::new()), None),
            (State::Idle, other) => {
                (State::Idle, Some(damaged(format!("byte {other:#04x} between packets"))))
            }
            (State::Payload(payload), b'#') => (State::Sum(payload, None), None),
            // A packet that begins anew was cut short before.
            (State::Payload(_) | State::Sum(..), b'$') => {
                (State::Payload(Vec::new()), Some(damaged("a packet without an end".into())))
            }
            (State::Payload(payload), _) if payload.len() >= MOST => {
                (State::Idle, Some(damaged(format!("a packet of more than {MOST} bytes"))))
            }
            (State::Payload(mut payload), other) => {
                payload.push(other);
                (State::Payload(payload), None)
            }
            (State::Sum(payload, None), digit) => (State::Sum(payload, Some(digit)), None),
            (State::Sum(payload, Some(high)), low) => (State::Idle, Some(finish(&payload, high, low))),
        };
        self.state = next;
        complete
    }
}

fn damaged(why: String) -> Incoming {
    Incoming::Damaged(why)
}

fn finish(payload: &[u8], high: u8, low: u8) -> Incoming {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else {
        return damaged("a packet whose sum is no two hexadecimal digits".into());
    };
    let (said, found) = (high << 4 | low, u32::from(sum(payload)));
    if said != found {
        return damaged(format!(
            "a packet whose bytes add up to {found:#04x}, and {said:#04x} was sent with them"
        ));
    }
    expand(payload).map_or_else(damaged, Incoming::Packet)
}

/// A payload without escapes and repetitions.
fn expand(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(payload.len());
    let mut rest = payload.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'}' => bytes.push(rest.next().ok_or("a packet that ends in an escape")? ^ ESCAPE),
            b'*' => {
                let repeated = *bytes.last().ok_or("a packet that begins with a repetition")?;
                // Below a blank there is no count: three more bytes is the least (the same section of the manual).
                let count = rest.next().filter(|&&count| (b' '..=b'~').contains(&count));
                let count = count.ok_or("a repetition without a count")? - COUNT_BASE;
                bytes.resize(bytes.len() + usize::from(count), repeated);
            }
            other => bytes.push(other),
        }
        if bytes.len() > MOST_EXPANDED {
            return Err(format!("a packet of more than {MOST_EXPANDED} bytes with its repetitions"));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Incoming> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&byte| decoder.push(byte)).collect()
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        [b"$", payload, format!("#{:02x}", sum(payload)).as_bytes()].concat()
    }

    fn text(payload: &str) -> Incoming {
        Incoming::Packet(payload.as_bytes().to_vec())
    }

    /// Bug: the sum counts `$` or is written without its leading zero, so that the stub takes nothing.
    #[test]
    fn packets_carry_their_sum() {
        assert_eq!(encode("?"), b"$?#3f");
        assert_eq!(encode("m1000,4"), b"$m1000,4#8e");
        assert_eq!(encode(""), b"$#00");
    }

    /// Bug: an acknowledgement in front of a packet is taken for a part of it, or of two packets in one read the second is lost.
    #[test]
    fn what_comes_together_is_taken_apart() {
        assert_eq!(
            decode(b"+$OK#9a$T05thread:01;#07"),
            [Incoming::Taken, text("OK"), text("T05thread:01;"),]
        );
        assert_eq!(decode(b"-"), [Incoming::Again]);
        assert_eq!(decode(b"$OK#9"), [], "it is not whole");
    }

    /// Bug: a sum that is wrong, or written in capitals, decides nothing or the wrong way.
    #[test]
    fn a_wrong_sum_is_damage() {
        assert!(matches!(&decode(b"$OK#9b")[..], [Incoming::Damaged(why)] if why.contains("0x9a")));
        assert_eq!(decode(b"$OK#9A"), [text("OK")]);
        assert!(matches!(&decode(b"$OK#zz")[..], [Incoming::Damaged(_)]));
    }

    /// Bug: a run of zeros in memory comes back short: `0* ` is four of them, the count's base is 29.
    #[test]
    fn repetitions_and_escapes_are_written_out() {
        assert_eq!(decode(&packet(b"0* 1")), [text("00001")]);
        assert_eq!(decode(&packet(b"ab*\"c")), [text("abbbbbbc")]);
        assert_eq!(decode(&packet(b"a}\x03}]b")), [text("a#}b")]);
        for broken in [&b"*!"[..], b"a*", b"a*\x1f", b"a}"] {
            assert!(matches!(&decode(&packet(broken))[..], [Incoming::Damaged(_)]), "{broken:?}");
        }
    }

    /// Bug: after damage the next packet is lost as well.
    #[test]
    fn damage_does_not_spread() {
        let got = decode(b"x$half$OK#9a");
        assert!(
            matches!(&got[..], [Incoming::Damaged(_), Incoming::Damaged(_), Incoming::Packet(ok)] if ok == b"OK")
        );
    }

    proptest! {
        /// Bug: bytes of a broken stub make the rig panic or fill its memory.
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"$#}*~+-".to_vec())], 0..9000)) {
            for incoming in decode(&bytes) {
                if let Incoming::Packet(payload) = incoming {
                    prop_assert!(payload.len() <= MOST_EXPANDED + usize::from(u8::MAX));
                }
            }
        }

        /// Bug: the two directions differ.
        #[test]
        fn what_is_encoded_is_decoded(payload in "[a-zA-Z0-9,:;?.]{0,200}") {
            prop_assert_eq!(decode(&encode(&payload)), [text(&payload)]);
        }
    }
}
