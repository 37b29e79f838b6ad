//! Reads what QEMU's monitor answers to `info registers -a`: of each CPU the instruction pointer, the flags, and whether it
//! is halted. Everything else in the answer is of no use to a proof and is passed over here; [`cpus`] reads more of it, for triage.
//!
//! QEMU prints `RIP`/`RFL` for a CPU in a 64-bit code segment and `EIP`/`EFL` for any other, and the columns move between
//! releases (target/i386/cpu-dump.c in QEMU's tree): values are found by key, never by column.

mod whole;

pub use whole::cpus;

use crate::evidence::{CpuState, RegisterSample};

/// Starts the block of each CPU when all of them are printed (`-a`).
const CPU_HEADER: &str = "CPU#";

/// Reads the monitor's answer.
///
/// A CPU whose block lacks one of the three values is left out: a proof needs all CPUs of the machine, so a damaged answer
/// can only weaken one. An answer without any CPU gives an empty sample.
pub fn parse(text: &str) -> RegisterSample {
    let mut cpus = Vec::new();
    let mut block = Block::default();
    for line in text.lines() {
        if line.trim_start().starts_with(CPU_HEADER) {
            cpus.extend(std::mem::take(&mut block).finish());
        }
        block.read(line);
    }
    cpus.extend(block.finish());
    RegisterSample { cpus }
}

/// What was read of one CPU so far.
#[derive(Default)]
struct Block {
    ip: Option<u64>,
    flags: Option<u64>,
    halted: Option<bool>,
}

impl Block {
    fn read(&mut self, line: &str) {
        for word in line.split_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            match key {
                "RIP" | "EIP" => self.ip = self.ip.or(hex(value)),
                "RFL" | "EFL" => self.flags = self.flags.or(hex(value)),
                "HLT" => {
                    self.halted = self.halted.or(match value {
                        "0" => Some(false),
                        "1" => Some(true),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
    }

    fn finish(self) -> Option<CpuState> {
        Some(CpuState { ip: self.ip?, flags: self.flags?, halted: self.halted? })
    }
}

fn hex(digits: &str) -> Option<u64> {
    // `from_str_radix` takes a sign, QEMU never prints one.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONG_MODE: &str = "\
RAX=ffffffff81a1bf30 RBX=0000000000000000 RCX=0000000000000001 RDX=0000000000004fd2\r
RSI=0000000000000083 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffffff82603eb8\r
RIP=ffffffff81a1c32e RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r
ES =0000 0000000000000000 ffffffff 00c00000\r
";

    const PROTECTED_MODE: &str = "\
EAX=00000000 EBX=00000000 ECX=00000020 EDX=000003fd
ESI=7b00a2e4 EDI=7b6b1000 EBP=7b00a300 ESP=7b6a9f2c
EIP=7b69bb4e EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
";

    #[test]
    fn both_spellings_of_the_registers_are_read() {
        // A parser of one spelling would see no CPU in the other mode, and prove no hang of an i386 capture kernel.
        assert_eq!(
            parse(LONG_MODE).cpus,
            [CpuState { ip: 0xffff_ffff_81a1_c32e, flags: 0x246, halted: true }]
        );
        let i386 = parse(PROTECTED_MODE).cpus;
        assert_eq!(i386, [CpuState { ip: 0x7b69_bb4e, flags: 0x46, halted: true }]);
        assert!(i386[0].is_dead());
    }

    #[test]
    fn each_cpu_keeps_its_own_values_in_order() {
        // Mixing two blocks would pair one CPU's flags with another's instruction pointer.
        let text =
            format!("\r\nCPU#0\r\n{LONG_MODE}\r\nCPU#1\r\n{}", PROTECTED_MODE.replace("HLT=1", "HLT=0"));
        let cpus = parse(&text).cpus;
        assert_eq!(cpus.len(), 2);
        assert_eq!((cpus[0].ip, cpus[0].halted), (0xffff_ffff_81a1_c32e, true));
        assert_eq!((cpus[1].ip, cpus[1].halted), (0x7b69_bb4e, false));
    }

    #[test]
    fn a_block_that_lacks_a_value_gives_no_cpu() {
        // Filling a gap with zero would make a running CPU look as if its interrupts were off.
        for cut in
            ["RIP=12 RFL=46", "RIP=12 HLT=1", "RFL=46 HLT=1", "RIP=xyz RFL=46 HLT=1", "RIP=1 RFL=2 HLT=7", ""]
        {
            assert!(parse(cut).cpus.is_empty(), "{cut:?}");
        }
        let second_only = format!("CPU#0\nRIP=1\nCPU#1\n{LONG_MODE}");
        assert_eq!(parse(&second_only).cpus.len(), 1);
    }

    proptest! {
        /// A monitor that answers garbage must cost the proof, not the rig.
        #[test]
        fn garbage_never_panics(text in ".*") {
            parse(&text);
        }
    }
}
