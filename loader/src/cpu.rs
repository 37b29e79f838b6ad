//! What the processor itself says by CPUID, where no file of the kernel's tells it as surely: a capture kernel asks in the same way
//! before it starts (arch/x86/kernel/verify_cpu.S), and halts without a word where it does not like the answer.

/// What a load depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// It has long mode, without which no x86_64 kernel runs.
    pub long_mode: bool,
    /// It knows page tables of five levels; the running kernel may or may not use them.
    pub five_levels: bool,
}

impl Cpu {
    /// Asks the processor. `cpuid` gives EAX, EBX, ECX and EDX for a leaf, with 0 in ECX.
    ///
    /// Leaves and bits: Intel SDM volume 2A, CPUID. A leaf beyond the highest is answered with that of another one, so that it is
    /// not asked for.
    pub fn ask(cpuid: impl Fn(u32) -> [u32; 4]) -> Self {
        const EXTENDED: u32 = 0x8000_0000;
        /// EDX of leaf 0x80000001.
        const LM: u32 = 1 << 29;
        /// ECX of leaf 7.
        const LA57: u32 = 1 << 16;
        let has = |leaf: u32, register: usize, bit: u32| {
            let [highest, ..] = cpuid(leaf & EXTENDED);
            // Without any extended leaf, the answer is none of these either.
            (leaf..=leaf | 0xffff).contains(&highest) && cpuid(leaf)[register] & bit != 0
        };
        Self { long_mode: has(EXTENDED + 1, 3, LM), five_levels: has(7, 2, LA57) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A processor with these highest leaves, which answers a leaf beyond them with all bits set, as no processor may be believed.
    fn ask(basic: u32, extended: u32, lm: u32, la57: u32) -> (bool, bool) {
        let cpu = Cpu::ask(|leaf| match leaf {
            0 => [basic, 0, 0, 0],
            7 if basic >= 7 => [0, 0, la57, 0],
            0x8000_0000 => [extended, 0, 0, 0],
            0x8000_0001 if extended > 0x8000_0000 => [0, 0, 0, lm],
            _ => [u32::MAX; 4],
        });
        (cpu.long_mode, cpu.five_levels)
    }

    /// Catches a wrong leaf, register or bit, and an answer to a leaf that is not there: an old processor's "yes".
    #[test]
    fn what_is_not_there_is_not_believed() {
        let (lm, la57) = (1 << 29, 1 << 16);
        assert_eq!(ask(13, 0x8000_0008, lm, la57), (true, true));
        assert_eq!(ask(13, 0x8000_0008, !lm, la57), (false, true));
        assert_eq!(ask(13, 0x8000_0008, lm, !la57), (true, false));
        assert_eq!(ask(2, 0x8000_0004, lm, la57), (true, false));
        assert_eq!(ask(7, 0x8000_0000, lm, la57), (false, true));
        for odd in [0, 2, 0x0300_0101, u32::MAX] {
            assert!(!ask(2, odd, lm, la57).0, "{odd:#x}");
        }
    }
}
