//! Generated coverage in files: what is chosen, what is left out, and the suites that live on it.

use super::*;
use crate::cell::{Loader, Reservation};

/// The suite of that name in the repository.
fn of_repository(name: &str) -> Suite {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scenarios/{name}.yaml"));
    load(&path, &Catalog::locked().unwrap()).unwrap_or_else(|problems| panic!("{problems}"))
}

const PAIRWISE: &str = "\
suite: mine
description: a text
platforms:
  pc-4g: { machine: pc, memory: 4G, cpu: qemu64 }
matrix:
  - first: [5.10-amd64, 5.10-686-pae, 6.12-amd64]
    userspace: [i386, x86_64]
    loader: [in-tree]
    beside: [kexec-tools@2.0.20, kexec-tools@2.0.25]
    capture: [5.10-amd64, 5.10-686-pae]
    region:
      512M: [128M@384M on pc-4g, 128M@513M on pc-4g]
      2G: [128M@1920M on pc-4g, 128M@2049M on pc-4g]
    coverage: pairwise
    every: [[first, capture, limit]]
    without: [loader=kexec-tools@2.0.25 & userspace=x86_64]
expect:
  - when: loader=in-tree
    outcome: captured
    vmcore: verified
  - when: all
    outcome: observed
";

fn ids(suite: &Suite) -> BTreeSet<String> {
    suite.cells.iter().map(|cell| cell.id.0.clone()).collect()
}

fn problem(text: &str) -> String {
    let told = parse("my.yaml", text, &Catalog::locked().unwrap(), &no_base).unwrap_err();
    let told: Vec<String> = told.iter().map(Problem::to_string).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    told.concat()
}

#[test]
fn what_cannot_be_is_left_out_and_counted() {
    // Bug: an impossible cell is an error of a block that no one wrote by hand; or it vanishes without a word.
    let suite = suite("my.yaml", PAIRWISE);
    assert_eq!(suite.impossible, [("region", 8), ("userspace", 8)].into());
    assert!(suite.cells.iter().all(|cell| cell.first.name != "6.12-amd64"
        || matches!(cell.reservation, Reservation::At { offset_mib: 384 | 1920, .. })));
    let full = super::suite("my.yaml", &PAIRWISE.replace("coverage: pairwise", "coverage: full"));
    let in_tree = |suite: &Suite| suite.cells.iter().filter(|cell| cell.loader == Loader::InTree).count();
    // Three first kernels, two captures, four places and two userspaces, but for what was counted.
    assert_eq!(in_tree(&full), 48 - 16);
    assert!(in_tree(&suite) < 24 && ids(&suite).is_subset(&ids(&full)), "{}", in_tree(&suite));
}

#[test]
fn loaders_beside_run_in_the_same_cells_where_they_can() {
    // Bug: a reference loader gets cells of its own, and the two cannot be compared; or one runs where a filter leaves it out.
    let suite = suite("my.yaml", PAIRWISE);
    for cell in suite.cells.iter().filter(|cell| cell.loader == Loader::InTree) {
        let beside = |version: &str| {
            let id = cell.id.0.replace("in-tree", &format!("kexec-tools-{version}"));
            ids(&suite).contains(&id)
        };
        assert!(beside("2.0.20"), "{}", cell.id);
        assert_eq!(beside("2.0.25"), cell.userspace == Arch::I386, "{}", cell.id);
    }
    let text = PAIRWISE.replace("    without: [loader=kexec-tools@2.0.25 & userspace=x86_64]\n", "");
    let text = text.replace("kexec-tools@2.0.25", "kexec-tools@2.0.1");
    assert!(
        problem(&text).starts_with("my.yaml:9:34: kexec-tools@2.0.1 can run in no cell"),
        "{}",
        problem(&text)
    );
}

/// Bug: a loader beside is given an option that only the one in the tree has, ends at it, and that says nothing on the cell.
#[test]
fn loaders_beside_are_not_given_options_that_they_lack() {
    const LIMITS: &str = "--ignore-address-limits";
    let loader = "    loader: [in-tree]\n";
    let args = format!("{loader}    loader-args: [[], [{LIMITS}]]\n");
    let suite = suite("my.yaml", &PAIRWISE.replace(loader, &args));
    let (with, without): (Vec<&Cell>, Vec<&Cell>) =
        suite.cells.iter().partition(|cell| cell.loader_args == [LIMITS]);
    let beside = |cells: &[&Cell]| cells.iter().filter(|cell| cell.loader != Loader::InTree).count();
    assert!(with.len() > 1 && beside(&without) > 1, "{:#?}", ids(&suite));
    assert_eq!(beside(&with), 0, "{:#?}", ids(&suite));
}

#[test]
fn a_value_without_any_cell_is_an_error() {
    // Bug: a misspelt place is impossible everywhere, and the limit that it was written for is never tried.
    let told = problem(&PAIRWISE.replace("128M@1920M", "128M@3072M"));
    assert!(told.starts_with("my.yaml:13:12: `128M@3072M on pc-4g` is in no combination"), "{told}");
    assert!(told.contains("RAM up to 3072M"), "{told}");
}

#[test]
fn a_rule_for_what_was_not_taken_is_not_dead() {
    // Bug: a value more in an axis exchanges the cells that are taken, and rules that still mean something are errors.
    let (taken, full) = (
        suite("my.yaml", PAIRWISE),
        suite("my.yaml", &PAIRWISE.replace("coverage: pairwise", "coverage: full")),
    );
    let untaken =
        full.cells.iter().find(|cell| cell.loader == Loader::InTree && !ids(&taken).contains(&cell.id.0));
    let rule = |id: &str| format!("expect:\n  - when: id={id}\n    outcome: unreserved\n");
    suite("my.yaml", &PAIRWISE.replace("expect:\n", &rule(&untaken.unwrap().id.0)));
    assert!(problem(&PAIRWISE.replace("expect:\n", &rule("nowhere"))).contains("no cell comes to this rule"));
}

#[test]
fn what_every_asks_for_must_make_sense() {
    for (from, to, expected) in [
        ("    coverage: pairwise\n", "", "14:5: `every` says nothing without `coverage`"),
        ("[first, capture, limit]", "[first, first]", "15:21: `first` stands twice"),
        ("[first, capture, limit]", "[first, machine]", "15:21: `machine` is of `machines`"),
        ("coverage: pairwise", "coverage: most", "unknown variant `most`"),
        (
            "\n      512M: [128M@384M on pc-4g, 128M@513M on pc-4g]\n      2G: [128M@1920M on pc-4g, 128M@2049M on pc-4g]",
            " [128M@384M on pc-4g]",
            "13:30: `limit` is the name that regions stand under",
        ),
    ] {
        assert!(PAIRWISE.contains(from), "{from}");
        let text = PAIRWISE.replace(from, to);
        let told = parse("my.yaml", &text, &Catalog::locked().unwrap(), &no_base).unwrap_err().to_string();
        assert!(told.contains(expected), "{to}: {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Bug: sorting a list exchanges the cells that are chosen.
    #[test]
    fn the_order_of_the_file_has_no_say(seed in any::<u64>()) {
        let text = PAIRWISE
            .replace(
                "512M: [128M@384M on pc-4g, 128M@513M on pc-4g]",
                "- 128M@384M on pc-4g\n      - 128M@513M on pc-4g",
            )
            .replace(
                "2G: [128M@1920M on pc-4g, 128M@2049M on pc-4g]",
                "- 128M@1920M on pc-4g\n      - 128M@2049M on pc-4g",
            )
            .replace("[first, capture, limit]", "[first, capture, userspace]");
        // The helper shuffles all that stands in a block; `coverage`, which is no list, is put back after.
        let lists = text.replace("    coverage: pairwise\n", "");
        let shuffled = shuffled(&lists, seed).replace("  every:", "  coverage: pairwise\n  every:");
        prop_assert_eq!(ids(&suite("my.yaml", &shuffled)), ids(&suite("my.yaml", &text)));
    }
}

#[test]
fn a_suite_takes_the_cells_of_its_base() {
    let derived = "suite: all\ndescription: a text\nbase: mine\ncoverage: full\n";
    let read = |derived: &str, base: &str| {
        let base = base.to_owned();
        parse("all.yaml", derived, &Catalog::locked().unwrap(), &move |name| {
            (format!("{name}.yaml"), Ok(base.clone()))
        })
        .map_err(|problems| problems.to_string())
    };
    let all = read(derived, PAIRWISE).unwrap();
    assert_eq!(all.name, "all");
    assert_eq!(ids(&all), ids(&suite("my.yaml", &PAIRWISE.replace("coverage: pairwise", "coverage: full"))));
    assert!(all.cells.iter().all(|cell| cell.suite == "all"));
    // Bug: a mistake in the base is told with a line of the other file.
    for (derived, base, told) in [
        (derived, PAIRWISE.replace("[in-tree]", "[in-three]").as_str(), "mine.yaml:8:14: "),
        (derived, SMOKE, "all.yaml:3:7: no block of suite smoke has a `coverage`"),
        (derived, derived, "all.yaml:3:7: mine.yaml is based on another suite itself"),
        ("suite: all\nbase: mine\ncoverage: full\n", PAIRWISE, "missing field `description`"),
    ] {
        let error = read(derived, base).unwrap_err();
        assert!(error.starts_with(told) || error.contains(told) && told.starts_with("missing"), "{error}");
    }
    let missing = parse("all.yaml", derived, &Catalog::locked().unwrap(), &no_base).unwrap_err().to_string();
    assert_eq!(missing, "all.yaml:3:7: cannot read mine.yaml: No such file");
}

#[test]
fn the_sweep_tries_what_it_promises() {
    let sweep = of_repository("sweep");
    let ours: Vec<&Cell> = sweep
        .cells
        .iter()
        .filter(|cell| cell.loader == Loader::InTree && cell.loader_args.is_empty())
        .collect();
    let all_ours = sweep.cells.iter().filter(|cell| cell.loader == Loader::InTree).count();
    assert!(all_ours <= 400, "{all_ours} cells do not fit into an hour");
    // Every pair of the lock file's kernels, from every userspace that the first kernel has.
    // One that rolls on has no version, and its own suite: what the sweep comes to is compared over months.
    let catalog = Catalog::locked().unwrap();
    let kernels: Vec<_> = catalog.kernels.iter().filter(|kernel| kernel.version().is_some()).collect();
    assert!(kernels.len() >= 6, "{kernels:?}");
    for first in kernels.iter().copied() {
        for capture in kernels.iter().copied() {
            for userspace in [Arch::I386, Arch::X86_64] {
                let is_there = ours.iter().any(|cell| {
                    cell.first == *first && cell.capture == *capture && cell.userspace == userspace
                });
                let can_be = first.arch == Arch::X86_64 || userspace == Arch::I386;
                assert_eq!(is_there, can_be, "{} {userspace} {}", first.name, capture.name);
            }
        }
    }
    // Every limit from below and above, met from below and above, and straddled, for each pair of architectures and userspace.
    const MIB: u64 = 1 << 20;
    type Touches = fn(start: u64, end: u64, limit: u64) -> bool;
    let ways: [(&str, Touches); 5] = [
        ("just below", |_, end, limit| end < limit && limit - end <= 16 * MIB),
        ("up to", |_, end, limit| end == limit),
        ("across", |start, end, limit| start < limit && limit < end),
        ("from", |start, _, limit| start == limit),
        ("just above", |start, _, limit| start > limit && start - limit <= 16 * MIB),
    ];
    for (limit, not_to_be_had) in [
        (16 * MIB, &["across", "from"][..]),
        (512 * MIB, &[]),
        (0x36ff_e000, &["up to", "from"]),
        (896 * MIB, &[]),
        (2048 * MIB, &[]),
        (3072 * MIB, &[]),
        (4096 * MIB, &["just below", "up to", "across"]),
    ] {
        for (way, touches) in ways {
            for (first, userspace, capture) in [
                (Arch::X86_64, Arch::I386, Arch::X86_64),
                (Arch::X86_64, Arch::X86_64, Arch::X86_64),
                (Arch::X86_64, Arch::I386, Arch::I386),
                (Arch::X86_64, Arch::X86_64, Arch::I386),
                (Arch::I386, Arch::I386, Arch::X86_64),
                (Arch::I386, Arch::I386, Arch::I386),
            ] {
                let tried = ours.iter().any(|cell| {
                    let range = cell.reservation.range();
                    let kernels = (cell.first.arch, cell.userspace, cell.capture.arch);
                    kernels == (first, userspace, capture)
                        && range.is_some_and(|range| touches(range.start, range.end + 1, limit))
                });
                // Above 16M an x86_64 kernel itself takes what would be just above.
                let exempt = not_to_be_had.contains(&way) || (limit == 16 * MIB && way == "just above");
                assert!(tried || exempt, "{way} {limit:#x} for {first} {userspace} {capture}");
            }
        }
    }
    for size in [32, 64, 128, 192, 256, 512] {
        assert!(ours.iter().any(|cell| cell.reservation.size().0.get() == size), "{size}M");
    }
}

#[test]
fn the_whole_sweep_has_all_of_the_sweep() {
    let (sweep, full) = (of_repository("sweep"), of_repository("sweep-full"));
    assert!(ids(&sweep).is_subset(&ids(&full)));
    assert!(full.cells.len() > 2 * sweep.cells.len(), "{}", full.cells.len());
    // In one run the same cell is run once, so it has to be expected to end alike.
    let (cells, _) = combine(vec![sweep, full]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(cells.iter().map(|cell| &cell.id).collect::<BTreeSet<_>>().len(), cells.len());
}
