//! Reading of files: small ones whole, /proc/vmcore at offsets. And those that are written: /dev/kmsg, settings of the kernel, and
//! what is to be read in place of another.

use super::errno;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use guest_agent::failure::{Errno, Failure};
use guest_agent::read_at::ReadAt;
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags, fstat, open, stat};
use rustix::io::{pread, read, write};
use rustix::mount::mount_bind;

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
    Ok(String::from_utf8_lossy(&read_bytes(path)?).into_owned())
}

/// The bytes of a small file.
pub(crate) fn read_bytes(path: &str) -> Result<Vec<u8>, Failure> {
    read_whole(path).map_err(|error| Failure::errno(format!("read {path}"), error))
}

/// Whether there is such a file.
pub(crate) fn is_there(path: &str) -> bool {
    stat(path).is_ok()
}

/// Whether any line of a file, without its newline, is accepted. `None` where there is no such file, or nothing in it. It is never
/// held whole: /proc/kallsyms is larger than what a small crash region has free.
pub(crate) fn any_line(path: &str, accept: impl Fn(&[u8]) -> bool) -> Result<Option<bool>, Failure> {
    let failed = |tried: &str, error| Failure::errno(format!("{tried} {path}"), errno(error));
    let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other.map_err(|error| failed("open", error))?,
    };
    let mut rest: Vec<u8> = Vec::new();
    let mut piece = vec![0; 1 << 16];
    let mut seen = false;
    loop {
        let count = match read(&file, &mut piece[..]) {
            Ok(0) => return Ok((seen || !rest.is_empty()).then(|| accept(&rest))),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(failed("read", error)),
        };
        rest.extend_from_slice(&piece[..count]);
        let Some(end) = rest.iter().rposition(|&byte| byte == b'\n') else { continue };
        seen = true;
        if rest[..end].split(|&byte| byte == b'\n').any(&accept) {
            return Ok(Some(true));
        }
        rest.drain(..=end);
    }
}

/// The names in a folder, sorted, without hidden ones. `None` where there is no such folder.
pub(crate) fn names(path: &str) -> Result<Option<Vec<String>>, Failure> {
    let failed = |error| Failure::errno(format!("list {path}"), errno(error));
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match open(path, how, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
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

/// Writes all bytes to a file of the kernel's by a single write, as /dev/kmsg needs it (each makes one record,
/// Documentation/ABI/testing/dev-kmsg), and settings do.
pub(crate) fn write_once(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    write_all_at_once(path, OFlags::WRONLY, bytes)
}

/// Puts a file with these bytes over another one, for everybody.
pub(crate) fn cover(path: &str, with: &str, bytes: &[u8]) -> Result<(), Failure> {
    write_all_at_once(with, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, bytes)?;
    mount_bind(with, path).map_err(|error| Failure::errno(format!("mount {with} on {path}"), errno(error)))
}

fn write_all_at_once(path: &str, how: OFlags, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |tried: &str, error| Failure::errno(format!("{tried} {path}"), errno(error));
    let file = open(path, how | OFlags::CLOEXEC, Mode::from_raw_mode(0o444))
        .map_err(|error| failed("open", error))?;
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
