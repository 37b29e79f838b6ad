//! Reading at an offset: what the vmcore's readers need of a file, and no more.

use crate::failure::Errno;

/// A file that can be read at any offset, beyond 4 GiB in a 32-bit program too.
pub trait ReadAt {
    /// Reads at most `buffer.len()` bytes and returns how many; 0 is the end of the file.
    ///
    /// # Errors
    /// As pread(2).
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Fills the buffer.
    ///
    /// # Errors
    /// As pread(2); [`Errno::ENODATA`] where the file ends first.
    fn fill_at(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), Errno> {
        while !buffer.is_empty() {
            match self.read_at(offset, buffer) {
                Ok(0) => return Err(Errno::ENODATA),
                Ok(count) => {
                    offset += count as u64;
                    buffer = &mut buffer[count..];
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::vec::Vec;

    /// A file in memory whose reads are short, as those of /proc files are.
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
            let rest = usize::try_from(offset).ok().and_then(|start| self.0.get(start..)).unwrap_or_default();
            let count = rest.len().min(buffer.len()).min(7);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    /// Catches short reads taken for the end, and an end taken for zeros.
    #[test]
    fn short_reads_are_continued() {
        let mut file = Bytes((0..100).collect());
        let mut buffer = [0; 50];
        file.fill_at(10, &mut buffer).unwrap();
        assert!(buffer.iter().copied().eq(10..60));
        assert_eq!(file.fill_at(60, &mut buffer), Err(Errno::ENODATA));
    }

    /// Catches an interrupted read that is reported as a failure of the vmcore.
    #[test]
    fn interrupted_reads_are_repeated() {
        struct Interrupted(bool);
        impl ReadAt for Interrupted {
            fn read_at(&mut self, _: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
                if core::mem::take(&mut self.0) { Err(Errno::EINTR) } else { Ok(buffer.len()) }
            }
        }
        assert_eq!(Interrupted(true).fill_at(0, &mut [0; 3]), Ok(()));
    }
}
