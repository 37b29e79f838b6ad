//! /proc/meminfo: how much memory can be had (Documentation/filesystems/proc.rst).

/// `MemAvailable`, in bytes: what the kernel thinks can be allocated without swapping.
pub fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim_ascii().strip_suffix("kB")?.trim_ascii_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a neighbouring line that is taken, and kilobytes taken for bytes.
    #[test]
    fn available_is_in_bytes() {
        let text = "MemTotal:        6000000 kB\nMemFree:         5000000 kB\nMemAvailable:    4000000 kB\n";
        assert_eq!(available(text), Some(4_096_000_000));
        assert_eq!(available("MemAvailable:    12 MB\n"), None);
        assert_eq!(available(""), None);
    }
}
