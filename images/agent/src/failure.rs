//! The agent's own failures, worded for the person who reads them in a report.

use alloc::string::String;
use core::fmt;

/// What was tried, on what, and what was found. Never a statement on the loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure in words.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// A system call that failed: `tried` names what was tried and on which path.
    pub fn errno(tried: impl fmt::Display, errno: Errno) -> Self {
        Self(alloc::format!("{tried}: {errno}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error number of Linux on x86 (include/uapi/asm-generic/errno-base.h and errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Interrupted by a signal: try again.
    pub const EINTR: Self = Self(4);
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// No data available; used here for a file that ends before it should.
    pub const ENODATA: Self = Self(61);

    /// The symbolic name of those that an agent may meet.
    const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "EPERM",
            2 => "ENOENT",
            4 => "EINTR",
            5 => "EIO",
            6 => "ENXIO",
            8 => "ENOEXEC",
            9 => "EBADF",
            11 => "EAGAIN",
            12 => "ENOMEM",
            13 => "EACCES",
            14 => "EFAULT",
            16 => "EBUSY",
            17 => "EEXIST",
            19 => "ENODEV",
            20 => "ENOTDIR",
            21 => "EISDIR",
            22 => "EINVAL",
            25 => "ENOTTY",
            28 => "ENOSPC",
            38 => "ENOSYS",
            61 => "ENODATA",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Catches a report that gives a bare number, or drops the number of an error without a name.
    #[test]
    fn errors_are_named_and_numbered() {
        assert_eq!(
            Failure::errno("open /proc/iomem", Errno(13)).to_string(),
            "open /proc/iomem: EACCES (13)"
        );
        assert_eq!(Errno(1234).to_string(), "errno 1234");
    }
}
