//! Faults around real guests: signals for their QEMU, a QEMU without memory, a saved state that is damaged.

use crate::faults::judge::Observed;
use crate::faults::list::{Damage, RealSignal};
use crate::faults::observe::{self, Process};
use crate::faults::stage::{Cells, Stage};
use crate::faults::stand_in::MARK;
use anyhow::{Context, bail, ensure};
use harness::report::read_results;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Address space that is left to QEMU, in KiB: less than the 4 GiB of its guest.
const LITTLE_MEMORY_KIB: u32 = 3 << 20;

/// Sends a signal to the faulted guest's QEMU when its first kernel has begun to speak.
pub(super) async fn signal(stage: &Stage<'_>, signal: RealSignal) -> anyhow::Result<Observed> {
    let report = stage.report();
    let command = stage.e2e(Cells::Real, &stage.shop.qemu, &report, &["-j", "1", "--offline"]);
    let mut rig = stage.start(command, "said.log")?;
    let speaking = || observe::processes(stage.temp()).into_iter().find(speaks);
    rig.until("the first kernel's first words", || speaking().is_some()).await?;
    let qemu = speaking().and_then(|process| Pid::from_raw(process.pid)).context("QEMU ended too early")?;
    let signal = match signal {
        RealSignal::Kill => Signal::KILL,
        RealSignal::Stop => Signal::STOP,
    };
    kill_process(qemu, signal).context("cannot signal QEMU")?;
    stage.finish(rig, &report).await
}

/// Whether this is the faulted cell's QEMU, with something on its console.
fn speaks(process: &Process) -> bool {
    let faulted = process.command.iter().any(|word| word.split(' ').any(|word| word == MARK));
    let log = process.command.iter().find_map(|word| word.split_once("logfile="));
    faulted && log.is_some_and(|(_, log)| Path::new(log).metadata().is_ok_and(|log| log.len() > 0))
}

/// Runs the real QEMU, for the faulted cell with little address space.
pub(super) async fn without_memory(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let (qemu, report) = (stage.shop.qemu.display(), stage.report());
    let machine =
        format!("case \"$*\" in *{MARK}*) ulimit -v {LITTLE_MEMORY_KIB};; esac\nexec '{qemu}' \"$@\"");
    let script = stage.qemu_script("QEMU emulator version 7.2.0 (limited)", &machine)?;
    stage.observe(stage.e2e(Cells::Real, &script, &report, &["-j", "1", "--offline"]), &report).await
}

/// Damages the saved state after the first guest that started from it has ended. The second must find that out, boot by itself, and
/// come to what it should.
pub(super) async fn saved_state(stage: &Stage<'_>, damage: Damage) -> anyhow::Result<Observed> {
    let (qemu, report, reached) = (stage.shop.qemu.display(), stage.report(), stage.reached());
    let damaging = match damage {
        Damage::Rot => {
            "dd if=/dev/urandom of=\"$state\" bs=64 count=1 seek=$((size / 128)) conv=notrunc status=none"
        }
        Damage::Truncate => "truncate -s $((size / 2)) \"$state\"",
        Damage::Swap => "head -c $size /dev/urandom > \"$state\"",
    };
    // The rig ends this script and QEMU together, and waits for both. The signal that QEMU ends by must not end the script, nor be
    // ignored in QEMU, as one that is ignored here would be.
    let machine = format!(
        "case \"$*\" in
           *-incoming*)
             if mkdir '{reached}' 2>/dev/null; then
               trap : TERM
               state=$(readlink /proc/$$/fd/0); size=$(stat -c %s \"$state\")
               '{qemu}' \"$@\"
               {damaging}
               exit 0
             fi;;
         esac
         exec '{qemu}' \"$@\"",
        reached = reached.display(),
    );
    let script = stage.qemu_script("QEMU emulator version 7.2.0 (damaging)", &machine)?;
    let command = stage.e2e(Cells::Shared, &script, &report, &["-j", "1", "--offline"]);
    let mut observed = stage.observe(command, &report).await?;
    ensure!(reached.is_dir(), "no guest started from a saved state");
    let results = read_results(&report)?.trials;
    let Some(faulted) = results.iter().find(|result| observe::is_faulted(&result.cell)) else {
        bail!("the cell with the damaged state has no result");
    };
    let notes: Vec<&String> = faulted.attempts.iter().flat_map(|attempt| &attempt.notes).collect();
    if !notes.iter().any(|note| note.contains("booted by itself") && note.contains("is damaged")) {
        observed.broken.push(format!("the damage was not noticed, its notes are {notes:?}"));
    }
    Ok(observed)
}
