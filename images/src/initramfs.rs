//! Writes initramfs images in the kernel's `newc` cpio form, in memory. Nothing here knows what the files are for.
//!
//! The form is that of the kernel's document `Documentation/driver-api/early-userspace/buffer-format.rst` ("initramfs buffer
//! format"): per entry a header of 110 bytes of ASCII, the name with a NUL, padding to 4, the content, padding to 4; an
//! entry named `TRAILER!!!` ends the archive. Output depends on the calls alone: times, owners and devices are 0.

use std::collections::BTreeSet;

/// `c_magic` of the form without checksums.
const MAGIC: &[u8; 6] = b"070701";
/// Name of the entry that ends the archive.
const TRAILER: &str = "TRAILER!!!";
/// Headers and contents start at multiples of this.
const ALIGNMENT: usize = 4;
/// Length of the header: the magic and 13 fields of 8 hexadecimal digits each.
const HEADER_LEN: usize = 6 + 13 * 8;
/// Longest name that the kernel's unpacker takes, NUL included (`PATH_MAX`, `init/initramfs.c`); a longer one is skipped silently.
const MAX_NAME: usize = 4096;
/// Permissions of parents that nobody named.
const PARENT_MODE: u32 = 0o755;

/// File types in `c_mode`, as in stat(2).
mod file_type {
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const REGULAR: u32 = 0o100_000;
    pub(super) const SYMLINK: u32 = 0o120_000;
    pub(super) const CHAR_DEVICE: u32 = 0o020_000;
}

/// An entry that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitramfsError {
    /// The same path was added before, or is the parent of one that was.
    #[error("initramfs: `{0}` is there already")]
    Duplicate(String),
    /// A path that is empty, too long, or has `.`, `..` or NUL in it.
    #[error(
        "initramfs: `{0}` is no usable path (want an absolute one without `.` and `..`, below 4096 bytes)"
    )]
    BadPath(String),
    /// A parent of the path is not a directory.
    #[error("initramfs: `{path}` cannot be added, its parent `{parent}` is not a directory")]
    ParentNotDirectory {
        /// As given.
        path: String,
        /// The parent in the way.
        parent: String,
    },
    /// The form has 32 bits for the size.
    #[error("initramfs: `{path}` has {size} bytes, more than the 4 GiB that the cpio header can say")]
    TooBig {
        /// As given.
        path: String,
        /// Of its content, in bytes.
        size: usize,
    },
}

/// An initramfs in the making.
///
/// Paths may start with `/` or not; missing parents are made with mode 0755. Modes are permission bits only.
///
/// ```
/// let mut image = images::initramfs::Initramfs::new();
/// image.file("/init", 0o755, b"program")?.dir("/proc", 0o555)?;
/// assert_eq!(&image.finish()[..6], b"070701");
/// # Ok::<(), images::initramfs::InitramfsError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Initramfs {
    /// One without any entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When the path is bad or taken; also when it was made before as somebody's parent, so add directories with modes of
    /// their own before what is in them.
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<&mut Self, InitramfsError> {
        let name = self.prepare(path)?;
        self.entry(&name, file_type::DIRECTORY | mode, (0, 0), &[])?;
        self.directories.insert(name);
        Ok(self)
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// When the path is bad or taken, or the content does not fit.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<&mut Self, InitramfsError> {
        let name = self.prepare(path)?;
        self.entry(&name, file_type::REGULAR | mode, (0, 0), content)?;
        self.others.insert(name);
        Ok(self)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When the path is bad or taken.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, InitramfsError> {
        let name = self.prepare(path)?;
        self.entry(&name, file_type::SYMLINK | 0o777, (0, 0), target.as_bytes())?;
        self.others.insert(name);
        Ok(self)
    }

    /// Adds a character device. PID 1 needs `/dev/console` (5, 1) to have standard streams.
    ///
    /// # Errors
    /// When the path is bad or taken.
    pub fn char_device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<&mut Self, InitramfsError> {
        let name = self.prepare(path)?;
        self.entry(&name, file_type::CHAR_DEVICE | mode, (major, minor), &[])?;
        self.others.insert(name);
        Ok(self)
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        // The trailer's fields are 0 but the link count and the name's size.
        self.header(0, 0, (0, 0), 0, TRAILER);
        self.bytes
    }

    /// Checks a path, makes its missing parents, and gives its name in the archive (without the leading slash, as the kernel's
    /// unpacker resolves names from its root).
    fn prepare(&mut self, path: &str) -> Result<String, InitramfsError> {
        let name = path.strip_prefix('/').unwrap_or(path);
        let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if name.len() >= MAX_NAME || name == TRAILER || !name.split('/').all(good) {
            return Err(InitramfsError::BadPath(path.to_owned()));
        }
        if self.directories.contains(name) || self.others.contains(name) {
            return Err(InitramfsError::Duplicate(path.to_owned()));
        }
        for (slash, _) in name.match_indices('/') {
            let parent = &name[..slash];
            if self.others.contains(parent) {
                return Err(InitramfsError::ParentNotDirectory {
                    path: path.to_owned(),
                    parent: parent.to_owned(),
                });
            }
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, file_type::DIRECTORY | PARENT_MODE, (0, 0), &[])?;
            }
        }
        Ok(name.to_owned())
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<(), InitramfsError> {
        let size = u32::try_from(content.len())
            .map_err(|_| InitramfsError::TooBig { path: name.to_owned(), size: content.len() })?;
        self.inode += 1;
        self.header(self.inode, mode, device, size, name);
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn header(&mut self, inode: u32, mode: u32, device: (u32, u32), size: u32, name: &str) {
        let links = 1;
        // `prepare` keeps names below MAX_NAME.
        let name_size = name.len() as u32 + 1;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(MAGIC);
        // c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum.
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        debug_assert_eq!(self.bytes.len() - start, HEADER_LEN);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}
