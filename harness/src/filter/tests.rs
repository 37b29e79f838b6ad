//! What expressions select, where errors point, and that printing and parsing agree.

use super::*;
use crate::cell::{CellId, Firmware, FirstBoot, Kernel, Loader, LowMemory, Platform, Tamper, Trigger};
use crate::outcome::{Expectation, ExpectedVmcore};
use guest_protocol::{Arch, Circumstances};
use proptest::prelude::*;
use std::num::NonZeroU32;

fn cell() -> Cell {
    let kernel = |name: &str, arch| Kernel { name: name.to_owned(), arch, pae: true, path: None };
    Cell {
        id: CellId("5.10-amd64.i386.kexec-tools-2.0.25.5.10-686-pae.256M@1968M.pc-4g".to_owned()),
        suite: "seed".to_owned(),
        first: kernel("5.10-amd64", Arch::X86_64),
        userspace: Arch::I386,
        loader: Loader::KexecTools("2.0.25".to_owned()),
        loader_args: vec!["--a".to_owned(), "--b=c d".to_owned()],
        circumstances: Circumstances::None,
        capture: kernel("5.10-686-pae", Arch::I386),
        reservation: "256M@1968M".parse().unwrap(),
        platform: Platform {
            name: "pc-4g".to_owned(),
            machine: "pc,max-ram-below-4g=4G".to_owned(),
            memory: "4G".parse().unwrap(),
            cpu: "qemu64".to_owned(),
            cpus: NonZeroU32::new(2).unwrap(),
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        tamper: Tamper::BootParams,
        low_memory: LowMemory::Planted,
        expected: Expectation::captured(ExpectedVmcore::Verified),
    }
}

fn parse(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_axis_selects_by_its_value() {
    // An axis that reads another field selects the wrong cells, silently.
    for selecting in [
        "id~^5.10-amd64",
        "suite=seed",
        "first=5.10-amd64",
        "first.arch=x86_64",
        "userspace=i386",
        "loader=kexec-tools",
        "loader=kexec-tools@2.0.25",
        "args=\"--a --b=c d\"",
        "args~--b",
        "circumstances=none",
        "capture=5.10-686-pae",
        "capture.arch=i386",
        "pair=x86_64->i386",
        "tamper=boot_params",
        "low-memory=planted",
        "reservation=at",
        "reservation=256M@1968M",
        "reservation~1968",
        "region=above",
        "platform=pc-4g",
        "machine=\"pc,max-ram-below-4g=4G\"",
        "memory=4G",
        "memory=4096M",
        "cpus=2",
        "firmware=bios",
        "trigger=nmi",
        "size=256M",
        "region.start=1968M",
        "region.start=0x7b000000",
        "region.last=0x8affffff",
        "all",
    ] {
        assert!(parse(selecting).matches(&cell()), "{selecting}");
        assert!(!parse(&format!("!({selecting})")).matches(&cell()), "{selecting}");
    }
    for other in [
        "id=5.10-amd64",
        "loader=in-tree",
        "loader=kexec-tools@2.0.20",
        "args=--a",
        "pair=i386->x86_64",
        "reservation=auto",
        "reservation=256M@512M",
        "region=below",
        "memory=8G",
        "cpus=1",
        "firmware=uefi",
        "circumstances=lockdown",
        "reservation!=at",
    ] {
        assert!(!parse(other).matches(&cell()), "{other}");
    }
}

#[test]
fn regions_are_told_apart_at_896_mib() {
    let region = |reservation: &str| {
        let mut cell = cell();
        cell.reservation = reservation.parse().unwrap();
        Axis::Region.values(&cell).remove(0)
    };
    assert_eq!(region("256M@640M"), "below");
    assert_eq!(region("256M@656M"), "across");
    assert_eq!(region("256M@896M"), "above");
    assert_eq!(region("256M"), "auto");
    assert_eq!(region("256M,high"), "auto");
}

#[test]
fn numbers_are_compared_as_numbers() {
    // Compared as text, 1968M lies below 896M and 0x8affffff above everything.
    for (text, selected) in [
        ("region.start>=896M", true),
        ("region.start >= 1968M", true),
        ("region.start>1968M", false),
        ("region.start<0x7b000001", true),
        ("region.last<0x8affffff", false),
        ("region.last<=0x8affffff", true),
        ("size<64M", false),
        ("size>=256M & size<=256M", true),
        ("memory>4G", false),
        ("memory>=4G", true),
        ("memory<4097M", true),
        ("cpus>1", true),
        ("cpus<2|size>255M", true),
    ] {
        assert_eq!(parse(text).matches(&cell()), selected, "{text}");
    }
}

#[test]
fn a_region_without_a_fixed_place_has_no_start() {
    // With a start of zero, `region.start<896M` would take every automatic region for one below the limit.
    let mut cell = cell();
    cell.reservation = "256M".parse().unwrap();
    for text in ["region.start<896M", "region.start>=896M", "region.last<4G", "region.start=0x0"] {
        assert!(!parse(text).matches(&cell), "{text}");
    }
    assert!(parse("region.start!=896M & size=256M").matches(&cell));
}

#[test]
fn operators_bind_as_documented() {
    for (text, selected) in [
        ("userspace=x86_64 & cpus=1 | cpus=2", true),
        ("userspace=x86_64 & (cpus=1 | cpus=2)", false),
        ("cpus=2 | userspace=x86_64 & cpus=1", true),
        ("!cpus=1 & cpus=2", true),
        ("!(cpus=1 | cpus=2)", false),
        ("!!cpus=2", true),
        ("cpus != 1&region = above", true),
    ] {
        assert_eq!(parse(text).matches(&cell()), selected, "{text}");
    }
}

#[test]
fn errors_point_at_their_place() {
    for (text, column, words) in [
        ("", 1, "expected an axis"),
        ("userspce=i386", 1, "unknown axis `userspce`; known: id, suite"),
        ("cpus=2 & frist=x", 10, "unknown axis"),
        ("cpus", 5, "expected =, !=, ~, <, <=, > or >="),
        ("first", 6, "expected =, != or ~ after"),
        ("first<5.10", 6, "`first` has no order"),
        ("cpus=2 & pair>=x86_64->i386", 14, "compared is region.start, region.last, size, memory, cpus"),
        ("memory>4", 8, "`memory` is never \"4\": it is whole M or G"),
        ("memory>", 8, "expected a value for `memory`"),
        ("size<+64M", 6, "never"),
        ("cpus>=two", 7, "`cpus` is never \"two\": it is a number"),
        ("region.last<36ffe000", 13, "0x36ffe000"),
        ("firmware=efi", 10, "it is bios or uefi"),
        ("cpus=", 6, "expected a value for `cpus`"),
        ("cpus=two", 6, "`cpus` is never \"two\""),
        ("userspace=i368", 11, "it is i386 or x86_64"),
        ("pair=x86_64-i386", 6, "never"),
        ("reservation=256", 13, "never"),
        ("region=high", 8, "never"),
        ("loader=intree", 8, "never"),
        ("(cpus=2", 1, "never closed"),
        ("cpus=2)", 7, "never opened"),
        ("(cpus=2 cpus=1)", 9, "expected & or |"),
        ("cpus=2 cpus=1", 8, "expected & or |"),
        ("cpus=2 &", 9, "expected an axis"),
        ("cpus=2 && cpus=2", 9, "expected an axis"),
        ("id~\"a", 4, "quote is never closed"),
        ("id~\"(\"", 4, "not a regular expression"),
        ("é=1", 1, "unknown axis"),
    ] {
        let error = text.parse::<Filter>().unwrap_err();
        assert_eq!(error.column(), column, "{error}");
        assert!(error.what().contains(words), "{error}");
    }
    let shown = "cpus=2 & frist=x".parse::<Filter>().unwrap_err().to_string();
    let lines: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(lines, ["  cpus=2 & frist=x", "           ^^^^^"]);
    assert!("(".repeat(100_000).parse::<Filter>().is_err(), "must not exhaust the stack");
    assert!("!".repeat(100_000).parse::<Filter>().is_err(), "must not exhaust the stack");
}

fn expr() -> impl Strategy<Value = Expr> {
    let free = prop::sample::select(vec![
        Axis::Id,
        Axis::Suite,
        Axis::First,
        Axis::Args,
        Axis::Capture,
        Axis::Machine,
    ]);
    let leaf = prop_oneof![
        Just(Expr::Everything),
        (free.clone(), "\\PC{0,8}").prop_map(|(axis, value)| Expr::Test { axis, test: Test::Is(value) }),
        (free.clone(), "[a-z\\\\\" &|!()=~.]{0,8}")
            .prop_map(|(axis, value)| Expr::Test { axis, test: Test::IsNot(value) }),
        (free, "[a-z.^$]{0,6}|\\\\d+\\(\"").prop_filter_map("a regular expression", |(axis, value)| {
            Regex::new(&value).ok().map(|regex| Expr::Test { axis, test: Test::Matches(regex) })
        }),
    ];
    let ordered = prop::sample::select(vec![Axis::Size, Axis::RegionStart, Axis::RegionLast, Axis::Memory]);
    let relation =
        prop::sample::select(vec![Relation::Below, Relation::AtMost, Relation::Above, Relation::AtLeast]);
    let comparison = (ordered, relation, any::<u64>(), 0u32..33).prop_map(|(axis, relation, than, zeros)| {
        Expr::Test { axis, test: Test::Compares(relation, (than >> zeros) << zeros) }
    });
    let leaf = prop_oneof![leaf, comparison];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

proptest! {
    /// A filter that is shown to people must mean what was asked when it is pasted back.
    #[test]
    fn what_is_printed_parses_to_the_same(expr in expr()) {
        let filter = Filter(expr);
        prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
    }

    /// Whatever is typed gives a filter or an error whose caret lies in the text.
    #[test]
    fn anything_typed_is_borne(text in "\\PC{0,40}|[a-z.&|!()=~<>\" ]{0,40}") {
        if let Err(error) = text.parse::<Filter>() {
            prop_assert!(error.column() <= text.chars().count() + 1);
            prop_assert_eq!(error.to_string().lines().count(), 3);
        }
    }
}
