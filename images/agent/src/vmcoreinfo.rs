//! VMCOREINFO: what the crashed kernel says of its own symbols and structures, lines of `KEY=value`
//! (Documentation/admin-guide/kdump/vmcoreinfo.rst).

use crate::failure::Failure;
use alloc::format;

/// Largest offset or size that is taken, in bytes. None of the structures that are read here has more than a page.
const MAX_STRUCTURE: u64 = 4096;

/// Size of `unsigned long` and of a pointer in the crashed kernel. It is the kernel's, not the core file's: an i386 kernel with
/// RAM above 4 GiB has a 64-bit ELF header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// i386.
    Bits32,
    /// x86_64.
    Bits64,
}

impl Word {
    /// Bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    /// Bits.
    pub const fn bits(self) -> u32 {
        8 * self.size() as u32
    }

    /// The word at an offset of a structure, where the structure has so many bytes.
    pub fn get(self, structure: &[u8], at: usize) -> Option<u64> {
        let bytes = structure.get(at..at.checked_add(self.size())?)?;
        Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

/// The text of VMCOREINFO.
#[derive(Clone, Copy, Debug)]
pub struct VmcoreInfo<'a>(&'a [u8]);

impl<'a> VmcoreInfo<'a> {
    /// The note's descriptor.
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value of a key, where it is there and is text.
    pub fn value(self, key: &str) -> Option<&'a str> {
        self.0
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
            .and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The value of a symbol: an address, or for an array its own.
    ///
    /// # Errors
    /// It is not there, or is no number.
    pub fn symbol(self, name: &str) -> Result<u64, Failure> {
        self.number(&format!("SYMBOL({name})"), 16)
    }

    /// The offset of a field, such as `prb_desc.state_var`, in bytes.
    ///
    /// # Errors
    /// It is not there, is no number, or lies beyond a page.
    pub fn offset(self, field: &str) -> Result<usize, Failure> {
        self.structure(&format!("OFFSET({field})"))
    }

    /// The size of a structure in bytes.
    ///
    /// # Errors
    /// It is not there, is no number, or is more than a page.
    pub fn size(self, name: &str) -> Result<usize, Failure> {
        self.structure(&format!("SIZE({name})"))
    }

    /// The kernel's word, out of the size of its two pointers wide `struct list_head`.
    ///
    /// # Errors
    /// It is not there, or not of either size.
    pub fn word(self) -> Result<Word, Failure> {
        match self.size("list_head")? {
            8 => Ok(Word::Bits32),
            16 => Ok(Word::Bits64),
            other => Err(Failure::new(format!(
                "VMCOREINFO's SIZE(list_head) is {other}, neither 8 nor 16: the kernel has no word size that is known"
            ))),
        }
    }

    fn structure(self, key: &str) -> Result<usize, Failure> {
        match self.number(key, 10)? {
            // At most a page, which fits every usize.
            value if value <= MAX_STRUCTURE => Ok(value as usize),
            value => Err(Failure::new(format!("VMCOREINFO's {key} is {value}, more than a page"))),
        }
    }

    fn number(self, key: &str, radix: u32) -> Result<u64, Failure> {
        let value = self.value(key).ok_or_else(|| Failure::new(format!("VMCOREINFO has no {key}")))?;
        u64::from_str_radix(value, radix)
            .map_err(|_| Failure::new(format!("VMCOREINFO's {key} is no number: {value:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Catches a key found in the middle of a line or as another's prefix.
    #[test]
    fn keys_stand_at_the_start_of_a_line() {
        let info =
            VmcoreInfo::new(b"XCRASHTIME=1\nCRASHTIMES=2\nCRASHTIME=1700000000\nOSRELEASE=6.1.0-50-amd64\n");
        assert_eq!(info.value("CRASHTIME"), Some("1700000000"));
        assert_eq!(info.value("OSRELEASE"), Some("6.1.0-50-amd64"));
        assert_eq!(info.value("KERNELOFFSET"), None);
    }

    /// Catches a symbol read as decimal, an offset read as hexadecimal, and a size that would be allocated whatever it is.
    #[test]
    fn numbers_have_their_radix_and_their_bound() {
        let info = VmcoreInfo::new(
            b"SYMBOL(prb)=ffffffff8264a310\nOFFSET(prb_desc.state_var)=10\nSIZE(prb_desc)=4097\nSIZE(x)=0x8\n",
        );
        assert_eq!(info.symbol("prb"), Ok(0xffff_ffff_8264_a310));
        assert_eq!(info.offset("prb_desc.state_var"), Ok(10));
        let wrong = |result: Result<usize, Failure>| result.unwrap_err().to_string();
        assert!(wrong(info.size("prb_desc")).contains("SIZE(prb_desc) is 4097, more than a page"));
        assert!(wrong(info.size("x")).contains("no number"));
        assert!(wrong(info.size("list_head")).contains("no SIZE(list_head)"));
    }

    /// Catches a word size that is guessed where the kernel does not tell one.
    #[test]
    fn the_word_is_half_a_list_head() {
        assert_eq!(VmcoreInfo::new(b"SIZE(list_head)=8\n").word(), Ok(Word::Bits32));
        assert_eq!(VmcoreInfo::new(b"SIZE(list_head)=16\n").word(), Ok(Word::Bits64));
        assert!(VmcoreInfo::new(b"SIZE(list_head)=4\n").word().is_err());
        assert_eq!(Word::Bits32.get(&[0, 1, 2, 3, 4], 1), Some(0x0403_0201));
        assert_eq!(Word::Bits64.get(&[0; 8], 1), None);
        assert_eq!(Word::Bits32.get(&[], usize::MAX), None);
    }
}
