//! Copies of what is ready, in another cache folder: for hosts that have no network, or are not to unpack it all themselves.

use std::fs;
use std::path::Path;

use crate::cache::Cache;
use crate::download::PARTIAL_PREFIX;
use crate::error::Error;
use crate::lock::ArtifactName;
use crate::recipe;
use crate::store::{Store, remove_tree};
use crate::tree::{self, Tree};

impl Store {
    /// Makes the named artifacts ready, and copies them to the cache in `folder`: a store that is opened there has them without asking
    /// anybody. Files are linked where both are on one file system. What is there already and sound stays.
    ///
    /// # Errors
    /// One cannot be made ready, or not be copied.
    pub fn copy_to(&self, names: &[ArtifactName], folder: &Path) -> Result<(), Error> {
        let other = Cache::open(Some(folder))?;
        for name in names {
            self.ready(name)?;
            for locked in self.lock.debs(name)? {
                if let Some(used) = self.cache.substitute(locked) {
                    other.record_substitute(locked, &used)?;
                }
            }
            let used = self.used(name)?;
            let to = other.tree(&used);
            if matches!(Tree::open(&to, recipe::check(name), recipe::of(name)), Ok(Some(_))) {
                continue;
            }
            if to.exists() {
                remove_tree(&to)?;
            }
            let parent = to.parent().unwrap_or(&to);
            let temporary = tempfile::Builder::new()
                .prefix(PARTIAL_PREFIX)
                .tempdir_in(parent)
                .map_err(Error::io("create a temporary folder in", parent))?;
            link_tree(&self.cache.tree(&used), temporary.path())?;
            tree::settle(temporary, &to)?;
        }
        Ok(())
    }
}

fn link_tree(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(Error::io("look at", &path))?;
        if kind.is_dir() {
            link_tree(&path, &target)?;
        } else if kind.is_symlink() {
            let points_to = fs::read_link(&path).map_err(Error::io("read", &path))?;
            std::os::unix::fs::symlink(points_to, &target).map_err(Error::io("link", &target))?;
        } else {
            let linked = fs::hard_link(&path, &target).or_else(|_| fs::copy(&path, &target).map(drop));
            linked.map_err(Error::io("copy", &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a staged kernel is a link to a file of another host's, or a folder of a tree stays behind.
    #[test]
    fn trees_are_copied_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("new/to"));
        fs::create_dir_all(from.join("boot")).unwrap();
        fs::write(from.join("boot/vmlinuz"), "kernel").unwrap();
        std::os::unix::fs::symlink("boot/vmlinuz", from.join("link")).unwrap();
        link_tree(&from, &to).unwrap();
        fs::remove_dir_all(&from).unwrap();
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "kernel");
    }
}
