//! Injects a fault, family by family, and observes what comes of it. An error here is no finding: the fault was not injected.

mod cache;
mod clock;
mod loader;
mod mirror;
mod real;
mod rigs;

use super::judge::Observed;
use super::list::{FalseQemu, Injection};
use super::stage::{Cells, Stage};
use anyhow::ensure;
use std::path::Path;

/// A folder that nobody can make, root included: sysfs takes no new ones.
const UNWRITABLE: &str = "/sys/kernel/kdump-rig-report";
/// Room on the small disk: for the archives of two initramfs images, and not for a report of any length.
const SMALL_DISK: &str = "48m";
/// Guests that no host has the memory for.
const MANY_JOBS: &str = "100000";

/// Injects the stage's fault.
///
/// # Errors
/// It could not be injected, or its moment did not come.
pub(super) async fn inject(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let report = stage.report();
    match stage.fault.injection {
        Injection::Guest(..) => guest(stage, &[]).await,
        Injection::Again(_, _, words) => guest(stage, words).await,
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
async fn guest(stage: &Stage<'_>, words: &[&str]) -> anyhow::Result<Observed> {
    let (qemu, report) = (stage.stand_in(true)?, stage.report());
    let words = [&["-j", "2", "--offline"], words].concat();
    let observed = stage.observe(stage.e2e(Cells::StandIn, &qemu, &report, &words), &report).await?;
    ensure!(stage.reached().exists(), "its moment in the guest's life did not come");
    Ok(observed)
}

/// Runs the rig in a namespace of mounts where its temporary folder has room for one empty file, and no more.
async fn full_temp(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let (qemu, report) = (stage.stand_in(false)?, stage.report());
    let script = "mount -t tmpfs -o nr_inodes=2 none \"$TMPDIR\" || exit 99; exec \"$@\"";
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&stage.shop.xtask);
    command.args(stage.e2e_words(Cells::StandIn, &qemu, &report)).args(["-j", "1", "--offline"]);
    stage.in_place(&mut command);
    let observed = stage.observe(command, &report).await?;
    ensure!(!lets_nobody_mount(&observed), "this host lets nobody mount: {}", observed.said.trim());
    Ok(observed)
}

/// Whether a rig could not be started in a namespace of mounts.
fn lets_nobody_mount(observed: &Observed) -> bool {
    observed.exit == Some(99) || observed.said.contains("unshare: ")
}

/// Runs the rig with its report on a disk of its own: a tmpfs in a namespace of mounts, which ends with the rig and needs no
/// privileges where users may make namespaces. What was written is copied out of it. (A limit on the size of files would do without,
/// but hits large files first, and the results last.)
async fn small_disk(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let (disk, report) = (stage.folder.join("disk"), stage.report());
    std::fs::create_dir_all(&disk)?;
    let qemu = stage.stand_in(true)?;
    let script = format!(
        "disk=$1; kept=$2; shift 2
         mount -t tmpfs -o size={SMALL_DISK} none \"$disk\" || exit 99
         \"$@\"; status=$?
         find \"$disk\" -name filler -delete; cp -a \"$disk/report\" \"$kept\"; exit $status"
    );
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(&disk).arg(&report).arg(&stage.shop.xtask);
    command.args(stage.e2e_words(Cells::StandIn, &qemu, &disk.join("report"))).args(["-j", "1", "--offline"]);
    stage.in_place(&mut command);
    let observed = stage.observe(command, &report).await?;
    ensure!(!lets_nobody_mount(&observed), "this host lets nobody mount: {}", observed.said.trim());
    ensure!(stage.reached().exists(), "its moment in the guest's life did not come");
    Ok(observed)
}
