//! Loaders that fail, in real guests: programs of a few instructions, written as the bytes of a static ELF file.

use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::list::FalseLoader;
use crate::faults::stage::{Cells, Stage};
use anyhow::Context;

/// Where the program is loaded: the usual place of i386 programs (System V ABI, i386 supplement).
const BASE: u32 = 0x0804_8000;
/// ELF header and one program header (ELF specification, figures 1-3 and 2-1).
const HEADERS: u32 = 52 + 32;

/// i386 instructions of the program.
const fn code(loader: FalseLoader) -> &'static [u8] {
    match loader {
        // xor eax, eax; mov [eax], eax
        FalseLoader::Segfaults => &[0x31, 0xc0, 0x89, 0x00],
        // jmp to itself
        FalseLoader::Loops => &[0xeb, 0xfe],
        // mov eax, 1 (exit); xor ebx, ebx; int 0x80
        FalseLoader::Lies => &[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80],
    }
}

/// A static i386 program of these instructions.
fn program(code: &[u8]) -> Vec<u8> {
    let size = HEADERS + u32::try_from(code.len()).unwrap_or(0);
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half =
        |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|value| file.extend(value.to_le_bytes()));
    let word =
        |file: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|value| file.extend(value.to_le_bytes()));
    // ET_EXEC, EM_386; version, entry, program headers' place, no sections, no flags; sizes and counts.
    half(&mut file, &[2, 3]);
    word(&mut file, &[1, BASE + HEADERS, 52, 0, 0]);
    half(&mut file, &[52, 32, 1, 0, 0, 0]);
    // PT_LOAD of the whole file, readable and executable, aligned to pages.
    word(&mut file, &[1, 0, BASE, BASE, size, size, 5, 0x1000]);
    file.extend(code);
    file
}

/// Runs the same cell with the false loader and with the repository's own.
pub(super) async fn inject(stage: &Stage<'_>, loader: FalseLoader) -> Result<Observed, NotInjected> {
    let path = stage.folder.join("false-loader");
    std::fs::write(&path, program(code(loader)))
        .with_context(|| format!("cannot write {}", path.display()))
        .before_fault()?;
    let (report, path) = (stage.report(), path.display().to_string());
    let more =
        ["-j", "1", "--offline", "--loader", "in-tree", "--loader", &path, "-E", "capture=5.10-686-pae"];
    stage.observe(stage.e2e(Cells::Shared, &stage.shop.qemu, &report, &more), &report).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    /// Catches a program that fails in another way than it is to: the kernel would not even start a malformed one. Where i386
    /// programs cannot run at all, nothing is shown.
    #[test]
    fn the_programs_do_what_they_are_to_do() {
        let temp = tempfile::tempdir().unwrap();
        for (loader, signal, status) in
            [(FalseLoader::Segfaults, Some(11), None), (FalseLoader::Lies, None, Some(0))]
        {
            let path = temp.path().join(format!("{loader:?}"));
            std::fs::write(&path, program(code(loader))).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            match std::process::Command::new(&path).status() {
                Ok(ended) => assert_eq!((ended.signal(), ended.code()), (signal, status), "{loader:?}"),
                // ENOEXEC: a kernel without IA32_EMULATION.
                Err(error) => assert_eq!(error.raw_os_error(), Some(8), "{error}"),
            }
        }
    }
}
