//! A guest's physical memory as a drawing needs it: RAM, crash regions, limits, and where the loader put what. Pure.

use crate::classify::console::low_memory_end;
use crate::evidence::Evidence;
use crate::triage::{Segment, SegmentMap};
use guest_protocol::{Message, PhysRange};

/// Physical memory of a guest, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// What the first kernel uses as RAM.
    pub(super) ram: Vec<PhysRange>,
    /// What it has reserved for a crash kernel.
    pub(super) regions: Vec<PhysRange>,
    /// Where an i386 first kernel's low memory ends: the first address beyond.
    pub(super) low_memory_end: Option<u64>,
    /// Where the loader put what. Empty where nothing was loaded, and of loaders that do not say it.
    pub(super) segments: Vec<Segment>,
    /// The highest address that the loader allowed the capture kernel, and why.
    pub(super) limit: Option<(u64, String)>,
    /// Where the nonces were planted that the capture kernel had to find again.
    pub(super) nonces: Vec<u64>,
}

impl Machine {
    /// What the first kernel and the loader said of it; none where the first kernel did not come up.
    pub(super) fn of(evidence: &Evidence) -> Option<Self> {
        let mut machine = None;
        for report in &evidence.reports {
            match (&report.what.message, &mut machine) {
                (Message::Ready(facts), None) => {
                    machine = Some(Self {
                        ram: facts.system_ram.clone(),
                        regions: facts.crash_regions.clone(),
                        low_memory_end: low_memory_end(&evidence.console),
                        ..Self::default()
                    });
                }
                (Message::Loaded(load), Some(machine)) => machine.place(&load.stderr),
                (Message::Armed { planted }, Some(machine)) => {
                    machine.nonces = planted.iter().map(|nonce| nonce.address).collect();
                }
                (
                    Message::Ready(_)
                    | Message::Loaded(_)
                    | Message::Armed { .. }
                    | Message::Up(_)
                    | Message::Vmcore(_)
                    | Message::Told(_)
                    | Message::Reader(_)
                    | Message::Done
                    | Message::Lacks { .. }
                    | Message::Trouble { .. },
                    _,
                ) => {}
            }
        }
        machine
    }

    /// Takes what the loader said of its plan.
    fn place(&mut self, stderr: &str) {
        let plan = SegmentMap::parse(stderr);
        self.segments = plan.segments().to_vec();
        let control =
            plan.control().map(|range| Segment { name: "control pages".to_owned(), range, loaded: None });
        self.segments.extend(control);
        self.segments.sort_by_key(|segment| segment.range.start);
        self.limit = plan.limit().map(|(address, why)| (address, why.to_owned()));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::evidence::Timed;
    use guest_protocol::{Arch, ExitKind, KernelFacts, LoadReport, Planted, Report, Side};

    /// Evidence of a guest with 4 GiB less what is below it, a region at 784M, and this loader's words.
    pub(in super::super) fn evidence(stderr: &str) -> Evidence {
        let facts = KernelFacts {
            release: "5.10".into(),
            version: String::new(),
            machine: "i686".into(),
            userspace: Arch::I386,
            cmdline: String::new(),
            cpus: 1,
            crash_regions: vec![PhysRange { start: 0x3100_0000, end: 0x377f_ffff }],
            system_ram: vec![
                PhysRange { start: 0x1000, end: 0x9_fbff },
                PhysRange { start: 0x10_0000, end: 0xf7fd_ffff },
            ],
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: Some(false),
        };
        let load = LoadReport {
            loaded_before: None,
            exit: ExitKind::Exited { status: 0 },
            stdout: String::new(),
            stderr: stderr.into(),
            crash_loaded: true,
            milliseconds: 1,
            time: None,
        };
        let planted = vec![Planted { id: 0, address: 0xf65c_0000 }];
        let say = |seq: u32, message| Timed {
            ms: u64::from(seq),
            what: Report { seq, kernel: Side::First, message },
        };
        Evidence {
            console:
                b"[    0.000000]   mapped low ram: 0 - 36ffe000\r\n[    0.000000]   low ram: 0 - 36ffe000\r\n"
                    .to_vec(),
            reports: vec![
                say(0, Message::Ready(facts)),
                say(1, Message::Loaded(load)),
                say(2, Message::Armed { planted }),
            ],
            ..Evidence::default()
        }
    }

    /// The loader's words in a real cell.
    pub(in super::super) const PLACED: &str = "kexec-load: crash region: 0x31000000-0x377fffff (104 MiB)
kexec-load: highest address of the kernel: 0x36ffdfff, the highest address an i386 capture kernel can run at (0x37ffffff less its fixed mappings)
kexec-load: segment: kernel 0x31000000-0x31f75fff (0xf76000 bytes)
kexec-load: segment: initrd 0x36fd5000-0x36ffdfff (0x29000 bytes)
kexec-load: control pages of the running kernel: 0x31f76000-0x31f76fff
";

    /// Bug: a drawing without segments although the loader tells them; a limit whose reason is lost; low memory's end missed
    /// because of the time stamps before it.
    #[test]
    fn what_was_said_of_memory_is_read() {
        let machine = Machine::of(&evidence(PLACED)).unwrap();
        let names: Vec<&str> = machine.segments.iter().map(|segment| segment.name.as_str()).collect();
        assert_eq!(names, ["kernel", "control pages", "initrd"]);
        assert_eq!(machine.segments[0].range, PhysRange { start: 0x3100_0000, end: 0x31f7_5fff });
        let (limit, why) = machine.limit.unwrap();
        assert_eq!(limit, 0x36ff_dfff);
        assert!(why.starts_with("the highest address an i386 capture kernel"), "{why}");
        assert_eq!(machine.low_memory_end, Some(0x36ff_e000));
        assert_eq!((machine.nonces, machine.regions.len(), machine.ram.len()), (vec![0xf65c_0000], 1, 2));
        assert_eq!(Machine::of(&Evidence::default()), None);
    }

    /// Bug: a loader that writes nonsense, or lies about ranges, ends the report.
    #[test]
    fn nonsense_is_skipped() {
        let nonsense = "kexec-load: segment: kernel\nkexec-load: segment: a 0x5-0x1\nkexec-load: segment: b 0xg-0x1\n\
                        kexec-load: highest address of the kernel: here\nsegment: kernel 0x1-0x2\n";
        let machine = Machine::of(&evidence(nonsense)).unwrap();
        assert_eq!((machine.segments, machine.limit), (Vec::new(), None));
    }
}
