//! What a kernel says of its CPUs (/proc/cpuinfo, arch/x86/kernel/cpu/proc.c).

/// Whether the first CPU's flags have this one. `None` where the text has no flags.
///
/// A flag stands there while the kernel uses what it is for: `la57`, five levels of page tables, is taken off where the kernel came up
/// with four (arch/x86/kernel/cpu/common.c, `early_identify_cpu`).
pub fn has_flag(text: &str, flag: &str) -> Option<bool> {
    let (_, flags) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim_ascii_end() == "flags")?;
    Some(flags.split_ascii_whitespace().any(|known| known == flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a flag that is found in another one's name, or in another line; and no flags taken for none of them.
    #[test]
    fn whole_flags_of_the_right_line_are_found() {
        let text = "processor\t: 0\nmodel name\t: la57\nflags\t\t: fpu la57x lm\nvmx flags\t: la57\n";
        assert_eq!(has_flag(text, "la57"), Some(false));
        assert_eq!(has_flag(text, "lm"), Some(true));
        assert_eq!(has_flag("processor\t: 0\n", "lm"), None);
    }
}
