//! What a kernel says of its CPUs (/proc/cpuinfo, arch/x86/kernel/cpu/proc.c).

use guest_protocol::CpuIdentity;

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

/// What the first CPU says it is. `None` where the text lacks one of the four.
pub fn identity(text: &str) -> Option<CpuIdentity> {
    // A blank line ends a CPU.
    let first = text.split("\n\n").next()?;
    let value = |wanted: &str| {
        let pair = first.lines().filter_map(|line| line.split_once(':'));
        pair.into_iter().find(|(name, _)| name.trim_ascii() == wanted).map(|(_, value)| value.trim_ascii())
    };
    let number = |wanted| value(wanted)?.parse().ok();
    Some(CpuIdentity {
        vendor: value("vendor_id")?.into(),
        family: number("cpu family")?,
        model: number("model")?,
        stepping: number("stepping")?,
    })
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

    /// Catches `model name` taken for `model`, another CPU's values, and a CPU that does not say all of it taken for one that does.
    #[test]
    fn the_first_cpu_says_what_it_is() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 22\nmodel\t\t: 48\nmodel name\t: 7\n\
                    stepping\t: 1\n\nprocessor\t: 1\nvendor_id\t: Other\n";
        let expected = CpuIdentity { vendor: "AuthenticAMD".into(), family: 22, model: 48, stepping: 1 };
        assert_eq!(identity(text), Some(expected));
        for line in ["vendor_id", "cpu family", "model\t", "stepping"] {
            assert_eq!(identity(&text.replacen(line, "x", 1)), None, "{line}");
        }
        assert_eq!(identity(&text.replacen("stepping\t: 1", "stepping\t: unknown", 1)), None);
    }
}
