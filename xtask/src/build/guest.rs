//! Builds the guest agent and the loader, for both architectures, with cargo.

use super::environment::isolate;
use super::flags;
use super::i686::{self, Toolchain};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::process::{self, RunError};
use crate::repo::Repo;
use crate::{output, tools};
use guest_protocol::Arch;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// A program that is built for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    /// PID 1 of both kernels.
    Agent,
    /// The loader under test.
    Loader,
}

impl Program {
    /// Its package and its file name, which are the same.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "guest-agent",
            Self::Loader => "kexec-load",
        }
    }
}

/// The cargo profile of programs for guests.
const PROFILE: &str = "guest";

/// The target of the 64-bit guest programs.
const X86_64_TARGET: &str = "x86_64-unknown-linux-gnu";

const fn target(arch: Arch) -> &'static str {
    match arch {
        Arch::I386 => i686::TARGET,
        Arch::X86_64 => X86_64_TARGET,
    }
}

/// Where the built programs are.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestPrograms(BTreeMap<(Program, Arch), PathBuf>);

impl GuestPrograms {
    /// The path of a program, if it was among those built.
    pub(crate) fn path(&self, program: Program, arch: Arch) -> Option<&Path> {
        self.0.get(&(program, arch)).map(PathBuf::as_path)
    }

    /// The paths of one program, by architecture.
    pub(crate) fn of(&self, program: Program) -> BTreeMap<Arch, PathBuf> {
        let built = self.0.iter().filter(|((of, _), _)| *of == program);
        built.map(|((_, arch), path)| (*arch, path.clone())).collect()
    }
}

/// Builds these programs for both architectures as they are shipped, the i386 ones with `i686`.
///
/// # Errors
/// [`Failure::Check`] where cargo fails: the code is at fault.
pub(crate) async fn build(
    repo: &Repo,
    programs: &[Program],
    i686: &Toolchain,
    interrupts: &Interrupts,
) -> Result<GuestPrograms, Failure> {
    let place = Place { root: repo.root(), target: &repo.target(), cargo_home: None };
    build_in(place, programs, Effort::Shipped, i686, interrupts).await
}

/// Where to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The workspace.
    pub(crate) root: &'a Path,
    /// The folder of builds: each toolchain gets one in it.
    pub(crate) target: &'a Path,
    /// Cargo's home, if it is not to be the user's.
    pub(crate) cargo_home: Option<&'a Path>,
}

/// Builds these programs for both architectures, the i386 ones with `i686`.
///
/// # Errors
/// [`Failure::Check`] where cargo fails: the code is at fault.
pub(crate) async fn build_in(
    place: Place<'_>,
    programs: &[Program],
    effort: Effort,
    i686: &Toolchain,
    interrupts: &Interrupts,
) -> Result<GuestPrograms, Failure> {
    let mut built = GuestPrograms::default();
    for arch in [Arch::X86_64, Arch::I386] {
        let toolchain = match arch {
            Arch::X86_64 => &Toolchain::InUse,
            Arch::I386 => i686,
        };
        for &program in programs {
            let one = Build { place, program, arch, toolchain, effort };
            built.0.insert((program, arch), one.run(Stdio::inherit(), interrupts).await?);
        }
    }
    Ok(built)
}

/// How much the compiler is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// What is shipped: small, and the same to the byte wherever it is built.
    Shipped,
    /// The same code with its symbols and lines, for reports on sizes.
    WithSymbols,
    /// Built again in no time after a small change, and a little larger.
    Quick,
}

impl Effort {
    /// What is different from the profile in Cargo.toml.
    const fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Shipped | Self::WithSymbols => &[],
            Self::Quick => &["lto=false", "codegen-units=16", "incremental=true"],
        }
    }

    /// The compiler's flags.
    async fn flags(
        self,
        root: &Path,
        cargo_home: Option<&Path>,
        arch: Arch,
        interrupts: &Interrupts,
    ) -> Result<Vec<OsString>, Failure> {
        let mut flags: Vec<OsString> = flags::ALWAYS.iter().map(Into::into).collect();
        if self == Self::WithSymbols {
            flags.extend(flags::WITH_SYMBOLS.iter().map(Into::into));
        }
        if self != Self::Quick {
            flags.extend(flags::remaps(root, cargo_home, target(arch), interrupts).await?);
        }
        Ok(flags)
    }
}

/// The build of one program of a workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) program: Program,
    pub(crate) arch: Arch,
    pub(crate) toolchain: &'a Toolchain,
    pub(crate) effort: Effort,
}

impl Build<'_> {
    /// Builds, and returns where the program is. What cargo has to say goes to `stderr`.
    ///
    /// # Errors
    /// [`Failure::Check`] where cargo fails: the code is at fault.
    pub(crate) async fn run(self, stderr: Stdio, interrupts: &Interrupts) -> Result<PathBuf, Failure> {
        let Self { place: Place { root, target, cargo_home }, program, arch, toolchain, effort } = self;
        let folder = build_folder(target, toolchain);
        let mut words = arguments("build", program, arch, &folder);
        for setting in effort.settings() {
            words.extend(["--config".into(), format!("profile.{PROFILE}.{setting}").into()]);
        }
        let flags = effort.flags(root, cargo_home, arch, interrupts).await?;
        let mut command = cargo_command(root, &words, toolchain, &flags);
        command.envs(cargo_home.map(|home| ("CARGO_HOME", home))).stderr(stderr);
        process::run(&mut command, None, interrupts).await.map_err(RunError::into_check)?;
        let path = folder.join(self::target(arch)).join(PROFILE).join(program.name());
        if !tools::is_program(&path) {
            return Err(Failure::Rig(anyhow::anyhow!(
                "cargo built {} for {arch}, but there is no program at {}",
                program.name(),
                path.display()
            )));
        }
        Ok(path)
    }
}

/// Folder of one toolchain's builds: compilers must not throw away each other's work.
fn build_folder(target: &Path, toolchain: &Toolchain) -> PathBuf {
    let name = match toolchain {
        Toolchain::InUse => "rustup",
        Toolchain::Unpacked { name, .. } => name,
    };
    target.join(format!("guest-{name}"))
}

/// The arguments for cargo.
fn arguments(verb: &str, program: Program, arch: Arch, folder: &Path) -> Vec<OsString> {
    let words = [verb, "--quiet", "--locked", "--package", program.name(), "--bin", program.name()];
    let more = ["--features", "freestanding", "--profile", PROFILE, "--target", target(arch), "--target-dir"];
    words.iter().chain(&more).map(Into::into).chain([folder.into()]).collect()
}

/// Runs clippy over the programs for guests, which only exist with the feature `freestanding`. For i386 as well where the
/// toolchain in use can: an unpacked one has no clippy.
///
/// # Errors
/// [`Failure::Check`] where clippy finds something.
pub(crate) async fn lint(repo: &Repo, i686: &Toolchain, interrupts: &Interrupts) -> Result<Exit, Failure> {
    let folder = build_folder(&repo.target(), &Toolchain::InUse);
    let archs: &[Arch] = match i686 {
        Toolchain::InUse => &[Arch::X86_64, Arch::I386],
        Toolchain::Unpacked { .. } => &[Arch::X86_64],
    };
    for &arch in archs {
        for program in [Program::Agent, Program::Loader] {
            let mut words = arguments("clippy", program, arch, &folder);
            words.extend(["--", "-D", "warnings"].map(Into::into));
            let mut command = cargo_command(repo.root(), &words, &Toolchain::InUse, &[]);
            process::run(&mut command, None, interrupts).await.map_err(RunError::into_check)?;
        }
    }
    Ok(Exit::AsExpected)
}

/// Cargo in the environment for guest programs.
fn cargo_command(root: &Path, arguments: &[OsString], toolchain: &Toolchain, flags: &[OsString]) -> Command {
    let mut command = Command::new(tools::cargo());
    command.args(arguments).current_dir(root);
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    isolate(&mut command, inherited.iter().map(OsString::as_os_str), &flags::encode(flags));
    select(&mut command, toolchain, std::env::var_os("LD_LIBRARY_PATH").as_deref());
    command
}

/// Makes cargo use this toolchain's compiler.
fn select(command: &mut Command, toolchain: &Toolchain, inherited_libraries: Option<&OsStr>) {
    match toolchain {
        Toolchain::InUse => {}
        Toolchain::Unpacked { rustc, libraries, .. } => {
            command.env("RUSTC", rustc);
            // A wrapper would be started with this compiler's libraries, and may not know the compiler at all.
            command.env("RUSTC_WRAPPER", "");
            let inherited = inherited_libraries.map(std::env::split_paths).into_iter().flatten();
            if let Ok(joined) = std::env::join_paths(libraries.iter().cloned().chain(inherited)) {
                command.env("LD_LIBRARY_PATH", joined);
            } else {
                output::note(
                    "a path of the unpacked compiler's libraries has a colon in it: it will not start",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a build of the wrong thing: another profile, target, or without the program's own feature.
    #[test]
    fn cargo_is_told_everything() {
        let words = arguments("build", Program::Loader, Arch::I386, Path::new("/t/guest-rustup"));
        assert_eq!(
            words.join(OsStr::new(" ")),
            "build --quiet --locked --package kexec-load --bin kexec-load --features freestanding --profile guest \
             --target i686-unknown-linux-gnu --target-dir /t/guest-rustup"
        );
        let words = arguments("build", Program::Agent, Arch::X86_64, Path::new("/t"));
        assert!(words.contains(&"x86_64-unknown-linux-gnu".into()) && words.contains(&"guest-agent".into()));
    }

    /// Catches two compilers that share a build folder, and an unpacked compiler without its own libraries first.
    #[test]
    fn an_unpacked_toolchain_is_kept_apart() {
        let unpacked = Toolchain::Unpacked {
            name: "debian",
            rustc: "/d/usr/bin/rustc".into(),
            libraries: vec!["/d/lib".into()],
        };
        assert_eq!(build_folder(Path::new("t"), &unpacked), Path::new("t/guest-debian"));
        assert_eq!(build_folder(Path::new("t"), &Toolchain::InUse), Path::new("t/guest-rustup"));
        let mut command = Command::new("cargo");
        select(&mut command, &unpacked, Some(OsStr::new("/host")));
        let set: Vec<_> = command.as_std().get_envs().collect();
        let expected =
            [("LD_LIBRARY_PATH", "/d/lib:/host"), ("RUSTC", "/d/usr/bin/rustc"), ("RUSTC_WRAPPER", "")]
                .map(|(name, value)| (OsStr::new(name), Some(OsStr::new(value))));
        assert_eq!(set, expected);
        let mut command = Command::new("cargo");
        select(&mut command, &Toolchain::InUse, None);
        assert_eq!(command.as_std().get_envs().count(), 0);
    }
}
