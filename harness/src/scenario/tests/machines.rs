//! Machines that are made of `platforms.yaml`, and the suite that is made of them.

use super::*;
use crate::cell::{Cell, Trigger};

const PLATFORMS_YAML: &str = include_str!("../../../../scenarios/platforms.yaml");
const NIGHTLY: &str = include_str!("../../../../scenarios/nightly.yaml");

const SMALL: &str = "\
suite: mine
description: a text
matrix:
  - first: [5.10-amd64, 6.1-686-pae]
    userspace: [i386, x86_64]
    loader: [in-tree]
    capture: [5.10-amd64, 6.1-686-pae]
    region: [192M, 192M@1968M, '192M,high']
    machines:
      hardware: [ekabini, broadwell-de]
      memory: [4G, 32G]
      machine: [pc, q35]
      firmware: [bios, uefi]
      cpus: [1, 4]
    trigger: [nmi, sysrq-trigger]
    coverage: pairwise
expect:
  - when: all
    outcome: observed
";

fn beside(name: &str) -> (String, Result<String, String>) {
    let text = if name == PLATFORMS { Ok(PLATFORMS_YAML.to_owned()) } else { Err("No such file".to_owned()) };
    (format!("{name}.yaml"), text)
}

fn made(text: &str, coverage: Option<Coverage>) -> Result<Suite, Problems> {
    parse_covering("my.yaml", text, &Catalog::locked().unwrap(), coverage, &beside)
}

fn told(text: &str) -> String {
    made(text, None).unwrap_err().to_string()
}

/// The values of the axes that a block with `machines` has.
fn values(cell: &Cell) -> Vec<(&'static str, String)> {
    let platform = &cell.platform;
    vec![
        ("first", cell.first.name.clone()),
        ("userspace", cell.userspace.to_string()),
        ("capture", cell.capture.name.clone()),
        ("region", cell.reservation.to_string()),
        ("trigger", cell.trigger.name().to_owned()),
        ("hardware", platform.hardware.as_ref().unwrap().name.clone()),
        ("memory", platform.memory.to_string()),
        ("machine", platform.machine.clone()),
        ("firmware", platform.firmware.name().to_owned()),
        ("cpus", platform.cpus.to_string()),
    ]
}

fn pairs(cells: &[Cell]) -> BTreeSet<[(&'static str, String); 2]> {
    let of_cell = |cell: &Cell| {
        let values = values(cell);
        let pairs = values.iter().enumerate().flat_map(|(number, a)| {
            values[..number].iter().map(move |b| [b.clone(), a.clone()]).collect::<Vec<_>>()
        });
        pairs.collect::<Vec<_>>()
    };
    cells.iter().flat_map(of_cell).collect()
}

/// Bug: two values that can meet never do by default, while the run says that all pairs occur; or the numbers that it says are made up.
#[test]
fn every_pair_that_can_be_is_covered() {
    let pairwise = made(SMALL, None).unwrap();
    let full = made(SMALL, Some(Coverage::Full)).unwrap();
    let all = pairs(&full.cells);
    assert_eq!(pairs(&pairwise.cells), all);
    assert!(pairwise.cells.len() * 5 < full.cells.len(), "{} of {}", pairwise.cells.len(), full.cells.len());
    let Covered { taken, possible, demands } = pairwise.covered;
    assert_eq!((taken, possible, demands), (pairwise.cells.len(), full.cells.len(), all.len()));
    assert_eq!(full.covered, Covered { taken: possible, possible, demands: 0 });
    assert_eq!(pairwise.cells, made(SMALL, None).unwrap().cells, "the same every time");
    let told = made(
        &SMALL.replace("    coverage: pairwise\n", "").replace("firmware: [bios, uefi]", "firmware: [bios]"),
        Some(Coverage::Full),
    );
    assert!(told.unwrap_err().to_string().contains("no block of suite mine has a `coverage`"));
}

/// Bug: an i386 first kernel is put on what it cannot run on, a region where there is no RAM, or a trigger on a CPU that is not there.
#[test]
fn what_cannot_be_is_left_out() {
    for cell in made(SMALL, Some(Coverage::Full)).unwrap().cells {
        let platform = &cell.platform;
        if cell.first.name == "6.1-686-pae" {
            assert_eq!((platform.firmware.name(), platform.memory.to_string().as_str()), ("bios", "4096M"));
        }
        let reservation = cell.reservation.to_string();
        assert!(platform.machine == "pc" || reservation != "192M@1968M", "{}", cell.id);
        assert!(cell.trigger != Trigger::SysrqTrigger || platform.cpus.get() == 4, "{}", cell.id);
    }
    // Written by hand it is told.
    let by_hand = SMALL.replace("    coverage: pairwise\n", "");
    let problems = made(&by_hand, None).unwrap_err();
    let told: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    assert!(told.contains("is good for 16 GiB of RAM") && told.contains("64-bit UEFI firmware"), "{told}");
    assert!(told.contains("sysrq-trigger is pulled on CPU 1"), "{told}");
}

/// Bug: a machine is another hardware than its name says, or two machines have one name.
#[test]
fn platforms_are_named_by_what_they_are_made_of() {
    let cells = made(SMALL, Some(Coverage::Full)).unwrap().cells;
    let cell = cells.iter().find(|cell| cell.platform.name == "broadwell-de-32g-q35-uefi-4cpu").unwrap();
    let identity = &cell.platform.hardware.as_ref().unwrap().identity;
    assert_eq!(identity.to_string(), "GenuineIntel family 0x6 model 0x56 stepping 3");
    assert!(
        cell.platform.cpu.starts_with(
            "Broadwell-noTSX,vendor=GenuineIntel,family=6,model=86,stepping=3,abm=on,f16c=on,rdrand=on,rdtscp=on,pdpe1gb=on,pcid=off"
        )
    );
    let mut by_name = BTreeMap::new();
    for cell in &cells {
        let known = by_name.entry(cell.platform.name.clone()).or_insert_with(|| cell.platform.clone());
        assert_eq!(*known, cell.platform);
    }
    assert!(by_name.contains_key("ekabini-4g-pc") && by_name.contains_key("ekabini-4g-q35-4cpu"));
}

/// Bug: a name that nobody defined, or a region whose machine is said twice or not at all, makes no cell, or a wrong one, in silence.
#[test]
fn what_machines_lack_is_told_with_its_place() {
    for (from, to, expected) in [
        (
            "[ekabini, broadwell-de]",
            "[ekabini, epyc]",
            "my.yaml:10:27: platforms.yaml has no hardware \"epyc\"; it has broadwell-de",
        ),
        (
            "[pc, q35]",
            "[pc, virt]",
            "my.yaml:12:21: platforms.yaml has no machine \"virt\"; it has pc, pc17, q35",
        ),
        ("[192M, ", "[192M on pc-4g, ", "remove `on pc-4g`"),
        ("memory: [4G, 32G]", "memory: []", "this list is empty"),
        ("memory: [4G, 32G]", "memory: [4G, 2T]", "is no size"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let told = told(&SMALL.replace(from, to));
        assert!(told.contains(expected), "{to}: {told}");
    }
    let start = SMALL.find("    machines:").unwrap();
    let end = SMALL.find("    trigger:").unwrap();
    let without = format!("{}{}", &SMALL[..start], &SMALL[end..]);
    assert!(told(&without).contains("192M is on no platform: name one"), "{}", told(&without));
    let alone = parse("my.yaml", SMALL, &Catalog::locked().unwrap(), &no_base).unwrap_err().to_string();
    assert!(alone.contains("platforms.yaml, which cannot be read"), "{alone}");
}

/// Bug: a change of lists or rules shrinks the night to a fraction, or leaves a platform, a trigger or a kernel out of it.
#[test]
fn the_night_is_large_and_has_everything() {
    let nightly = made(NIGHTLY, None).unwrap();
    assert!(nightly.cells.len() >= 500, "{}", nightly.cells.len());
    let own = nightly.cells.iter().filter(|cell| cell.loader == crate::cell::Loader::InTree).count();
    assert!(own >= 250, "{own}");
    let has =
        |axis, value: &str| nightly.cells.iter().any(|cell| values(cell).contains(&(axis, value.to_owned())));
    for hardware in
        ["ekabini", "steppe-eagle", "crowned-eagle", "merlin-falcon", "sandy-bridge", "broadwell-de"]
    {
        assert!(has("hardware", hardware), "{hardware}");
    }
    for memory in ["4096M", "8192M", "16384M", "32768M", "65536M"] {
        assert!(has("memory", memory), "{memory}");
    }
    assert!(Trigger::ALL.iter().all(|trigger| has("trigger", trigger.name())));
    assert!(has("firmware", "uefi") && has("cpus", "4") && has("machine", "q35"));
}
