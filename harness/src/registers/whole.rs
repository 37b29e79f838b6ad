//! All of `info registers -a` that tells what a CPU was doing. For people to look at, and for triage: a register that is missing
//! in the answer is 0 here, where a proof would not take the CPU at all.

use super::{CPU_HEADER, hex};
use crate::evidence::{Cpu, Selector, Table};

/// Reads the monitor's answer: each CPU, in its order.
pub fn cpus(text: &str) -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with(CPU_HEADER) {
            cpus.push(Cpu::default());
        }
        if let Some(cpu) = cpus.last_mut() {
            read(cpu, line);
        }
    }
    cpus
}

fn read(cpu: &mut Cpu, line: &str) {
    // `CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]`: selector, base, limit, the descriptor's second word.
    if let Some(("CS ", values)) = line.split_once('=') {
        let mut values = values.split_whitespace().map(hex);
        let mut next = || values.next().flatten().unwrap_or_default();
        let (selector, base, _, flags) = (next(), next(), next(), next());
        cpu.cs = Selector { selector: selector as u16, base, flags: flags as u32 };
        return;
    }
    // `IDT=     fffffe0000000000 00000fff`: base and limit.
    if let Some(values) = line.strip_prefix("IDT=") {
        let mut values = values.split_whitespace().map(hex);
        let mut next = || values.next().flatten().unwrap_or_default();
        cpu.idt = Table { base: next(), limit: next() as u32 };
        return;
    }
    for word in line.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else { continue };
        let slot = match key {
            "RIP" | "EIP" => &mut cpu.ip,
            "RFL" | "EFL" => &mut cpu.flags,
            "RSP" | "ESP" => &mut cpu.sp,
            "CR0" => &mut cpu.cr0,
            "CR2" => &mut cpu.cr2,
            "CR3" => &mut cpu.cr3,
            "CR4" => &mut cpu.cr4,
            "EFER" => &mut cpu.efer,
            "HLT" => {
                cpu.halted = value == "1";
                continue;
            }
            _ => continue,
        };
        *slot = hex(value).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU 7.2 printed it of an x86_64 kernel, vector registers cut.
    const LONG_MODE: &str = "\r
CPU#0\r
RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000001 RDX=0000000000004fd2\r
RSI=0000000000000083 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffffff82603eb8\r
RIP=ffffffff81a1c32e RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r
SS =0018 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
GDT=     fffffe0000001000 0000007f\r
IDT=     fffffe0000000000 00000fff\r
CR0=80050033 CR2=ffff888009401000 CR3=000000000260a000 CR4=000006f0\r
EFER=0000000000000d01\r
";

    /// Bug: a register is taken from another one's column, or the code segment from the stack's.
    #[test]
    fn each_register_has_its_own_value() {
        let [cpu] = &cpus(LONG_MODE)[..] else { panic!("one CPU") };
        let expected = Cpu {
            ip: 0xffff_ffff_81a1_c32e,
            flags: 0x246,
            halted: true,
            sp: 0xffff_ffff_8260_3eb8,
            cr0: 0x8005_0033,
            cr2: 0xffff_8880_0940_1000,
            cr3: 0x260_a000,
            cr4: 0x6f0,
            efer: 0xd01,
            cs: Selector { selector: 0x10, base: 0, flags: 0xaf_9b00 },
            idt: Table { base: 0xffff_fe00_0000_0000, limit: 0xfff },
        };
        assert_eq!(*cpu, expected);
        assert!(cpu.interrupts());
        assert_eq!(cpu.address(), cpu.ip);
    }

    /// Bug: in 16-bit code the segment is forgotten, and a CPU in the firmware (f000:fff0) seems to be in the first page.
    #[test]
    fn the_base_of_a_segment_counts_outside_of_64_bit_code() {
        let reset = "CPU#0\nEIP=0000fff0 EFL=00000002 HLT=0\nCS =f000 ffff0000 0000ffff 00009b00\n";
        assert_eq!(cpus(reset)[0].address(), 0xffff_fff0);
    }

    /// Bug: the monitor's error text becomes a CPU at address 0.
    #[test]
    fn what_is_no_answer_has_no_cpu() {
        for text in ["", "RIP=1 HLT=1", "Error: no CPU"] {
            assert!(cpus(text).is_empty(), "{text:?}");
        }
    }
}
