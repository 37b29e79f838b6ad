//! Where a fault happens: a folder of its own, a temporary folder of its own, and the rig as a process in them.

use super::judge::Observed;
use super::list::{self, Fault};
use super::observe;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long a rig may take in all: several times what the slowest fault's deadlines add up to. Whoever gets there hangs.
const LIMIT: Duration = Duration::from_secs(240);
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
    pub(super) fn qemu_script(&self, version: &str, machine: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("qemu");
        let text =
            format!("#!/bin/sh\ncase \"$1\" in --version) echo '{version}'; exit 0;; esac\n{machine}\n");
        std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The stand-in for QEMU with this stage's fault in it, or with none.
    pub(super) fn stand_in(&self, faulty: bool) -> anyhow::Result<PathBuf> {
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

    /// Gives a command the stage's surroundings.
    pub(super) fn in_place(&self, command: &mut Command) {
        command.current_dir(&self.shop.root).env("TMPDIR", self.temp()).env("CI", "true");
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
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
    pub(super) fn start(&self, mut command: Command, said: &str) -> anyhow::Result<Rig> {
        let path = self.folder.join(said);
        let out = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        command.stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", self.shop.xtask))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("a rig without an id")?;
        Ok(Rig { child, pid, said: path, peak_mib: 0 })
    }

    /// Runs a rig to its end, and looks at what it left; its report, where it made one, is in `report`.
    pub(super) async fn observe(&self, command: Command, report: &Path) -> anyhow::Result<Observed> {
        let rig = self.start(command, "said.log")?;
        self.finish(rig, report).await
    }

    /// Waits for the rig's end, and looks at what it left.
    pub(super) async fn finish(&self, rig: Rig, report: &Path) -> anyhow::Result<Observed> {
        let ended = rig.wait().await?;
        let mut observed = Observed {
            exit: ended.status.code(),
            said: ended.said,
            peak_mib: ended.peak_mib,
            left: observe::left(self.temp()).await,
            ..Observed::default()
        };
        if ended.hung {
            observed.broken.push(format!("the rig did not end within {} s and was killed", LIMIT.as_secs()));
        } else if let Some(signal) = ended.status.signal() {
            observed.broken.push(format!("the rig was killed by signal {signal}"));
        }
        observe::report(report, &mut observed);
        Ok(observed)
    }
}

/// A rig that runs.
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
    pub(super) status: ExitStatus,
    pub(super) said: String,
    peak_mib: u64,
    hung: bool,
}

impl Rig {
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
    pub(super) async fn wait(mut self) -> anyhow::Result<EndedRig> {
        let begun = Instant::now();
        let (status, hung) = loop {
            if let Ok(status) = tokio::time::timeout(LOOK, self.child.wait()).await {
                break (status?, false);
            }
            let now = harness::cost::peak_mib(self.pid.as_raw_nonzero().get().unsigned_abs());
            self.peak_mib = self.peak_mib.max(now.unwrap_or(0));
            if begun.elapsed() > LIMIT {
                self.signal(Signal::KILL)?;
                break (self.child.wait().await?, true);
            }
        };
        let said = std::fs::read(&self.said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(EndedRig { status, said, peak_mib: self.peak_mib, hung })
    }
}
