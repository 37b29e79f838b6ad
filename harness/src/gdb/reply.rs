//! What the stub's replies say (gdb manual, "Stop Reply Packets" and "Packets"): pure.

use super::Stop;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done.
    Ok,
    /// It could not be done; the number means nothing outside of the stub.
    Error(u8),
    /// Bytes, in the guest's order.
    Bytes(Vec<u8>),
    /// The machine stopped.
    Stopped(Stop),
    /// The stub does not know the request.
    Unknown,
}

/// Reads a reply; the error is its text, where it is none of these.
pub(super) fn parse(payload: &[u8]) -> Result<Reply, String> {
    let text = std::str::from_utf8(payload).map_err(|_| String::from_utf8_lossy(payload).into_owned())?;
    let other = || text.to_owned();
    match text.as_bytes() {
        [] => Ok(Reply::Unknown),
        b"OK" => Ok(Reply::Ok),
        [b'E', code @ ..] if code.len() == 2 => byte(code).map(Reply::Error).ok_or_else(other),
        // `T` has details behind the signal; none is needed.
        [b'T' | b'S', high, low, ..] => {
            byte(&[*high, *low]).map(|signal| Reply::Stopped(Stop::of(signal))).ok_or_else(other)
        }
        digits => digits.chunks(2).map(byte).collect::<Option<_>>().map(Reply::Bytes).ok_or_else(other),
    }
}

/// Two hexadecimal digits.
fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: an error is read as a byte (`E0` is one, `E01` is not two), or memory that begins with a letter as a stop.
    #[test]
    fn replies_are_told_apart() {
        assert_eq!(parse(b"OK"), Ok(Reply::Ok));
        assert_eq!(parse(b""), Ok(Reply::Unknown));
        assert_eq!(parse(b"E14"), Ok(Reply::Error(0x14)));
        assert_eq!(parse(b"e14f"), Ok(Reply::Bytes(vec![0xe1, 0x4f])));
        assert_eq!(parse(b"E0"), Ok(Reply::Bytes(vec![0xe0])));
        assert_eq!(parse(b"T05thread:p01.01;"), Ok(Reply::Stopped(Stop::Breakpoint)));
        assert_eq!(parse(b"S02"), Ok(Reply::Stopped(Stop::Asked)));
        assert_eq!(parse(b"T03thread:01;"), Ok(Reply::Stopped(Stop::Other(3))));
        for wrong in [&b"123"[..], b"xy", b"T", b"Tzz", b"\xff\xfe"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
