//! An unpacked artifact in the cache: a folder of wanted files with a manifest of their hashes, complete or not there at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::deb::{self, Contents, FileRecord, Recipe};
use crate::digest::Sha256;
use crate::download::PARTIAL_PREFIX;
use crate::error::Error;
use crate::lock::Deb;

/// Written last into the temporary folder; a name that no package has.
const MANIFEST: &str = ".manifest.json";

/// How many links are followed until a loop is assumed; the kernel's own limit is 40.
const MAX_LINKS: usize = 8;

/// What a tree holds, and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) debs: Vec<Deb>,
    /// [`Recipe::revision`] by which it was unpacked.
    #[serde(default)]
    pub(crate) revision: u32,
    #[serde(flatten)]
    pub(crate) contents: Contents,
}

/// A complete tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
}

/// How closely a tree is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every file is there and has its size.
    Sizes,
    /// Every file has its hash.
    Hashes,
}

impl Tree {
    /// Opens a tree. `Ok(None)` is that there is none, `Err` that it is rotten, or of another recipe, and how.
    pub(crate) fn open(folder: &Path, check: Check, recipe: Recipe) -> Result<Option<Self>, String> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(_) if !folder.exists() => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if manifest.revision < recipe.revision {
            return Err(format!("{} was unpacked by an older version of this program", folder.display()));
        }
        for (name, record) in &manifest.contents.files {
            check_file(&folder.join(name), record, check)?;
        }
        Ok(Some(Self { folder: folder.to_owned(), manifest }))
    }

    /// Unpacks packages into a new tree at `folder`, which does not exist; `debs` pairs each with its verified file.
    pub(crate) fn build(folder: &Path, debs: &[(Deb, PathBuf)], recipe: Recipe) -> Result<Self, Error> {
        let parent = folder.parent().unwrap_or(folder);
        let temporary = tempfile::Builder::new()
            .prefix(PARTIAL_PREFIX)
            .tempdir_in(parent)
            .map_err(Error::io("create a temporary folder in", parent))?;
        let mut contents = Contents::default();
        for (_, file) in debs {
            deb::unpack(file, temporary.path(), recipe, &mut contents)?;
        }
        make_links(temporary.path(), &contents)?;
        let debs = debs.iter().map(|(deb, _)| deb.clone()).collect();
        let manifest = Manifest { debs, revision: recipe.revision, contents };
        let path = temporary.path().join(MANIFEST);
        let text = serde_json::to_vec(&manifest).map_err(|error| Error::io("write", &path)(error.into()))?;
        let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(Error::io("write", &path))?;
        settle(temporary, folder)?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Path and record of the file that `name` is, through links.
    pub(crate) fn file(&self, name: &str) -> Option<(PathBuf, &FileRecord)> {
        let mut name = name.to_owned();
        for _ in 0..MAX_LINKS {
            if let Some(record) = self.manifest.contents.files.get(&name) {
                return Some((self.folder.join(&name), record));
            }
            name = link_destination(&name, self.manifest.contents.links.get(&name)?)?;
        }
        None
    }

    /// Names of the files and links for which `accept` holds.
    pub(crate) fn names<'a>(&'a self, accept: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a str> {
        let contents = &self.manifest.contents;
        contents
            .files
            .keys()
            .chain(contents.links.keys())
            .map(String::as_str)
            .filter(move |name| accept(name))
    }
}

/// Gives a tree that is whole its name.
pub(crate) fn settle(temporary: TempDir, folder: &Path) -> Result<(), Error> {
    // mkdtemp makes it private; others may share the cache for reading.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(temporary.path(), open).map_err(Error::io("open up", temporary.path()))?;
    fs::rename(temporary.path(), folder).map_err(Error::io("rename the unpacked folder to", folder))?;
    // It has another name now: there is nothing left to remove.
    let _ = temporary.keep();
    Ok(())
}

fn check_file(path: &Path, record: &FileRecord, check: Check) -> Result<(), String> {
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size != record.size {
        return Err(format!("{} has {size} bytes, {} when it was unpacked", path.display(), record.size));
    }
    if check == Check::Hashes && Sha256::of_file(path).map_err(unreadable)? != record.sha256 {
        return Err(format!("{} is not what was unpacked (SHA-256 differs)", path.display()));
    }
    Ok(())
}

/// Where a link of the package leads, as a path in the tree; a target with a leading slash counts from the tree's root. `None`
/// is outside.
fn link_destination(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => link.split('/').collect::<Vec<_>>().split_last()?.1.to_vec(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Makes those links that lead to something in the tree, as relative ones. Others stay recorded only: a package's links into
/// packages that are not taken are of no use here.
fn make_links(root: &Path, contents: &Contents) -> Result<(), Error> {
    for (link, target) in &contents.links {
        let Some(destination) = link_destination(link, target) else { continue };
        if !contents.files.contains_key(&destination) && !contents.links.contains_key(&destination) {
            continue;
        }
        let up = "../".repeat(link.matches('/').count());
        let path = root.join(link);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        std::os::unix::fs::symlink(format!("{up}{destination}"), &path)
            .map_err(Error::io("create the link", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a link being followed out of the tree, and absolute ones into the host's files.
    #[test]
    fn links_stay_inside() {
        let cases = [
            ("lib/ld.so", "i386/ld-2.so", Some("lib/i386/ld-2.so")),
            ("lib64/ld.so", "/lib/x/ld-2.so", Some("lib/x/ld-2.so")),
            ("a/b/c", "../../d", Some("d")),
            ("a/c", "../../d", None),
            ("c", "./d//e", Some("d/e")),
        ];
        for (link, target, expected) in cases {
            assert_eq!(link_destination(link, target).as_deref(), expected, "{link} -> {target}");
        }
    }
}
