//! The probe with a real QEMU, where there is one, and with false ones that fail it.

#![expect(clippy::unwrap_used, reason = "the helpers are tests as well")]

use harness::accel::{Accel, AccelChoice};
use harness::patience::Limit;
use harness::probe::{Kvm, Limits, Missed, Speed, look, probe};
use harness::scratch::Scratch;
use harness::stop::{Stop, stop};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Generous limits for tests that are not about them, on hosts as loaded as they like.
const PATIENT: Limits =
    Limits { start: Limit::of(Duration::from_secs(60)), work: Limit::of(Duration::from_secs(120)) };

/// The host's QEMU. `cargo xtask test` demands one before it tests anything; a bare `cargo test` may do without.
fn qemu() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("qemu-system-x86_64")).find(|p| p.is_file());
    if found.is_none() {
        eprintln!("not tried: no qemu-system-x86_64 in PATH");
    }
    found
}

/// A QEMU that is a shell script, which leaves its process id beside it.
fn false_qemu(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qemu");
    std::fs::write(&path, format!("#!/bin/sh\necho $$ > {}/pid\n{script}\n", folder.path().display()))
        .unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    (folder, path)
}

async fn probe_with(
    qemu: &Path,
    accel: Accel,
    guests: usize,
    limits: Limits,
    stop: &Stop,
) -> Result<Speed, Missed> {
    let (scratch, _) = Scratch::new().unwrap();
    probe(qemu, accel, guests, limits, &scratch, stop).await
}

/// No process of a false QEMU is left.
fn is_gone(folder: &TempDir) -> bool {
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    !Path::new("/proc").join(pid.trim()).exists()
}

/// Bug: the guest does not get to its end, takes another number of exceptions than it must, or is done in no time because it skips
/// its work. Two at a time, as in a run.
#[tokio::test]
async fn the_guest_does_its_work_under_tcg() {
    let Some(qemu) = qemu() else { return };
    let (_stopper, stop) = stop();
    let speed = probe_with(&qemu, Accel::Tcg, 2, PATIENT, &stop).await.unwrap();
    assert!(speed.own() > Duration::from_millis(50), "{speed:?}");
    assert!(speed.start() > Duration::ZERO && speed.took() >= speed.own());
}

/// Bug: a KVM that opens and is of no use holds the run up, or passes. Whatever this host's KVM is: the look ends, and what it finds
/// is one of two.
#[tokio::test]
async fn a_look_at_both_ends_within_a_multiple_of_tcg() {
    let Some(qemu) = qemu() else { return };
    let (_stopper, stop) = stop();
    let (scratch, _) = Scratch::new().unwrap();
    let begun = Instant::now();
    let probed = look(AccelChoice::Auto, &qemu, 1, &scratch, &stop).await.unwrap();
    let tcg = probed.tcg.clone().unwrap();
    // Start twice and a second, work once or a second, each moved at most fourfold by a load; and the ends of two QEMUs.
    let bound = (tcg.start() * 3 + tcg.took() * 2 + Duration::from_secs(2)) * 4 + Duration::from_secs(20);
    assert!(begun.elapsed() < bound, "{:?} for {probed:?}", begun.elapsed());
    match (&probed.kvm, probed.kvm_is_faster()) {
        (Kvm::Tried(Ok(kvm)), Ok(_)) => assert!(kvm.own() < tcg.own()),
        (Kvm::Closed(_) | Kvm::Tried(_), Err(why)) => assert!(!why.is_empty()),
        (kvm, faster) => unreachable!("{kvm:?} beside {faster:?}"),
    }
}

/// Bug: a QEMU that refuses its arguments is waited for until the limit, or its words are lost.
#[tokio::test]
async fn a_qemu_that_ends_is_told_with_its_words() {
    let (_stopper, stop) = stop();
    let (_folder, qemu) = false_qemu("echo 'no such machine' >&2; exit 1");
    let missed = probe_with(&qemu, Accel::Tcg, 1, PATIENT, &stop).await.unwrap_err();
    assert!(missed.to_string().contains("no such machine"), "{missed}");
    assert!(matches!(missed, Missed::Ended { .. }), "{missed:?}");
}

/// Bug: a guest that never begins is waited for for ever, its QEMU is left, or what QEMU said of it is lost.
#[tokio::test]
async fn a_guest_that_never_begins_is_ended() {
    let (_stopper, stop) = stop();
    let (folder, qemu) =
        false_qemu("echo 'qemu: warning: x' >&2; echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600");
    // It has said so within a second; were the limit shorter than a shell's start, there would be nothing to tell.
    let limits = Limits { start: Limit::of(Duration::from_secs(1)), ..PATIENT };
    let missed = probe_with(&qemu, Accel::Kvm, 1, limits, &stop).await.unwrap_err();
    assert!(matches!(missed, Missed::NotBegun { .. }), "{missed:?}");
    assert!(missed.to_string().ends_with("; QEMU said: KVM internal error. Suberror: 1"), "{missed}");
    assert!(is_gone(&folder));
}

/// Bug: Ctrl-C during the probe is not seen before its limit, or leaves QEMU behind.
#[tokio::test]
async fn an_interruption_ends_the_probe() {
    let (stopper, stop) = stop();
    let (folder, qemu) = false_qemu("exec sleep 600");
    let pid = folder.path().join("pid");
    let ask = async {
        while !std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stopper.request();
    };
    let begun = Instant::now();
    let (missed, ()) = tokio::join!(probe_with(&qemu, Accel::Tcg, 1, PATIENT, &stop), ask);
    assert_eq!(missed, Err(Missed::Interrupted));
    assert!(begun.elapsed() < PATIENT.start.wall / 2, "{:?}", begun.elapsed());
    assert!(is_gone(&folder));
}
