//! Files as this program needs them: read whole into memory of its own, and errors with the file's name.
//!
//! Nothing is mapped. A mapping shows what somebody writes into the file meanwhile, and raises SIGBUS where it is cut short; bytes that change
//! between the digest and the system call would stop the machine when it panics, instead of starting the capture kernel.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kexec_load::sysfs;
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The largest text that is read from /proc or /sys. /proc/iomem of the largest machines has some hundred KiB.
const LARGEST_TEXT: usize = 16 << 20;

/// A file's bytes, as they were when it was opened, and the open file.
pub(crate) struct WholeFile {
    path: String,
    file: OwnedFd,
    bytes: Vec<u8>,
}

impl WholeFile {
    /// Reads a regular file. Anything else is refused without a look into it: a pipe may never end, and to open a device may set it going.
    pub(crate) fn open(path: &[u8]) -> Result<Self, String> {
        let name = String::from_utf8_lossy(path).into_owned();
        let before = rustix::fs::stat(path).map_err(|errno| failed(&name, errno))?;
        must_be_regular(&name, &before)?;
        let file = open(path, &name)?;
        // It may have been replaced meanwhile.
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(&name, errno))?;
        must_be_regular(&name, &stat)?;
        let mut bytes = Vec::new();
        let size = room_for(&name, stat.st_size as u64, &mut bytes)?;
        while bytes.len() < size {
            match rustix::io::read(&file, spare_capacity(&mut bytes)) {
                Ok(0) => {
                    return Err(format!(
                        "{name}: of its {size} bytes {} could be read: it was cut short meanwhile, or is no ordinary file",
                        bytes.len()
                    ));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(&name, errno)),
            }
        }
        let after = rustix::fs::fstat(&file).map_err(|errno| failed(&name, errno))?;
        let version = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if version(&stat) != version(&after) {
            return Err(format!("{name}: changed while it was read; try again when it is whole"));
        }
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
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn must_be_regular(name: &str, stat: &Stat) -> Result<(), String> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(format!("{name}: not a regular file")),
    }
}

/// Bytes of memory that the kernel hands out.
pub(crate) fn total_ram() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit))
}

/// Makes room for a file of this size, unless it can never be loaded: sparse files and those of /proc may say any size.
fn room_for(name: &str, size: u64, bytes: &mut Vec<u8>) -> Result<usize, String> {
    let region = read("/sys/kernel/kexec_crash_size").ok().and_then(|text| sysfs::decimal(&text));
    let (most, whose) = match region.filter(|&region| region != 0) {
        Some(region) => (region, "than the crash region has"),
        // A load of more is refused by the kernel (kernel/kexec_core.c, `sanity_check_segment_list`).
        None => (total_ram() / 2, "than half of the memory"),
    };
    if size > most {
        return Err(format!("{name}: {size} bytes are more {whose} ({most})"));
    }
    let room = usize::try_from(size).ok().filter(|&size| bytes.try_reserve_exact(size).is_ok());
    room.ok_or_else(|| format!("{name}: {size} bytes are more than there is memory for"))
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
    // Without NONBLOCK, to open a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(name, errno))
}

fn failed(name: &str, errno: Errno) -> String {
    let why = match errno {
        Errno::NOENT => "no such file",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::ISDIR => "is a directory",
        Errno::NOTDIR => "a part of the path is no directory",
        Errno::IO => "input/output error",
        Errno::NOMEM => "not enough memory",
        _ => return format!("{name}: errno {}", errno.raw_os_error()),
    };
    format!("{name}: {why}")
}
