//! Looking after the store: what is there, whether it is sound, and writing the archive's current versions into the lock file.

use std::path::Path;

use crate::cache;
use crate::debversion;
use crate::digest::Sha256;
use crate::error::Error;
use crate::lock::{ArtifactName, Deb, Lock};
use crate::recipe;
use crate::store::{Store, remove_tree};
use crate::tree::{Check, Tree};

/// An artifact and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ArtifactName,
    /// Its packages as locked.
    pub locked: Vec<Deb>,
    /// Its packages as they are used; different from the locked ones after the archive dropped one.
    pub used: Vec<Deb>,
    /// Whether it needs the network.
    pub state: State,
}

/// How much of an artifact is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unpacked and ready.
    Ready,
    /// All packages are there, unpacking is left.
    Fetched,
    /// That many bytes are still to be fetched.
    Missing {
        /// Of packages that are not cached.
        bytes: u64,
    },
}

/// What a full check of an artifact found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its name.
    pub name: ArtifactName,
    /// Files whose hashes were checked.
    pub checked: usize,
    /// What was not sound. It is removed from the cache, so that the next use gets it again.
    pub rotten: Vec<String>,
}

/// A package of the lock file that a re-pin changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The artifact.
    pub name: ArtifactName,
    /// As it was.
    pub from: Deb,
    /// As it is now.
    pub to: Deb,
}

impl Store {
    /// Every artifact of the lock. Looks at sizes only.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        self.lock.names().into_iter().map(|name| self.look_at(name)).collect()
    }

    fn look_at(&self, name: ArtifactName) -> Result<Listed, Error> {
        let locked = self.lock.debs(&name)?.into_iter().cloned().collect();
        let used = self.used(&name)?;
        let bytes = used.iter().filter(|deb| !self.cache.has(deb)).map(|deb| deb.size).sum();
        let state = match Tree::open(&self.cache.tree(&used), Check::Sizes, recipe::of(&name)) {
            Ok(Some(_)) => State::Ready,
            _ if bytes == 0 => State::Fetched,
            _ => State::Missing { bytes },
        };
        Ok(Listed { name, locked, used, state })
    }

    /// Hashes everything that the cache holds of these artifacts, and removes what is not sound.
    pub fn verify(&self, names: &[ArtifactName]) -> Result<Vec<Verified>, Error> {
        names.iter().map(|name| self.verify_one(name)).collect()
    }

    fn verify_one(&self, name: &ArtifactName) -> Result<Verified, Error> {
        let used = self.used(name)?;
        let mut result = Verified { name: name.clone(), checked: 0, rotten: Vec::new() };
        for deb in &used {
            let path = self.cache.deb(deb.sha256);
            if !path.exists() {
                continue;
            }
            result.checked += 1;
            if Sha256::of_file(&path).map_err(Error::io("read", &path))? != deb.sha256 {
                result.rotten.push(format!("{} is not {deb}", path.display()));
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let folder = self.cache.tree(&used);
        match Tree::open(&folder, Check::Hashes, recipe::of(name)) {
            Ok(None) => {}
            Ok(Some(tree)) => result.checked += tree.manifest.contents.files.len(),
            Err(rotten) => {
                result.rotten.push(rotten);
                remove_tree(&folder)?;
            }
        }
        Ok(result)
    }

    /// Writes the archive's current versions into the lock file at `lock_file`, through the signed indexes: the newest of each
    /// kernel's and loader's series, with the newest libraries. Of these artifacts only, where there are any. All or nothing: after
    /// an error the file is as it was.
    pub fn repin(&self, lock_file: &Path, names: &[ArtifactName]) -> Result<Vec<Change>, Error> {
        let names = if names.is_empty() { self.lock.names() } else { names.to_vec() };
        let current = self.current(&names.iter().collect::<Vec<_>>())?;
        let mut lock = self.lock_of(lock_file)?;
        let mut changes = Vec::new();
        for (name, current) in names.into_iter().zip(current) {
            changes.extend(replace(&mut lock, name, current));
        }
        write(&lock, lock_file)?;
        Ok(changes)
    }

    /// The lock file that is to be changed, as it is now: this program may have been built with an older one. The own lock where
    /// there is no file yet.
    pub(crate) fn lock_of(&self, lock_file: &Path) -> Result<Lock, Error> {
        match std::fs::read_to_string(lock_file) {
            Ok(text) => Lock::parse(&text, &lock_file.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.lock.clone()),
            Err(error) => Err(Error::io("read the lock file", lock_file)(error)),
        }
    }
}

/// Writes a lock file. It is read back as a run would first: a lock that cannot be used must not be written.
pub(crate) fn write(lock: &Lock, lock_file: &Path) -> Result<(), Error> {
    let text = lock.to_text();
    Lock::parse(&text, "the new lock file")?;
    cache::write_atomically(lock_file, text.as_bytes())
}

/// Puts an artifact's packages into the lock, and says which ones are new.
fn replace(lock: &mut Lock, name: ArtifactName, current: Vec<Deb>) -> Vec<Change> {
    if let (ArtifactName::Rust, Some(compiler)) = (&name, current.first()) {
        debversion::released(&compiler.version).clone_into(&mut lock.rust.version);
    }
    let places: Vec<&mut Deb> = match &name {
        ArtifactName::Kernel(kernel) => lock
            .kernels
            .iter_mut()
            .filter(|known| known.name() == *kernel)
            .flat_map(|known| [&mut known.deb].into_iter().chain(&mut known.config))
            .collect(),
        ArtifactName::Loader { version, arch } => lock
            .loaders
            .iter_mut()
            .filter(|known| known.version == *version && known.program.arch.arch() == *arch)
            .flat_map(|known| [&mut known.program].into_iter().chain(&mut known.libraries))
            .collect(),
        ArtifactName::Busybox(arch) => {
            lock.busybox.iter_mut().filter(|known| known.arch.arch() == *arch).collect()
        }
        ArtifactName::Ovmf => vec![&mut lock.ovmf],
        ArtifactName::Rust => lock.rust.compiler.iter_mut().chain(&mut lock.rust.libraries).collect(),
    };
    let mut changes = Vec::new();
    for (place, to) in places.into_iter().zip(current) {
        if *place != to {
            let from = std::mem::replace(place, to.clone());
            changes.push(Change { name: name.clone(), from, to });
        }
    }
    changes
}
