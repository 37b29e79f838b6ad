//! Where a fault happens: a folder of its own, a temporary folder of its own, and the rig as a process in them.

use super::judge::{BeforeFault, NotInjected, Observed};
use super::list::{self, Fault};
use super::observe;
use anyhow::{Context, bail};
use harness::process::die_with_this_one;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long a rig may take in all: many times what the slowest fault's deadlines add up to, for a loaded host stretches them. Whoever gets
/// there hangs.
const LIMIT: Duration = Duration::from_secs(900);
/// How long a moment in a rig's life is awaited.
const MOMENT: Duration = Duration::from_secs(120);
/// Between two looks at what gives no event: another process's files and memory.
const LOOK: Duration = Duration::from_millis(20);

/// What all faults have in common.
#[derive(Debug)]
pub(super) struct Shop {
    /// This program.
    pub(super) xtask: PathBuf,
    /// The repository.
    pub(super) root: PathBuf,
    /// The guests' programs, as `--programs` takes them.
    pub(super) programs: PathBuf,
    /// The real QEMU.
    pub(super) qemu: PathBuf,
    /// The cache with the artifacts, `v1` included.
    pub(super) cache: PathBuf,
    /// The report of the campaign.
    pub(super) report: PathBuf,
}

/// One fault's surroundings.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) shop: &'a Shop,
    pub(super) fault: &'static Fault,
    /// What stays: reports, and what the rig said.
    pub(super) folder: PathBuf,
    /// The rig's TMPDIR, which must be empty in the end.
    temp: TempDir,
}

/// Which cells a rig runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cells {
    /// Played by the stand-in.
    StandIn,
    /// Refusals in real guests, each from its own boot.
    Real,
    /// Refusals in real guests, from one saved boot.
    Shared,
}

/// The files of all cells, from the repository's root.
pub(super) const SUITES: [&str; 3] = [Cells::StandIn.file(), Cells::Real.file(), Cells::Shared.file()];

impl Cells {
    const fn file(self) -> &'static str {
        match self {
            Self::StandIn => "xtask/faults/stand-in.yaml",
            Self::Real => "xtask/faults/real.yaml",
            Self::Shared => "xtask/faults/shared.yaml",
        }
    }

    /// What deadlines are multiplied with: a stand-in is never busy, and a hang is to be seen soon.
    const fn patience(self) -> &'static str {
        match self {
            Self::StandIn => "0.1",
            Self::Real | Self::Shared => "0.3",
        }
    }
}

impl<'a> Stage<'a> {
    pub(super) fn new(shop: &'a Shop, fault: &'static Fault) -> anyhow::Result<Self> {
        let folder = shop.report.join(fault.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Short: the rig's sockets lie in it.
        let temp =
            tempfile::Builder::new().prefix("kf-").tempdir().context("cannot make a temporary folder")?;
        Ok(Self { shop, fault, folder, temp })
    }

    pub(super) fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// The usual folder of a rig's report.
    pub(super) fn report(&self) -> PathBuf {
        self.folder.join("report")
    }

    /// The file that the stand-in makes when it has done its deed.
    pub(super) fn reached(&self) -> PathBuf {
        self.folder.join("reached")
    }

    /// Writes a program that is given as QEMU: it says this version, and then runs as this shell script says.
    pub(super) fn qemu_script(&self, version: &str, machine: &str) -> Result<PathBuf, NotInjected> {
        let path = self.folder.join("qemu");
        let text =
            format!("#!/bin/sh\ncase \"$1\" in --version) echo '{version}'; exit 0;; esac\n{machine}\n");
        std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))
            .before_fault()?;
        Ok(path)
    }

    /// The stand-in for QEMU with this stage's fault in it, or with none.
    pub(super) fn stand_in(&self, faulty: bool) -> Result<PathBuf, NotInjected> {
        let fault = match faulty && list::guest_fault(self.fault.name).is_some() {
            true => format!("--fault {} --reached '{}' ", self.fault.name, self.reached().display()),
            false => String::new(),
        };
        let xtask = self.shop.xtask.display();
        self.qemu_script(
            "QEMU emulator version 7.2.0 (stand-in)",
            &format!("exec '{xtask}' qemu-stand-in {fault}-- \"$@\""),
        )
    }

    /// The rig with these words on its command line.
    pub(super) fn rig(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.shop.xtask);
        command.args(words);
        self.in_place(&mut command);
        command
    }

    /// Gives a command the stage's surroundings, and lets it die with the campaign, however that ends.
    pub(super) fn in_place(&self, command: &mut Command) {
        command.current_dir(&self.shop.root).env("TMPDIR", self.temp()).env("CI", "true");
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        die_with_this_one(command);
    }

    /// The command line of an end-to-end run of these cells, two at a time, with a report in `report`.
    pub(super) fn e2e_words(&self, cells: Cells, qemu: &Path, report: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec!["e2e".to_owned(), text(&self.shop.root.join(cells.file()))];
        for (option, value) in [
            ("--accel", "tcg".to_owned()),
            ("--patience", cells.patience().to_owned()),
            ("--programs", text(&self.shop.programs)),
            ("--qemu", text(qemu)),
            ("--report", text(report)),
        ] {
            words.extend([option.to_owned(), value]);
        }
        if matches!(cells, Cells::StandIn) {
            words.push("--fresh".to_owned());
        }
        words
    }

    /// The same as a process to be started: offline, and `more` at its end.
    pub(super) fn e2e(&self, cells: Cells, qemu: &Path, report: &Path, more: &[&str]) -> Command {
        let words = self.e2e_words(cells, qemu, report);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.rig(&words)
    }

    /// Starts a rig; what it says goes to `said`, a file of this stage.
    pub(super) fn start(&self, mut command: Command, said: &str) -> Result<Rig, NotInjected> {
        let path = self.folder.join(said);
        let mut start = || -> anyhow::Result<_> {
            let out = File::options()
                .append(true)
                .create(true)
                .open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            command.stderr(out.try_clone()?).stdout(out);
            let child = command.spawn().with_context(|| format!("cannot start {:?}", self.shop.xtask))?;
            let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            Ok((child, pid.context("a rig without an id")?))
        };
        let (child, pid) = start().before_fault()?;
        Ok(Rig { child, pid, said: path, peak_mib: 0 })
    }

    /// Runs a rig to its end, and looks at what it left; its report, where it made one, is in `report`.
    pub(super) async fn observe(&self, command: Command, report: &Path) -> Result<Observed, NotInjected> {
        let rig = self.start(command, "said.log")?;
        Ok(self.finish(rig, report).await)
    }

    /// Waits until something is so in the rig's life: the moment of the fault. If it does not come, the rig is seen to its end.
    pub(super) async fn moment(
        &self,
        mut rig: Rig,
        report: &Path,
        what: &str,
        so: impl Fn() -> bool,
    ) -> Result<Rig, NotInjected> {
        match rig.until(what, so).await {
            Ok(()) => Ok(rig),
            Err(error) => {
                let observed = self.finish(rig, report).await;
                Err(NotInjected { why: format!("{error:#}"), observed: Some(Box::new(observed)) })
            }
        }
    }

    /// Waits for the rig's end, and looks at what it left.
    pub(super) async fn finish(&self, rig: Rig, report: &Path) -> Observed {
        self.look(rig.wait().await, report).await
    }

    /// Looks at what a rig left. No other may run in this stage any more.
    pub(super) async fn look(&self, ended: EndedRig, report: &Path) -> Observed {
        let mut observed = Observed {
            exit: ended.code(),
            said: ended.said,
            peak_mib: ended.peak_mib,
            left: observe::left(self.temp()).await,
            ..Observed::default()
        };
        observed.broken.extend(ended.trouble);
        observe::report(report, &mut observed);
        observed
    }
}

/// A rig that runs. It is killed when this is dropped, with all that it is a shell's child of.
#[derive(Debug)]
pub(super) struct Rig {
    child: Child,
    pub(super) pid: Pid,
    said: PathBuf,
    peak_mib: u64,
}

/// A rig that has ended.
#[derive(Debug)]
pub(super) struct EndedRig {
    /// None: it is not known.
    status: Option<ExitStatus>,
    pub(super) said: String,
    peak_mib: u64,
    /// How it ended if it did not end by itself.
    pub(super) trouble: Option<String>,
}

impl EndedRig {
    /// Its exit status; none of one that was killed.
    pub(super) fn code(&self) -> Option<i32> {
        self.status?.code()
    }
}

impl Drop for Rig {
    /// `kill_on_drop` reaches one process. The rig may be the child of a shell, which would leave it behind.
    fn drop(&mut self) {
        // The group's id cannot have been given to others while its leader is not reaped.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

impl Rig {
    /// Kills its process group. One that is gone is what was wanted.
    fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal).context("cannot signal the rig")
    }

    /// Waits until something is so, while the rig runs.
    pub(super) async fn until(&mut self, what: &str, so: impl Fn() -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !so() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the rig ended ({status}) before {what}: {}", self.last_words());
            }
            if begun.elapsed() > MOMENT {
                bail!("{what} did not come within {} s: {}", MOMENT.as_secs(), self.last_words());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        said.lines().last().unwrap_or("it said nothing").to_owned()
    }

    /// Waits for its end, with an eye on its memory.
    pub(super) async fn wait(mut self) -> EndedRig {
        let begun = Instant::now();
        let (status, hung) = loop {
            if let Ok(status) = tokio::time::timeout(LOOK, self.child.wait()).await {
                break (status, false);
            }
            let now = harness::cost::peak_mib(self.pid.as_raw_nonzero().get().unsigned_abs());
            self.peak_mib = self.peak_mib.max(now.unwrap_or(0));
            if begun.elapsed() > LIMIT {
                self.kill();
                break (self.child.wait().await, true);
            }
        };
        let trouble = match &status {
            Err(error) => Some(format!("cannot wait for the rig: {error}")),
            Ok(_) if hung => Some(format!("the rig did not end within {} s and was killed", LIMIT.as_secs())),
            Ok(status) => status.signal().map(|signal| format!("the rig was killed by signal {signal}")),
        };
        let said = std::fs::read(&self.said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        EndedRig { status: status.ok(), said, peak_mib: self.peak_mib, trouble }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a rig that runs on after an interruption because its parent, which was killed, is a shell; and one that hangs likewise.
    #[tokio::test]
    async fn a_rig_goes_with_its_shell() {
        let report = tempfile::tempdir().unwrap();
        let path = || report.path().to_owned();
        let shop = Shop {
            xtask: "sh".into(),
            root: path(),
            programs: path(),
            qemu: path(),
            cache: path(),
            report: path(),
        };
        let stage = Stage::new(&shop, &list::FAULTS[0]).unwrap();
        // The shell stays the parent of one that takes no hint.
        let mut rig = stage.start(stage.rig(&["-c", "trap '' HUP TERM; sleep 600; :"]), "said.log").unwrap();
        let sleeps = || observe::processes(stage.temp()).iter().any(|process| process.command[0] == "sleep");
        rig.until("a grandchild", sleeps).await.unwrap();
        drop(rig);
        assert_eq!(observe::processes_left(stage.temp()).await, [""; 0]);
    }
}
