//! The shared libraries that a dynamically linked program needs, as ELF names them (`DT_NEEDED`), and those that they need in turn.

use guest_protocol::Arch;
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

/// The names that the file itself asks for, in its order; none of a static program.
///
/// # Errors
/// Why it is not an ELF file of that architecture.
pub(crate) fn by_file(bytes: &[u8], arch: Arch) -> Result<Vec<String>, String> {
    let names = match arch {
        Arch::I386 => names::<FileHeader32<Endianness>>(bytes),
        Arch::X86_64 => names::<FileHeader64<Endianness>>(bytes),
    };
    names.map_err(|error| format!("is no ELF file for {arch} that can be read: {error}"))
}

fn names<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Vec<String>> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let needed = entries.iter().filter(|entry| entry.tag32(endian) == Some(DT_NEEDED));
    needed.map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned())).collect()
}

/// `first` and all that it and the others need, each once. `needs` looks into one: its second argument is who needs it first.
pub(crate) fn all<E>(
    first: &[&str],
    mut needs: impl FnMut(&str, Option<&str>) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut all: Vec<(String, Option<String>)> =
        first.iter().map(|name| ((*name).to_owned(), None)).collect();
    let mut at = 0;
    while let Some((name, by)) = all.get(at).cloned() {
        for needed in needs(&name, by.as_deref())? {
            if !all.iter().any(|(known, _)| *known == needed) {
                all.push((needed, Some(name.clone())));
            }
        }
        at += 1;
    }
    Ok(all.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: what a program needs is not seen, and the guest's dynamic linker ends it before its first instruction.
    #[test]
    fn a_program_tells_its_libraries() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needed = by_file(&own, Arch::X86_64).unwrap();
        assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
        assert!(by_file(&own, Arch::I386).unwrap_err().contains("i386"));
        assert!(by_file(b"#!/bin/sh\n", Arch::X86_64).is_err());
    }

    /// Bug: libraries of libraries are left out, or two that need each other are followed forever.
    #[test]
    fn libraries_need_libraries() {
        let needs = |name: &str, by: Option<&str>| match (name, by) {
            ("kexec", None) => Ok(vec!["libxenctrl".to_owned(), "libc".to_owned()]),
            ("libxenctrl", Some("kexec")) => Ok(vec!["libxencall".to_owned(), "libc".to_owned()]),
            ("libxencall", Some("libxenctrl")) => Ok(vec!["libxenctrl".to_owned()]),
            ("libc", Some("kexec")) | ("linker", None) => Ok(Vec::new()),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(
            all(&["kexec", "linker"], needs).unwrap(),
            ["kexec", "linker", "libxenctrl", "libc", "libxencall"]
        );
    }
}
