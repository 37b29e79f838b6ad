//! A guest's RAM as a file in memory (memfd_create(2)), from which other guests begin as the first left it.
//!
//! The file has no name and is nobody's but the rig's and its QEMUs': it is gone when they are, however they end. When the guest that
//! wrote it has ended it is sealed (fcntl(2), "File Sealing"), and from then on the host's kernel itself lets nobody change a byte of it.
//! A QEMU that begins from it maps it privately: what that guest writes is a copy of its own.

use crate::cell::Mib;
use rustix::fs::{MemfdFlags, SealFlags};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The RAM of a guest, in a file of just its size.
#[derive(Debug)]
pub struct SharedRam {
    file: OwnedFd,
    path: PathBuf,
}

impl SharedRam {
    /// All zeros. Memory is taken as a guest touches it.
    ///
    /// # Errors
    /// The host has no such files, or this process has too many open.
    pub(super) fn new(size: Mib) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("kdump-rig-ram", flags)?;
        rustix::fs::ftruncate(&file, size.bytes())?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        // Not /proc/self, which each process reads as its own; and none has it open that does not need it.
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
        Ok(Self { file, path })
    }

    /// Keeps it as it is from now on.
    ///
    /// # Errors
    /// Somebody has it mapped who could still write to it.
    pub(super) fn seal(&self) -> io::Result<()> {
        Ok(rustix::fs::fcntl_add_seals(&self.file, SealFlags::WRITE | SealFlags::SEAL)?)
    }

    /// Where this process's children find it, as long as this is not dropped.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    /// Bug: a guest begins in RAM that another one, or anybody, has changed after it was saved.
    #[test]
    fn sealed_ram_stays_as_it_was() {
        let ram = SharedRam::new(testing::mib(64 << 10)).unwrap();
        // As QEMU opens it, for reading and writing in both cases.
        let open = || OpenOptions::new().read(true).write(true).open(ram.path()).unwrap();
        let file = open();
        assert_eq!(file.metadata().unwrap().len(), 64 << 30);
        file.write_all_at(b"kernel", 1 << 20).unwrap();
        ram.seal().unwrap();
        for file in [file, open()] {
            assert!(file.write_all_at(b"changed", 1 << 20).is_err());
            assert!(file.set_len(1).is_err());
            let mut found = [0; 6];
            file.read_exact_at(&mut found, 1 << 20).unwrap();
            assert_eq!(&found, b"kernel");
        }
        let mut first = [1];
        open().read_exact(&mut first).unwrap();
        assert_eq!(first, [0]);
    }
}
