//! Which triggers a machine has: told before anything boots, since one that is not there ends in a guest that waits for its deadline.

use crate::cell::{Cell, Trigger};

/// Why the cell's trigger cannot be pulled; none where it can.
pub(super) fn why_not(cell: &Cell) -> Option<String> {
    let platform = &cell.platform;
    match cell.trigger {
        Trigger::Nmi => None,
        Trigger::SysrqKey => {
            let has_none = platform.machine.split(',').any(|option| option == "i8042=off");
            has_none
                .then(|| format!("sysrq-key needs a keyboard, and {} has none (i8042=off)", platform.name))
        }
        Trigger::SerialBreak => {
            // What comes last is where /dev/console leads, and the port that the kernel listens to.
            let other = cell
                .first_cmdline
                .iter()
                .flat_map(|words| words.split_ascii_whitespace())
                .find(|word| word.starts_with("console=") && !word.starts_with("console=ttyS0"));
            other.map(|word| {
                format!("serial-break needs the console on the first port, and the first kernel gets {word}")
            })
        }
        Trigger::SysrqTrigger => {
            let online = cpus_at_the_most(cell);
            (online <= Trigger::SYSRQ_CPU).then(|| {
                format!(
                    "sysrq-trigger is pulled on CPU {}, and the first kernel on {} has {online}",
                    Trigger::SYSRQ_CPU,
                    platform.name
                )
            })
        }
    }
}

/// How many CPUs the first kernel brings up (Documentation/admin-guide/kernel-parameters.txt: maxcpus, nr_cpus, nosmp).
fn cpus_at_the_most(cell: &Cell) -> u32 {
    let words = cell.first_cmdline.iter().flat_map(|words| words.split_ascii_whitespace());
    let limits = words.filter_map(|word| match word.split_once('=') {
        Some(("maxcpus" | "nr_cpus", number)) => Some(number.parse().unwrap_or(0).max(1)),
        None if word == "nosmp" => Some(1),
        Some(_) | None => None,
    });
    limits.fold(cell.platform.cpus.get(), u32::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::num::NonZeroU32;

    /// Bug: a cell whose trigger can reach nobody boots, and is a hang or a rig error minutes later; or one that can be is refused.
    #[test]
    fn triggers_need_what_they_are_pulled_by() {
        let why = |trigger, machine: &str, cpus, words: &[&str]| {
            let mut cell = testing::cell();
            cell.trigger = trigger;
            cell.platform.machine = machine.into();
            cell.platform.cpus = NonZeroU32::new(cpus).unwrap();
            cell.first_cmdline = words.iter().map(|word| (*word).to_owned()).collect();
            why_not(&cell)
        };
        for trigger in [Trigger::Nmi, Trigger::SysrqKey, Trigger::SerialBreak] {
            assert_eq!(why(trigger, "pc", 1, &["console=ttyS0,9600"]), None);
        }
        assert!(why(Trigger::SysrqKey, "pc,i8042=off", 1, &[]).is_some_and(|why| why.contains("keyboard")));
        assert!(
            why(Trigger::SerialBreak, "pc", 1, &["console=tty0"])
                .is_some_and(|why| why.contains("console=tty0"))
        );
        assert_eq!(why(Trigger::SysrqTrigger, "pc", 2, &["maxcpus=2"]), None);
        for words in [&["maxcpus=1"][..], &["quiet nr_cpus=1"], &["nosmp"], &["maxcpus=0"]] {
            assert!(
                why(Trigger::SysrqTrigger, "pc", 4, words).is_some_and(|why| why.contains("CPU 1")),
                "{words:?}"
            );
        }
        assert!(why(Trigger::SysrqTrigger, "pc", 1, &[]).is_some());
    }
}
