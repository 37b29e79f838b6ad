//! How fast guests are here, from the probe's figures. Pure.

use super::check::Check;
use harness::accel::Accel;
use harness::probe::{Calibration, Kvm, Probed, REFERENCE, Speed, WORTH_TELLING};
use serde::Serialize;

/// Seconds of a CPU that a cell takes under TCG on the reference host: 98 cells of the suite `seed` in 452 s, two at a time.
const CELL_SECONDS: f64 = 9.0;

/// The figures, for programs. Seconds by the wall, of the slowest of the guests that ran at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Probe guests that ran at a time.
    guests: usize,
    tcg_seconds: Option<f64>,
    kvm_seconds: Option<f64>,
    /// What the probe takes under TCG on the reference host.
    reference_seconds: f64,
    /// The faster accelerator's time beside the reference: 2 is a host half as fast.
    ratio: Option<f64>,
    /// What a run's deadlines would be stretched by.
    deadline_factor: f64,
    /// What a cell takes, about.
    cell_seconds: Option<f64>,
}

/// What the probe says to people, and to programs. `jobs` guests at a time are wanted.
pub(super) fn checks(probed: &Probed, jobs: usize) -> (Vec<Check>, Figures) {
    let seconds = |speed: Speed| speed.took().as_secs_f64();
    let ratio_of = |speed: Speed| seconds(speed) / REFERENCE.as_secs_f64();
    let kvm = probed.kvm_is_faster();
    let tcg = probed.tcg.as_ref().ok().copied();
    let (accel, used) = match (&kvm, tcg) {
        (Ok(kvm), _) => (Accel::Kvm, Some(*kvm)),
        (Err(_), tcg) => (Accel::Tcg, tcg),
    };
    let crowd = (jobs as f64 / probed.guests as f64).max(1.0);
    let cell_seconds = used.map(|speed| CELL_SECONDS * ratio_of(speed) * crowd);
    let calibration =
        used.map_or(Calibration::NONE, |speed| Calibration::new(accel, speed, probed.guests, jobs));
    let mut checks = Vec::new();
    checks.push(match &probed.tcg {
        Ok(speed) => {
            let found = format!(
                "the probe took {speed} with {} at a time, {:.1} times as long as on the reference host",
                probed.guests,
                ratio_of(*speed)
            );
            match ratio_of(*speed) >= WORTH_TELLING {
                true => Check::note(
                    "TCG",
                    found,
                    "a slow or loaded host: cells take longer, and deadlines are stretched",
                ),
                false => Check::ok("TCG", found),
            }
        }
        Err(why) => match &kvm {
            Ok(_) => Check::note("TCG", why.to_string(), "guests run under KVM; `--accel tcg` will not work"),
            Err(_) => {
                Check::missing("TCG", why.to_string(), "try another QEMU: --qemu PATH, here and with `e2e`")
            }
        },
    });
    checks.push(match (&probed.kvm, &kvm) {
        (Kvm::NotTried, _) => Check::note("KVM", "not tried", "name it with --accel"),
        (Kvm::Closed(_) | Kvm::Tried(_), Ok(speed)) => Check::ok("KVM", format!("the probe took {speed}")),
        (Kvm::Closed(why), Err(_)) => Check::note(
            "KVM",
            why.clone(),
            "guests run under TCG; for KVM this user must be allowed to read and write /dev/kvm",
        ),
        (Kvm::Tried(_), Err(why)) => Check::note(
            "KVM",
            format!("opens, and is of no use: {why}"),
            "guests run under TCG; nothing to do unless this host's own virtualisation can be mended",
        ),
    });
    if let Some(cell) = cell_seconds {
        checks.push(Check::ok(
            "a cell",
            format!("takes about {cell:.0} s under {accel}, with {jobs} at a time; deadlines are stretched {:.1} times", calibration.wall()),
        ));
    }
    let figures = Figures {
        guests: probed.guests,
        tcg_seconds: tcg.map(seconds),
        kvm_seconds: match &probed.kvm {
            Kvm::Tried(Ok(speed)) => Some(seconds(*speed)),
            Kvm::Tried(Err(_)) | Kvm::NotTried | Kvm::Closed(_) => None,
        },
        reference_seconds: REFERENCE.as_secs_f64(),
        ratio: used.map(ratio_of),
        deadline_factor: calibration.wall(),
        cell_seconds,
    };
    (checks, figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::probe::Missed;
    use std::time::Duration;

    fn told(tcg: Result<Speed, Missed>, kvm: Kvm, jobs: usize) -> (String, Figures) {
        let (checks, figures) = checks(&Probed { guests: 2, tcg, kvm }, jobs);
        let findings = super::super::check::Findings::new(checks, None);
        (findings.text(), figures)
    }

    fn stuck() -> Missed {
        Missed::NotBegun { after: Duration::from_secs(1), said: String::new() }
    }

    /// Catches a KVM that is of no use and looks fine, or is counted as a lack; and seconds that are not those of the host.
    #[test]
    fn what_is_said_of_speed() {
        let (text, figures) = told(Ok(Speed::REFERENCE), Kvm::Tried(Err(stuck())), 2);
        assert!(text.contains("ok       TCG: ") && text.contains("1.0 times as long"), "{text}");
        assert!(
            text.contains("note     KVM: opens, and is of no use: the probe's guest did not begin"),
            "{text}"
        );
        assert!(text.contains("about 9 s under tcg") && text.ends_with("can run the rig"), "{text}");
        assert_eq!((figures.ratio, figures.cell_seconds, figures.kvm_seconds), (Some(1.0), Some(9.0), None));

        let (text, figures) = told(Ok(Speed::REFERENCE), Kvm::Closed("cannot open /dev/kvm".into()), 8);
        assert!(text.contains("note     KVM: cannot open /dev/kvm") && text.contains("about 36 s"), "{text}");
        assert_eq!(figures.deadline_factor, 4.0);

        let (text, _) = told(Err(stuck()), Kvm::Tried(Err(stuck())), 2);
        assert!(text.contains("missing  TCG") && !text.contains("a cell"), "{text}");
    }
}
