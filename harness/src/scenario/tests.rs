//! The scenarios of this repository, and what a file can have wrong.

mod generated;
mod machines;
mod refused;

use super::*;
use crate::outcome::{Expectation, ExpectedRefuser, ExpectedVmcore, HangCause};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SEED: &str = include_str!("../../../scenarios/seed.yaml");
const SMOKE: &str = include_str!("../../../scenarios/smoke.yaml");

/// No suite lies beside these texts.
fn no_base(suite: &str) -> (String, Result<String, String>) {
    (format!("{suite}.yaml"), Err("No such file".to_owned()))
}

fn suite(file: &str, text: &str) -> Suite {
    parse(file, text, &Catalog::locked().unwrap(), &no_base).unwrap_or_else(|problems| panic!("{problems}"))
}

fn seed() -> Suite {
    suite("seed.yaml", SEED)
}

fn expected<'s>(suite: &'s Suite, id: &str) -> &'s Expectation {
    &suite.cells.iter().find(|cell| cell.id.0 == id).unwrap_or_else(|| panic!("no cell {id}")).expected
}

#[test]
fn the_seed_expects_what_the_design_says() {
    // Rules are read from the top: one that stands too high takes cells which a later one was written for.
    let seed = seed();
    let verified = Expectation::captured(ExpectedVmcore::Verified);
    let absent = Expectation::captured(ExpectedVmcore::Absent);
    for (id, expectation) in [
        ("5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g", &verified),
        ("5.10-amd64.i386.in-tree.5.10-amd64.192M@3264M.pc-3520m", &verified),
        ("5.10-amd64.x86_64.in-tree.5.10-amd64.256M-high.pc-6g", &verified),
        ("5.10-amd64.i386.in-tree.5.10-686-pae.256M@512M.pc-4g", &verified),
        ("5.10-686-pae.i386.in-tree.5.10-686-pae.192M-high.pc-6g", &verified),
        ("5.10-686-pae.i386.in-tree.5.10-amd64.256M@512M.pc-4g", &verified),
        ("5.10-686-pae.i386.in-tree.5.10-amd64.192M.pc-4g", &verified),
        ("5.10-amd64.i386.in-tree.6.1-686.256M@512M.pc-6g", &absent),
        ("5.10-amd64.i386.in-tree.6.1-686.256M@512M.pc-3g", &verified),
        ("5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g.ignore-address-limits", &verified),
        (
            "5.10-amd64.x86_64.in-tree.5.10-686-pae.256M@1968M.pc-4g.ignore-address-limits",
            &Expectation::Hung { cause: HangCause::DestinationTooLarge },
        ),
        (
            "5.10-686-pae.i386.in-tree.5.10-amd64.256M@1968M.pc-4g.ignore-address-limits",
            &Expectation::Hung { cause: HangCause::FaultInPanicPath },
        ),
        (
            "5.10-686-pae.i386.in-tree.5.10-686-pae.192M@3264M.pc-3520m.ignore-address-limits",
            &Expectation::Refused { by: ExpectedRefuser::Kernel, message: vec!["ENOMEM".to_owned()] },
        ),
        (
            "5.10-amd64.i386.kexec-tools-2.0.20.5.10-amd64.192M@3264M.pc-3520m",
            &Expectation::Refused {
                by: ExpectedRefuser::Loader,
                message: vec![
                    "Could not find a free area of memory of 0x8000 bytes...".to_owned(),
                    "locate_hole failed".to_owned(),
                ],
            },
        ),
        (
            "5.10-amd64.x86_64.in-tree.5.10-686-pae.192M@3264M.pc-3520m",
            &Expectation::Refused {
                by: ExpectedRefuser::Loader,
                message: ["0xcc000000-0xd7ffffff", "0x36ffdfff", "i386 capture kernel"]
                    .map(str::to_owned)
                    .to_vec(),
            },
        ),
    ] {
        assert_eq!(expected(&seed, id), expectation, "{id}");
    }
}

#[test]
fn the_loaders_refusals_are_expected_with_a_message() {
    // Without one, a refusal for any other reason would pass.
    for cell in &seed().cells {
        if let (crate::cell::Loader::InTree, Expectation::Refused { message, .. }) =
            (&cell.loader, &cell.expected)
        {
            assert!(!message.is_empty(), "{}", cell.id);
        }
    }
}

#[test]
fn the_example_of_the_documentation_is_a_scenario() {
    // People begin with a copy of it.
    let readme = include_str!("../../../scenarios/README.md");
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = suite("README.md", example);
    assert!(!example.cells.is_empty() && !example.skipped.is_empty());
}

#[test]
fn smoke_has_each_kind_of_outcome() {
    let smoke = suite("smoke.yaml", SMOKE);
    let kinds: BTreeSet<String> =
        smoke.cells.iter().map(|cell| crate::judge::describe_expectation(&cell.expected)).collect();
    for kind in ["captured", "refused by the loader", "decompressor refused", "faulted in its panic path"] {
        assert!(kinds.iter().any(|words| words.contains(kind)), "{kind}: {kinds:?}");
    }
    assert!(smoke.cells.len() <= 10, "continuous integration pays for each");
}

#[test]
fn the_loaders_suite_has_every_circumstance() {
    // One that no cell meets with is never tried; and what smoke takes out of this suite must be the same trial.
    let text = include_str!("../../../scenarios/loader.yaml");
    let loader = suite("loader.yaml", text);
    let met: BTreeSet<&str> = loader.cells.iter().map(|cell| cell.circumstances.name()).collect();
    assert_eq!(met, guest_protocol::Circumstances::ALL.map(|known| known.name()).into());
    assert!((50..=100).contains(&loader.cells.len()), "{}", loader.cells.len());
    combine(vec![loader, suite("smoke.yaml", SMOKE)]).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn smoke_and_seed_agree_where_they_meet() {
    // Cells of both in one run are run once, so they have to be the same trial with the same expectation, wording aside.
    let (cells, _) =
        combine(vec![seed(), suite("smoke.yaml", SMOKE)]).unwrap_or_else(|problems| panic!("{problems}"));
    let ids: BTreeSet<_> = cells.iter().map(|cell| &cell.id).collect();
    assert_eq!(ids.len(), cells.len());
}

#[test]
fn ids_are_fit_for_file_names_and_filters() {
    for cell in &seed().cells {
        let id = &cell.id.0;
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c)), "{id}");
        assert!(format!("id={id}").parse::<crate::filter::Filter>().unwrap().matches(cell), "{id}");
    }
}

#[test]
fn long_words_are_told_apart_by_their_digest() {
    // An id that is too long for a folder's name forbids the cell; one that is cut makes two cells of two lists the same.
    let of = |last: u32| {
        let ranges: Vec<String> = (0..100).chain([last]).map(|mib| format!("4K${mib}M")).collect();
        let words = format!("    first-cmdline: ['memmap={}']\n    capture:", ranges.join(","));
        suite("my.yaml", &refused::GOOD.replacen("    capture:", &words, 1)).cells.remove(0).id.0
    };
    assert!(
        of(200).starts_with("5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g.first-memmap_4K_0M_4K"),
        "{}",
        of(200)
    );
    assert_ne!(of(200), of(201));
    assert!(of(200).len() < 120);
}

#[test]
fn circumstances_are_an_axis_of_every_load() {
    // Two circumstances with one id would be one cell, and the one without any must keep the id that it always had.
    let text = refused::GOOD.replacen("cpus: 1", "firmware: uefi", 1).replacen(
        "    capture:",
        "    circumstances: [none, lockdown, reload-fails]\n    capture:",
        1,
    );
    let suite = suite("my.yaml", &text);
    let ids: Vec<&str> = suite.cells.iter().map(|cell| cell.id.0.as_str()).collect();
    let cell = "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g";
    assert_eq!(ids, [cell.to_owned(), format!("{cell}.lockdown"), format!("{cell}.reload-fails")]);
    let of = |filter: &str| {
        let filter: crate::filter::Filter = filter.parse().unwrap();
        suite.cells.iter().filter(|cell| filter.matches(cell)).count()
    };
    assert_eq!((of("circumstances=lockdown"), of("circumstances!=none")), (1, 2));
    assert_eq!((of("firmware=uefi"), of("firmware=bios")), (3, 0));
}

#[test]
fn other_loaders_take_the_place_of_the_suites_own() {
    let catalog = Catalog::locked().unwrap();
    let kexec = crate::cell::Loader::KexecTools("2.0.25".to_owned());
    let overrides = Overrides { loaders: vec![kexec.clone()], ..Overrides::default() };
    let seed = seed().with(&overrides, &catalog).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(seed.cells.iter().all(|cell| cell.loader == kexec));
    // What it cannot do is skipped with a reason, not run to a meaningless failure.
    let why = |id: &str| {
        seed.skipped.iter().find(|skipped| skipped.cell.id.0 == id).map(|skipped| skipped.why.as_str())
    };
    let args =
        why("5.10-amd64.i386.kexec-tools-2.0.25.5.10-amd64.256M@1968M.pc-4g.ignore-address-limits").unwrap();
    assert!(args.contains("--ignore-address-limits"), "{args}");
    let ids: BTreeSet<_> = seed
        .cells
        .iter()
        .chain(seed.skipped.iter().map(|skipped| &skipped.cell))
        .map(|cell| &cell.id)
        .collect();
    assert_eq!(ids.len(), seed.cells.len() + seed.skipped.len());
}

#[test]
fn a_local_kernel_takes_the_place_of_those_of_its_architecture() {
    let local = Kernel {
        name: "bzImage".to_owned(),
        arch: Arch::X86_64,
        pae: true,
        path: Some("/tmp/bzImage".into()),
    };
    let overrides = Overrides { capture: Some(local.clone()), ..Overrides::default() };
    let changed =
        seed().with(&overrides, &Catalog::locked().unwrap()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!changed.cells.is_empty() && changed.cells.iter().all(|cell| cell.capture == local));
    let id = "5.10-686-pae.i386.in-tree.bzImage.256M@512M.pc-4g";
    assert_eq!(expected(&changed, id), &Expectation::captured(ExpectedVmcore::Verified));
}

/// Bug: a cell with another kernel in it keeps the id of the old one, or is expected to come to something else by it.
#[test]
fn a_cell_with_other_kernels_is_named_by_them() {
    let seed = seed();
    let cell = &seed.cells[0];
    let other = Kernel { name: "6.12-amd64".to_owned(), ..cell.first.clone() };
    let changed = with_kernels(cell, Some(other.clone()), None);
    assert_eq!(
        (&changed.first, &changed.capture, &changed.expected),
        (&other, &cell.capture, &cell.expected)
    );
    assert_eq!(changed.id.0, cell.id.0.replacen(&cell.first.name, "6.12-amd64", 1));
    assert_eq!(with_kernels(cell, None, None), *cell);
}

#[test]
fn skipped_cells_are_kept_with_their_reason() {
    let text = SMOKE
        .replace("\nexpect:", "\nskip:\n  - when: loader=kexec-tools\n    why: no time today\n\nexpect:");
    let smoke = suite("smoke.yaml", &text);
    assert_eq!(smoke.skipped.len(), 1);
    assert_eq!(smoke.skipped[0].why, "no time today");
    assert!(!smoke.cells.contains(&smoke.skipped[0].cell));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// An id that depends on the place in the file would lose the history of a cell whenever somebody sorts a list.
    #[test]
    fn ids_do_not_depend_on_the_order_of_the_file(seed in any::<u64>()) {
        let cells_by_id = |text: &str| -> BTreeMap<String, Cell> {
            suite("shuffled.yaml", text).cells.into_iter().map(|cell| (cell.id.0.clone(), cell)).collect()
        };
        prop_assert_eq!(cells_by_id(&shuffled(SEED, seed)), cells_by_id(SEED));
    }
}

/// The scenario with its blocks and the lists in them in another order.
fn shuffled(text: &str, mut seed: u64) -> String {
    fn shuffle(items: &mut [serde_yaml::Value], seed: &mut u64) {
        for last in (1..items.len()).rev() {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            items.swap(last, usize::try_from(*seed >> 33).unwrap() % (last + 1));
        }
    }
    let mut document: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
    let blocks = document.get_mut("matrix").unwrap().as_sequence_mut().unwrap();
    shuffle(blocks, &mut seed);
    for block in blocks {
        for (key, axis) in block.as_mapping_mut().unwrap() {
            // The order of words on a command line is theirs.
            if !key.as_str().unwrap().ends_with("-cmdline") {
                shuffle(axis.as_sequence_mut().unwrap(), &mut seed);
            }
        }
    }
    serde_yaml::to_string(&document).unwrap()
}

#[test]
fn what_the_rig_changes_is_expected_to_show() {
    // A changed image that is expected to be captured would pass with a purgatory that looks at nothing.
    for cell in suite("tamper.yaml", include_str!("../../../scenarios/tamper.yaml")).cells {
        let stops = matches!(cell.expected, Expectation::StoppedByPurgatory { .. });
        assert_eq!(stops, cell.tamper.segment().is_some(), "{}", cell.id);
    }
}

#[test]
fn every_contest_has_both_sides() {
    // A loader of this repository without a reference beside it has no ratio.
    let cells = suite("bench.yaml", include_str!("../../../scenarios/bench.yaml")).cells;
    let of = |ours: bool| {
        let cells = cells.iter().filter(move |cell| (cell.loader == crate::cell::Loader::InTree) == ours);
        let names =
            cells.map(|cell| (cell.first.name.as_str(), cell.userspace.name(), cell.reservation.to_string()));
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(of(true), of(false));
    assert_eq!(of(true).len(), 3);
}
