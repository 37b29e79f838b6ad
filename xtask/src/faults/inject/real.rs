//! Faults around real guests: signals for their QEMU, a QEMU without memory, a saved state that is damaged.

use super::DIES_WITH_PARENT;
use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::list::{RealSignal, StateDamage};
use crate::faults::observe::{self, Process};
use crate::faults::stage::{Cells, Stage};
use crate::faults::stand_in::MARK;
use crate::tools;
use anyhow::Context;
use harness::report::read_results;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Address space that is left to QEMU, in KiB: less than the 4 GiB of its guest.
const LITTLE_MEMORY_KIB: u32 = 3 << 20;

/// Sends a signal to the faulted guest's QEMU when its first kernel has begun to speak.
pub(super) async fn signal(stage: &Stage<'_>, signal: RealSignal) -> Result<Observed, NotInjected> {
    let report = stage.report();
    let command = stage.e2e(Cells::Real, &stage.shop.qemu, &report, &["-j", "1", "--offline"]);
    let rig = stage.start(command, "said.log")?;
    let speaking = || observe::processes(stage.temp()).into_iter().find(speaks);
    let moment = "the first kernel's first words";
    let rig = stage.moment(rig, &report, moment, || speaking().is_some()).await?;
    let qemu = speaking().and_then(|process| Pid::from_raw(process.pid));
    let qemu = qemu.context("QEMU ended too early").before_fault()?;
    let signal = match signal {
        RealSignal::Kill => Signal::KILL,
        RealSignal::Stop => Signal::STOP,
    };
    kill_process(qemu, signal).context("cannot signal QEMU").before_fault()?;
    Ok(stage.finish(rig, &report).await)
}

/// Whether this is the faulted cell's QEMU, with something on its console.
fn speaks(process: &Process) -> bool {
    let faulted = process.command.iter().any(|word| word.split(' ').any(|word| word == MARK));
    let log = process.command.iter().find_map(|word| word.split_once("logfile="));
    faulted && log.is_some_and(|(_, log)| Path::new(log).metadata().is_ok_and(|log| log.len() > 0))
}

/// Runs the real QEMU, for the faulted cell with little address space.
pub(super) async fn without_memory(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let (qemu, report) = (stage.shop.qemu.display(), stage.report());
    let machine =
        format!("case \"$*\" in *{MARK}*) ulimit -v {LITTLE_MEMORY_KIB};; esac\nexec '{qemu}' \"$@\"");
    let script = stage.qemu_script("QEMU emulator version 7.2.0 (limited)", &machine)?;
    stage.observe(stage.e2e(Cells::Real, &script, &report, &["-j", "1", "--offline"]), &report).await
}

/// Damages the saved state after the first guest that started from it has ended. The second must find that out, boot by itself, and
/// come to what it should.
pub(super) async fn saved_state(stage: &Stage<'_>, damage: StateDamage) -> Result<Observed, NotInjected> {
    let setpriv = DIES_WITH_PARENT.split(' ').next().unwrap_or_default();
    tools::find(setpriv).with_context(|| format!("this host has no {setpriv}")).before_fault()?;
    let (qemu, report, reached) = (stage.shop.qemu.display(), stage.report(), stage.reached());
    let kept = stage.folder.join("kept");
    let kept_state = kept.join("state");
    // What is done with the file `$state`, and whether this guest is the one before that.
    let (damaging, moment, runs) = match damage {
        StateDamage::Rot => (
            "dd if=/dev/urandom of=\"$state\" bs=64 count=1 seek=$((size / 128)) conv=notrunc status=none"
                .to_owned(),
            "true".to_owned(),
            "1",
        ),
        // The first boot's state is kept; the second boot, of the same cells, has its own.
        StateDamage::OtherBoot => (
            format!("cat '{}' > \"$state\"", kept_state.display()),
            format!(
                "if mkdir '{kept}' 2>/dev/null; then
                   cp \"$state\" '{state}'; echo \"$state\" > '{kept}/name'; false
                 else
                   [ \"$state\" != \"$(cat '{kept}/name')\" ]
                 fi",
                kept = kept.display(),
                state = kept_state.display(),
            ),
            "2",
        ),
    };
    // The rig ends this script and QEMU together, and waits for both. The signal that QEMU ends by must not end the script, nor be
    // ignored in QEMU, as one that is ignored here would be. A rig that is killed ends the script alone, which takes QEMU along.
    let machine = format!(
        "case \"$*\" in
           *-incoming*)
             state=$(readlink /proc/$$/fd/0); size=$(stat -c %s \"$state\")
             if {moment} && mkdir '{reached}' 2>/dev/null; then
               trap : TERM
               {DIES_WITH_PARENT} '{qemu}' \"$@\"
               {damaging}
               exit 0
             fi;;
         esac
         exec '{qemu}' \"$@\"",
        reached = reached.display(),
    );
    let script = stage.qemu_script("QEMU emulator version 7.2.0 (damaging)", &machine)?;
    let words = ["-j", "1", "--offline", "--repeat", runs];
    let command = stage.e2e(Cells::Shared, &script, &report, &words);
    let observed = stage.observe(command, &report).await?;
    // A hundred megabytes that nobody looks at.
    let _ = std::fs::remove_file(&kept_state);
    let mut observed = observed.provided(reached.is_dir(), "no guest started from the saved state")?;
    let results = observed.take("the results", read_results(&report)).map(|results| results.trials);
    let faulted = results.iter().flatten().filter(|result| observe::is_faulted(&result.cell));
    let notes: Vec<&String> =
        faulted.flat_map(|result| &result.attempts).flat_map(|attempt| &attempt.notes).collect();
    observed.must(
        notes.iter().any(|note| note.contains("booted by itself") && note.contains("is damaged")),
        format!("the damage was not noticed, the notes of the faulted cell are {notes:?}"),
    );
    Ok(observed)
}
