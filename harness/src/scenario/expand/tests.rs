//! What is known of combinations by their numbers is what is so of the cells that they are.

use super::*;
use crate::boot::BootKey;
use crate::scenario::demands::{self, Demands};
use crate::scenario::possible::{Fate, Sieve};
use crate::scenario::written::{self, Document, Factor};

const PLATFORMS_YAML: &str = include_str!("../../../../scenarios/platforms.yaml");

/// A block in which every axis has two values, and every check a reason; the loader's name makes some ids too long.
const EVERYTHING: &str = "\
suite: mine
description: a text
matrix:
  - first: [6.1-686, 5.10-amd64]
    userspace: [x86_64, i386]
    loader: [kexec-tools@2.0.25, /opt/LONG]
    loader-args: [[--debug, --reset-vga], []]
    circumstances: [no-64-bit-code, none]
    capture: [5.10-amd64, 5.10-686-pae]
    region:
      upper: ['192M,high']
      lower: [192M@1968M]
    machines:
      hardware: [sandy-bridge, ekabini]
      memory: [4G, 32G]
      machine: [q35, pc]
      firmware: [bios, uefi]
      cpus: [1, 4]
    trigger: [sysrq-trigger, nmi]
    reader: [vmcore-dmesg@2.0.25, vmcore-dmesg@2.0.20]
    tamper: [kernel, none]
    low-memory: [planted, untouched]
    without:
      - firmware=uefi & machine=q35
      - userspace=x86_64 & pair=x86_64->i386 & trigger=nmi
      - id~ekabini-32g-pc-4cpu.debug
    coverage: pairwise
expect:
  - when: all
    outcome: observed
";

/// Does something with the cross of the first block.
fn with_cross(text: &str, with: impl FnOnce(&Cross<'_>, &Block, &Catalog)) {
    let Ok(Document::Whole(written)) = written::read(text) else { panic!("no scenario: {text}") };
    let hardware = Platforms::read(PLATFORMS_YAML).unwrap();
    let mut catalog = Catalog::locked().unwrap();
    // One that is there for one userspace only.
    catalog.loaders.retain(|loader| loader.version != "2.0.25" || loader.arch == guest_protocol::Arch::I386);
    let block = &written.matrix.0[0];
    let mut expansion = Expansion::new(&written, &hardware, &catalog);
    let cross = expansion.cross(block, &NodePath::default());
    assert!(expansion.findings.is_empty(), "{:?}", expansion.findings);
    with(&cross, block, &catalog);
}

fn everything() -> String {
    EVERYTHING.replace("LONG", &"long".repeat(27))
}

/// Bug: a question looks at more than it says, and what is so of one combination is taken to be so of another.
#[test]
fn what_comes_of_a_combination_is_what_its_cell_says() {
    with_cross(&everything(), |cross, block, catalog| {
        let mut sieve = Sieve::new(cross, &block.without, catalog);
        let mut fates = BTreeMap::new();
        for combination in cross.all() {
            let cell = cross.cell(combination);
            let left_out = block.without.iter().position(|filter| filter.0.matches(&cell));
            let expected = match (left_out, possible::why_impossible(&cell, catalog)) {
                (Some(filter), _) => Fate::LeftOut(filter),
                (None, Some((axis, _))) => Fate::Impossible(axis),
                (None, None) => Fate::Possible,
            };
            assert_eq!(sieve.fate(combination), expected, "{}", cell.id);
            let too_long = cell.id.0.len() > crate::scenario::id::MAX_LENGTH;
            *fates.entry(format!("{expected:?} {too_long}")).or_insert(0) += 1;
        }
        for fate in [
            "LeftOut(0) false",
            "LeftOut(1) false",
            "LeftOut(2) false",
            "Impossible(\"userspace\") false",
            "Impossible(\"region\") false",
            "Impossible(\"circumstances\") false",
            "Impossible(\"trigger\") false",
            "Impossible(\"loader\") false",
            "Impossible(\"loader\") true",
            "Impossible(\"reader\") false",
            "Possible false",
        ] {
            assert!(fates.contains_key(fate), "{fate}: {fates:?}");
        }
    });
}

/// The value of a factor, as the cell has it.
fn value(factor: Factor, cell: &Cell, region: &PlacedRegion<'_>) -> String {
    match factor {
        Factor::First => cell.first.name.clone(),
        Factor::Userspace => cell.userspace.to_string(),
        Factor::Loader => cell.loader.to_string(),
        Factor::LoaderArgs => cell.loader_args.join(" "),
        Factor::Circumstances => cell.circumstances.name().to_owned(),
        Factor::Capture => cell.capture.name.clone(),
        Factor::Region => cell.reservation.to_string(),
        Factor::Trigger => cell.trigger.name().to_owned(),
        Factor::Reader => cell.reader.as_ref().unwrap().to_string(),
        Factor::Tamper => cell.tamper.name().to_owned(),
        Factor::LowMemory => cell.low_memory.name().to_owned(),
        Factor::Pair => format!("{}{}", cell.first.arch, cell.capture.arch),
        Factor::Limit => region.limit.unwrap().to_owned(),
        Factor::Hardware => cell.platform.hardware.as_ref().unwrap().name.clone(),
        Factor::Memory => cell.platform.memory.to_string(),
        Factor::Machine => cell.platform.machine.clone(),
        Factor::Firmware => cell.platform.firmware.name().to_owned(),
        Factor::Cpus => cell.platform.cpus.to_string(),
    }
}

/// Bug: a factor's values are numbered by a choice that does not say them, so that pairs are counted which are none.
#[test]
fn a_factor_has_the_value_that_the_cell_has() {
    with_cross(&everything(), |cross, _, _| {
        let factors = Factor::AXES.into_iter().chain([Factor::Pair, Factor::Limit]);
        let words: Vec<_> = factors
            .map(|factor| {
                let said = factor.choices().iter().map(|&choice| (choice, cross.words(factor, choice)));
                (factor, said.collect::<Vec<_>>())
            })
            .collect();
        for combination in cross.all() {
            let cell = cross.cell(combination);
            for (factor, said) in &words {
                let said: String =
                    said.iter().map(|(choice, words)| words[combination.of(*choice)].as_str()).collect();
                assert_eq!(said, value(*factor, &cell, cross.region(combination)), "{factor:?} {}", cell.id);
            }
        }
    });
}

/// Bug: sets of values share a number, so that one of them never occurs; or one set has two, so that it is taken twice.
#[test]
fn a_demand_is_a_set_of_values() {
    let groups: BTreeSet<Vec<Factor>> = [
        vec![Factor::First, Factor::Memory],
        vec![Factor::Region, Factor::Hardware],
        vec![Factor::LoaderArgs, Factor::Tamper, Factor::Pair],
        vec![Factor::Capture, Factor::Machine, Factor::Firmware, Factor::Cpus],
    ]
    .into();
    with_cross(&everything(), |cross, _, _| {
        let all: Vec<Combination> = cross.all().collect();
        let rows = demands::rows(cross, &all, &Demands::new(cross, &groups));
        let mut sets = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        for (&combination, row) in all.iter().zip(&rows) {
            let cell = cross.cell(combination);
            for (group, &number) in groups.iter().zip(&row.meets) {
                let values = group.iter().map(|&factor| value(factor, &cell, cross.region(combination)));
                let set = (group, values.collect::<Vec<_>>());
                assert_eq!(*sets.entry(number).or_insert_with(|| set.clone()), set);
                assert_eq!(*numbers.entry(set).or_insert(number), number);
            }
        }
        assert_eq!(numbers.len(), 2 * 2 + 2 * 2 + 2 * 2 * 4 + 2 * 2 * 2 * 2);
    });
}

/// Bug: which of two cells that are as good is taken follows from the order of the scenario's lists, and with it their history.
#[test]
fn combinations_stand_in_the_order_of_their_ids() {
    with_cross(&everything(), |cross, _, _| {
        let all: Vec<Combination> = cross.all().collect();
        let rows = demands::rows(cross, &all, &Demands::new(cross, &BTreeSet::new()));
        let mut by_rank: Vec<(usize, String)> = all
            .iter()
            .zip(rows)
            .map(|(&combination, row)| (row.rank, cross.cell(combination).id.0))
            .collect();
        by_rank.sort();
        assert!(by_rank.is_sorted_by(|(rank, id), (next_rank, next)| rank < next_rank && id < next));
    });
}

/// Bug: rows share a boot that their cells cannot share, or have two where one is enough: of rows that are as good, those are taken that
/// cost a boot more.
#[test]
fn rows_share_a_boot_where_their_cells_do() {
    with_cross(&everything(), |cross, _, _| {
        let all: Vec<Combination> = cross.all().collect();
        let rows = demands::rows(cross, &all, &Demands::new(cross, &BTreeSet::new()));
        let mut keys = BTreeMap::new();
        let mut boots = BTreeMap::new();
        for (&combination, row) in all.iter().zip(&rows) {
            let cell = cross.cell(combination);
            let key = BootKey::of(&cell);
            assert_eq!(*keys.entry(row.boot).or_insert_with(|| key.clone()), key, "{}", cell.id);
            assert_eq!(*boots.entry(key).or_insert(row.boot), row.boot, "{}", cell.id);
        }
        // Two first kernels, two userspaces, two regions on 32 machines.
        assert_eq!(boots.len(), 2 * 2 * 2 * 32);
    });
}
