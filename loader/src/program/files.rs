//! Files as this program needs them: read whole into memory of its own, and errors with the file's name.
//!
//! Nothing is mapped. A mapping shows what somebody writes into the file meanwhile, and raises SIGBUS where it is cut short; bytes that change
//! between the digest and the system call would stop the machine when it panics, instead of starting the capture kernel.

use super::sys::{self, File, Status};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kexec_load::sysfs;
use syscalls::Errno;

/// The largest text that is read from /proc or /sys. /proc/iomem of the largest machines has some hundred KiB.
const LARGEST_TEXT: usize = 16 << 20;

/// A file's bytes, as they were when it was opened, and the open file.
pub(crate) struct WholeFile {
    path: String,
    file: File,
    bytes: Vec<u8>,
}

impl WholeFile {
    /// Reads a regular file. Anything else is refused without a look into it: a pipe may never end, and to open a device may set it going.
    pub(crate) fn open(path: &[u8]) -> Result<Self, String> {
        let name = String::from_utf8_lossy(path).into_owned();
        let failed = |errno| failed(&name, errno);
        must_be_regular(&name, sys::status(path).map_err(failed)?)?;
        let file = File::open(path).map_err(failed)?;
        // It may have been replaced meanwhile.
        let status = file.status().map_err(failed)?;
        must_be_regular(&name, status)?;
        let mut bytes = Vec::new();
        let size = room_for(&name, status.size, &mut bytes)?;
        while bytes.len() < size {
            if file.read(&mut bytes).map_err(failed)? == 0 {
                return Err(format!(
                    "{name}: of its {size} bytes {} could be read: it was cut short meanwhile, or is no ordinary file",
                    bytes.len()
                ));
            }
        }
        if file.status().map_err(failed)? != status {
            return Err(format!("{name}: changed while it was read; try again when it is whole"));
        }
        Ok(Self { path: name, file, bytes })
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file itself, for a kernel that reads it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn must_be_regular(name: &str, status: Status) -> Result<(), String> {
    if status.is_regular { Ok(()) } else { Err(format!("{name}: not a regular file")) }
}

/// Bytes of memory that the kernel hands out.
pub(crate) fn total_ram() -> Result<u64, String> {
    sys::total_ram().map_err(|errno| failed("sysinfo", errno))
}

/// Makes room for a file of this size, unless it can never be loaded: sparse files and those of /proc may say any size.
fn room_for(name: &str, size: u64, bytes: &mut Vec<u8>) -> Result<usize, String> {
    let region = read("/sys/kernel/kexec_crash_size").ok().and_then(|text| sysfs::decimal(&text));
    let (most, whose) = match region.filter(|&region| region != 0) {
        Some(region) => (region, "than the crash region has"),
        // A load of more is refused by the kernel (kernel/kexec_core.c, `sanity_check_segment_list`).
        None => (total_ram()? / 2, "than half of the memory"),
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
    let failed = |errno| failed(path, errno);
    let file = File::open(path.as_bytes()).map_err(failed)?;
    let mut bytes = Vec::new();
    while bytes.len() < most {
        bytes.reserve(4096);
        if file.read(&mut bytes).map_err(failed)? == 0 {
            break;
        }
    }
    bytes.truncate(most);
    Ok(bytes)
}

/// Writes all bytes to standard output.
pub(crate) fn write_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match sys::write_stdout(bytes) {
            // Never so by the kernel's own files; else this would go on for ever.
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What is said of a file that failed, or of a call by its name.
pub(crate) fn failed(name: &str, errno: Errno) -> String {
    let why = match errno {
        Errno::ENOENT => "no such file",
        Errno::EACCES | Errno::EPERM => "permission denied",
        Errno::EISDIR => "is a directory",
        Errno::ENOTDIR => "a part of the path is no directory",
        Errno::EIO => "input/output error",
        Errno::ENOMEM => "not enough memory",
        _ => return format!("{name}: errno {}", errno.into_raw()),
    };
    format!("{name}: {why}")
}
