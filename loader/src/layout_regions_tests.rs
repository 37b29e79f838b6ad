//! Tests of the layout in 100,000 regions of the real size.

use super::*;

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers in every run, and fast enough for 100,000 regions.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A load into a region near one of the limits: the first 16 MiB, 512 MiB, the end of low memory, 896 MiB, 2 GiB, 4 GiB.
    fn request(&mut self) -> (Request, Demand) {
        let near =
            self.one_of(&[0, 16 * MIB, 512 * MIB, 0x36ff_e000, 896 * MIB, 2048 * MIB, 4096 * MIB, 1 << 40]);
        let start = (near + self.below(512) * MIB).saturating_sub(256 * MIB) + self.below(4) * PAGE;
        let size = 1 + self.below(600 * MIB);
        let running = self.one_of(&[Arch::I386, Arch::X86_64]);
        let memory = MemoryMap { ranges: vec![(span(0, (1 << 32) - 1), Kind::Ram)], crash_regions: vec![] };
        let demand = Demand::of(running, &memory);
        let initrd_size = Some(1 + self.below(64 * MIB)).filter(|_| self.below(2) == 0);
        let backup_size = Some(1 + self.below(640 << 10)).filter(|_| self.below(3) == 0);
        let segments = [initrd_size, backup_size].iter().flatten().count() as u64 + 4;
        let control = if running == Arch::I386 { LOWMEM } else { UNLIMITED };
        let mut limit = || self.one_of(&[UNLIMITED, I386, BELOW_4G]);
        let limits = Limits { kernel: limit(), initrd: limit(), others: limit(), control };
        let request = Request {
            region: Span::sized(PhysAddr(start), size).unwrap(),
            limits,
            kernel_size: 1 + self.below(96 * MIB),
            kernel_alignment: 1 << (12 + self.below(13)),
            pref_address: PhysAddr(16 * MIB),
            initrd_size,
            boot_params_size: 1 + self.below(20_000),
            purgatory_size: 1 + self.below(40_000),
            elfcorehdr_size: 1 + self.below(20_000),
            backup_size,
            reserves: demand.reserves(segments, control).to_vec(),
            places: Places::default(),
            mem_min: PhysAddr(0),
            ignore_alignment: false,
        };
        (request, demand)
    }
}

/// What kexec_load and the kernels demand of any layout, in regions of the real size; and that the running kernel finds its control
/// pages where it reaches them, which is more than that so much is left.
#[test]
fn every_layout_of_100_000_keeps_the_promises() {
    let mut numbers = Numbers(1);
    let mut placed = 0;
    for _ in 0..100_000 {
        let (request, demand) = numbers.request();
        let Ok(layout) = place(&request) else { continue };
        placed += 1;
        assert_eq!(broken_promise(&request, &layout.spans()), None, "{layout:?} of {request:?}");
        let segments: Vec<_> = layout.spans().iter().map(|(_, span)| *span).collect();
        let (code, taken) = (demand.code(request.region, &segments), demand.taken(request.region, &segments));
        assert!(
            taken.is_some() && code.is_some_and(|code| code.last() <= request.limits.control.last),
            "control pages {code:?}, {taken:?} with {layout:?} of {request:?}"
        );
    }
    assert!(
        (20_000..80_000).contains(&placed),
        "{placed} layouts, and refusals for the rest: neither may be rare"
    );
}
