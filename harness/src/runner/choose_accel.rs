//! Decides between KVM and TCG by what guests are seen to do under them, never by what the host claims; and calibrates the run's
//! deadlines by the same figures.
//!
//! Two looks. The probe tells in a second or two whether KVM is clearly faster than TCG, and by how much. Only where it is, which
//! makes it cheap, a kernel of the run boots to its banner under KVM: a CPU model that this KVM cannot give, or an image that it gets
//! stuck in, does not show in a guest of fifty instructions.

use super::{Options, RunError};
use crate::accel::{Accel, AccelChoice, AccelReason, ProbeSeconds};
use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::guest::{Deadlines, GuestPlan, Inquiry, NoBanner, Origin, time_to_banner};
use crate::patience::Limit;
use crate::payload::Payload;
use crate::probe::{Calibration, Kvm, Missed, Probed, REFERENCE, Speed, WORTH_TELLING, look};
use crate::scratch::Scratch;
use crate::stop::Stop;
use std::path::Path;
use std::time::Duration;

/// A kernel gets to its banner within a second under a working KVM. One that needs longer than this is slower than under TCG.
const TO_BANNER: Duration = Duration::from_secs(5);

/// Words of the second look's kernel: its banner must get to the console early. What would follow does not matter, the guest is
/// ended.
const CMDLINE: &str = "console=ttyS0,115200 earlyprintk=ttyS0,115200";

/// What a run uses, and by what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    pub(super) accel: Accel,
    pub(super) calibration: Calibration,
    pub(super) reason: AccelReason,
}

impl Chosen {
    /// What people must be told: a decision that was the rig's, and deadlines that are not the usual ones.
    pub(super) fn notice(&self) -> Option<String> {
        let usual = self.reason.asked == AccelChoice::Tcg
            && self.reason.tcg.is_some()
            && self.calibration.wall() < WORTH_TELLING;
        (!usual).then(|| self.reason.reason.clone())
    }
}

/// Decides for a run of these cells with `jobs` guests at a time. A run that is to stop starts no guest, so anything will do for it.
///
/// # Errors
/// [`RunError::Accel`]: KVM was asked for and is of no use; [`RunError::Host`]: a process is left.
pub(super) async fn choose(
    cells: &[Cell],
    artifacts: &Artifacts,
    options: &Options,
    jobs: usize,
    qemu: &Path,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<Chosen, RunError> {
    let probed = match look(options.accel, qemu, jobs, scratch, stop).await {
        Ok(probed) => probed,
        Err(Missed::Leaked(what)) => {
            return Err(RunError::Host(format!("the probe's guest is left: {what}")));
        }
        Err(why) => return Ok(undecided(options.accel, &why)),
    };
    let kernel = match (probed.kvm_is_faster(), cells.first()) {
        (Ok(_), Some(cell)) => match second_look(cell, artifacts, qemu, scratch, stop).await? {
            Ok(after) => Some(Ok(after)),
            Err(NoBanner::Silent(why)) => Some(Err(why)),
            Err(NoBanner::Leaked(what)) => {
                return Err(RunError::Host(format!("a guest that tried KVM is left: {what}")));
            }
        },
        (Ok(_), None) | (Err(_), _) => None,
    };
    if stop.is_requested() {
        return Ok(undecided(options.accel, &Missed::Interrupted));
    }
    decide(options.accel, &probed, kernel, jobs).map_err(RunError::Accel)
}

/// How soon the kernel of `cell` speaks under KVM, or what was seen in its place.
///
/// # Errors
/// It could not be tried: a disk is full, or a file is missing.
async fn second_look(
    cell: &Cell,
    artifacts: &Artifacts,
    qemu: &Path,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<Result<Duration, NoBanner>, RunError> {
    // What the rig lacks is not to be put down to KVM.
    let cannot =
        |error: &dyn std::fmt::Display| RunError::Host(format!("cannot try a kernel under KVM: {error}"));
    let missing = || cannot(&format!("{} is not there", cell.first.name));
    let kernel = artifacts.kernel(&cell.first).ok_or_else(missing)?;
    let folder = scratch.guest().map_err(|error| cannot(&error))?;
    let mut payload = Payload::default();
    payload.parts = payload.missing(cell, artifacts).map_err(|error| cannot(&error))?;
    let initramfs = folder.path("initramfs");
    std::fs::write(&initramfs, payload.initramfs()).map_err(|error| cannot(&error))?;
    let console_log = folder.path("console.log");
    let plan = GuestPlan {
        cell,
        qemu,
        accel: Accel::Kvm,
        origin: Origin::PowerOn,
        // It is the kernel that is tried, and a UEFI firmware would take the time that is allowed for it.
        firmware: None,
        kernel: &kernel.file.bzimage,
        initramfs: &initramfs,
        cmdline: CMDLINE,
        loader_argv: &[],
        deadlines: &Deadlines::default(),
        console_log: &console_log,
        inquiry: Inquiry::default(),
    };
    let guest = scratch.guest().map_err(|error| cannot(&error))?;
    Ok(time_to_banner(plan, guest, stop.clone(), Limit::of(TO_BANNER)).await)
}

/// For a run that is to stop before anything was decided.
fn undecided(asked: AccelChoice, why: &Missed) -> Chosen {
    let accel = match asked {
        AccelChoice::Kvm => Accel::Kvm,
        AccelChoice::Auto | AccelChoice::Tcg => Accel::Tcg,
    };
    let reason = AccelReason {
        asked,
        reason: format!("{accel}, undecided: {why}"),
        guests: 0,
        tcg: None,
        kvm: None,
        reference_seconds: REFERENCE.as_secs_f64(),
        deadline_factor: 1.0,
    };
    Chosen { accel, calibration: Calibration::NONE, reason }
}

/// Decides. `kernel` is what the second look came to; none where there was none. Pure.
///
/// # Errors
/// KVM was asked for and is of no use: the finding.
fn decide(
    asked: AccelChoice,
    probed: &Probed,
    kernel: Option<Result<Duration, String>>,
    jobs: usize,
) -> Result<Chosen, String> {
    let tcg = probed.tcg_in_words();
    let kvm = match (probed.kvm_is_faster(), kernel) {
        (Ok(speed), Some(Ok(after))) => {
            Ok((speed, format!(", and a kernel spoke after {:.1} s", after.as_secs_f64())))
        }
        (Ok(speed), None) => Ok((speed, String::new())),
        (Ok(speed), Some(Err(why))) => Err(format!("the probe took {speed} under it, but {why}")),
        (Err(why), _) => Err(why),
    };
    let under_tcg = |why| (Accel::Tcg, probed.tcg.as_ref().ok().copied(), why);
    let (accel, speed, why) = match (asked, kvm) {
        (AccelChoice::Tcg, _) => under_tcg(format!("TCG, as asked for: {tcg}")),
        (AccelChoice::Auto | AccelChoice::Kvm, Ok((speed, kernel))) => {
            (Accel::Kvm, Some(speed), format!("KVM: the probe took {speed} under it{kernel}; {tcg}"))
        }
        (AccelChoice::Auto, Err(why)) => under_tcg(format!("TCG, for KVM does not work here: {why}; {tcg}")),
        (AccelChoice::Kvm, Err(why)) => {
            return Err(format!("KVM was asked for and does not work here: {why}; {tcg}; use --accel tcg"));
        }
    };
    // A probe that was not done in its time is the slowest host there is; one that could not be run at all says nothing of the host.
    let without_figure = match &probed.tcg {
        Err(Missed::NotBegun { .. } | Missed::NotDone { .. }) => Calibration::SLOWEST,
        Ok(_) | Err(_) => Calibration::NONE,
    };
    let calibration =
        speed.map_or(without_figure, |speed| Calibration::new(accel, speed, probed.guests, jobs));
    let reason = match (speed, calibration.wall()) {
        (None, 1.0) => format!("{why}; deadlines are those of the reference host"),
        (None, factor) => format!("{why}; deadlines are stretched {factor:.0} times, as far as they go"),
        (Some(_), factor) if factor >= WORTH_TELLING => {
            format!("{why}; deadlines are stretched {factor:.1} times")
        }
        (Some(_), _) => why,
    };
    let kvm = match &probed.kvm {
        Kvm::Tried(tried) => tried.as_ref().ok(),
        Kvm::NotTried | Kvm::Closed(_) => None,
    };
    let reason = AccelReason {
        asked,
        reason,
        guests: probed.guests,
        tcg: probed.tcg.as_ref().ok().map(seconds),
        kvm: kvm.map(seconds),
        reference_seconds: REFERENCE.as_secs_f64(),
        deadline_factor: calibration.wall(),
    };
    Ok(Chosen { accel, calibration, reason })
}

fn seconds(speed: &Speed) -> ProbeSeconds {
    let took = speed.took().as_secs_f64();
    ProbeSeconds { took, waited: took - speed.own().as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(took_ms: u64) -> Speed {
        Speed::new(Duration::from_millis(40), Duration::from_millis(took_ms), Duration::ZERO)
    }

    fn stuck() -> Missed {
        Missed::NotDone { after: Duration::from_secs(1), said: "; QEMU said: KVM internal error".into() }
    }

    fn probed(tcg: Result<Speed, Missed>, kvm: Kvm) -> Probed {
        Probed { guests: 2, tcg, kvm }
    }

    /// Bug: a KVM that opens and is of no use is used, or one that works is not; a demand for KVM ends in TCG; what was measured
    /// stands in no sentence.
    #[test]
    fn decisions() {
        use AccelChoice::{Auto, Kvm as AskKvm, Tcg};
        let fast = || probed(Ok(speed(500)), Kvm::Tried(Ok(speed(40))));
        let slow = || probed(Ok(speed(500)), Kvm::Tried(Ok(speed(400))));
        let broken = || probed(Ok(speed(500)), Kvm::Tried(Err(stuck())));
        let closed = || probed(Ok(speed(500)), Kvm::Closed("cannot open /dev/kvm: no such file".into()));
        let no_tcg = || probed(Err(stuck()), Kvm::Tried(Ok(speed(40))));
        let neither = || probed(Err(stuck()), Kvm::Tried(Err(stuck())));
        let spoke = || Some(Ok(Duration::from_millis(600)));
        let silent = || Some(Err("a kernel did not get to its banner within 5 s".to_owned()));
        for (asked, probed, kernel, accel, told) in [
            (
                Auto,
                fast(),
                spoke(),
                Ok(Accel::Kvm),
                "KVM: the probe took 0.04 s under it, and a kernel spoke after 0.6 s; the probe took 0.50 s under TCG",
            ),
            (AskKvm, fast(), spoke(), Ok(Accel::Kvm), "KVM: the probe took 0.04 s"),
            (
                Auto,
                fast(),
                silent(),
                Ok(Accel::Tcg),
                "TCG, for KVM does not work here: the probe took 0.04 s under it, but a kernel did not get",
            ),
            (
                AskKvm,
                fast(),
                silent(),
                Err(()),
                "but a kernel did not get to its banner within 5 s; the probe took 0.50 s under TCG; use --accel tcg",
            ),
            (
                Auto,
                slow(),
                None,
                Ok(Accel::Tcg),
                "the probe took 0.40 s under it, not half of TCG's; the probe took 0.50 s under TCG",
            ),
            (
                AskKvm,
                slow(),
                None,
                Err(()),
                "KVM was asked for and does not work here: the probe took 0.40 s under it",
            ),
            (
                Auto,
                broken(),
                None,
                Ok(Accel::Tcg),
                "was not done after 1.0 s; QEMU said: KVM internal error; the probe took 0.50 s under TCG",
            ),
            (AskKvm, broken(), None, Err(()), "KVM internal error"),
            (Auto, closed(), None, Ok(Accel::Tcg), "cannot open /dev/kvm"),
            (AskKvm, closed(), None, Err(()), "cannot open /dev/kvm"),
            (Auto, no_tcg(), spoke(), Ok(Accel::Kvm), "no figure of TCG"),
            (Auto, neither(), None, Ok(Accel::Tcg), "deadlines are stretched 20 times"),
            (
                Tcg,
                probed(Err(Missed::NotStarted("no such machine".into())), Kvm::NotTried),
                None,
                Ok(Accel::Tcg),
                "deadlines are those of the reference host",
            ),
            (Tcg, probed(Ok(speed(500)), Kvm::NotTried), None, Ok(Accel::Tcg), "TCG, as asked for"),
        ] {
            let decided = decide(asked, &probed, kernel, 2);
            let (chosen, text) = match decided {
                Ok(Chosen { accel, reason, .. }) => (Ok(accel), reason.reason),
                Err(text) => (Err(()), text),
            };
            assert_eq!(chosen, accel, "{asked:?}: {text}");
            assert!(text.contains(told), "{text}");
        }
    }

    /// Bug: a slow host is told nothing of its stretched deadlines, or a usual one is told of every run what everybody knows.
    #[test]
    fn what_is_told() {
        let chosen = |asked, times, jobs| {
            let speed = Speed::new(Duration::ZERO, REFERENCE * times, Duration::ZERO);
            decide(asked, &probed(Ok(speed), Kvm::NotTried), None, jobs).unwrap()
        };
        assert_eq!(chosen(AccelChoice::Tcg, 1, 2).notice(), None);
        assert!(chosen(AccelChoice::Auto, 1, 2).notice().is_some());
        let slow = chosen(AccelChoice::Tcg, 2, 4);
        assert!(slow.notice().unwrap().ends_with("deadlines are stretched 4.0 times"), "{slow:?}");
        assert_eq!(slow.reason.deadline_factor, 4.0);
    }
}
