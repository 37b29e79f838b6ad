//! What guests do under TCG and KVM on this host, side by side, and whether KVM is of use.

use super::{Limits, Missed, Speed, probe};
use crate::accel::{Accel, AccelChoice};
use crate::patience::Limit;
use crate::scratch::Scratch;
use crate::stop::Stop;
use std::path::Path;
use std::time::Duration;

/// How much longer than under TCG a guest may take to begin under KVM: twice, and a second for what only KVM's start costs.
const START_EXTRA: Duration = Duration::from_secs(1);
/// Least time that a guest has under KVM, however fast TCG is.
const LEAST_WORK: Duration = Duration::from_secs(1);
/// What the probe found under both accelerators.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Guests that ran at a time.
    pub guests: usize,
    /// Under TCG.
    pub tcg: Result<Speed, Missed>,
    /// Under KVM.
    pub kvm: Kvm,
}

/// What is known of KVM.
#[derive(Clone, Debug, PartialEq)]
pub enum Kvm {
    /// Nothing: it was not asked for.
    NotTried,
    /// There is none that can be opened.
    Closed(String),
    /// What became of the probe.
    Tried(Result<Speed, Missed>),
}

/// Probes what `choice` leaves open, with as many guests at a time as a run with `jobs` has CPUs for: further ones would only share
/// them, which needs no measurement. TCG comes first; its time is the limit of KVM's.
///
/// # Errors
/// The run is to stop, or a probe's QEMU cannot be ended. All else is a finding.
pub async fn look(
    choice: AccelChoice,
    qemu: &Path,
    jobs: usize,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<Probed, Missed> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let guests = jobs.clamp(1, cpus);
    let tcg = fatal_or_finding(probe(qemu, Accel::Tcg, guests, Limits::TCG, scratch, stop).await)?;
    let kvm = match (choice, openable()) {
        (AccelChoice::Tcg, _) => Kvm::NotTried,
        (_, Err(why)) => Kvm::Closed(why),
        (_, Ok(())) => {
            let limits = kvm_limits(tcg.as_ref().ok().copied());
            Kvm::Tried(fatal_or_finding(probe(qemu, Accel::Kvm, guests, limits, scratch, stop).await)?)
        }
    };
    Ok(Probed { guests, tcg, kvm })
}

/// Some misses are no finding about an accelerator.
fn fatal_or_finding(probed: Result<Speed, Missed>) -> Result<Result<Speed, Missed>, Missed> {
    match probed {
        Err(fatal @ (Missed::Interrupted | Missed::Leaked(_))) => Err(fatal),
        Ok(_)
        | Err(
            Missed::NotStarted(_)
            | Missed::Ended { .. }
            | Missed::NotBegun { .. }
            | Missed::NotDone { .. }
            | Missed::Wrong { .. },
        ) => Ok(probed),
    }
}

/// What a guest may take under KVM that is to be faster than this TCG. Without a figure, which a QEMU built without TCG has not: than
/// the reference host's.
fn kvm_limits(tcg: Option<Speed>) -> Limits {
    let tcg = tcg.unwrap_or(Speed::REFERENCE);
    Limits {
        start: Limit::of(tcg.start() * 2 + START_EXTRA),
        // Beside the same load as TCG was: that is in the wall's limit already.
        work: Limit { wall: tcg.took().max(LEAST_WORK), own: tcg.own() },
    }
}

fn openable() -> Result<(), String> {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| format!("cannot open /dev/kvm: {error}"))
}

impl Probed {
    /// Whether guests are clearly faster under KVM; else why it is of no use.
    pub fn kvm_is_faster(&self) -> Result<Speed, String> {
        // A QEMU without TCG is compared with the reference host's.
        let tcg = self.tcg.as_ref().copied().unwrap_or(Speed::REFERENCE);
        match &self.kvm {
            Kvm::NotTried => Err("it was not tried".into()),
            Kvm::Closed(why) => Err(why.clone()),
            Kvm::Tried(Err(why)) => Err(why.to_string()),
            Kvm::Tried(Ok(kvm)) if kvm.beats(tcg) => Ok(*kvm),
            Kvm::Tried(Ok(kvm)) => Err(format!("the probe took {kvm} under it, not half of TCG's")),
        }
    }

    /// The probe under TCG, in words.
    pub fn tcg_in_words(&self) -> String {
        match &self.tcg {
            Ok(speed) => format!("the probe took {speed} under TCG"),
            Err(why) => format!("no figure of TCG ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::REFERENCE;
    use super::*;

    /// Bug: on a loaded host a broken KVM is awaited for many times what TCG took, for its limit allows for the load twice; or on a
    /// fast one a KVM that has its start-up behind it is cut off.
    #[test]
    fn kvm_has_the_time_that_tcg_took() {
        let ms = Duration::from_millis;
        let loaded = kvm_limits(Some(Speed::new(ms(400), ms(2650), ms(2150))));
        assert_eq!(loaded.work, Limit { wall: ms(2650), own: ms(500) });
        assert_eq!(loaded.start, Limit::of(ms(1800)));
        let fast = kvm_limits(Some(Speed::new(ms(40), ms(100), ms(0))));
        assert_eq!(fast.work, Limit { wall: LEAST_WORK, own: ms(100) });
        assert_eq!(kvm_limits(None).work, Limit { wall: LEAST_WORK, own: REFERENCE });
    }

    /// Bug: a KVM that cannot be opened, was not tried, or is as slow as TCG counts as one that works.
    #[test]
    fn what_counts_as_faster() {
        let ms = Duration::from_millis;
        let speed = |took| Speed::new(ms(40), ms(took), ms(0));
        let missed = || Missed::NotBegun { after: ms(1000), said: String::new() };
        for (tcg, kvm, faster) in [
            (Ok(speed(500)), Kvm::NotTried, false),
            (Ok(speed(500)), Kvm::Closed("x".into()), false),
            (Ok(speed(500)), Kvm::Tried(Err(missed())), false),
            (Ok(speed(500)), Kvm::Tried(Ok(speed(499))), false),
            (Ok(speed(500)), Kvm::Tried(Ok(speed(50))), true),
            // A QEMU without TCG: the reference host's TCG is what it must beat.
            (Err(missed()), Kvm::Tried(Ok(speed(50))), true),
            (Err(missed()), Kvm::Tried(Ok(speed(400))), false),
        ] {
            let probed = Probed { guests: 1, tcg, kvm };
            assert_eq!(probed.kvm_is_faster().is_ok(), faster, "{probed:?}");
        }
    }
}
