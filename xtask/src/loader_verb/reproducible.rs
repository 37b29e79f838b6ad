//! Whether the loader comes out the same to the byte where somebody else builds it: from another folder, with another home of cargo's, by a
//! user with another home. The toolchain's version is the one thing that two builders must have in common.

use super::in_pairs;
use crate::build::{self, Effort, GuestPrograms, Place, Program, Toolchain};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, output, tree_copy};
use anyhow::{Context, anyhow};
use object::{Object, ObjectSection};
use std::path::{Path, PathBuf};

/// Bytes that are shown of either program where they first differ.
const SHOWN: usize = 48;

/// Builds a copy of the work tree elsewhere, and compares with what is built.
///
/// # Errors
/// [`Failure::Check`] with the first difference.
pub(super) async fn check(built: &GuestPrograms, i686: &Toolchain, host: &Host) -> Result<Exit, Failure> {
    // Kept, so that the next check builds only what has changed.
    let folder = host.repo.target().join("loader-elsewhere");
    let (root, home) = (folder.join("another/clone of it"), folder.join("cargo-home"));
    let parent = root.parent().unwrap_or(&folder);
    for folder in [parent, &home] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
            .or_rig()?;
    }
    furnish(&own_home().or_rig()?, &home).or_rig()?;
    tree_copy::bring_up_to_date(host.repo.root(), &root, &host.interrupts).await?;
    let place = Place { root: &root, target: &folder.join("build"), cargo_home: Some(&home) };
    let programs = &[Program::Loader];
    let elsewhere = build::build_in(place, programs, Effort::Shipped, i686, &host.interrupts).await?;
    for (arch, here, there) in in_pairs(built.of(Program::Loader), elsewhere.of(Program::Loader)).or_rig()? {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).or_rig()
        };
        if let Some(difference) = first_difference(&read(&here)?, &read(&there)?) {
            return Err(Failure::Check(anyhow!(
                "kexec-load for {arch} depends on where it is built: {} and {} differ {difference}",
                here.display(),
                there.display()
            )));
        }
    }
    output::line(
        "the loader is the same to the byte when it is built in another folder, with another home of cargo's",
    );
    Ok(Exit::AsExpected)
}

/// The user's home of cargo.
fn own_home() -> anyhow::Result<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    own.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("cargo has no home")
}

/// Gives another home to cargo: by another path, but with the user's packages and settings, so that nothing is fetched again.
fn furnish(own: &Path, home: &Path) -> anyhow::Result<()> {
    for name in ["registry", "git", "config.toml", "config"] {
        let (from, to) = (own.join(name), home.join(name));
        let removed = match std::fs::symlink_metadata(&to) {
            // An earlier check's, of a user who may have moved since.
            Ok(there) if there.is_symlink() => std::fs::remove_file(&to),
            // Cargo's own, of when the user had none: as good as the user's would be.
            Ok(_) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.with_context(|| format!("cannot remove {}", to.display()))?;
        if from.exists() {
            std::os::unix::fs::symlink(&from, &to)
                .with_context(|| format!("cannot link {} to {}", to.display(), from.display()))?;
        }
    }
    Ok(())
}

/// Where two programs first differ, to fit behind "differ"; none where they are the same. Constants tell most, and so come before code,
/// and both before the headers, which tell nothing but sizes.
fn first_difference(one: &[u8], other: &[u8]) -> Option<String> {
    if one == other {
        return None;
    }
    for name in [".rodata", ".text"] {
        let section = |program| object::File::parse(program).ok()?.section_by_name(name)?.data().ok();
        let differ = section(one).zip(section(other)).and_then(|(one, other)| difference(one, other));
        if let Some(differ) = differ {
            return Some(format!("in {name} {differ}"));
        }
    }
    difference(one, other)
}

/// Where bytes first differ, and how.
fn difference(one: &[u8], other: &[u8]) -> Option<String> {
    let at = one.iter().zip(other).position(|(a, b)| a != b);
    let Some(at) = at else {
        let (one, other) = (one.len(), other.len());
        return (one != other).then(|| format!("in length: {one} and {other} bytes"));
    };
    // A text that differs in its middle is known by its beginning.
    let from = at.saturating_sub(SHOWN / 2);
    let shown = |bytes: &[u8]| bytes[from..bytes.len().min(from + SHOWN)].escape_ascii().to_string();
    Some(format!("at offset {at:#x}:\n  {}\n  {}", shown(one), shown(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a second check that fails where cargo has made a folder of its own meanwhile, and links to a home that is gone.
    #[test]
    fn a_home_is_furnished_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, home] = ["old", "new", "home"].map(|name| folder.path().join(name));
        for made in [&old.join("git"), &new.join("git"), &new.join("registry"), &home] {
            std::fs::create_dir_all(made).unwrap();
        }
        furnish(&old, &home).unwrap();
        assert_eq!(home.join("git").read_link().unwrap(), old.join("git"));
        assert!(!home.join("registry").exists());
        std::fs::create_dir(home.join("registry")).unwrap();
        furnish(&new, &home).unwrap();
        assert_eq!(home.join("git").read_link().unwrap(), new.join("git"));
        assert!(home.join("registry").is_dir());
    }

    /// Catches programs that pass for the same where one is the other's beginning, and a difference that is not shown.
    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"ab").unwrap(), "in length: 3 and 2 bytes");
        let difference = first_difference(b"/home/a/src\0", b"/home/b/src\0").unwrap();
        assert_eq!(difference, "at offset 0x6:\n  /home/a/src\\x00\n  /home/b/src\\x00");
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut other = program.clone();
        let text =
            object::File::parse(&*program).unwrap().section_by_name(".text").unwrap().file_range().unwrap();
        other[text.0 as usize + 5] ^= 1;
        let difference = first_difference(&program, &other).unwrap();
        assert!(difference.starts_with("in .text at offset 0x5:"), "{difference}");
    }
}
