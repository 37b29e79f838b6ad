//! The little of ELF that tells whether a guest can run a program: machine, and no dynamic linker wanted.
//!
//! Offsets: System V ABI, "ELF Header" and "Program Header" (gABI 4.1, chapters 4 and 5).

use guest_protocol::Arch;

const MAGIC: &[u8] = b"\x7fELF";
/// e_machine, at the same place in both classes.
const E_MACHINE: usize = 0x12;
/// PT_INTERP: the program asks for a dynamic linker.
const PT_INTERP: u32 = 3;

/// Why a guest cannot run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgramFault {
    /// No ELF magic.
    #[error("is no ELF program")]
    NotElf,
    /// The headers point beyond the end of the file.
    #[error("is a truncated ELF program")]
    Truncated,
    /// Built for something else.
    #[error("has ELF class {class} and machine {machine}, which is not {wanted}")]
    WrongMachine {
        /// EI_CLASS.
        class: u8,
        /// e_machine.
        machine: u16,
        /// What the guest's userspace is.
        wanted: Arch,
    },
    /// It has a PT_INTERP header.
    #[error("is dynamically linked (it has a PT_INTERP header)")]
    Dynamic {},
}

/// Checks that `program` is a static program for `wanted`.
pub(crate) fn check_static_program(program: &[u8], wanted: Arch) -> Result<(), ProgramFault> {
    if !program.starts_with(MAGIC) {
        return Err(ProgramFault::NotElf);
    }
    let class = *program.get(4).ok_or(ProgramFault::Truncated)?;
    let machine = u16_at(program, E_MACHINE)?;
    // ELFCLASS32 with EM_386, ELFCLASS64 with EM_X86_64. x32 (class 32, EM_X86_64) is neither.
    let expected = match wanted {
        Arch::I386 => (1, 3),
        Arch::X86_64 => (2, 62),
    };
    if (class, machine) != expected {
        return Err(ProgramFault::WrongMachine { class, machine, wanted });
    }
    // e_phoff, e_phentsize, e_phnum by class; p_type is the first word of a program header in both.
    let (offset, entry_size, count) = match wanted {
        Arch::I386 => (u64::from(u32_at(program, 0x1c)?), u16_at(program, 0x2a)?, u16_at(program, 0x2c)?),
        Arch::X86_64 => (u64_at(program, 0x20)?, u16_at(program, 0x36)?, u16_at(program, 0x38)?),
    };
    for index in 0..u64::from(count) {
        let at = offset.checked_add(index * u64::from(entry_size)).ok_or(ProgramFault::Truncated)?;
        let at = usize::try_from(at).map_err(|_| ProgramFault::Truncated)?;
        if u32_at(program, at)? == PT_INTERP {
            return Err(ProgramFault::Dynamic {});
        }
    }
    Ok(())
}

fn bytes_at<const N: usize>(program: &[u8], at: usize) -> Result<[u8; N], ProgramFault> {
    let end = at.checked_add(N).ok_or(ProgramFault::Truncated)?;
    program.get(at..end).and_then(|bytes| bytes.try_into().ok()).ok_or(ProgramFault::Truncated)
}

fn u16_at(program: &[u8], at: usize) -> Result<u16, ProgramFault> {
    bytes_at(program, at).map(u16::from_le_bytes)
}

fn u32_at(program: &[u8], at: usize) -> Result<u32, ProgramFault> {
    bytes_at(program, at).map(u32::from_le_bytes)
}

fn u64_at(program: &[u8], at: usize) -> Result<u64, ProgramFault> {
    bytes_at(program, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal ELF64 file with one program header of this type.
    fn elf64(machine: u16, p_type: u32) -> Vec<u8> {
        let mut file = vec![0; 0x40 + 0x38];
        file[..4].copy_from_slice(MAGIC);
        file[4] = 2;
        file[E_MACHINE..E_MACHINE + 2].copy_from_slice(&machine.to_le_bytes());
        file[0x20] = 0x40;
        file[0x36] = 0x38;
        file[0x38] = 1;
        file[0x40..0x44].copy_from_slice(&p_type.to_le_bytes());
        file
    }

    /// Bug: a glibc-linked loader is taken, and every cell fails with ENOENT from execve ("not started").
    #[test]
    fn dynamic_programs_are_found() {
        assert_eq!(check_static_program(&elf64(62, PT_INTERP), Arch::X86_64), Err(ProgramFault::Dynamic {}));
        assert_eq!(check_static_program(&elf64(62, 1), Arch::X86_64), Ok(()));
    }

    /// Bug: an x86_64 loader is put into an i386 userspace, where it is something other than what the cell says.
    #[test]
    fn the_machine_must_be_the_userspaces() {
        let found = check_static_program(&elf64(62, 1), Arch::I386);
        assert_eq!(found, Err(ProgramFault::WrongMachine { class: 2, machine: 62, wanted: Arch::I386 }));
    }

    /// Bug: a cut file makes the check index out of bounds.
    #[test]
    fn every_prefix_is_survived() {
        let whole = elf64(62, 1);
        for length in 0..whole.len() - 0x34 {
            assert!(check_static_program(&whole[..length], Arch::X86_64).is_err(), "length {length}");
        }
    }
}
