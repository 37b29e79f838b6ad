//! The staged folder: all that a part's run needs, so that a node needs nothing but QEMU, and a place for what it reports.
//!
//! ```text
//! xtask        this program               scenarios/  the suites, and the recorded durations
//! programs/    the guests' programs       cache/      kernels and reference loaders
//! task.sh      runs one part              parts/M/    the report of part M
//! parts/M.node, parts/M.pid   where it runs           logs/M.log  what it said
//! ```

use crate::Host;
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
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::cell::Cell;
use harness::partition::Partition;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// Marks a folder as a stage.
const TASK_FILE: &str = "task.sh";

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Fetches and builds all that these cells need, and puts it into `folder`, in place of an earlier stage.
    ///
    /// # Errors
    /// As [`ready::artifacts`] has them; and [`Failure::Input`] where the folder is something else.
    pub(super) async fn make(
        folder: &Path,
        cells: &[Cell],
        words: &[String],
        of: NonZeroU64,
        args: &E2eArgs,
        host: &Host,
    ) -> Result<Self, Failure> {
        // QEMU is the nodes' own; this host may be one that only submits.
        let tools = e2e::needed_tools(args)?.into_iter().filter(|tool| *tool != QEMU).collect();
        let store = store::open(&args.store)?;
        let needs = Needs { tools, components: &[] };
        let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
        ready::prefetch(cells, &store, host).await?;
        let built =
            build::build(&host.repo, &[Program::Agent, Program::Loader], &i686, &host.interrupts).await?;

        let stage = Self { folder: folder.to_owned() };
        stage.clear().or_input()?;
        for part in ["programs", "parts", "logs"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))
                .or_rig()?;
        }
        // First of all, so that a stage that breaks off is known as one.
        let script = task_script(folder, words, of);
        copy_to(&folder.join(TASK_FILE), |path| std::fs::write(path, script)).or_rig()?;
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

    /// Removes an earlier stage. Never touches anything else.
    fn clear(&self) -> anyhow::Result<()> {
        let empty = std::fs::read_dir(&self.folder).map_or(true, |mut entries| entries.next().is_none());
        if empty {
            return Ok(());
        }
        if !self.task().is_file() {
            return Err(anyhow!(
                "{} exists and is no earlier stage (it has no {TASK_FILE}); name another folder with --stage DIR",
                self.folder.display()
            ));
        }
        std::fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot replace {}", self.folder.display()))
    }
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
    use std::process::Command;

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
    #[test]
    fn only_a_stage_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage { folder: folder.path().join("s") };
        stage.clear().unwrap();
        std::fs::create_dir(&stage.folder).unwrap();
        std::fs::write(stage.folder.join("thesis.tex"), "x").unwrap();
        assert!(stage.clear().unwrap_err().to_string().contains("no earlier stage"));
        std::fs::write(stage.task(), "x").unwrap();
        stage.clear().unwrap();
        assert!(!stage.folder.exists());
    }
}
