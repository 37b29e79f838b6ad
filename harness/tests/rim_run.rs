//! Whole runs with something else in QEMU's place: what the rig makes of a QEMU that fails it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers are tests as well")]

use guest_protocol::{Arch, Circumstances};
use harness::accel::AccelChoice;
use harness::artifacts::{Artifacts, FirmwareFile, KernelFile, LoaderTree, Source};
use harness::cell::{Cell, CellId, Firmware, FirstBoot, Kernel, Loader, Mib, Platform, Reservation, Trigger};
use harness::outcome::{Expectation, ExpectedVmcore, Outcome, Verdict};
use harness::report::{CellResult, not_as_expected};
use harness::runner::{Conclusion, Options, RunError, RunEvent, Summary, run};
use harness::stop::{Stop, stop};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

/// Says the version that it is asked for, and is no machine for the probe, so that a run's deadlines are those of the reference
/// host; what it does as a cell's machine follows.
const VERSION: &str = "#!/bin/sh\n\
    case \"$*\" in --version) echo 'QEMU emulator version 7.2.0 (false)'; exit 0;; \
    *kdump-rig-probe*) exit 1;; esac\n";

/// A folder with a false QEMU and artifacts that only look right.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new(machine: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        let qemu = stage.path("qemu");
        std::fs::write(&qemu, format!("{VERSION}{machine}\n")).unwrap();
        std::fs::set_permissions(&qemu, PermissionsExt::from_mode(0o755)).unwrap();
        // An ELF header without program headers is a static program as far as the rig looks.
        let mut program = vec![0; 0x40];
        program[..5].copy_from_slice(b"\x7fELF\x02");
        program[0x12] = 62;
        std::fs::write(stage.path("program"), program).unwrap();
        let mut kernel = vec![0; 0x400];
        kernel[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        std::fs::write(stage.path("kernel"), kernel).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            accel: AccelChoice::Tcg,
            qemu: self.path("qemu"),
            report: self.path("report"),
            ..Options::default()
        }
    }

    async fn run(&self, cells: Vec<Cell>, options: Options, stop: Stop) -> (Summary, Vec<CellResult>) {
        let artifacts = Arc::new(Artifacts::resolve(&cells, self).unwrap());
        let (events, mut received) = unbounded_channel();
        let summary = run(cells, &[], artifacts, options, events, stop).await.unwrap();
        let mut results = Vec::new();
        while let Some(event) = received.recv().await {
            if let RunEvent::TrialEnded { result } = event {
                results.push(*result);
            }
        }
        (summary, results)
    }
}

impl Source for Stage {
    fn agent(&self, _: Arch) -> Result<PathBuf, String> {
        Ok(self.path("program"))
    }

    fn in_tree_loader(&self, _: Arch) -> Result<PathBuf, String> {
        Ok(self.path("program"))
    }

    fn ovmf(&self) -> Result<FirmwareFile, String> {
        Err("there is no firmware here".into())
    }

    fn kernel(&self, _: &Kernel) -> Result<KernelFile, String> {
        Ok(KernelFile { bzimage: self.path("kernel"), version: "0".into(), notice: None, config: None })
    }

    fn reference_loader(&self, version: &str, _: Arch) -> Result<LoaderTree, String> {
        Err(format!("there is no {version} here"))
    }

    fn vmcore_dmesg(&self, version: &str, _: Arch) -> Result<LoaderTree, String> {
        Err(format!("there is no {version} here"))
    }
}

fn cell(id: &str) -> Cell {
    let kernel = Kernel { name: "k".into(), arch: Arch::X86_64, pae: true, path: None };
    let mib = |size| Mib(NonZeroU32::new(size).unwrap());
    Cell {
        id: CellId(id.into()),
        suite: "test".into(),
        first: kernel.clone(),
        userspace: Arch::X86_64,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        circumstances: Circumstances::None,
        capture: kernel,
        reservation: Reservation::Auto { size: mib(256) },
        platform: Platform {
            name: "pc".into(),
            machine: "pc".into(),
            memory: mib(1024),
            cpu: "qemu64".into(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        tamper: Default::default(),
        low_memory: Default::default(),
        expected: Expectation::captured(ExpectedVmcore::Verified),
    }
}

fn rig_error(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::RigError { what } => what,
        other => panic!("no rig error: {other:?}"),
    }
}

/// Bug: a QEMU that does not like its arguments counts against the loader, or its words are lost.
#[tokio::test]
async fn what_qemu_said_is_told() {
    let stage = Stage::new("echo 'no such machine' >&2; exit 1");
    let (_stopper, stop) = stop();
    let (summary, results) = stage.run(vec![cell("a"), cell("b")], stage.options(), stop).await;
    assert_eq!((summary.count(Verdict::Error), summary.conclusion()), (2, Conclusion::RigFailed));
    for result in &results {
        let what = rig_error(&result.outcome);
        assert!(what.contains("no such machine"), "{what}");
        assert!(stage.path("report").join(&result.evidence).join("repro.sh").is_file());
    }
    let failed = not_as_expected(&stage.path("report")).unwrap();
    assert_eq!(failed.into_iter().map(|id| id.0).collect::<Vec<_>>(), ["a", "b"]);
}

/// Bug: retries are silent, or a cell that needed them looks as if it had not.
#[tokio::test]
async fn every_attempt_is_listed_and_kept() {
    let stage = Stage::new("exit 1");
    let (_stopper, stop) = stop();
    let options = Options { retries: 2, ..stage.options() };
    let (_, results) = stage.run(vec![cell("a")], options, stop).await;
    let folders: Vec<_> = results[0].attempts.iter().map(|attempt| attempt.evidence.as_path()).collect();
    assert_eq!(folders, ["a", "a.attempt-2", "a.attempt-3"].map(Path::new));
    assert!(folders.iter().all(|folder| stage.path("report").join(folder).join("evidence.json").is_file()));
}

/// Bug: Ctrl-C waits for a guest that does nothing, or leaves it behind: one of a cell, and one that two cells were to start
/// from.
#[tokio::test]
async fn a_stopped_run_ends_its_guests() {
    for (fresh, not_run) in [(true, 1), (false, 2)] {
        let stage = Stage::new("echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 600");
        let (stopper, stop) = stop();
        let pid_file = stage.path("pid");
        let ask = async {
            while !std::fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n')) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stopper.request();
        };
        let options = Options { jobs: Some(1.try_into().unwrap()), fresh, ..stage.options() };
        let begun = Instant::now();
        let ((summary, _), ()) = tokio::join!(stage.run(vec![cell("a"), cell("b")], options, stop), ask);
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert_eq!((summary.conclusion(), summary.not_run), (Conclusion::Interrupted, not_run));
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} is left");
    }
}

/// Bug: a run whose report cannot be written any more returns while guests of other cells go on, and their folder stays.
#[tokio::test]
async fn a_run_that_breaks_off_leaves_no_guest() {
    // The first guest takes the report away when the second runs.
    let first = "d=$(dirname \"$0\"); if mkdir \"$d/first\" 2>/dev/null; then
        while ! grep -q . \"$d/pid\" 2>/dev/null; do sleep 0.01; done; rm -rf \"$d/report\"; exit 1; fi";
    let stage = Stage::new(&format!("{first}; echo $$ > \"$d/pid\"; exec sleep 600"));
    let cells = vec![cell("a"), cell("b")];
    let artifacts = Arc::new(Artifacts::resolve(&cells, &stage).unwrap());
    let (events, _received) = unbounded_channel();
    let (_stopper, stop) = stop();
    let options = Options { jobs: Some(2.try_into().unwrap()), fresh: true, ..stage.options() };
    let error = run(cells, &[], artifacts, options, events, stop).await.unwrap_err();
    assert!(error.to_string().contains("--resume continues from there"), "{error}");
    let pid = std::fs::read_to_string(stage.path("pid")).unwrap();
    // Killed is enough: it is reaped when the runtime next looks.
    let ended = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    let begun = Instant::now();
    while !ended() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(ended(), "process {pid} is left");
}

/// Bug: `--fail-fast` goes on, or hides how many cells were not run.
#[tokio::test]
async fn fail_fast_starts_nothing_more() {
    let stage = Stage::new("exit 1");
    let (_stopper, stop) = stop();
    let options = Options { fail_fast: true, jobs: Some(1.try_into().unwrap()), ..stage.options() };
    let (summary, results) = stage.run(vec![cell("a"), cell("b"), cell("c")], options, stop).await;
    assert_eq!((results.len(), summary.not_run), (1, 2));
}

/// Bug: a missing QEMU is a table full of rig errors instead of one message that says what to install.
#[tokio::test]
async fn no_qemu_is_one_message() {
    let stage = Stage::new("");
    let cells = vec![cell("a")];
    let artifacts = Arc::new(Artifacts::resolve(&cells, &stage).unwrap());
    let (events, _received) = unbounded_channel();
    let (_stopper, stop) = stop();
    let options = Options { qemu: stage.path("nothing"), ..stage.options() };
    let error = run(cells, &[], artifacts, options, events, stop).await.unwrap_err();
    assert!(matches!(&error, RunError::Qemu(_)), "{error}");
    assert!(error.to_string().contains("install qemu-system-x86"), "{error}");
    assert!(!stage.path("report").exists());
}

/// Bug: only the first of several missing artifacts is told, or it is told once for each cell.
#[test]
fn all_that_is_missing_is_told_once() {
    let stage = Stage::new("");
    let with = |id: &str, loader: Loader| Cell { loader, ..cell(id) };
    let cells = [
        with("a", Loader::KexecTools("1".into())),
        with("b", Loader::Path("/nowhere/loader".into())),
        with("c", Loader::KexecTools("1".into())),
    ];
    let missing = Artifacts::resolve(&cells, &stage).unwrap_err();
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("there is no 1 here") && texts[1].contains("/nowhere/loader"), "{texts:?}");
}
