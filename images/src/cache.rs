//! The cache folder: where things lie, the locks under which parallel runs share them, and writing that is complete or absent.
//!
//! ```text
//! CACHE/v1/debs/SHA256.deb          package files, as fetched
//!          trees/KEY/               unpacked artifacts, see [`crate::tree`]
//!          substitutes/SHA256.json  the package that stands in for a locked one which the archive dropped
//!          locks/                   empty files to lock
//! ```
//! Everything is made under a name that starts with `.partial-` and then renamed, so a killed run leaves litter and no damage.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Sha256;
use crate::download::PARTIAL_PREFIX;
use crate::error::Error;
use crate::lock::Deb;
use crate::progress::Progress;

/// Changes when the meaning of what lies in the cache does.
const LAYOUT: &str = "v1";

/// Half-done files that nobody has touched for so long are nobody's: a transfer that lives writes more often than this.
const LITTER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens or makes the cache in `folder`, or in the place that the XDG base directory specification gives.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => default_cache_folder().ok_or(Error::NoCacheFolder)?,
        };
        let root = std::path::absolute(&folder).map_err(Error::io("find", &folder))?.join(LAYOUT);
        for part in ["debs", "trees", "substitutes", "locks"] {
            let part = root.join(part);
            fs::create_dir_all(&part).map_err(Error::io("create the cache folder", &part))?;
            sweep(&part);
        }
        sweep(&root);
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn debs(&self) -> PathBuf {
        self.root.join("debs")
    }

    pub(crate) fn deb(&self, sha256: Sha256) -> PathBuf {
        self.root.join(format!("debs/{sha256}.deb"))
    }

    /// Whether the package file is there with its size. Its hash is checked whenever it is unpacked.
    pub(crate) fn has(&self, deb: &Deb) -> bool {
        fs::metadata(self.deb(deb.sha256)).is_ok_and(|found| found.len() == deb.size)
    }

    /// Folder of the tree made of these packages.
    pub(crate) fn tree(&self, debs: &[Deb]) -> PathBuf {
        let key: String = debs.iter().map(|deb| format!("{}\n", deb.sha256)).collect();
        self.root.join(format!("trees/{}", Sha256::of(key.as_bytes())))
    }

    /// The package that stands in for a locked one, when an earlier run had to take one.
    pub(crate) fn substitute(&self, locked: &Deb) -> Option<Deb> {
        let text = fs::read(self.substitute_path(locked)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(crate) fn record_substitute(&self, locked: &Deb, used: &Deb) -> Result<(), Error> {
        let path = self.substitute_path(locked);
        let text = serde_json::to_vec(used).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_atomically(&path, &text)
    }

    fn substitute_path(&self, locked: &Deb) -> PathBuf {
        self.root.join(format!("substitutes/{}.json", locked.sha256))
    }

    /// Waits until nobody else holds the lock of that name, in this process or another one. Dropping the file lets go of it, and
    /// so does the death of its holder.
    pub(crate) fn lock(&self, name: &str, progress: &Progress) -> Result<File, Error> {
        let path = self.root.join("locks").join(name);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
            Err(TryLockError::WouldBlock) => {}
        }
        progress.say(&format!(
            "waiting for another run that works on the same artifact (lock {})",
            path.display()
        ));
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }
}

/// Removes what killed runs left half done. What cannot be looked at or removed does no harm but for its bytes.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let litter = entry.file_name().as_encoded_bytes().starts_with(PARTIAL_PREFIX.as_bytes());
        let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        if litter && changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > LITTER_AGE) {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// Where the cache is when no other folder is named, whether it is there or not; none where the environment names no home.
pub fn default_cache_folder() -> Option<PathBuf> {
    default_folder(|name| std::env::var_os(name).map(PathBuf::from))
}

fn default_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The specification: a relative path in these variables is to be ignored.
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let base = variable("XDG_CACHE_HOME").and_then(absolute);
    let base = base.or_else(|| Some(variable("HOME").and_then(absolute)?.join(".cache")))?;
    Some(base.join("kdump-rig"))
}

/// Replaces a file's content: readers see the old one or the new one.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(PARTIAL_PREFIX)
        .tempfile_in(folder)
        .map_err(Error::io("create a temporary file in", folder))?;
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io("write", file.path()))?;
    put(file, path)
}

/// Gives a finished temporary file its name.
pub(crate) fn put(file: tempfile::NamedTempFile, path: &Path) -> Result<(), Error> {
    // Temporary files are private; what is done may be read by others.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(open).map_err(Error::io("open up", file.path()))?;
    file.persist(path).map_err(|error| Error::io("create", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches litter that stays forever, and another run's transfer being swept away.
    #[test]
    fn only_old_litter_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let debs = Cache::open(Some(dir.path())).unwrap().debs();
        let old = std::time::SystemTime::now() - 2 * LITTER_AGE;
        for (name, aged) in [(".partial-old", true), (".partial-new", false), ("kept.deb", true)] {
            let file = File::create(debs.join(name)).unwrap();
            if aged {
                file.set_modified(old).unwrap();
            }
        }
        Cache::open(Some(dir.path())).unwrap();
        let left = [".partial-old", ".partial-new", "kept.deb"].map(|name| debs.join(name).exists());
        assert_eq!(left, [false, true, true]);
    }

    /// Catches a cache in the working directory, and one that ignores the user's choice.
    #[test]
    fn default_place_follows_the_specification() {
        let cases = [
            (Some("/c"), Some("/h"), Some("/c/kdump-rig")),
            (None, Some("/h"), Some("/h/.cache/kdump-rig")),
            (Some("relative"), Some("/h"), Some("/h/.cache/kdump-rig")),
            (Some(""), Some("/h"), Some("/h/.cache/kdump-rig")),
            (None, Some("h"), None),
            (None, None, None),
        ];
        for (xdg, home, expected) in cases {
            let found = default_folder(|name| match name {
                "XDG_CACHE_HOME" => xdg.map(PathBuf::from),
                _ => home.map(PathBuf::from),
            });
            assert_eq!(found, expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }
}
