//! Lists of CPUs as sysfs prints them (Documentation/core-api/printk-formats.rst, "bitmap and its derivatives").

/// Number of CPUs in a list such as `0-3,6`. `None` where the text is no such list.
pub fn count(list: &str) -> Option<u32> {
    list.trim_ascii().split(',').try_fold(0_u32, |sum, item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches off-by-one in ranges, and text that is counted though it is no list.
    #[test]
    fn counts_ranges_and_single_cpus() {
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("0-3,6,8-9\n"), Some(7));
        for bad in ["", "x", "3-1", "0-4294967295", "1,,2"] {
            assert_eq!(count(bad), None, "{bad:?}");
        }
    }
}
