//! The system calls of everyday life, as thin as they are: open, read, write, statx, uname, sysinfo, getrandom. On i386 the usual library for
//! them finds its way through the vDSO first, which is 5 KB that nobody needs for some dozen calls.
//!
//! Structures have the same form for both architectures, or are arrays of words that have (include/uapi/linux/stat.h, utsname.h, sysinfo.h).

use alloc::ffi::CString;
use alloc::vec::Vec;
use syscalls::{Errno, Sysno, syscall};

/// An open file, closed when it is dropped.
pub(crate) struct File(usize);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        let _ = unsafe { syscall!(Sysno::close, self.0) };
    }
}

impl File {
    /// Opens for reading, without waiting for whoever writes into a pipe.
    pub(crate) fn open(path: &[u8]) -> Result<Self, Errno> {
        /// O_NOCTTY | O_NONBLOCK | O_LARGEFILE | O_CLOEXEC (include/uapi/asm-generic/fcntl.h); O_RDONLY is 0.
        const FLAGS: usize = 0o400 | 0o4000 | 0o100_000 | 0o2_000_000;
        let path = text(path)?;
        // SAFETY: the path ends with a zero and is only read.
        unsafe { syscall!(Sysno::open, path.as_ptr(), FLAGS) }.map(Self)
    }

    /// The descriptor.
    pub(crate) fn descriptor(&self) -> u64 {
        self.0 as u64
    }

    /// Reads once into the room that `bytes` has, behind what is there. Nothing was read at the file's end.
    pub(crate) fn read(&self, bytes: &mut Vec<u8>) -> Result<usize, Errno> {
        let room = bytes.spare_capacity_mut();
        loop {
            // SAFETY: the kernel writes no more than there is room for.
            match unsafe { syscall!(Sysno::read, self.0, room.as_mut_ptr(), room.len()) } {
                Ok(read) => {
                    // SAFETY: the kernel has filled so many bytes of the room.
                    unsafe { bytes.set_len(bytes.len() + read) };
                    return Ok(read);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// What the file is now.
    pub(crate) fn status(&self) -> Result<Status, Errno> {
        /// AT_EMPTY_PATH: the descriptor itself.
        const EMPTY_PATH: usize = 0x1000;
        status_at(self.0, b"", EMPTY_PATH)
    }
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) is_regular: bool,
    /// In bytes.
    pub(crate) size: u64,
    /// When it was last written to: seconds, and nanoseconds.
    modified: (u64, u32),
}

/// What a path leads to, which is not opened.
pub(crate) fn status(path: &[u8]) -> Result<Status, Errno> {
    /// AT_FDCWD: relative paths begin in the working folder.
    const WORKING_FOLDER: isize = -100;
    status_at(WORKING_FOLDER as usize, path, 0)
}

/// statx(2), since Linux 4.11.
fn status_at(folder: usize, path: &[u8], flags: usize) -> Result<Status, Errno> {
    /// STATX_BASIC_STATS.
    const BASIC: usize = 0x7ff;
    /// The format's bits of a mode, and those of a regular file (S_IFMT, S_IFREG).
    const FORMAT: [u16; 2] = [0o170_000, 0o100_000];
    let path = text(path)?;
    let mut statx = [0u8; 256];
    // SAFETY: the path ends with a zero and is only read; the kernel fills a `struct statx`, which has 256 bytes.
    unsafe { syscall!(Sysno::statx, folder, path.as_ptr(), flags, BASIC, statx.as_mut_ptr()) }?;
    let at = |offset: usize| kexec_load::bytes::u64_at(&statx, offset).unwrap_or_default();
    Ok(Status {
        // stx_mode, stx_size, stx_mtime
        is_regular: at(28) as u16 & FORMAT[0] == FORMAT[1],
        size: at(40),
        modified: (at(112), at(120) as u32),
    })
}

/// A path as system calls take it. One with a zero in it leads nowhere.
fn text(path: &[u8]) -> Result<CString, Errno> {
    CString::new(path).map_err(|_| Errno::ENOENT)
}

/// Writes some of the bytes to standard output.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the bytes are only read.
    unsafe { syscall!(Sysno::write, 1, bytes.as_ptr(), bytes.len()) }
}

/// A field of uname(2), by its place in `struct new_utsname`: the release is 2, the machine 4.
pub(crate) fn uname(field: usize) -> Result<Vec<u8>, Errno> {
    /// `__NEW_UTS_LEN`, and the zero behind it.
    const LENGTH: usize = 65;
    let mut names = [[0u8; LENGTH]; 6];
    // SAFETY: the kernel fills a `struct new_utsname`.
    unsafe { syscall!(Sysno::uname, names.as_mut_ptr()) }?;
    let name = names.get(field).map_or(&[][..], |name| name.as_slice());
    Ok(name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec())
}

/// Bytes of memory that the kernel hands out, by sysinfo(2).
pub(crate) fn total_ram() -> Result<u64, Errno> {
    // `struct sysinfo` has words, and two half words that have one to themselves; its last field has 32 bits.
    let mut words = [0usize; 16];
    // SAFETY: the kernel fills a `struct sysinfo`, which has no more words (i386: 16).
    unsafe { syscall!(Sysno::sysinfo, words.as_mut_ptr()) }?;
    let (total, unit) = (words[4] as u64, u64::from(words[13] as u32));
    Ok(total.saturating_mul(unit))
}

/// Fills with random bytes, or fails where the kernel has no good ones yet.
pub(crate) fn random(bytes: &mut [u8]) -> Result<usize, Errno> {
    /// GRND_NONBLOCK.
    const NONBLOCK: usize = 1;
    // SAFETY: the kernel writes no more than the length.
    unsafe { syscall!(Sysno::getrandom, bytes.as_mut_ptr(), bytes.len(), NONBLOCK) }
}
