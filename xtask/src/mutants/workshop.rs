//! Where mutants are built: a copy of the workspace, and the programs that came out of it. The user's own tree is only read.

use super::edit::{Edit, Stale};
use crate::build::{Build, Effort, Program, Toolchain};
use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::process;
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The folder with the copy, its builds and their programs. One run at a time has it.
pub(super) struct Workshop {
    folder: PathBuf,
    /// Held, and so locked, for as long as the workshop is in use.
    _lock: File,
}

/// Why there is no program.
pub(super) enum NoProgram {
    /// The edit does not fit.
    Stale(Stale),
    /// The compiler does not take it; its words.
    NotBuilt(String),
    /// Something else went wrong.
    Failed(Failure),
}

impl From<Failure> for NoProgram {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Workshop {
    /// Opens the workshop in `folder`, and brings its copy of the workspace at `root` up to date.
    ///
    /// # Errors
    /// [`Failure::Input`] where another run has it, or `root` is no git work tree; [`Failure::Rig`] where files cannot be copied.
    pub(super) async fn open(folder: PathBuf, root: &Path, interrupts: &Interrupts) -> Result<Self, Failure> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
            .or_rig()?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot open {}", path.display())).or_rig()?;
        lock.try_lock()
            .map_err(|error| anyhow!("another run of mutants has {}: {error}", folder.display()))
            .or_input()?;
        let workshop = Self { folder, _lock: lock };
        let files = workshop.list_files(root, interrupts).await?;
        copy(root, &workshop.tree(), &files).or_rig()?;
        Ok(workshop)
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// The path of a program that [`Workshop::build`] leaves. Its file name is `name`, by which cells' ids tell loaders apart.
    pub(super) fn program(&self, program: Program, arch: Arch, name: &str) -> PathBuf {
        self.folder.join("programs").join(program.name()).join(arch.name()).join(name)
    }

    /// Builds a program for some architectures, with an edit or without, and puts it where [`Workshop::program`] says.
    ///
    /// # Errors
    /// The edit is stale or does not compile, or the build could not be done.
    pub(super) async fn build(
        &self,
        name: &str,
        program: Program,
        archs: &BTreeSet<Arch>,
        edit: Option<&Edit>,
        i686: &Toolchain,
        interrupts: &Interrupts,
    ) -> Result<(), NoProgram> {
        let Some(edit) = edit else {
            return self.build_tree(name, program, archs, i686, interrupts).await;
        };
        let path = self.tree().join(&edit.file);
        let source = match std::fs::read_to_string(&path) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(NoProgram::Stale(Stale::NoFile));
            }
            Err(error) => return Err(cannot("read", &path, error).into()),
        };
        let edited = edit.apply(&source).map_err(NoProgram::Stale)?;
        // Written, not moved into place: cargo looks at the time of the last change, which must be now, both times.
        std::fs::write(&path, edited).map_err(|error| cannot("write", &path, error))?;
        let built = self.build_tree(name, program, archs, i686, interrupts).await;
        std::fs::write(&path, source).map_err(|error| cannot("write", &path, error))?;
        built
    }

    async fn build_tree(
        &self,
        name: &str,
        program: Program,
        archs: &BTreeSet<Arch>,
        i686: &Toolchain,
        interrupts: &Interrupts,
    ) -> Result<(), NoProgram> {
        let log = self.folder.join("cargo.log");
        for &arch in archs {
            let stderr = File::create(&log).map_err(|error| cannot("write", &log, error))?;
            let toolchain = match arch {
                Arch::X86_64 => &Toolchain::InUse,
                Arch::I386 => i686,
            };
            let (root, target) = (self.tree(), self.folder.join("build"));
            let one = Build { root: &root, target: &target, program, arch, toolchain, effort: Effort::Quick };
            let built = one.run(Stdio::from(stderr), interrupts).await;
            let built = match built {
                Ok(built) => built,
                Err(Failure::Check(_)) => {
                    let words = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(NoProgram::NotBuilt(telling_lines(&words)));
                }
                Err(failure) => return Err(failure.into()),
            };
            let place = self.program(program, arch, name);
            let folder = place.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(folder).map_err(|error| cannot("make", folder, error))?;
            std::fs::copy(&built, &place).map_err(|error| cannot("write", &place, error))?;
        }
        Ok(())
    }

    /// The workspace's files as git knows them: what is tracked, changed or not, and what is new and not ignored.
    async fn list_files(&self, root: &Path, interrupts: &Interrupts) -> Result<Vec<String>, Failure> {
        let path = self.folder.join("files");
        let list = File::create(&path).map_err(|error| cannot("write", &path, error))?;
        let mut git = Command::new("git");
        // A checkout of another user's, as in a container, is as good: nothing in it is run by this command.
        git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        git.current_dir(root).stdout(list);
        process::run(&mut git, None, interrupts).await.map_err(|error| match error.into_check() {
            Failure::Check(why) => {
                Failure::Input(why.context("mutants are built in a copy of a git work tree"))
            }
            other => other,
        })?;
        let list = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))
            .or_rig()?;
        let own = self.folder.strip_prefix(root).ok();
        let files = list.split('\0').filter(|file| !file.is_empty());
        Ok(files
            .filter(|file| own.is_none_or(|own| !Path::new(file).starts_with(own)))
            .map(str::to_owned)
            .collect())
    }
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::Rig(anyhow::Error::new(error).context(format!("cannot {what} {}", path.display())))
}

/// Makes `copy` have these files of `root` and no others. A file that is the same already keeps its time, so that nothing is built
/// again for it.
fn copy(root: &Path, copy: &Path, files: &[String]) -> anyhow::Result<()> {
    let mut wanted = BTreeSet::new();
    for file in files {
        let (from, to) = (root.join(file), copy.join(file));
        let bytes = match std::fs::read(&from) {
            Ok(bytes) => bytes,
            // Deleted and not yet committed; or a submodule's folder, of which nothing is built.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => continue,
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("cannot read {}", from.display())));
            }
        };
        if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
            let write = || {
                std::fs::create_dir_all(to.parent().unwrap_or(copy))?;
                std::fs::write(&to, &bytes)
            };
            write().with_context(|| format!("cannot write {}", to.display()))?;
        }
        wanted.insert(to);
    }
    remove_others(copy, &wanted).with_context(|| format!("cannot clean {}", copy.display()))
}

/// Takes away files that are not wanted: cargo would find, say, a module's old place.
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What a person needs of a compiler's words: from the first error on, a screen's part.
fn telling_lines(words: &str) -> String {
    const MOST: usize = 12;
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.iter().position(|line| line.starts_with("error")).unwrap_or(0);
    lines.iter().skip(first).take(MOST).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a copy that keeps a deleted or mutated file, misses a change, or touches what is the same (and so is rebuilt).
    #[test]
    fn the_copy_follows_the_tree() {
        let folder = std::env::temp_dir().join(format!("xtask-workshop-{}", std::process::id()));
        let (root, tree) = (folder.join("root"), folder.join("tree"));
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(&root.join("loader/a.rs"), "a");
        write(&root.join("loader/b.rs"), "b");
        let files = ["loader/a.rs", "loader/b.rs", "loader/gone.rs"].map(str::to_owned);
        copy(&root, &tree, &files).unwrap();
        let time = |file: &str| std::fs::metadata(tree.join(file)).unwrap().modified().unwrap();
        let before = time("loader/a.rs");
        write(&tree.join("loader/b.rs"), "mutated");
        write(&tree.join("loader/old/c.rs"), "c");
        copy(&root, &tree, &files).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("loader/b.rs")).unwrap(), "b");
        assert!(!tree.join("loader/old/c.rs").exists());
        assert_eq!(time("loader/a.rs"), before);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Catches an error that shows a hundred warnings and not the error.
    #[test]
    fn the_first_error_is_shown() {
        let words = "warning: unused\n --> x\n\nerror[E0425]: cannot find value `y`\n --> z.rs:1:1\nerror: could not compile\n";
        assert_eq!(
            telling_lines(words),
            "error[E0425]: cannot find value `y`\n --> z.rs:1:1\nerror: could not compile"
        );
        assert_eq!(telling_lines("linker not found\n"), "linker not found");
    }
}
