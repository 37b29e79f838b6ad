//! What a fault is, how it is injected, and the choice among those of the campaign.

mod all;
mod expect;

use super::judge::Expected;
use super::stand_in::{Deed, Moment};
pub(super) use all::FAULTS;

/// A fault of the campaign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// What is injected, for people.
    pub(super) what: &'static str,
    pub(super) injection: Injection,
    pub(super) expected: Expected,
    /// Whether CI tries it: those that take a second or two.
    pub(super) slice: bool,
}

/// How it is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Injection {
    /// In the faulted cell's guest, by the stand-in for QEMU.
    Guest(Moment, Deed),
    /// Likewise, with these words on the rig's command line: the fault comes once, to the first of the cell's guests.
    Again(Moment, Deed, &'static [&'static str]),
    /// The rig's temporary folder is on a disk that is full.
    NoTemporaryFolder,
    /// The disk with the report is a small one, in a namespace of its own, which the stand-in fills up.
    SmallDisk(Moment, Deed),
    /// By the program that is given as QEMU.
    Qemu(FalseQemu),
    /// A signal for the process of a real guest.
    RealQemu(RealSignal),
    /// By the loader in a real guest.
    Loader(FalseLoader),
    /// In the file of a saved state, between two real guests that start from it.
    SavedState(StateDamage),
    /// In the cache.
    Cache(Damage),
    /// By the mirror.
    Mirror(FalseMirror),
    /// The folder of the report cannot be made.
    UnwritableReport,
    /// The wall clock jumps to and fro by a year, as the rig sees it.
    Clock,
    /// A signal for the rig, in the middle of a cell.
    Signal(RigSignal),
    /// The rig is killed in the middle of real cells, and the run is resumed.
    KilledAndResumed,
    /// Two rigs on one cache that is empty.
    OneCache,
    /// Two rigs on one report folder.
    OneReport,
    /// More guests are asked for than fit into memory.
    ManyJobs,
}

/// What stands in for QEMU as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FalseQemu {
    Missing,
    /// Says this as its version.
    Version(&'static str),
    /// The real one, with too little memory for the guest.
    WithoutMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RealSignal {
    Kill,
    Stop,
}

/// What a loader does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FalseLoader {
    Segfaults,
    Loops,
    /// Ends with status 0 and has loaded nothing.
    Lies,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A byte in its middle is another.
    Rot,
    /// Its second half is gone.
    Truncate,
}

/// What is done to the file of a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateDamage {
    /// Some bytes in its middle are others.
    Rot,
    /// It is the state of another boot of the same cells: a whole one, which QEMU would take.
    OtherBoot,
}

/// What a mirror does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FalseMirror {
    /// Stops in the middle of the first answer, and is well again when it is asked once more.
    Stalls,
    /// Ends each answer in its middle.
    Cuts,
    /// Sends other bytes, as many as there should be.
    Lies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RigSignal {
    Int,
    Term,
    Hup,
    /// Nothing can be done about it: what counts is that guests die with the rig, and what the next run finds.
    Kill,
}

/// What the stand-in is to do for the fault of this name: that of a guest, or to wait, where the fault comes from outside meanwhile.
pub(super) fn guest_fault(name: &str) -> Option<(Moment, Deed)> {
    match FAULTS.iter().find(|fault| fault.name == name)?.injection {
        Injection::Guest(moment, deed)
        | Injection::Again(moment, deed, _)
        | Injection::SmallDisk(moment, deed) => Some((moment, deed)),
        Injection::Signal(_) => Some((Moment::Load, Deed::Wait)),
        Injection::OneReport => Some((Moment::Load, Deed::Pause)),
        Injection::Clock => Some((Moment::Load, Deed::Dawdle)),
        Injection::Qemu(_)
        | Injection::RealQemu(_)
        | Injection::Loader(_)
        | Injection::SavedState(_)
        | Injection::Cache(_)
        | Injection::Mirror(_)
        | Injection::NoTemporaryFolder
        | Injection::UnwritableReport
        | Injection::KilledAndResumed
        | Injection::OneCache
        | Injection::ManyJobs => None,
    }
}

/// The faults with these names, or all of them, or those that CI tries.
///
/// # Errors
/// A name that no fault has.
pub(super) fn select(names: &[String], slice: bool) -> anyhow::Result<Vec<&'static Fault>> {
    if let Some(name) = names.iter().find(|name| !FAULTS.iter().any(|fault| fault.name == **name)) {
        anyhow::bail!("no fault is called {name:?}; `cargo xtask faults --list` shows them");
    }
    let wanted = |fault: &&Fault| match names {
        [] => !slice || fault.slice,
        names => names.iter().any(|name| name == fault.name),
    };
    Ok(FAULTS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Catches a misspelt name that tries all the others, or nothing, and succeeds; and two faults whose folders are one.
    #[test]
    fn names_select() {
        let names: BTreeSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len());
        assert_eq!(select(&["sigint".into()], false).unwrap().len(), 1);
        let error = select(&["sigint".into(), "sigin".into()], false).unwrap_err().to_string();
        assert!(error.contains("no fault is called \"sigin\""), "{error}");
        let slice = select(&[], true).unwrap();
        assert!(slice.len() > 10 && slice.len() < select(&[], false).unwrap().len());
    }
}
