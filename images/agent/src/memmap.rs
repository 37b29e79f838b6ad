//! The firmware's map of memory as the kernel keeps it for its next one (/sys/firmware/memmap, drivers/firmware/memmap.c).

/// How much RAM a range of the map is, in bytes: none of it where its type is another. `None` where this is no range.
pub fn ram_bytes(start: &str, end: &str, kind: &str) -> Option<u64> {
    let (start, end) = (number(start)?, number(end)?);
    let size = end.checked_sub(start)?.checked_add(1)?;
    Some(if kind.trim_ascii() == "System RAM" { size } else { 0 })
}

/// A number as the files have it, such as `0x9fbff` and a newline.
fn number(text: &str) -> Option<u64> {
    let digits = text.trim_ascii().strip_prefix("0x")?;
    // `from_str_radix` takes a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: an end that is inclusive is not counted, reserved ranges are counted as RAM, or nonsense as an empty range.
    #[test]
    fn ram_is_counted_to_its_last_byte() {
        assert_eq!(ram_bytes("0x0\n", "0x9fbff\n", "System RAM\n"), Some(0x9_fc00));
        assert_eq!(ram_bytes("0x100000000\n", "0x10ffffffff\n", "System RAM\n"), Some(64 << 30));
        assert_eq!(ram_bytes("0x9fc00\n", "0x9ffff\n", "Reserved\n"), Some(0));
        for (start, end) in
            [("", "0x1"), ("0x2", "0x1"), ("1", "0x1"), ("0x+1", "0x2"), ("0x0", "0xffffffffffffffff")]
        {
            assert_eq!(ram_bytes(start, end, "System RAM"), None, "{start} {end}");
        }
    }
}
