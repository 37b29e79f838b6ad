//! Every outcome beside every expectation.

use super::*;
use crate::outcome::{AcpiWord, ExpectedTold, LoadFailure};
use crate::phase::Phase;

fn outcomes() -> Vec<Outcome> {
    let text = || "text".to_owned();
    let hung = |proof, cause| Outcome::Hung { at: Phase::Panicking, proof, cause };
    let vmcores =
        [VmcoreState::Verified, VmcoreState::Wrong { why: text() }, VmcoreState::Absent { why: text() }];
    let mut all: Vec<Outcome> = vmcores.into_iter().map(Outcome::captured).collect();
    for cause in [
        HangCause::DestinationTooLarge,
        HangCause::FaultInPanicPath,
        HangCause::NothingTookOver,
        HangCause::Unknown,
    ] {
        all.push(hung(HangProof::AllHaltedIrqsOff { ip: 1 }, cause));
        all.push(hung(HangProof::EndOfPanic { line: text() }, cause));
        all.push(hung(HangProof::Silence { seconds: 45 }, cause));
    }
    all.extend([
        Outcome::Refused {
            by: Refuser::Loader,
            message: "region 0x7b000000-0x8affffff, limit 0x37ffffff".to_owned(),
        },
        Outcome::Refused { by: Refuser::Kernel { errno: 12 }, message: "kexec_load: ENOMEM (x)".to_owned() },
        Outcome::LoadFailed { how: LoadFailure::NothingLoaded, stderr: text() },
        Outcome::CapturePanicked { line: text() },
        Outcome::StoppedByPurgatory {
            line: "SHA-256 of the kernel at 0x1-0x2 does not match".to_owned(),
            segment: Some("kernel".to_owned()),
            end: PurgatoryEnd::Halted { ip: 1 },
        },
        Outcome::StoppedByPurgatory {
            line: "sha256 digests do not match".to_owned(),
            segment: None,
            end: PurgatoryEnd::Loops { ip: 1 },
        },
        Outcome::StoppedByPurgatory {
            line: "SHA-256 of the initrd at 0x1-0x2 does not match".to_owned(),
            segment: Some("initrd".to_owned()),
            end: PurgatoryEnd::Reset { reason: text() },
        },
        Outcome::Reset { at: Phase::Capture, reason: text() },
        Outcome::NotPanicked { seen: text() },
        Outcome::Unreserved { why: text() },
        Outcome::NoFirstKernel { at: Phase::Firmware, why: text() },
        Outcome::RigError { what: text() },
    ]);
    all
}

fn refused(by: ExpectedRefuser, texts: &[&str]) -> Expectation {
    Expectation::Refused { by, message: texts.iter().map(|text| (*text).to_owned()).collect() }
}

/// The outcomes that meet an expectation.
fn met_by(expected: &Expectation) -> Vec<Outcome> {
    outcomes().into_iter().filter(|outcome| judge(outcome, expected) == Verdict::Pass).collect()
}

#[test]
fn an_expectation_is_met_by_its_own_outcome_only() {
    // One row too many here is a cell that passes for the wrong reason.
    let captured = |vmcore| Expectation::captured(vmcore);
    assert_eq!(met_by(&captured(ExpectedVmcore::Verified)), [Outcome::captured(VmcoreState::Verified)]);
    assert_eq!(
        met_by(&captured(ExpectedVmcore::Absent)),
        [Outcome::captured(VmcoreState::Absent { why: "text".to_owned() })]
    );
    let wrong = |why: &str| captured(ExpectedVmcore::Wrong { why: vec![why.to_owned()] });
    assert_eq!(met_by(&wrong("tex")), [Outcome::captured(VmcoreState::Wrong { why: "text".to_owned() })]);
    assert!(met_by(&wrong("virtual address")).is_empty());
    let by_loader = met_by(&refused(ExpectedRefuser::Loader, &["0x37ffffff", "0x7b000000"]));
    assert!(matches!(by_loader.as_slice(), [Outcome::Refused { by: Refuser::Loader, .. }]));
    let by_kernel = met_by(&refused(ExpectedRefuser::Kernel, &[]));
    assert!(matches!(by_kernel.as_slice(), [Outcome::Refused { by: Refuser::Kernel { errno: 12 }, .. }]));
    assert!(met_by(&refused(ExpectedRefuser::Loader, &["0x37ffffff", "0xffffffff"])).is_empty());
    let stopped = |segment: Option<&str>, message: &[&str], end| Expectation::StoppedByPurgatory {
        segment: segment.map(str::to_owned),
        message: message.iter().map(|text| (*text).to_owned()).collect(),
        end,
    };
    let (still, reset) = (ExpectedPurgatoryEnd::Stopped, ExpectedPurgatoryEnd::Reset);
    for (expected, found) in [
        (stopped(Some("kernel"), &[], still), Some("kernel")),
        (stopped(None, &["sha256 digests"], still), None),
        (stopped(Some("initrd"), &["SHA-256"], reset), Some("initrd")),
    ] {
        let met = met_by(&expected);
        assert!(
            matches!(met.as_slice(), [Outcome::StoppedByPurgatory { segment, .. }] if segment.as_deref() == found),
            "{expected:?}: {met:?}"
        );
    }
    for missed in [
        stopped(Some("initrd"), &[], still),
        stopped(Some("kernel"), &[], reset),
        stopped(Some("kernel"), &["sha256"], still),
    ] {
        assert!(met_by(&missed).is_empty(), "{missed:?}");
    }
    assert!(matches!(met_by(&Expectation::Unreserved).as_slice(), [Outcome::Unreserved { .. }]));
}

#[test]
fn an_observation_is_what_speaks_of_the_loader() {
    // A region that was not reserved, or a guest that never panicked, would count for a loader that was never tried.
    let met: std::collections::BTreeSet<_> =
        met_by(&Expectation::Observed).iter().map(Outcome::kind).collect();
    for outcome in outcomes() {
        let verdict = judge(&outcome, &Expectation::Observed);
        match outcome {
            Outcome::Unreserved { .. } | Outcome::NoFirstKernel { .. } | Outcome::RigError { .. } => {
                assert_eq!(verdict, Verdict::Error);
            }
            Outcome::NotPanicked { .. } => assert_eq!(verdict, Verdict::Fail),
            _ => assert_eq!(verdict, Verdict::Pass),
        }
    }
    assert_eq!(met.len(), 7);
}

#[test]
fn an_expected_hang_needs_its_cause_and_a_proof() {
    for cause in [HangCause::DestinationTooLarge, HangCause::FaultInPanicPath, HangCause::NothingTookOver] {
        let met = met_by(&Expectation::Hung { cause });
        assert_eq!(met.len(), 2, "{met:?}");
        for outcome in met {
            assert!(
                matches!(outcome, Outcome::Hung { proof, cause: found, .. } if found == cause && proves(&proof))
            );
        }
    }
    assert!(met_by(&Expectation::Hung { cause: HangCause::Unknown }).is_empty());
}

#[test]
fn what_is_no_loaders_fault_is_an_error_and_never_a_failure() {
    let expected = Expectation::captured(ExpectedVmcore::Verified);
    for outcome in outcomes() {
        let no_fault = matches!(
            outcome,
            Outcome::Unreserved { .. } | Outcome::NoFirstKernel { .. } | Outcome::RigError { .. }
        );
        let verdict = judge(&outcome, &expected);
        assert_eq!(verdict == Verdict::Error, no_fault, "{outcome:?}: {verdict:?}");
        assert!(!describe(&outcome).is_empty() && !describe(&outcome).contains('\n'), "{outcome:?}");
    }
}

#[test]
fn what_a_capture_kernel_was_not_told_fails_the_cell_and_is_said() {
    // A capture kernel without ACPI comes up, has a vmcore, and cannot power off.
    let told = Some(guest_protocol::Told {
        acpi_tables: vec!["DSDT".to_owned(), "FACP".to_owned()],
        ..Default::default()
    });
    let outcome = Outcome::Captured { vmcore: VmcoreState::Verified, told };
    let wanted = |acpi| Expectation::Captured {
        vmcore: ExpectedVmcore::Verified,
        told: ExpectedTold { acpi: Some(acpi), ..ExpectedTold::default() },
    };
    assert_eq!(judge(&outcome, &wanted(AcpiWord::Found)), Verdict::Pass);
    assert_eq!(describe_beside(&outcome, &wanted(AcpiWord::Found)), "captured, vmcore verified");
    assert_eq!(judge(&outcome, &wanted(AcpiWord::HandedOn)), Verdict::Fail);
    assert_eq!(
        describe_beside(&outcome, &wanted(AcpiWord::HandedOn)),
        "captured, vmcore verified, but the capture kernel's boot_params have no acpi_rsdp_addr"
    );
    // Evidence of before says nothing of it: what asks for nothing is met, what asks is not.
    let before = Outcome::captured(VmcoreState::Verified);
    assert_eq!(judge(&before, &Expectation::captured(ExpectedVmcore::Verified)), Verdict::Pass);
    assert_eq!(judge(&before, &wanted(AcpiWord::Found)), Verdict::Fail);
}

#[test]
fn a_near_miss_is_told_by_its_detail() {
    let outcome = Outcome::Refused { by: Refuser::Loader, message: "no memory at 0x37ffffff".to_owned() };
    let told = near_miss(&outcome, &refused(ExpectedRefuser::Loader, &["0x37ffffff", "i386"]));
    assert_eq!(told.as_deref(), Some("the refusal does not name \"i386\""));
    let other = near_miss(&outcome, &refused(ExpectedRefuser::Kernel, &["0x37ffffff"]));
    assert_eq!(other, None, "who refused is told by outcome and expectation beside each other");
    let silent = Outcome::Hung {
        at: Phase::Capture,
        proof: HangProof::Silence { seconds: 45 },
        cause: HangCause::DestinationTooLarge,
    };
    let told = near_miss(&silent, &Expectation::Hung { cause: HangCause::DestinationTooLarge }).unwrap();
    assert!(told.contains("nothing proves it"), "{told}");
}

#[test]
fn the_line_that_says_why_is_the_one_that_is_shown() {
    // The last line of kexec-tools' output says where in its code it stopped, not why.
    let stderr = "Could not find a free area of memory of 0x8000 bytes...\nlocate_hole failed\n";
    let refused = Outcome::Refused { by: Refuser::Loader, message: stderr.to_owned() };
    assert!(describe(&refused).ends_with("of 0x8000 bytes..."), "{}", describe(&refused));
    let debug = "debug: region\nkexec-load: crash region lies above 0x37ffffff\n";
    let failed = Outcome::LoadFailed { how: LoadFailure::Killed { signal: 11 }, stderr: debug.to_owned() };
    assert_eq!(
        describe(&failed),
        "the loader was killed by SIGSEGV (signal 11): kexec-load: crash region lies above 0x37ffffff"
    );
}

#[test]
fn attempts_make_one_verdict() {
    use Verdict::{Error, Fail, Flaky, Pass, Skipped};
    // A retry that turned a failure into a plain pass would hide it.
    let cases: [(&[Verdict], Option<Verdict>); 9] = [
        (&[], None),
        (&[Pass], Some(Pass)),
        (&[Pass, Pass], Some(Pass)),
        (&[Fail, Pass], Some(Flaky)),
        (&[Pass, Fail], Some(Flaky)),
        (&[Error, Pass], Some(Flaky)),
        (&[Fail, Error], Some(Fail)),
        (&[Error, Error], Some(Error)),
        (&[Skipped], Some(Skipped)),
    ];
    for (attempts, verdict) in cases {
        assert_eq!(overall(attempts), verdict, "{attempts:?}");
    }
}

/// Bug: a cell that failed is shown as "rig error" with the verdict of a failure, for its last attempt was one; or a flaky
/// cell's evidence is that of an attempt which does not show how it passed.
#[test]
fn outcome_and_evidence_are_those_of_the_verdict() {
    use Verdict::{Error, Fail, Pass};
    for (attempts, expected) in [
        (&[Fail][..], 0),
        (&[Fail, Error], 0),
        (&[Fail, Error, Fail, Error], 2),
        (&[Error, Error], 1),
        (&[Fail, Error, Pass], 2),
    ] {
        let overall = overall(attempts).unwrap();
        assert_eq!(deciding(attempts, overall), Some(expected), "{attempts:?}");
    }
}
