//! Where mutants are built: a copy of the workspace, and the programs that came out of it. The user's own tree is only read.

use super::edit::{Edit, Stale};
use crate::build::{Build, Effort, Place, Program, Toolchain};
use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::tree_copy;
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

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
        tree_copy::bring_up_to_date(root, &workshop.tree(), interrupts).await?;
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
            let place = Place { root: &root, target: &target, cargo_home: None };
            let one = Build { place, program, arch, toolchain, effort: Effort::Quick };
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
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::Rig(anyhow::Error::new(error).context(format!("cannot {what} {}", path.display())))
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
