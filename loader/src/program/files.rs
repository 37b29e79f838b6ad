//! Files as this program needs them: large ones mapped, small ones read whole, and errors with the file's name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_void;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// The largest text that is read from /proc or /sys. /proc/iomem of the largest machines has some hundred KiB.
const LARGEST_TEXT: usize = 16 << 20;

/// A file's bytes, mapped for as long as the process lives, and the open file.
pub(crate) struct MappedFile {
    path: String,
    file: OwnedFd,
    bytes: &'static [u8],
}

impl MappedFile {
    /// Maps a regular file.
    pub(crate) fn open(path: &[u8]) -> Result<Self, String> {
        let name = String::from_utf8_lossy(path).into_owned();
        let file = open(path, &name)?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(&name, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(format!("{name}: not a regular file"));
        }
        let size = usize::try_from(stat.st_size)
            .ok()
            .filter(|&size| size <= isize::MAX as usize)
            .ok_or_else(|| format!("{name}: {} bytes are more than this program can map", stat.st_size))?;
        if size == 0 {
            return Ok(Self { path: name, file, bytes: &[] });
        }
        // SAFETY: a new private mapping at a place of the kernel's choice touches no memory of ours.
        let start = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut::<c_void>(),
                size,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )
        }
        .map_err(|errno| failed(&name, errno))?;
        // SAFETY: the mapping has `size` readable bytes, and nothing unmaps it. Whoever changes the file meanwhile changes the
        // bytes: each is read as it is, and the kernel copies what it finds.
        let bytes = unsafe { core::slice::from_raw_parts(start.cast::<u8>(), size) };
        Ok(Self { path: name, file, bytes })
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file itself, for a kernel that reads it.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &'static [u8] {
        self.bytes
    }
}

/// Reads a small file whole. The error names the file.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    read_up_to(path, LARGEST_TEXT)
}

/// Reads the beginning of a file: at most `most` bytes.
pub(crate) fn read_up_to(path: &str, most: usize) -> Result<Vec<u8>, String> {
    let file = open(path.as_bytes(), path)?;
    let mut bytes = Vec::new();
    let mut filled = 0;
    while filled < most {
        bytes.resize((filled + 4096).min(most), 0);
        match rustix::io::read(&file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(path, errno)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Writes all bytes to standard output.
pub(crate) fn write_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: descriptor 1 is standard output; if it is closed, the write fails with EBADF.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    while !bytes.is_empty() {
        match rustix::io::write(stdout, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn open(path: &[u8], name: &str) -> Result<OwnedFd, String> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed(name, errno))
}

fn failed(name: &str, errno: Errno) -> String {
    let why = match errno {
        Errno::NOENT => "no such file",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::ISDIR => "is a directory",
        Errno::NOTDIR => "a part of the path is no directory",
        Errno::IO => "input/output error",
        Errno::NODEV => "not a file that can be mapped",
        Errno::NOMEM => "not enough memory",
        _ => return format!("{name}: errno {}", errno.raw_os_error()),
    };
    format!("{name}: {why}")
}
