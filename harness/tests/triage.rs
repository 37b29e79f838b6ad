//! Sentences about real guests: evidence that the rig saved of cells that were made to fail, judged and triaged again.
//! tests/triage/README.md says how each was provoked.

use harness::cell::Cell;
use harness::classify::classify;
use harness::evidence::Evidence;
use harness::report::load_evidence;
use harness::triage::triage;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/triage").join(name)
}

fn recorded(name: &str) -> (Cell, Evidence) {
    let folder = folder(name);
    let cell = std::fs::read(folder.join("cell.json")).expect("cell.json");
    let cell = serde_json::from_slice(&cell).expect("a cell as the types have it");
    (cell, load_evidence(&folder).expect("evidence as the types have it"))
}

/// Folders and their sentences.
const SENTENCES: &[(&str, &str)] = &[];

/// Bug: a change of what is read from registers, page tables, segment maps, symbols or consoles makes a sentence wrong, or puts
/// another finding in its place.
#[test]
fn each_guest_has_its_sentence() {
    for (name, sentence) in SENTENCES {
        let (cell, evidence) = recorded(name);
        let outcome = classify(&cell, &evidence);
        assert_eq!(triage(&cell, &evidence, &outcome).sentence, *sentence, "{name}");
    }
}

/// Bug: a guest is recorded and its sentence forgotten, so that nothing holds it.
#[test]
fn every_recorded_guest_is_in_the_list() {
    let mut folders: Vec<String> = std::fs::read_dir(folder(""))
        .expect("tests/triage")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    folders.sort();
    let mut listed: Vec<_> = SENTENCES.iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(folders, listed);
}

/// Bug: a sentence rests on something that was seen and not saved, or that older evidence cannot have; then judging it again ends
/// the rig, or invents a place.
#[test]
fn without_the_look_at_the_machine_no_place_is_made_up() {
    for (name, _) in SENTENCES {
        let (cell, mut evidence) = recorded(name);
        evidence.examined = None;
        evidence.samples.clear();
        let outcome = classify(&cell, &evidence);
        let sentence = triage(&cell, &evidence, &outcome).sentence;
        assert!(
            !sentence.contains("0x7b0012d4") && !sentence.contains("native_safe_halt"),
            "{name}: {sentence}"
        );
    }
}
