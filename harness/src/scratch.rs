//! The private temporary folder of a run: sockets, and a record of the guests that belong to it. Folders that dead runs left
//! behind are cleaned at the start of the next.
//!
//! A run holds a lock on a file in its folder for as long as it lives. The kernel drops the lock with the process, so a
//! folder whose lock can be had belongs to the dead; process ids, which other processes may have been given since, decide
//! nothing here.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Beginning of the folders' names.
const PREFIX: &str = "kdump-rig-";
/// The file that a living run holds a lock on.
const LOCK: &str = "lock";
/// Its name until it is locked.
const LOCK_TO_BE: &str = "lock.new";
/// Longest path of a unix socket: `sun_path` of 108 bytes with its NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// Room for a guest's folder and a socket's name under the run's folder.
const ROOM_FOR_SOCKETS: usize = 24;

/// A run's private folder; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Held until the run ends.
    _lock: File,
}

/// The folder of one guest; removed when dropped.
#[derive(Debug)]
pub struct GuestScratch {
    folder: TempDir,
}

impl Scratch {
    /// Makes the folder in the host's temporary folder, after removing what dead runs left there. The messages say what was
    /// removed.
    pub fn new() -> io::Result<(Self, Vec<String>)> {
        let parent = std::env::temp_dir();
        let notices = remove_leftovers(&parent);
        Ok((Self::in_folder(&parent)?, notices))
    }

    /// Makes the folder and leaves everything else as it is.
    pub fn untidied() -> io::Result<Self> {
        Self::in_folder(&std::env::temp_dir())
    }

    fn in_folder(parent: &Path) -> io::Result<Self> {
        // Mode 0700 is TempDir's own.
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let length = folder.path().as_os_str().len() + ROOM_FOR_SOCKETS;
        if length > MAX_SOCKET_PATH {
            return Err(io::Error::other(format!(
                "{} is too long for sockets in it (their paths end at {MAX_SOCKET_PATH} bytes); set TMPDIR to a shorter path",
                folder.path().display()
            )));
        }
        // Locked before it has its name: whoever finds a lock file finds it locked, or its run dead.
        let unnamed = folder.path().join(LOCK_TO_BE);
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        std::fs::rename(&unnamed, folder.path().join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    /// A folder for the next guest.
    pub fn guest(&self) -> io::Result<GuestScratch> {
        let folder = tempfile::Builder::new().prefix("g-").tempdir_in(self.folder.path())?;
        Ok(GuestScratch { folder })
    }
}

impl GuestScratch {
    /// Path of the guest's socket or file `name`, at most 12 bytes long.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Removes the folders of dead runs of this user, and tells which.
fn remove_leftovers(parent: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut notices = Vec::new();
    for entry in entries.flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if ours && is_abandoned(&entry.path()) {
            let path = entry.path();
            notices.push(match std::fs::remove_dir_all(&path) {
                Ok(()) => format!("removed {}, left behind by a run that was killed", path.display()),
                Err(error) => {
                    format!("cannot remove {}, left behind by a killed run: {error}", path.display())
                }
            });
        }
    }
    notices
}

/// Whether a folder is this user's and nobody holds its lock. A folder without a lock file is just being made, or no run's.
fn is_abandoned(folder: &Path) -> bool {
    let mine = |meta: &std::fs::Metadata| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    if !std::fs::symlink_metadata(folder).is_ok_and(|meta| mine(&meta)) {
        return false;
    }
    match File::open(folder.join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the second of two parallel runs removes the sockets of the first; or a killed run's folder stays for ever.
    #[test]
    fn only_the_dead_are_cleaned_up_after() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::in_folder(parent.path()).unwrap();
        let dead = Scratch::in_folder(parent.path()).unwrap();
        let dead_path = dead.folder.path().to_owned();
        // What SIGKILL does: the lock goes, the folder stays.
        let Scratch { folder, _lock } = dead;
        let _kept = folder.keep();
        drop(_lock);
        let stranger = parent.path().join("kdump-rig-notes");
        std::fs::create_dir(&stranger).unwrap();

        let notices = remove_leftovers(parent.path());
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(!dead_path.exists() && living.folder.path().exists() && stranger.exists());
    }

    /// Bug: a deep TMPDIR makes every guest fail with an obscure error of bind(2).
    #[test]
    fn a_path_that_sockets_cannot_have_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let deep = parent.path().join("x".repeat(90));
        std::fs::create_dir(&deep).unwrap();
        let error = Scratch::in_folder(&deep).unwrap_err().to_string();
        assert!(error.contains("TMPDIR"), "{error}");
    }
}
