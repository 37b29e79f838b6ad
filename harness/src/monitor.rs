//! What QEMU's monitor answers to `x` and `xp`, which print the guest's memory: by the current CPU's addresses, and by physical
//! ones. Each line is an address, a colon and numbers (QEMU monitor/misc.c, `memory_dump`); `Cannot access memory` ends the
//! answer where nothing is mapped.

/// Bytes printed by `x /Nxb`, in their order, up to the first that could not be read.
pub fn bytes(answer: &str) -> Vec<u8> {
    numbers(answer).map_while(|number| u8::try_from(number).ok()).collect()
}

/// The number printed by `xp /1xw` or `xp /1xg`; none where there is no memory.
pub fn number(answer: &str) -> Option<u64> {
    numbers(answer).next()
}

/// The number read by `i /4x`: `portl[0x0608] = 0x0012d687` (QEMU monitor/hmp-cmds.c, `hmp_ioport_read`).
pub fn port(answer: &str) -> Option<u32> {
    let (_, number) = answer.trim().split_once("] = 0x")?;
    u32::from_str_radix(number, 16).ok()
}

fn numbers(answer: &str) -> impl Iterator<Item = u64> {
    answer
        .lines()
        .map_while(|line| Some(line.split_once(':')?.1))
        .flat_map(str::split_whitespace)
        .map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the address in front is taken for data, or the words of an error for bytes.
    #[test]
    fn numbers_stand_behind_the_colon() {
        let answer = "0000000000007c00: 0xfa 0x31 0xc0\r\n0000000000007c03: 0x1e 0x00\r\n";
        assert_eq!(bytes(answer), [0xfa, 0x31, 0xc0, 0x1e, 0]);
        let half = "0000000000007ffe: 0xfa 0x31\r\n0000000000008000: Cannot access memory\r\n";
        assert_eq!(bytes(half), [0xfa, 0x31]);
        assert_eq!(number("000000000260a000: 0x0000000002a01067\r\n"), Some(0x2a0_1067));
        assert_eq!(number("0000000ffffffff0: Cannot access memory\r\n"), None);
        assert_eq!(number("unknown command: 'xq'\r\n"), None);
        assert_eq!(port("portl[0x0608] = 0x0012d687\r\n"), Some(0x12_d687));
        assert_eq!(port("invalid address\r\n"), None);
    }
}
