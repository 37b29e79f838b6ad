//! Injects a fault, family by family, and observes what comes of it. An error here says that the fault did not come; what goes wrong after
//! it is observed.

mod cache;
mod clock;
mod loader;
mod mirror;
mod real;
mod rigs;

use super::judge::{BeforeFault, NotInjected, Observed};
use super::list::{FalseQemu, Injection};
use super::observe;
use super::stage::{Cells, Stage};
use super::stand_in::Deed;
use std::path::Path;
use tokio::process::Command;

/// A folder that nobody can make, root included: sysfs takes no new ones.
const UNWRITABLE: &str = "/sys/kernel/kdump-rig-report";
/// Room on the small disk: for the archives of two initramfs images, and not for a report of any length.
const SMALL_DISK: &str = "48m";
/// Begins a command line whose process is killed when its parent dies. A child of a shell would stay when the shell is killed.
const DIES_WITH_PARENT: &str = "setpriv --pdeathsig KILL";
/// Guests that no host has the memory for.
const MANY_JOBS: &str = "100000";

/// Injects the stage's fault.
///
/// # Errors
/// It could not be injected, or its moment did not come.
pub(super) async fn inject(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let report = stage.report();
    match stage.fault.injection {
        Injection::Guest(_, deed) => guest(stage, deed, &[]).await,
        Injection::Again(_, deed, words) => guest(stage, deed, words).await,
        Injection::NoTemporaryFolder => full_temp(stage).await,
        Injection::SmallDisk(..) => small_disk(stage).await,
        Injection::Qemu(FalseQemu::Missing) => {
            let missing = stage.folder.join("no-qemu");
            stage.observe(stage.e2e(Cells::StandIn, &missing, &report, &["--offline"]), &report).await
        }
        Injection::Qemu(FalseQemu::Version(version)) => {
            let qemu = stage.qemu_script(version, "exit 1")?;
            stage.observe(stage.e2e(Cells::StandIn, &qemu, &report, &["--offline"]), &report).await
        }
        Injection::Qemu(FalseQemu::WithoutMemory) => real::without_memory(stage).await,
        Injection::RealQemu(signal) => real::signal(stage, signal).await,
        Injection::SavedState(damage) => real::saved_state(stage, damage).await,
        Injection::Loader(loader) => loader::inject(stage, loader).await,
        Injection::Cache(damage) => cache::inject(stage, damage).await,
        Injection::Mirror(mirror) => mirror::inject(stage, mirror).await,
        Injection::OneCache => mirror::two_rigs(stage).await,
        Injection::Clock => clock::inject(stage).await,
        Injection::Signal(signal) => rigs::signal(stage, signal).await,
        Injection::KilledAndResumed => rigs::killed_and_resumed(stage).await,
        Injection::OneReport => rigs::one_report(stage).await,
        Injection::UnwritableReport => {
            let unwritable = Path::new(UNWRITABLE);
            let command = stage.e2e(Cells::StandIn, &stage.stand_in(false)?, unwritable, &["--offline"]);
            stage.observe(command, unwritable).await
        }
        Injection::ManyJobs => {
            let qemu = stage.stand_in(false)?;
            let command = stage.e2e(Cells::StandIn, &qemu, &report, &["-j", MANY_JOBS, "--offline"]);
            stage.observe(command, &report).await
        }
    }
}

/// Runs both cells with the stand-in, and these words on the command line.
async fn guest(stage: &Stage<'_>, deed: Deed, words: &[&str]) -> Result<Observed, NotInjected> {
    let (qemu, report) = (stage.stand_in(true)?, stage.report());
    let words = [&["-j", "2", "--offline"], words].concat();
    let observed = stage.observe(stage.e2e(Cells::StandIn, &qemu, &report, &words), &report).await?;
    let mut observed = if_reached(stage, observed)?;
    if let Deed::LastOnConsole(bytes) = deed {
        let console = observe::console_of_faulted(&report);
        let kept = observed.take("the faulted cell's console", console);
        observed.must(
            kept.is_none_or(|console| console.ends_with(bytes)),
            "the console's last words are not in the evidence",
        );
    }
    Ok(observed)
}

/// What was observed, if the stand-in did its deed.
fn if_reached(stage: &Stage<'_>, observed: Observed) -> Result<Observed, NotInjected> {
    observed.provided(stage.reached().exists(), "its moment in the guest's life did not come")
}

/// Runs the rig in a namespace of mounts where its temporary folder has room for one empty file, and no more.
async fn full_temp(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let (qemu, report) = (stage.stand_in(false)?, stage.report());
    let mut command = in_namespace("mount -t tmpfs -o nr_inodes=2 none \"$TMPDIR\" || exit 99; exec \"$@\"");
    command.arg(&stage.shop.xtask);
    command.args(stage.e2e_words(Cells::StandIn, &qemu, &report)).args(["-j", "1", "--offline"]);
    stage.in_place(&mut command);
    if_mounted(stage.observe(command, &report).await?)
}

/// A shell script with a namespace of mounts to itself, and the privileges to mount there.
fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    // The change of credentials has taken away the signal that `unshare` was to die by.
    command.args(DIES_WITH_PARENT.split(' ')).args(["sh", "-c", script, "sh"]);
    command
}

/// What was observed, if a rig could be started in such a namespace.
fn if_mounted(observed: Observed) -> Result<Observed, NotInjected> {
    let mounted = observed.exit != Some(99) && !observed.said.contains("unshare: ");
    let why = format!("this host lets nobody mount: {}", observed.said.trim());
    observed.provided(mounted, why)
}

/// Runs the rig with its report on a disk of its own: a tmpfs in a namespace of mounts, which ends with the rig and needs no
/// privileges where users may make namespaces. What was written is copied out of it. (A limit on the size of files would do without,
/// but hits large files first, and the results last.)
async fn small_disk(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let (disk, report) = (stage.folder.join("disk"), stage.report());
    std::fs::create_dir_all(&disk).before_fault()?;
    let qemu = stage.stand_in(true)?;
    let script = format!(
        "disk=$1; kept=$2; shift 2
         mount -t tmpfs -o size={SMALL_DISK} none \"$disk\" || exit 99
         {DIES_WITH_PARENT} \"$@\"; status=$?
         find \"$disk\" -name filler -delete; cp -a \"$disk/report\" \"$kept\"; exit $status"
    );
    let mut command = in_namespace(&script);
    command.arg(&disk).arg(&report).arg(&stage.shop.xtask);
    command.args(stage.e2e_words(Cells::StandIn, &qemu, &disk.join("report"))).args(["-j", "1", "--offline"]);
    stage.in_place(&mut command);
    if_reached(stage, if_mounted(stage.observe(command, &report).await?)?)
}
