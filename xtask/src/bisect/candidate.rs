//! What a step tests: a loader or a kernel that a checkout's build left, or a released one by name; and the build itself.

use super::{disk, git, memory};
use crate::build::{Build, Effort, Place, Program, Toolchain};
use crate::cli::{KernelSide, RecipeArgs};
use crate::e2e::local_kernel;
use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::process::{self, RunError};
use crate::{build, output, tools};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::cell::{Cell, Kernel, Loader};
use harness::scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Where what is tested comes from, for every step of a bisection the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// This repository's loader, built from the checkout.
    OwnLoader,
    /// A static program that is there after the build, if one is needed. `{arch}` in it is the userspace.
    Loader { build: Option<String>, path: PathBuf },
    /// bzImages that are there after the build.
    Kernels { build: Option<String>, kernels: Vec<(KernelSide, PathBuf)> },
    /// Nothing is built: released packages.
    Released,
}

impl Recipe {
    /// What the command line says.
    ///
    /// # Errors
    /// A build whose product is not named.
    pub(crate) fn new(args: &RecipeArgs) -> Result<Self, Failure> {
        match (args.build.clone(), args.loader.as_deref(), args.kernel.as_slice()) {
            (None, None, []) => Ok(Self::OwnLoader),
            (Some(_), None, []) => Err(Failure::Input(anyhow!(
                "--build: what does it build? Name it, relative to the checkout: --loader PATH or --kernel first=PATH"
            ))),
            (build, Some(path), []) => Ok(Self::Loader { build, path: path.to_owned() }),
            (build, None, kernels) => {
                let sides: BTreeSet<bool> =
                    kernels.iter().map(|kernel| kernel.side == KernelSide::First).collect();
                if sides.len() < kernels.len() {
                    return Err(Failure::Input(anyhow!("--kernel: one kernel a side, please")));
                }
                let kernels = kernels.iter().map(|kernel| (kernel.side, kernel.path.clone())).collect();
                Ok(Self::Kernels { build, kernels })
            }
            (_, Some(_), _) => Err(Failure::Input(anyhow!("--loader and --kernel: one of them at a time"))),
        }
    }

    /// Whether a cell can be used with it: an in-tree loader is tested in the cells of the in-tree loader.
    pub(crate) fn takes(&self, cell: &Cell) -> bool {
        match self {
            Self::OwnLoader | Self::Loader { .. } => cell.loader == Loader::InTree,
            Self::Kernels { .. } | Self::Released => true,
        }
    }
}

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// Builds of this repository's loader.
    OwnLoader(BTreeMap<Arch, PathBuf>),
    /// A static program for each userspace.
    Programs(BTreeMap<Arch, PathBuf>),
    /// A released kexec-tools, by its upstream version.
    KexecTools(String),
    /// Other kernels, local or out of the lock file.
    Kernels { first: Option<Kernel>, capture: Option<Kernel> },
}

impl Candidate {
    /// The cell with it in its place.
    ///
    /// # Errors
    /// Why it cannot be in this cell.
    pub(crate) fn put_into(&self, cell: &Cell) -> Result<Cell, String> {
        let other_architecture = || "not with this architecture".to_owned();
        match self {
            Self::OwnLoader(_) => Ok(cell.clone()),
            Self::Programs(by_arch) => {
                let path = by_arch.get(&cell.userspace).ok_or_else(other_architecture)?;
                Ok(scenario::with_loader(cell, Loader::Path(path.clone())))
            }
            Self::KexecTools(version) => {
                let put = scenario::with_loader(cell, Loader::KexecTools(version.clone()));
                scenario::foreign_argument(&put).map_or(Ok(put), Err)
            }
            Self::Kernels { first, capture } => {
                let fits = |kernel: &Option<Kernel>, own: &Kernel| {
                    kernel.as_ref().is_none_or(|kernel| kernel.arch == own.arch)
                };
                (fits(first, &cell.first) && fits(capture, &cell.capture))
                    .then(|| scenario::with_kernels(cell, first.clone(), capture.clone()))
                    .ok_or_else(other_architecture)
            }
        }
    }

    /// The cell without it, in a form that is the same whatever is tested: what names the cell in the memory.
    pub(crate) fn taken_out_of(&self, cell: &Cell) -> serde_json::Value {
        let mut cell = serde_json::to_value(cell).unwrap_or_else(|_| cell.id.0.clone().into());
        let fields: &[&str] = match self {
            Self::OwnLoader(_) | Self::Programs(_) | Self::KexecTools(_) => &["loader"],
            Self::Kernels { first: Some(_), capture: Some(_) } => &["first", "capture"],
            Self::Kernels { first: Some(_), .. } => &["first"],
            Self::Kernels { .. } => &["capture"],
        };
        for field in fields.iter().chain(&["id", "suite"]) {
            cell[field] = serde_json::Value::Null;
        }
        cell
    }

    /// Whether it comes out of the archive.
    pub(crate) fn is_released(&self) -> bool {
        match self {
            Self::OwnLoader(_) | Self::Programs(_) => false,
            Self::KexecTools(_) => true,
            Self::Kernels { first, capture } => {
                [first, capture].into_iter().flatten().any(|kernel| kernel.path.is_none())
            }
        }
    }

    pub(crate) const fn tests_first(&self) -> bool {
        matches!(self, Self::Kernels { first: Some(_), .. })
    }

    pub(crate) const fn tests_capture(&self) -> bool {
        matches!(self, Self::Kernels { capture: Some(_), .. })
    }

    pub(crate) const fn tests_loader(&self) -> bool {
        !matches!(self, Self::Kernels { .. })
    }
}

/// Why there is nothing to test.
pub(crate) enum NoCandidate {
    /// This checkout cannot be tested, for this reason.
    Untestable(String),
    /// None can.
    Failed(Failure),
}

impl From<Failure> for NoCandidate {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a kernel's build takes from its host, its clock and a count of its own, so that the same sources make the same image to the byte and
/// need not be run again (Linux Documentation/kbuild/reproducible-builds.rst). Who has set one of them for himself keeps it.
const KERNEL_BUILD: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "bisect"),
    ("KBUILD_BUILD_HOST", "localhost"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// How long a build may take before it is told where one can look at it.
const QUIET: Duration = Duration::from_secs(20);

/// Builds from checkouts.
pub(crate) struct Builder<'a> {
    /// Folder of builds and their logs, outside of any checkout.
    pub(crate) folder: PathBuf,
    pub(crate) i686: &'a Toolchain,
    pub(crate) interrupts: &'a Interrupts,
}

impl Builder<'_> {
    /// Builds what the checkout holds, for these userspaces.
    ///
    /// # Errors
    /// As [`NoCandidate`] has them.
    pub(crate) async fn build(
        &self,
        recipe: &Recipe,
        checkout: &Path,
        archs: &BTreeSet<Arch>,
    ) -> Result<Candidate, NoCandidate> {
        match recipe {
            Recipe::OwnLoader => self.own_loader(checkout, archs).await.map(Candidate::OwnLoader),
            Recipe::Loader { build, path } => {
                let of = |arch: &Arch| checkout.join(path.to_string_lossy().replace("{arch}", arch.name()));
                let paths: Vec<PathBuf> = archs.iter().map(of).collect();
                self.command(build.as_deref(), checkout, &paths).await?;
                let built = archs.iter().zip(&paths).map(|(arch, path)| Ok((*arch, product(path)?)));
                built.collect::<Result<_, _>>().map(Candidate::Programs)
            }
            Recipe::Released => Err(NoCandidate::Untestable("a released package is not built".to_owned())),
            Recipe::Kernels { build, kernels } => {
                let paths: Vec<PathBuf> = kernels.iter().map(|(_, path)| checkout.join(path)).collect();
                self.command(build.as_deref(), checkout, &paths).await?;
                let mut of = BTreeMap::new();
                for ((side, _), path) in kernels.iter().zip(&paths) {
                    let path = product(path)?;
                    let kernel = local_kernel::read(&path)
                        .map_err(|error| NoCandidate::Untestable(format!("{error:#}")))?;
                    of.insert(*side == KernelSide::First, kernel);
                }
                Ok(Candidate::Kernels { first: of.remove(&true), capture: of.remove(&false) })
            }
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("build.log")
    }

    fn open_log(&self) -> Result<File, Failure> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(self.log()))
            .with_context(|| format!("cannot write {}", self.log().display()))
            .or_rig()
    }

    /// The end of a build that failed: this checkout's fault, unless the disk is full.
    fn not_built(&self, what: &str, checkout: &Path) -> NoCandidate {
        let words = std::fs::read(self.log()).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        if disk::is_told(&words) {
            return Failure::Rig(anyhow!("the disk is full: {what}; see {}", self.log().display())).into();
        }
        // On the disk that is full there is no room for a log that says so.
        if let Err(full) = self.is_there_room(checkout) {
            return full.into();
        }
        NoCandidate::Untestable(format!("does not build: {}", telling_line(&words).unwrap_or(what)))
    }

    fn is_there_room(&self, checkout: &Path) -> Result<(), Failure> {
        disk::check(&[checkout, &self.folder])
    }

    async fn own_loader(
        &self,
        checkout: &Path,
        archs: &BTreeSet<Arch>,
    ) -> Result<BTreeMap<Arch, PathBuf>, NoCandidate> {
        if !checkout.join("loader/Cargo.toml").is_file() {
            return Err(NoCandidate::Untestable(
                "there is no loader/Cargo.toml in it; name what is to be tested by --loader or --kernel"
                    .to_owned(),
            ));
        }
        self.cargo_is_there().await?;
        let target = self.folder.join("target");
        let mut built = BTreeMap::new();
        for &arch in archs {
            let toolchain = match arch {
                Arch::X86_64 => &Toolchain::InUse,
                Arch::I386 => self.i686,
            };
            let place = Place { root: checkout, target: &target, cargo_home: None };
            // As it is shipped: the same to the byte wherever it is built, so that the same code is known again.
            let one = Build { place, program: Program::Loader, arch, toolchain, effort: Effort::Shipped };
            match one.run(Stdio::from(self.open_log()?), self.interrupts).await {
                Ok(path) => built.insert(arch, path),
                // Cargo ran, and does not take the sources or the manifests.
                Err(Failure::Check(why) | Failure::Input(why)) => {
                    return Err(self.not_built(&format!("{why:#}"), checkout));
                }
                Err(failure) => return Err(failure.into()),
            };
        }
        Ok(built)
    }

    async fn cargo_is_there(&self) -> Result<(), Failure> {
        let mut cargo = Command::new(tools::cargo());
        cargo.arg("--version").stdout(Stdio::null());
        process::run(&mut cargo, None, self.interrupts).await.map_err(|error| match error {
            RunError::Interrupted => Failure::Interrupted,
            other => Failure::Input(anyhow!("{other}; a Rust toolchain is needed to build the loader")),
        })
    }

    /// Takes away what an earlier build left in the place of what is to be built: one that ends with 0 and has not built, as a pipe into
    /// `tail` does, would have that tested in place of what the checkout holds. What git has is the checkout's own, and what lies
    /// outside of it, or where there is no git that could say so, may be somebody's: these stay.
    async fn take_away(&self, product: &Path, checkout: &Path) -> Result<(), Failure> {
        let Ok(checkout) = checkout.canonicalize() else { return Ok(()) };
        let place = product.parent().and_then(|folder| folder.canonicalize().ok());
        let place = place.zip(product.file_name()).map(|(folder, name)| folder.join(name));
        // It may be a link, as kernels have one for each name of an architecture: then what it leads to is what was built.
        let target = product.canonicalize().ok();
        for file in [place, target].into_iter().flatten().filter(|file| file.starts_with(&checkout)) {
            let Ok(meta) = file.symlink_metadata() else { continue };
            if meta.is_dir() || git::is_tracked(&file, self.interrupts).await? != Some(false) {
                continue;
            }
            std::fs::remove_file(&file)
                .with_context(|| {
                    format!(
                        "cannot remove {}, which an earlier build left and which would be taken for what this one makes",
                        file.display()
                    )
                })
                .or_rig()?;
        }
        Ok(())
    }

    /// Runs a build that is to make these.
    async fn command(
        &self,
        command: Option<&str>,
        checkout: &Path,
        products: &[PathBuf],
    ) -> Result<(), NoCandidate> {
        let Some(text) = command else { return Ok(()) };
        for product in products {
            self.take_away(product, checkout).await?;
        }
        let log = self.open_log()?;
        let errors = log.try_clone().context("cannot share the log of the build").or_rig()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", text]).current_dir(checkout).stdout(log).stderr(errors);
        build::forget_this_package(&mut shell);
        shell.envs(KERNEL_BUILD.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()));
        let mut run = std::pin::pin!(process::run(&mut shell, None, self.interrupts));
        let ended = match tokio::time::timeout(QUIET, run.as_mut()).await {
            Ok(ended) => ended,
            Err(_) => {
                output::note(format_args!("still building: tail -f {}", self.log().display()));
                run.await
            }
        };
        match ended {
            // A build may say that all is well when what it made was cut off.
            Ok(()) => Ok(self.is_there_room(checkout)?),
            Err(RunError::Interrupted) => Err(Failure::Interrupted.into()),
            Err(error @ RunError::Failed { .. }) => Err(self.not_built(&error.to_string(), checkout)),
            Err(error) => Err(Failure::Rig(error.into()).into()),
        }
    }
}

/// A file that a build must have left.
fn product(path: &Path) -> Result<PathBuf, NoCandidate> {
    if path.is_file() {
        return std::path::absolute(path)
            .with_context(|| format!("cannot use {}", path.display()))
            .map_err(|error| Failure::Rig(error).into());
    }
    Err(NoCandidate::Untestable(format!("the build left no {}", path.display())))
}

/// The line of a build's output that most likely says why it failed: the first error of a compiler or linker, else the first of make.
fn telling_line(words: &str) -> Option<&str> {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    let begins = |line: &str| ["error", "ERROR:"].iter().any(|word| line.starts_with(word));
    let holds = |line: &str| {
        let words = [": error:", ": fatal error:", "undefined reference to", "multiple definition of"];
        words.iter().any(|word| line.contains(word))
    };
    lines()
        .find(|line| begins(line) || holds(line))
        .or_else(|| lines().find(|line| line.contains("***")))
        .or_else(|| lines().next_back())
}

/// Names the content of the program or image at this path.
///
/// # Errors
/// It cannot be read.
pub(crate) fn content(path: &Path) -> Result<String, Failure> {
    memory::digest_of_file(path).with_context(|| format!("cannot read {}", path.display())).or_rig()
}

#[cfg(test)]
mod tests;
