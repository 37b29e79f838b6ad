//! The staged folder: all that a part's run needs, so that a node needs nothing but QEMU, and a place for what it reports.
//!
//! ```text
//! xtask        this program               scenarios/  the suites, and the recorded durations
//! programs/    the guests' programs       cache/      kernels and reference loaders
//! task.sh      runs one part              parts/M/    the report of part M
//! parts/M.node, parts/M.pid   where it runs           logs/M.log  what it said
//! job          the Slurm job whose tasks run here
//! ```
//!
//! Beside it lies a lock, which the run that made it holds as long as it needs it.

use super::Slurm;
use crate::build::{self, Program};
use crate::cli::E2eArgs;
use crate::e2e::{self, ready};
use crate::exit::{Failure, OrFail};
use crate::process::OWN_PROGRAM;
use crate::repo::Repo;
use crate::setup::{self, Needs};
use crate::store;
use crate::table::shell_word;
use crate::tools::QEMU;
use crate::{Host, history_verb, output};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::cell::Cell;
use harness::partition::Partition;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// Marks a folder as a stage.
const TASK_FILE: &str = "task.sh";

/// Has the id of the job whose tasks run in a stage, until all of them have ended.
const JOB_FILE: &str = "job";

#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    /// No other run replaces it meanwhile.
    _taken: File,
}

impl Stage {
    /// Fetches and builds all that these cells need, and puts it into `folder`, in place of an earlier stage.
    ///
    /// # Errors
    /// As [`ready::artifacts`] has them; and [`Failure::Input`] where the folder is something else, or in use.
    pub(super) async fn make(
        folder: &Path,
        cells: &[Cell],
        words: &[String],
        of: NonZeroU64,
        args: &E2eArgs,
        slurm: &Slurm,
        host: &Host,
    ) -> Result<Self, Failure> {
        let stage = Self { folder: folder.to_owned(), _taken: take(folder)? };
        // QEMU is the nodes' own; this host may be one that only submits.
        let tools = e2e::needed_tools(args)?.into_iter().filter(|tool| *tool != QEMU).collect();
        let store = store::open(&args.store)?;
        let needs = Needs { tools, components: &[] };
        let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
        ready::prefetch(cells, &store, host).await?;
        let built =
            build::build(&host.repo, &[Program::Agent, Program::Loader], &i686, &host.interrupts).await?;

        stage.clear(slurm).await?;
        let create = |path: &Path| {
            std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
        };
        create(folder).or_rig()?;
        // First of all, so that a stage that breaks off is known as one.
        let script = task_script(folder, words, of);
        copy_to(&stage.task(), |path| std::fs::write(path, script)).or_rig()?;
        for part in ["programs", "parts", "logs"] {
            create(&folder.join(part)).or_rig()?;
        }
        for program in [Program::Agent, Program::Loader] {
            for arch in [Arch::I386, Arch::X86_64] {
                let Some(path) = built.path(program, arch) else { continue };
                let name = ready::GuestFiles::file_name(program, arch);
                copy_to(&folder.join("programs").join(name), |to| std::fs::copy(path, to).map(drop))
                    .or_rig()?;
            }
        }
        // The running program, by the kernel's own link: the file may have been replaced since.
        copy_to(&folder.join("xtask"), |to| std::fs::copy(OWN_PROGRAM, to).map(drop)).or_rig()?;
        copy_folder(&host.repo.scenarios(), &folder.join("scenarios")).or_rig()?;
        let names = ready::artifact_names(cells).into_iter().collect();
        store.stage(names, folder.join("cache/kdump-rig"), &host.interrupts).await?;
        Ok(stage)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The script of a task.
    pub(super) fn task(&self) -> PathBuf {
        self.folder.join(TASK_FILE)
    }

    /// The report of a part.
    pub(crate) fn report(&self, partition: Partition) -> PathBuf {
        report(&self.folder, partition.part())
    }

    /// What a part's run said.
    pub(crate) fn log(&self, partition: Partition) -> PathBuf {
        self.folder.join(format!("logs/{}.log", partition.part()))
    }

    /// The node that a part was run on last.
    pub(crate) fn node(&self, partition: Partition) -> Option<String> {
        node(&self.folder, partition.part())
    }

    /// Notes the job whose tasks run here from now on, or that all of them have ended: whoever wants to replace the stage asks for it, also
    /// where this program was killed and the tasks were not.
    pub(super) fn note_job(&self, job: Option<&str>) {
        let path = self.folder.join(JOB_FILE);
        let noted = match job {
            Some(job) => std::fs::write(&path, format!("{job}\n")),
            None => std::fs::remove_file(&path),
        };
        if let Err(error) = noted
            && error.kind() != io::ErrorKind::NotFound
        {
            output::note(format_args!("warning: cannot write {}: {error}", path.display()));
        }
    }

    /// The job whose tasks may run here.
    fn job(&self) -> Option<String> {
        let job = std::fs::read_to_string(self.folder.join(JOB_FILE)).ok()?;
        Some(job.trim().to_owned()).filter(|job| !job.is_empty())
    }

    /// Removes an earlier stage, unless tasks run in it. Never touches anything else.
    async fn clear(&self, slurm: &Slurm) -> Result<(), Failure> {
        let empty = std::fs::read_dir(&self.folder).map_or(true, |mut entries| entries.next().is_none());
        if empty {
            return Ok(());
        }
        let folder = self.folder.display();
        if !self.task().is_file() {
            return Err(Failure::Input(anyhow!(
                "{folder} exists and is no earlier stage (it has no {TASK_FILE}); name another folder with --stage DIR"
            )));
        }
        if let Some(job) = self.job() {
            // One that cannot be asked would not take the new job either, so nothing is lost by leaving the stage as it is.
            let runs = slurm.is_queued(&job).await.map_err(|why| {
                Failure::Rig(anyhow!(
                    "cannot tell whether tasks of the Slurm job {job} still run in the stage {folder}: {why}; \
                     try again when Slurm answers, or name another folder with --stage DIR"
                ))
            })?;
            if runs {
                return Err(Failure::Input(anyhow!(
                    "tasks of the Slurm job {job} still run in the stage {folder}, or end just now: `squeue -j {job}` shows them; \
                     wait for them, end them by `scancel {job}`, or name another folder with --stage DIR"
                )));
            }
        }
        self.remove().with_context(|| format!("cannot replace {folder}")).or_input()
    }

    /// What is in the folder, in the order in which it is removed: what marks it goes last, so that a stage of which a part is gone is still
    /// known as one.
    fn entries(&self) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path()));
        let mut entries = entries.collect::<io::Result<Vec<PathBuf>>>()?;
        entries.sort_by_key(|path| *path == self.task());
        Ok(entries)
    }

    fn remove(&self) -> io::Result<()> {
        for path in self.entries()? {
            match path.symlink_metadata()?.is_dir() {
                true => std::fs::remove_dir_all(&path)?,
                false => std::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }
}

/// Takes the stage in `folder` for this run alone, until what is given back is dropped. The lock lies beside the folder, which is replaced.
///
/// # Errors
/// [`Failure::Input`]: another run has it.
pub(super) fn take(folder: &Path) -> Result<File, Failure> {
    let mut path = folder.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let open = || {
        folder.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        File::options().read(true).write(true).create(true).truncate(false).open(&path)
    };
    let mut lock = open().with_context(|| format!("cannot open {}", path.display())).or_rig()?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Err(Failure::Input(anyhow!(
                "another nightly run has the stage {}: {}; wait for its end, or name another folder with --stage DIR",
                folder.display(),
                if holder.trim().is_empty() { "it does not say which" } else { holder.trim() }
            )));
        }
        Err(TryLockError::Error(error)) => {
            return Err(Failure::Rig(anyhow!("cannot lock {}: {error}", path.display())));
        }
    }
    // For people alone, who find it locked.
    let host = history_verb::host_name().unwrap_or_else(|| "this host".to_owned());
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "process {} on {host}", std::process::id()));
    Ok(lock)
}

/// The report of a part of the stage in `folder`.
pub(crate) fn report(folder: &Path, part: NonZeroU64) -> PathBuf {
    folder.join(format!("parts/{part}"))
}

/// The node that a part of the stage in `folder` was run on last.
pub(crate) fn node(folder: &Path, part: NonZeroU64) -> Option<String> {
    let node = std::fs::read_to_string(folder.join(format!("parts/{part}.node"))).ok()?;
    Some(node.trim().to_owned()).filter(|node| !node.is_empty())
}

/// The script that runs one part. Slurm runs a copy of it elsewhere, so it names the folder.
fn task_script(folder: &Path, words: &[String], of: NonZeroU64) -> String {
    let stage = shell_word(&folder.display().to_string());
    let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
    let root = Repo::ROOT;
    format!(
        "#!/bin/sh\n\
         # Runs one part of {of}: sh task.sh M, or as a task of a Slurm array. It continues what an earlier run of the part has left.\n\
         set -eu\n\
         stage={stage}\n\
         part=${{1:-${{SLURM_ARRAY_TASK_ID:?say which part: sh task.sh M}}}}\n\
         export {root}=\"$stage\" XDG_CACHE_HOME=\"$stage/cache\"\n\
         echo \"${{SLURMD_NODENAME:-$(uname -n)}}\" > \"$stage/parts/$part.node\"\n\
         echo $$ > \"$stage/parts/$part.pid\"\n\
         exec \"$stage/xtask\" e2e {words} --partition \"$part/{of}\" --report \"$stage/parts/$part\" --resume \\\n\
         \x20   --programs \"$stage/programs\" --offline\n",
        words = words.join(" "),
    )
}

fn copy_to(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    write(path)
        // All that is copied one by one is a program.
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = || {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::process::Command;

    /// A Slurm whose `squeue` is this program.
    fn slurm(programs: &Path, squeue: &str) -> Slurm {
        let link = programs.join("squeue");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(squeue, link).unwrap();
        Slurm::with_programs_in(programs)
    }

    fn stage(folder: &Path) -> Stage {
        Stage { folder: folder.to_owned(), _taken: take(folder).unwrap() }
    }

    /// Catches a script that runs another part than its array index, loses a quoted argument, or takes the submitting host's cache.
    #[test]
    fn a_task_runs_its_part() {
        let folder = tempfile::Builder::new().prefix("st age").tempdir().unwrap();
        let folder = folder.path();
        std::fs::create_dir(folder.join("parts")).unwrap();
        let words = ["smoke", "-E", "userspace=i386 & loader=in-tree"].map(str::to_owned);
        let script = task_script(folder, &words, NonZeroU64::new(7).unwrap());
        std::fs::write(folder.join(TASK_FILE), script).unwrap();
        let fake = "#!/bin/sh\nprintf '%s\\n' \"$@\" \"$XDG_CACHE_HOME\" \"$KDUMP_RIG_ROOT\"\n";
        copy_to(&folder.join("xtask"), |path| std::fs::write(path, fake)).unwrap();
        let run = |change: &dyn Fn(&mut Command)| {
            let mut command = Command::new("sh");
            command
                .arg(folder.join(TASK_FILE))
                .env_remove("SLURM_ARRAY_TASK_ID")
                .env("SLURMD_NODENAME", "n1");
            change(&mut command);
            command.output().unwrap()
        };
        let by_index = run(&|command| {
            command.env("SLURM_ARRAY_TASK_ID", "3");
        });
        let place = folder.display();
        let expected = format!(
            "e2e\nsmoke\n-E\nuserspace=i386 & loader=in-tree\n--partition\n3/7\n--report\n{place}/parts/3\n--resume\n\
             --programs\n{place}/programs\n--offline\n{place}/cache\n{place}\n"
        );
        assert_eq!(String::from_utf8(by_index.stdout).unwrap(), expected);
        assert_eq!(node(folder, NonZeroU64::new(3).unwrap()).as_deref(), Some("n1"));
        let by_argument = run(&|command| {
            command.arg("5").env("SLURM_ARRAY_TASK_ID", "3");
        });
        assert!(String::from_utf8(by_argument.stdout).unwrap().contains("\n5/7\n"));
        let neither = run(&|_| ());
        assert!(
            !neither.status.success() && String::from_utf8_lossy(&neither.stderr).contains("say which part")
        );
    }

    /// Catches a stage that takes the place of somebody's home folder.
    #[tokio::test]
    async fn only_a_stage_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let stage = stage(&folder.path().join("s"));
        let slurm = slurm(folder.path(), "/bin/true");
        stage.clear(&slurm).await.unwrap();
        std::fs::create_dir(&stage.folder).unwrap();
        std::fs::write(stage.folder.join("thesis.tex"), "x").unwrap();
        assert!(stage.clear(&slurm).await.unwrap_err().to_string().contains("no earlier stage"));
        std::fs::write(stage.task(), "x").unwrap();
        stage.clear(&slurm).await.unwrap();
        assert_eq!(std::fs::read_dir(&stage.folder).unwrap().count(), 0);
    }

    /// Bug: a stage that could not be removed to its end has lost what marks it, and is refused for ever.
    #[tokio::test]
    async fn what_marks_a_stage_goes_last() {
        let folder = tempfile::tempdir().unwrap();
        let stage = stage(&folder.path().join("s"));
        std::fs::create_dir(&stage.folder).unwrap();
        std::fs::write(stage.task(), "x").unwrap();
        for number in 0..20 {
            std::fs::create_dir(stage.folder.join(format!("{number}"))).unwrap();
        }
        let entries = stage.entries().unwrap();
        assert_eq!((entries.len(), entries.last()), (21, Some(&stage.task())));
        stage.clear(&slurm(folder.path(), "/bin/true")).await.unwrap();
        assert!(stage.entries().unwrap().is_empty());
    }

    /// Bug: a second nightly run replaces the stage that the first one's tasks run in; or nobody learns who has it; or it stays taken.
    #[test]
    fn a_stage_is_of_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not/there/yet");
        let taken = take(&folder).unwrap();
        let why = take(&folder).unwrap_err();
        assert_eq!(why.exit(), Exit::BadInput);
        let holder = format!("process {} on ", std::process::id());
        assert!(why.to_string().contains(&holder) && why.to_string().contains("--stage DIR"), "{why}");
        drop(taken);
        // A process that another test starts at this moment has the lock until it is the program that it is to be.
        let comes_free = || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            take(&folder).is_ok()
        };
        assert!((0..500).any(|_| comes_free()), "it stays taken");
    }

    /// Bug: tasks that outlived the run that submitted them have their stage removed under them; or a job that ended long ago keeps the stage
    /// for ever.
    #[tokio::test]
    async fn a_stage_with_living_tasks_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let stage = stage(&folder.path().join("s"));
        std::fs::create_dir(&stage.folder).unwrap();
        std::fs::write(stage.task(), "x").unwrap();
        stage.note_job(Some("17"));
        // It shows what it is asked.
        let why = stage.clear(&slurm(folder.path(), "/bin/echo")).await.unwrap_err();
        assert!(why.exit() == Exit::BadInput && why.to_string().contains("scancel 17"), "{why}");
        let why = stage.clear(&slurm(folder.path(), "/bin/false")).await.unwrap_err();
        assert!(why.exit() == Exit::RigFailed && why.to_string().contains("job 17"), "{why}");
        assert!(stage.task().is_file());
        stage.note_job(None);
        stage.note_job(None);
        assert_eq!(stage.job(), None);
        stage.note_job(Some("18"));
        stage.clear(&slurm(folder.path(), "/bin/true")).await.unwrap();
        assert!(!stage.task().exists());
    }
}
