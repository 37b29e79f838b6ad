//! Reading of files: small ones whole, /proc/vmcore at offsets. And the one that is written, /dev/kmsg.

use super::errno;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use guest_agent::failure::{Errno, Failure};
use guest_agent::read_at::ReadAt;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::{pread, read, write};

fn read_whole(path: &str) -> Result<Vec<u8>, Errno> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match read(&file, &mut piece[..]) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(errno(error)),
        }
    }
}

/// The whole text of a small file; invalid UTF-8 is replaced.
pub(crate) fn read_text(path: &str) -> Result<String, Failure> {
    let bytes = read_whole(path).map_err(|error| Failure::errno(format!("read {path}"), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file that holds 0 or 1. `None` where there is none.
pub(crate) fn read_switch(path: &str) -> Result<Option<bool>, Failure> {
    let bytes = match read_whole(path) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.map_err(|error| Failure::errno(format!("read {path}"), error))?,
    };
    match bytes.trim_ascii() {
        b"0" => Ok(Some(false)),
        b"1" => Ok(Some(true)),
        other => {
            Err(Failure::new(format!("{path} holds neither 0 nor 1: {:?}", String::from_utf8_lossy(other))))
        }
    }
}

/// Writes all bytes to a device by a single write, as /dev/kmsg needs it: each makes one record
/// (Documentation/ABI/testing/dev-kmsg).
pub(crate) fn write_once(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |tried: &str, error| Failure::errno(format!("{tried} {path}"), errno(error));
    let file =
        open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|error| failed("open", error))?;
    loop {
        match write(&file, bytes) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(count) => {
                return Err(Failure::new(format!("{path} took {count} of {} bytes", bytes.len())));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("write", error)),
        }
    }
}

/// A file that is read at offsets. They are 64 bits wide in the i386 build too: rustix uses pread64 and O_LARGEFILE there.
pub(crate) struct Offsets(OwnedFd);

impl Offsets {
    /// Opens a file; with its size in bytes. `None` where there is none.
    pub(crate) fn open(path: &str) -> Result<Option<(Self, u64)>, Failure> {
        let failed = |tried: &str, error| Failure::errno(format!("{tried} {path}"), errno(error));
        let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other.map_err(|error| failed("open", error))?,
        };
        let size = fstat(&file).map_err(|error| failed("stat", error))?.st_size;
        Ok(Some((Self(file), size as u64)))
    }
}

impl ReadAt for Offsets {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        pread(&self.0, buffer, offset).map_err(errno)
    }
}
