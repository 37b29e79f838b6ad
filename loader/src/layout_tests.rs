//! Tests of the layout: tables at the limits, and properties over thousands of regions around them.

use super::*;
use crate::rule::I386_LAST;
use crate::testing::span;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const UNLIMITED: Limit = Limit { last: PhysAddr(u64::MAX), why: Why::Unlimited };
const I386: Limit = Limit { last: I386_LAST, why: Why::I386Capture };
const BELOW_4G: Limit = Limit { last: PhysAddr::LAST_32BIT, why: Why::CompatCall };

fn request(region: Span, any: Limit) -> Request {
    Request {
        region,
        limits: Limits { any, initrd: any, region: UNLIMITED },
        kernel_size: 0x0290_0000,
        kernel_alignment: 2 * MIB,
        pref_address: PhysAddr(16 * MIB),
        initrd_size: Some(0x12_3456),
        boot_params_size: 4096 + 300,
        purgatory_size: 1000,
        elfcorehdr_size: 2000,
        control_pages: 64 * PAGE,
    }
}

fn at(mib: u64, size_mib: u64) -> Span {
    Span::sized(PhysAddr(mib * MIB), size_mib * MIB).unwrap()
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

/// The limit of an i386 first kernel holds for the region as a whole: its last byte decides.
#[test]
fn a_region_limit_counts_the_last_byte() {
    let mut request = request(at(640, 256), UNLIMITED);
    request.limits.region = Limit { last: I386_LAST, why: Why::I386First };
    assert!(place(&request).is_ok());
    request.region = span(640 * MIB, 896 * MIB);
    assert!(matches!(
        place(&request),
        Err(Refusal::BeyondLimit { limit: Limit { why: Why::I386First, .. }, .. })
    ));
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

/// Catches a region filled to the last page: the running kernel then finds no control page (ENOMEM).
#[test]
fn control_pages_are_left() {
    let mut request = request(at(512, 64), UNLIMITED);
    request.initrd_size = None;
    let used: u64 = place(&request).unwrap().spans().iter().map(|(_, span)| span.size()).sum();
    request.initrd_size = Some(64 * MIB - used - 63 * PAGE);
    assert!(matches!(place(&request), Err(Refusal::NoRoomForControlPages { .. })));
    request.initrd_size = Some(64 * MIB - used - 64 * PAGE);
    assert!(place(&request).is_ok());
}

/// Addresses near the limits that matter: 896 MiB, 2 GiB, 4 GiB, and the first 16 MiB.
fn near_a_limit() -> impl Strategy<Value = u64> {
    (
        prop::sample::select(vec![0, 16 * MIB, 896 * MIB, 2048 * MIB, 4096 * MIB, 1 << 40]),
        -512i64..512,
        0u64..4,
    )
        .prop_map(|(limit, mib, pages)| {
            limit.saturating_add_signed(mib * MIB as i64).saturating_add(pages * PAGE)
        })
}

fn any_request() -> impl Strategy<Value = Request> {
    let sizes =
        (1u64..96 * MIB, 12u32..25, 1u64..64 * MIB, any::<bool>(), 1u64..20_000, 1u64..40_000, 1u64..20_000);
    let limit = prop::sample::select(vec![UNLIMITED, I386, BELOW_4G]);
    (near_a_limit(), 1u64..600 * MIB, limit.clone(), limit, sizes).prop_map(
        |(start, size, any, initrd, sizes)| {
            let (
                kernel_size,
                align,
                initrd_size,
                has_initrd,
                boot_params_size,
                purgatory_size,
                elfcorehdr_size,
            ) = sizes;
            Request {
                region: Span::sized(PhysAddr(start), size).unwrap(),
                limits: Limits {
                    any,
                    initrd: if initrd.last < any.last { initrd } else { any },
                    region: UNLIMITED,
                },
                kernel_size,
                kernel_alignment: 1 << align,
                pref_address: PhysAddr(16 * MIB),
                initrd_size: has_initrd.then_some(initrd_size),
                boot_params_size,
                purgatory_size,
                elfcorehdr_size,
                control_pages: 64 * PAGE,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What kexec_load and the kernels demand of any layout: whole pages inside of the region and below the limits, no
    /// overlaps, all the room that each segment needs, and the kernel where it stays.
    #[test]
    fn every_layout_keeps_the_promises(request in any_request()) {
        let Ok(layout) = place(&request) else { return Ok(()) };
        let spans = layout.spans();
        for (kind, span) in &spans {
            prop_assert_eq!(span.start().0 % PAGE, 0, "{} is not page aligned", kind);
            prop_assert_eq!(span.size() % PAGE, 0, "{} is not whole pages", kind);
            prop_assert!(request.region.contains(*span), "{} leaves the region", kind);
            prop_assert!(span.last() <= request.limits.any.last, "{} is above the limit", kind);
        }
        for pair in spans.windows(2) {
            prop_assert!(pair[0].1.last() < pair[1].1.start(), "{:?} overlap", pair);
        }
        prop_assert!(layout.kernel.size() >= request.kernel_size);
        prop_assert_eq!(layout.kernel.start().0 % request.kernel_alignment, 0);
        prop_assert!(layout.kernel.start() >= request.pref_address);
        prop_assert_eq!(layout.initrd.is_some(), request.initrd_size.is_some());
        if let (Some(span), Some(size)) = (layout.initrd, request.initrd_size) {
            prop_assert!(span.size() >= size && span.last() <= request.limits.initrd.last);
        }
        prop_assert!(layout.boot_params.size() >= request.boot_params_size);
        prop_assert!(layout.purgatory.size() >= request.purgatory_size);
        prop_assert!(layout.elfcorehdr.size() >= request.elfcorehdr_size);
        let used: u64 = spans.iter().map(|(_, span)| span.size()).sum();
        prop_assert!(request.region.size() - used >= request.control_pages);
    }

    /// A refusal is no way out of work: where the needs fit twice over, there is a layout.
    #[test]
    fn ample_room_is_never_refused(request in any_request()) {
        let usable = Span::new(
            request.region.start().max(request.pref_address),
            request.region.last().min(request.limits.any.last).min(request.limits.initrd.last),
        );
        let needs = request.kernel_size
            + request.initrd_size.unwrap_or(0)
            + request.boot_params_size
            + request.purgatory_size
            + request.elfcorehdr_size
            + request.control_pages
            + 2 * request.kernel_alignment
            + 16 * PAGE;
        if usable.is_some_and(|usable| usable.size() >= needs) {
            prop_assert!(place(&request).is_ok(), "{:?}", place(&request));
        }
    }
}
