//! Whether there is room on a disk. One that is full makes builds fail, cuts off what they make, and takes away what guests said, each
//! of which looks like the fault of what is tested.

use crate::exit::Failure;
use anyhow::anyhow;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// Room that must be left, in bytes: less than any build or guest needs, and more than a build that failed for want of room leaves when
/// its half-done file is removed.
const ROOM: usize = 16 << 20;

/// Looks for room where these folders are, and where temporary files are made.
///
/// # Errors
/// [`Failure::Rig`]: there is none.
pub(super) fn check(folders: &[&Path]) -> Result<(), Failure> {
    let temp = std::env::temp_dir();
    for folder in folders.iter().copied().chain([temp.as_path()]) {
        if is_full(folder) {
            return Err(Failure::Rig(anyhow!(
                "the disk is full: there are no {} MiB left for {}; what was built or run meanwhile says nothing",
                ROOM >> 20,
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Whether the disk that a folder is on, or would be made on, has too little room. By trying: quotas and inodes count as well.
fn is_full(folder: &Path) -> bool {
    let there = folder.ancestors().find(|ancestor| ancestor.is_dir());
    // A folder that cannot be written to for another reason needs no room.
    let tried = there.map(|there| tempfile::tempfile_in(there).and_then(reserve));
    matches!(tried, Some(Err(error)) if is_want_of_room(&error))
}

fn reserve(mut file: File) -> io::Result<()> {
    match fallocate(&file, FallocateFlags::empty(), 0, ROOM as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            file.write_all(&vec![0; ROOM])?;
            file.sync_data()
        }
        reserved => Ok(reserved?),
    }
}

fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether words on trouble are about a full disk: strerror(ENOSPC), as cargo, make, compilers and this program print it.
pub(super) fn is_told(words: &str) -> bool {
    words.contains("No space left on device")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a full disk is taken for a commit that cannot be tested, and the bisection skips everything there is.
    #[test]
    fn a_full_disk_is_known() {
        let error = io::Error::from(Errno::NOSPC);
        assert!(is_want_of_room(&error) && is_want_of_room(&Errno::DQUOT.into()));
        assert!(!is_want_of_room(&Errno::ACCESS.into()));
        assert!(is_told(&format!("cannot write x: {error}")), "{error}");
        assert!(!is_told("QEMU died"));
    }

    /// Bug: a disk with room is called full, also for a folder that is still to be made: no step would ever come to a verdict.
    #[test]
    fn a_disk_with_room_is_none() {
        let folder = tempfile::tempdir().unwrap();
        check(&[folder.path(), &folder.path().join("not/made/yet")]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
