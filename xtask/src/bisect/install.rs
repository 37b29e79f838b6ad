//! `bisect install`: a folder that holds all that a step needs but what it tests, outside of the checkout that is bisected. An xtask that
//! does not compile at some commit must not decide over it.

use super::memory;
use super::tester::programs_folder;
use crate::Host;
use crate::build::{self, Program, Toolchain};
use crate::cli::{E2eArgs, InstallArgs};
use crate::e2e::ready::{self, GuestFiles};
use crate::e2e::{self, plan};
use crate::exit::{Exit, Failure, OrFail};
use crate::process::OWN_PROGRAM;
use crate::repo::{INSTALLED_MARK, Repo};
use crate::setup::{self, Needs};
use crate::{output, store};
use anyhow::{Context, anyhow};
use images::ArtifactName;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What users and git start.
pub(super) const LAUNCHER: &str = "kdump-bisect";

pub(crate) async fn run(args: &InstallArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = std::path::absolute(&args.folder).or_input()?;
    check_target(&folder, host.repo.root()).or_input()?;
    let e2e_args = E2eArgs::of_suites(args.suite.clone(), args.host, args.store.clone());
    let plan = plan::make(&e2e_args, &host.repo)?;
    let store = store::open(&args.store)?;
    let needs = Needs { tools: e2e::needed_tools(&e2e_args)?, components: &[] };
    let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
    ready::prefetch(&plan.cells, &store, host).await?;
    let built = build::build(&host.repo, &[Program::Agent, Program::Loader], &i686, &host.interrupts).await?;

    let programs = programs_folder(&folder);
    for program in [Program::Agent, Program::Loader] {
        for (arch, path) in built.of(program) {
            put(&path, &programs.join(GuestFiles::file_name(program, arch))).or_rig()?;
        }
    }
    put(Path::new(OWN_PROGRAM), &folder.join("bin/xtask")).or_rig()?;
    for entry in fs::read_dir(host.repo.scenarios()).context("cannot read the scenarios").or_rig()? {
        let path = entry.context("cannot read the scenarios").or_rig()?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            put(&path, &folder.join("scenarios").join(name)).or_rig()?;
        }
    }
    let mut names: Vec<_> = ready::artifact_names(&plan.cells).into_iter().collect();
    // Also what the loader is built with, where that is out of the cache.
    if matches!(i686, Toolchain::Unpacked { .. }) {
        names.push(ArtifactName::Rust);
    }
    store.stage(names, Repo::cache_of(&folder), &host.interrupts).await?;
    put(&host.repo.root().join("images/lock.json"), &folder.join("lock.json")).or_rig()?;
    write(&folder.join(LAUNCHER), LAUNCHER_TEXT, 0o755).or_rig()?;
    // Last: a folder with the mark is whole.
    let mark = serde_json::json!({
        "from": host.repo.root(),
        "version": env!("CARGO_PKG_VERSION"),
        "xtask": memory::digest_of_file(Path::new(OWN_PROGRAM)).or_rig()?,
    });
    write(&folder.join(INSTALLED_MARK), &format!("{mark:#}\n"), 0o644).or_rig()?;

    let launcher = folder.join(LAUNCHER);
    output::line(format_args!("installed in {}; in the checkout to bisect:", folder.display()));
    output::line("  git bisect start BAD GOOD");
    output::line(format_args!("  git bisect run {} step CELL", launcher.display()));
    Ok(Exit::AsExpected)
}

/// `$0` may be a link from a folder in PATH.
const LAUNCHER_TEXT: &str = r#"#!/bin/sh
# `git bisect run DIR/kdump-bisect step CELL`: the rig as it was installed here, whatever the checkout holds.
self=$(readlink -f -- "$0") || exit 128
xtask=$(dirname -- "$self")/bin/xtask
# A shell would end with 126 or 127, which git takes for a verdict.
[ -x "$xtask" ] || { echo "$xtask is not there: write the folder again by \`cargo xtask bisect install\`" >&2; exit 128; }
exec "$xtask" bisect "$@"
"#;

/// Whether the folder may be written to.
fn check_target(folder: &Path, repo: &Path) -> anyhow::Result<()> {
    if folder.starts_with(repo) && !folder.starts_with(repo.join("target")) {
        return Err(anyhow!(
            "{} is in the checkout, and would change or vanish with it; take a folder outside",
            folder.display()
        ));
    }
    let empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!("cannot read {}", folder.display())));
        }
    };
    if !empty && !folder.join(INSTALLED_MARK).is_file() {
        return Err(anyhow!(
            "{} has files in it, and no {INSTALLED_MARK}, so it is somebody else's; take another folder",
            folder.display()
        ));
    }
    Ok(())
}

/// Copies a file into place. One that is in use, as the program itself may be, stays with whoever uses it.
fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = to.with_extension("new");
    fs::create_dir_all(to.parent().unwrap_or(to))
        .and_then(|()| fs::copy(from, &new))
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: an install over somebody's files, or into the checkout, where the next `git bisect` step takes it away.
    #[test]
    fn only_a_folder_of_its_own_is_written_to() {
        let temp = tempfile::tempdir().unwrap();
        let repo = temp.path().join("repo");
        let folder = temp.path().join("installed");
        let refused = |folder: &Path| check_target(folder, &repo).unwrap_err().to_string();
        check_target(&folder, &repo).unwrap();
        check_target(&repo.join("target/bisect"), &repo).unwrap();
        assert!(refused(&repo.join("tools")).contains("outside"));
        fs::create_dir(&folder).unwrap();
        check_target(&folder, &repo).unwrap();
        fs::write(folder.join("thesis.tex"), "x").unwrap();
        assert!(refused(&folder).contains("somebody else's"));
        fs::write(folder.join(INSTALLED_MARK), "{}").unwrap();
        check_target(&folder, &repo).unwrap();
    }

    /// Bug: a launcher whose own trouble has a status that git takes for a verdict.
    #[test]
    fn a_launcher_without_its_program_stops_the_bisection() {
        let temp = tempfile::tempdir().unwrap();
        let launcher = temp.path().join(LAUNCHER);
        write(&launcher, LAUNCHER_TEXT, 0o755).unwrap();
        let ended = std::process::Command::new("sh").arg(&launcher).arg("step").output().unwrap();
        assert_eq!(ended.status.code(), Some(128), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("bisect install"));
    }
}
