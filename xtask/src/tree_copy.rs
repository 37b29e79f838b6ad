//! A copy of the workspace, to build in: with an edit, or in another place. The user's own tree is only read.

use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::process;
use anyhow::Context;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Makes the folder `copy` hold the work tree at `root`, committed or not, and nothing else. Its parent folder must be there; a list of the
/// files is left in it.
///
/// # Errors
/// [`Failure::Input`] where `root` is no git work tree; [`Failure::Rig`] where files cannot be copied.
pub(crate) async fn bring_up_to_date(
    root: &Path,
    copy: &Path,
    interrupts: &Interrupts,
) -> Result<(), Failure> {
    let files = list_files(root, copy, interrupts).await?;
    copy_files(root, copy, &files).or_rig()
}

/// The workspace's files as git knows them: what is tracked, changed or not, and what is new and not ignored. None that lies in `copy`.
async fn list_files(root: &Path, copy: &Path, interrupts: &Interrupts) -> Result<Vec<String>, Failure> {
    let path = copy.with_extension("files");
    let list = File::create(&path).with_context(|| format!("cannot write {}", path.display())).or_rig()?;
    let mut git = Command::new("git");
    // A checkout of another user's, as in a container, is as good: nothing in it is run by this command.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    git.current_dir(root).stdout(list);
    process::run(&mut git, None, interrupts).await.map_err(|error| match error.into_check() {
        Failure::Check(why) => {
            Failure::Input(why.context("only a git work tree can be copied to be built elsewhere"))
        }
        other => other,
    })?;
    let list =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display())).or_rig()?;
    let own = copy.parent().and_then(|folder| folder.strip_prefix(root).ok());
    let files = list.split('\0').filter(|file| !file.is_empty());
    Ok(files
        .filter(|file| own.is_none_or(|own| !Path::new(file).starts_with(own)))
        .map(str::to_owned)
        .collect())
}

/// Makes `copy` have these files of `root` and no others. A file that is the same already keeps its time, so that nothing is built
/// again for it.
fn copy_files(root: &Path, copy: &Path, files: &[String]) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a copy that keeps a deleted or mutated file, misses a change, or touches what is the same (and so is rebuilt).
    #[test]
    fn the_copy_follows_the_tree() {
        let folder = std::env::temp_dir().join(format!("xtask-tree-copy-{}", std::process::id()));
        let (root, tree) = (folder.join("root"), folder.join("tree"));
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(&root.join("loader/a.rs"), "a");
        write(&root.join("loader/b.rs"), "b");
        let files = ["loader/a.rs", "loader/b.rs", "loader/gone.rs"].map(str::to_owned);
        copy_files(&root, &tree, &files).unwrap();
        let time = |file: &str| std::fs::metadata(tree.join(file)).unwrap().modified().unwrap();
        let before = time("loader/a.rs");
        write(&tree.join("loader/b.rs"), "mutated");
        write(&tree.join("loader/old/c.rs"), "c");
        copy_files(&root, &tree, &files).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("loader/b.rs")).unwrap(), "b");
        assert!(!tree.join("loader/old/c.rs").exists());
        assert_eq!(time("loader/a.rs"), before);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
