//! Tests of the layout: tables at the limits, and a search of all placements in small worlds.

use super::*;
use crate::control::Demand;
use crate::iomem::{Kind, MemoryMap};
use crate::rule::{Arch, I386_LAST, Why};
use crate::testing::span;
use alloc::string::ToString;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const UNLIMITED: Limit = Limit { last: PhysAddr(u64::MAX), why: Why::Unlimited };
const I386: Limit = Limit { last: I386_LAST, why: Why::I386Capture };
const BELOW_4G: Limit = Limit { last: PhysAddr::LAST_32BIT, why: Why::CompatCall(None) };
/// Where low memory of a Debian i386 kernel with PAE ends.
const LOWMEM: Limit = Limit { last: PhysAddr(0x36ff_dfff), why: Why::I386First };

fn limits(any: Limit) -> Limits {
    Limits { kernel: any, initrd: any, others: any, control: UNLIMITED }
}

fn request(region: Span, any: Limit) -> Request {
    Request {
        region,
        limits: limits(any),
        kernel_size: 0x0290_0000,
        kernel_alignment: 2 * MIB,
        pref_address: PhysAddr(16 * MIB),
        initrd_size: Some(0x12_3456),
        boot_params_size: 4096 + 300,
        purgatory_size: 1000,
        elfcorehdr_size: 2000,
        backup_size: None,
        reserves: vec![control(64, UNLIMITED)],
        places: Places::default(),
        mem_min: PhysAddr(0),
        ignore_alignment: false,
    }
}

fn control(pages: u64, limit: Limit) -> Reserve {
    Reserve { purpose: Purpose::ControlPages, bytes: pages * PAGE, limit }
}

fn at(mib: u64, size_mib: u64) -> Span {
    Span::sized(PhysAddr(mib * MIB), size_mib * MIB).unwrap()
}

fn places(text: &str) -> Places {
    let mut places = Places::default();
    places.add(text.as_bytes()).unwrap();
    places
}

#[test]
fn a_region_above_the_limit_is_refused_by_name() {
    assert_eq!(
        place(&request(at(1968, 256), I386)),
        Err(Refusal::BeyondLimit { region: at(1968, 256), limit: I386 })
    );
    assert!(place(&request(at(1968, 256), BELOW_4G)).is_ok());
    assert!(matches!(place(&request(at(4096, 256), BELOW_4G)), Err(Refusal::BeyondLimit { .. })));
    assert!(place(&request(at(4096, 256), UNLIMITED)).is_ok());
}

/// The usual picture: kernel lowest, everything else at the top. Catches a kernel that is pushed up without need.
#[test]
fn with_room_the_kernel_lies_lowest() {
    let layout = place(&request(at(512, 256), UNLIMITED)).unwrap();
    assert_eq!(layout.kernel.start(), PhysAddr(512 * MIB));
    assert_eq!(layout.elfcorehdr.last(), at(512, 256).last());
    let with_backup = Request { backup_size: Some(640 << 10), ..request(at(512, 256), UNLIMITED) };
    let layout = place(&with_backup).unwrap();
    let kinds: Vec<_> = layout.spans().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, SegmentKind::ALL);
    assert_eq!(layout.backup, Some(span(768 * MIB - (640 << 10), 768 * MIB - 1)));
}

/// An i386 first kernel must reach its control page alone: a region that goes on beyond its low memory is good, as long as the
/// lowest gap lies in it. Catches both the demand that all of the region be low, and a low part that is filled up.
#[test]
fn a_region_beyond_low_memory_needs_its_lowest_gap_in_it() {
    let mut request = request(at(768, 256), BELOW_4G);
    request.reserves = vec![control(1, LOWMEM)];
    let layout = place(&request).unwrap();
    assert_eq!(layout.kernel.start(), PhysAddr(768 * MIB));
    // Here the kernel at the lowest place would fill low memory to its end; higher it leaves the gap below.
    request.region = at(864, 256);
    request.kernel_alignment = 16 * MIB;
    let layout = place(&request).unwrap();
    let taken = Demand::of(Arch::I386, &MemoryMap::default())
        .code(request.region, &layout.spans().iter().map(|(_, span)| *span).collect::<Vec<_>>());
    assert_eq!(taken, Some(span(864 * MIB, 864 * MIB + PAGE - 1)), "{layout:?}");
    // Where the kernel may not lie higher either it or the page has no room, and the limit is named.
    request.limits.kernel = Limit { last: PhysAddr(896 * MIB - 1), why: Why::I386Capture };
    assert_eq!(
        place(&request),
        Err(Refusal::NoRoom {
            segment: SegmentKind::Kernel,
            size: 0x0290_0000,
            region: request.region,
            usable: Some(span(864 * MIB, 896 * MIB - 1)),
            shared: false,
            mem_min: None,
            limit: Some(request.limits.kernel)
        })
    );
    request.kernel_size = 32 * MIB;
    assert!(matches!(
        place(&request),
        Err(Refusal::TooLittleLeft { reserve: Reserve { limit: LOWMEM, .. }, left: 0, .. })
    ));
    request.region = at(880, 256);
    assert_eq!(place(&request), Err(Refusal::BeyondLimit { region: request.region, limit: LOWMEM }));
}

/// A region that straddles the limit is used up to it, as long as that is enough.
#[test]
fn a_straddling_region_is_used_up_to_the_limit() {
    let layout = place(&request(at(800, 256), I386)).unwrap();
    assert!(layout.spans().iter().all(|(_, span)| span.last() <= I386_LAST));
    let refusal = place(&request(at(870, 256), I386)).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::NoRoom { segment: SegmentKind::Kernel, limit: Some(Limit { last: I386_LAST, .. }), .. }
    ));
}

/// Catches a kernel placed below pref_address, from where it would move up over what lies behind it.
#[test]
fn the_kernel_never_lies_below_pref_address() {
    let layout = place(&request(at(1, 255), UNLIMITED)).unwrap();
    assert_eq!(layout.kernel.start(), PhysAddr(16 * MIB));
}

/// What lies below the kernel's first address is room as well. Catches a refusal where only the space above was looked at.
#[test]
fn the_gap_below_the_kernel_is_used() {
    let mut request = request(at(8, 52), UNLIMITED);
    request.initrd_size = Some(7 * MIB);
    let layout = place(&request).unwrap();
    assert!(layout.initrd.is_some_and(|initrd| initrd.last() < layout.kernel.start()), "{layout:?}");
}

/// Catches a region filled to the last page: the running kernel then finds no control page (ENOMEM).
#[test]
fn control_pages_are_left() {
    let mut request = request(at(512, 64), UNLIMITED);
    request.initrd_size = None;
    let used: u64 = place(&request).unwrap().spans().iter().map(|(_, span)| span.size()).sum();
    request.initrd_size = Some(64 * MIB - used - 63 * PAGE);
    assert_eq!(
        place(&request),
        Err(Refusal::TooLittleLeft { region: at(512, 64), reserve: control(64, UNLIMITED), left: 63 * PAGE })
    );
    request.initrd_size = Some(64 * MIB - used - 64 * PAGE);
    assert!(place(&request).is_ok());
}

/// Given places are taken to the byte, and the rest finds its way around them.
#[test]
fn given_places_are_kept() {
    let mut request = request(at(512, 256), BELOW_4G);
    request.places = places("kernel=0x28000000,purgatory=0x20001000,elfcorehdr=0x2ffff000");
    let layout = place(&request).unwrap();
    assert_eq!(layout.kernel.start(), PhysAddr(0x2800_0000));
    assert_eq!(layout.purgatory, span(0x2000_1000, 0x2000_1fff));
    assert_eq!(layout.elfcorehdr, span(0x2fff_f000, 0x2fff_ffff));
}

/// Catches a place by hand that goes to kexec_load unchecked, or that is moved without a word.
#[test]
fn bad_places_are_refused_by_name() {
    let with = |text: &str, any: Limit| {
        let mut request = request(at(800, 256), any);
        request.places = places(text);
        request
    };
    for (text, message) in [
        ("initrd=0x32000800", "the initrd cannot lie there: 0x32000800 is not a multiple of 4096"),
        ("initrd=0x31fff000", "leaves the crash region 0x32000000-0x41ffffff"),
        ("kernel=0x41000000", "with 0x2900000 bytes from 0x41000000 on it leaves"),
        ("kernel=0xfffffffffffff000", "leaves the crash region"),
        (
            "kernel=0x33000000,initrd=0x33400000",
            "the initrd cannot lie there: 0x33400000-0x33523fff overlaps the kernel at",
        ),
        ("purgatory=0x38000000", "0x38000000-0x38000fff reaches beyond 0x36ffdfff, the highest"),
        ("kernel=0x33100000", "it runs at multiples of 0x200000, and not below 0x1000000"),
        ("backup=0x33000000", "the backup cannot lie there: this load has none"),
    ] {
        let error = place(&with(text, I386)).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let mut request = with("kernel=0x33100000", UNLIMITED);
    request.ignore_alignment = true;
    assert!(place(&request).is_ok());
    request.places = places("initrd=0x32000000");
    request.initrd_size = None;
    assert!(place(&request).unwrap_err().to_string().contains("this load has none"));
}

/// A small world: pages are few, so that every placement can be looked at. One page in it stands for one of memory.
fn small_world() -> impl Strategy<Value = Request> {
    const START: u64 = 1 << 20;
    let limit = || {
        (0u64..14).prop_map(|pages| match pages {
            12.. => UNLIMITED,
            pages => Limit { last: PhysAddr(START + pages * PAGE - 1), why: Why::I386Capture },
        })
    };
    let backup = prop::option::weighted(0.3, 1u64..3);
    let sizes = (1u64..5, prop::option::of(1u64..4), 1u64..3, 1u64..3, 1u64..3, backup);
    let reserves = prop::collection::vec((1u64..4, limit()), 0..3);
    let kernel = (0u32..3, 0u64..8, prop::option::weighted(0.3, 0u64..8 * PAGE));
    let place = prop::option::weighted(0.2, 0u64..10);
    ((0u64..3, 4u64..12), (limit(), limit(), limit()), sizes, reserves, kernel, (place.clone(), place))
        .prop_map(
            |(
                (start, size),
                (kernel_limit, initrd, others),
                sizes,
                reserves,
                (align, pref, mem_min),
                (kernel_at, initrd_at),
            )| {
                let address = |pages: u64| START + pages * PAGE;
                let mut places = Places::default();
                if let Some(pages) = kernel_at {
                    places.add(alloc::format!("kernel={:#x}", address(pages)).as_bytes()).unwrap();
                }
                if let (Some(pages), Some(_)) = (initrd_at, sizes.1) {
                    places.add(alloc::format!("initrd={:#x}", address(pages)).as_bytes()).unwrap();
                }
                Request {
                    region: Span::sized(PhysAddr(address(start)), size * PAGE).unwrap(),
                    limits: Limits { kernel: kernel_limit, initrd, others, control: UNLIMITED },
                    kernel_size: sizes.0 * PAGE,
                    kernel_alignment: PAGE << align,
                    pref_address: PhysAddr(address(pref)),
                    initrd_size: sizes.1.map(|pages| pages * PAGE),
                    boot_params_size: sizes.2 * PAGE,
                    purgatory_size: sizes.3 * PAGE,
                    elfcorehdr_size: sizes.4 * PAGE,
                    backup_size: sizes.5.map(|pages| pages * PAGE),
                    reserves: reserves.into_iter().map(|(pages, limit)| control(pages, limit)).collect(),
                    places,
                    mem_min: PhysAddr(mem_min.map_or(0, |bytes| START + bytes)),
                    ignore_alignment: false,
                }
            },
        )
}

/// What is asked of any layout, written down without a look at how layouts are made.
fn broken_promise(request: &Request, spans: &[(SegmentKind, Span)]) -> Option<&'static str> {
    let size = |kind| match kind {
        SegmentKind::Kernel => Some(request.kernel_size),
        SegmentKind::Initrd => request.initrd_size,
        SegmentKind::BootParams => Some(request.boot_params_size),
        SegmentKind::Purgatory => Some(request.purgatory_size),
        SegmentKind::ElfCoreHeader => Some(request.elfcorehdr_size),
        SegmentKind::Backup => request.backup_size,
    };
    for kind in SegmentKind::ALL {
        let mut of_kind = spans.iter().filter(|(other, _)| *other == kind).map(|(_, span)| *span);
        match (of_kind.next(), size(kind)) {
            (Some(span), Some(size)) if span.size() >= size && span.size() < size + PAGE => {}
            (None, None) => {}
            _ => return Some("a segment is missing, too small, or too large"),
        }
    }
    for (index, (kind, span)) in spans.iter().enumerate() {
        let limit = match kind {
            SegmentKind::Kernel => request.limits.kernel,
            SegmentKind::Initrd => request.limits.initrd,
            _ => request.limits.others,
        };
        if span.start().0 % PAGE != 0 || span.size() % PAGE != 0 {
            return Some("not whole pages");
        }
        if span.start() < request.region.start() || span.last() > request.region.last() {
            return Some("outside of the region");
        }
        if span.last() > limit.last {
            return Some("beyond its limit");
        }
        if span.start() < request.mem_min {
            return Some("below --mem-min");
        }
        if spans[index + 1..]
            .iter()
            .any(|(_, other)| other.start() <= span.last() && span.start() <= other.last())
        {
            return Some("overlap");
        }
        if request.places.get(*kind).is_some_and(|place| place != span.start()) {
            return Some("not where it was put");
        }
        let moves = span.start().0 % request.kernel_alignment != 0 || span.start() < request.pref_address;
        if *kind == SegmentKind::Kernel && moves {
            return Some("the kernel moves");
        }
    }
    let free = |limit: PhysAddr| {
        let low = |span: Span| (span.last().min(limit).0 + 1).saturating_sub(span.start().0);
        low(request.region).saturating_sub(spans.iter().map(|(_, span)| low(*span)).sum())
    };
    // A page that the region has in part is of no use to anybody.
    let partial = 2 * PAGE - 2;
    let short = request.reserves.iter().any(|reserve| {
        let free = free(PhysAddr(reserve.limit.last.0.min(u64::MAX - 1)));
        free + if request.region.size() % PAGE == 0 { 0 } else { partial } < reserve.bytes
    });
    short.then_some("too little is left")
}

/// Whether any placement at all keeps the promises: every page is tried for every segment.
fn possible(request: &Request, placed: &mut Vec<(SegmentKind, Span)>) -> bool {
    let sizes = [
        Some(request.kernel_size),
        request.initrd_size,
        Some(request.boot_params_size),
        Some(request.purgatory_size),
        Some(request.elfcorehdr_size),
        request.backup_size,
    ];
    let wanted: Vec<_> =
        SegmentKind::ALL.into_iter().zip(sizes).filter_map(|(kind, size)| Some((kind, size?))).collect();
    let Some(&(kind, size)) = wanted.get(placed.len()) else {
        return broken_promise(request, placed).is_none();
    };
    let pages = request.region.size() / PAGE;
    (0..pages).any(|page| {
        let span = Span::sized(PhysAddr(request.region.start().0 + page * PAGE), size).unwrap();
        // Only to end hopeless branches early.
        if placed.iter().any(|(_, other)| other.intersect(span).is_some()) || !request.region.contains(span) {
            return false;
        }
        placed.push((kind, span));
        let possible = possible(request, placed);
        placed.pop();
        possible
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A refusal means that no placement exists, and a layout is one. Catches every order that is not tried, a kernel lowered at
    /// the cost of what must be left, and a limit that holds for the wrong segment.
    #[test]
    fn refused_means_impossible(request in small_world()) {
        match place(&request) {
            Ok(layout) => prop_assert_eq!(broken_promise(&request, &layout.spans()), None, "{:?}", layout),
            Err(refusal) => prop_assert!(!possible(&request, &mut Vec::new()), "{}", refusal),
        }
    }
}

#[path = "layout_regions_tests.rs"]
mod regions;
