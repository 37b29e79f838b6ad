//! The notes of a vmcore: how many CPUs left their registers, and what VMCOREINFO says of the kernel that crashed.

/// n_type of a CPU's registers; the note's name is `CORE` (include/uapi/linux/elf.h).
const NT_PRSTATUS: u32 = 1;
/// Size of Elf32_Nhdr and Elf64_Nhdr, which are alike: n_namesz, n_descsz, n_type.
const HEADER: usize = 12;

/// A note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Without its terminating zero.
    pub name: &'a [u8],
    /// n_type.
    pub kind: u32,
    /// What it holds.
    pub descriptor: &'a [u8],
}

impl Note<'_> {
    /// Whether it holds a CPU's registers at the crash.
    pub fn is_prstatus(&self) -> bool {
        self.kind == NT_PRSTATUS && self.name == b"CORE"
    }

    /// The text of VMCOREINFO, where this note is it.
    pub fn vmcoreinfo(&self) -> Option<&[u8]> {
        (self.name == b"VMCOREINFO").then_some(self.descriptor)
    }
}

/// The notes of one PT_NOTE segment. It ends at the first that is empty, as the kernel's own list does, or does not fit.
pub fn notes(mut bytes: &[u8]) -> impl Iterator<Item = Note<'_>> {
    core::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (name_size, size, kind) =
            (usize::try_from(word(0)).ok()?, usize::try_from(word(4)).ok()?, word(8));
        if name_size == 0 {
            return None;
        }
        let (name, rest) = take_padded(rest, name_size)?;
        let (descriptor, rest) = take_padded(rest, size)?;
        bytes = rest;
        Some(Note { name: name.strip_suffix(b"\0").unwrap_or(name), kind, descriptor })
    })
}

/// Splits off `size` bytes, and drops what pads them to a multiple of 4, as far as it is there.
fn take_padded(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (taken, rest) = bytes.split_at_checked(size)?;
    let padding = size.wrapping_neg() % 4;
    Some((taken, rest.get(padding..).unwrap_or_default()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    pub(crate) fn encode(name: &str, kind: u32, descriptor: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in [name.len() as u32 + 1, descriptor.len() as u32, kind] {
            out.extend(value.to_le_bytes());
        }
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(descriptor);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// Catches padding that is not skipped, a foreign note counted as a CPU, and notes looked for behind the end.
    #[test]
    fn notes_are_walked_over_their_padding() {
        let bytes = [
            encode("CORE", 1, &[7; 5]),
            encode("CORE", 6, b""),
            encode("LINUX", 1, &[1]),
            encode("VMCOREINFO", 0, b"OSRELEASE=5.10.0\n"),
            encode("CORE", 1, &[7; 8]),
            [0; 40].to_vec(),
            encode("CORE", 1, &[7; 8]),
        ]
        .concat();
        assert_eq!(notes(&bytes).count(), 5);
        assert_eq!(notes(&bytes).filter(Note::is_prstatus).count(), 2);
        let info = notes(&bytes).find_map(|note| note.vmcoreinfo().map(<[u8]>::to_vec)).unwrap();
        assert_eq!(info, b"OSRELEASE=5.10.0\n");
    }

    proptest! {
        /// Catches a panic or an endless walk on any bytes.
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(0_u8..20, 0..200)) {
            prop_assert!(notes(&bytes).count() <= bytes.len() / HEADER);
        }
    }
}
