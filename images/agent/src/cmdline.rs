//! The kernel command line, as far as the agent looks at it.

use guest_protocol::{SIDE_PARAMETER, Side};

/// Which side the command line says this is. As in the kernel, the last of several wins, so that a loader which appends to
/// a reused command line can turn it round. `None` where the parameter is missing or has another value.
pub fn side(cmdline: &str) -> Option<Side> {
    let value = parameters(cmdline).filter(|&(name, _)| name == SIDE_PARAMETER).last()?.1?;
    [Side::First, Side::Capture].into_iter().find(|side| side.name() == value)
}

/// Whether the command line asks for a panic at an unknown NMI. The kernel sets it for the bare word and for any value
/// (arch/x86/kernel/nmi.c, `setup_unknown_nmi_panic`).
pub fn wants_unknown_nmi_panic(cmdline: &str) -> bool {
    parameters(cmdline).any(|(name, _)| name == "unknown_nmi_panic")
}

/// The words up to `--` (what follows is init's), split at their first `=`. Quotes are not interpreted: none of the
/// parameters looked for needs them.
fn parameters(cmdline: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    cmdline.split_ascii_whitespace().take_while(|&word| word != "--").map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a parameter that is found inside of another, a value taken for its prefix, and a first one that wins.
    #[test]
    fn side_is_the_last_whole_parameter() {
        assert_eq!(side("quiet kdump_rig=first console=ttyS0"), Some(Side::First));
        assert_eq!(side("kdump_rig=first elfcorehdr=1K kdump_rig=capture\n"), Some(Side::Capture));
        for none in
            ["", "kdump_rig", "kdump_rig=", "kdump_rig=firstly", "xkdump_rig=first", "-- kdump_rig=first"]
        {
            assert_eq!(side(none), None, "{none:?}");
        }
    }

    /// Catches a form of the parameter that the kernel takes and the agent overlooks.
    #[test]
    fn nmi_panic_has_two_forms() {
        assert!(wants_unknown_nmi_panic("a unknown_nmi_panic b"));
        assert!(wants_unknown_nmi_panic("unknown_nmi_panic=1"));
        assert!(!wants_unknown_nmi_panic("sysctl.kernel.unknown_nmi_panic=1 unknown_nmi_panics"));
    }
}
