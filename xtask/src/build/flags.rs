//! The compiler's flags for the programs that run in guests: those that make them small, and those that make them the same to the byte
//! wherever they are built.
//!
//! They stand here and not in Cargo.toml because a profile cannot say them (`trim-paths` is not in stable cargo yet).

use super::environment::isolate;
use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::process::{self, RunError};
use crate::tools;
use anyhow::Context;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Flags of every build.
pub(super) const ALWAYS: [&str; 3] = [
    // The programs are linked for fixed addresses. Without it, code for i386 keeps a register for its own address: a tenth of the program.
    "-Crelocation-model=static",
    // Twice what opt-level "z" stands for (LLVM, `OptMinSizeThreshold`): of all values the one with the smallest loader, by 1.5 %.
    "-Cllvm-args=-inline-threshold=10",
    // Symbols that name the types of their generic parameters, for the report on sizes.
    "-Csymbol-mangling-version=v0",
];

/// Flags that keep symbols and lines in the program, and change none of its code: cargo's hash of a build, on which the order of functions
/// depends, does not take flags in.
pub(super) const WITH_SYMBOLS: [&str; 2] = ["-Cstrip=none", "-Cdebuginfo=line-tables-only"];

/// What programs have in place of the workspace's folder. Absolute, since tables of lines take anything else for a part of another folder.
pub(crate) const WORKSPACE: &str = "/kdump-rig";
/// What they have in front of the name and version of a fetched package.
pub(crate) const PACKAGES: &str = "/packages/";

/// Flags in the form of the environment variable CARGO_ENCODED_RUSTFLAGS (cargo reference, "Environment Variables").
pub(super) fn encode(flags: &[OsString]) -> OsString {
    flags.join(std::ffi::OsStr::new("\u{1f}"))
}

/// The longest that `cargo metadata` may take. It takes a moment, unless it has to fetch all packages first.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The part of `cargo metadata` that is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Where it was fetched from; none for the workspace's own.
    source: Option<String>,
    manifest_path: PathBuf,
}

/// Flags that put names in place of the folders in which cargo keeps fetched packages and the user keeps the workspace: messages of panics
/// hold the paths of sources.
///
/// # Errors
/// [`Failure::Input`] where cargo cannot tell its packages, [`Failure::Rig`] where it does not get to an end.
pub(super) async fn remaps(
    root: &Path,
    cargo_home: Option<&Path>,
    target: &str,
    interrupts: &Interrupts,
) -> Result<Vec<OsString>, Failure> {
    let mut command = Command::new(tools::cargo());
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    command.current_dir(root).stderr(Stdio::inherit());
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    isolate(&mut command, inherited.iter().map(OsString::as_os_str), &OsString::new());
    command.envs(cargo_home.map(|home| ("CARGO_HOME", home)));
    let shown = process::show(command.as_std());
    let answer = process::output(&mut command, LIMIT, interrupts).await.map_err(|error| match error {
        RunError::Failed { .. } => Failure::Input(error.into()),
        other => other.into_check(),
    })?;
    let metadata: Metadata = serde_json::from_slice(&answer)
        .with_context(|| format!("`{shown}` printed what is no metadata"))
        .or_rig()?;
    Ok(remap_flags(root, metadata.packages))
}

/// The flags for these packages. rustc takes the last that fits, so that a package inside of the workspace's folder (vendored) keeps its name.
fn remap_flags(root: &Path, packages: Vec<Package>) -> Vec<OsString> {
    let remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flag
    };
    let fetched = packages.iter().filter(|package| package.source.is_some()).filter_map(|package| {
        let folder = package.manifest_path.parent()?;
        Some(remap(folder, &format!("{PACKAGES}{}-{}", package.name, package.version)))
    });
    std::iter::once(remap(root, WORKSPACE)).chain(fetched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a package whose folder gets into programs, and a workspace around it that takes its name away.
    #[test]
    fn every_folder_gets_a_name() {
        let package = |name: &str, source: Option<&str>, manifest: &str| Package {
            name: name.into(),
            version: "1.2.3".into(),
            source: source.map(Into::into),
            manifest_path: manifest.into(),
        };
        let flags = remap_flags(
            Path::new("/home/u/rig"),
            vec![
                package("kexec-load", None, "/home/u/rig/loader/Cargo.toml"),
                package("rustix", Some("registry+x"), "/home/u/rig/vendor/rustix/Cargo.toml"),
            ],
        );
        assert_eq!(
            flags,
            [
                "--remap-path-prefix=/home/u/rig=/kdump-rig",
                "--remap-path-prefix=/home/u/rig/vendor/rustix=/packages/rustix-1.2.3"
            ]
        );
        assert_eq!(encode(&["-a".into(), "-b c".into()]), "-a\u{1f}-b c");
    }
}
