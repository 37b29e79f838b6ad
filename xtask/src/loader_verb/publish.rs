//! Puts the built loader where people find it: a program for each architecture, the man page, and the digests of all.

use crate::build::{GuestPrograms, Program};
use crate::exit::{Failure, OrFail};
use anyhow::Context;
use guest_protocol::Arch;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The digests' file, in the form of sha256sum(1).
const SUMS: &str = "SHA256SUMS";
/// Modes of programs and of texts.
const PROGRAM: u32 = 0o755;
const TEXT: u32 = 0o644;

/// The name of the loader's program for an architecture.
pub(super) fn file_name(arch: Arch) -> String {
    format!("kexec-load.{arch}")
}

/// Writes the files into `folder`, the digests last. Each is whole or, as before, the old one, whatever happens meanwhile. Returns the paths
/// and sizes of the programs.
///
/// # Errors
/// [`Failure::Input`] where the folder cannot be written; [`Failure::Rig`] where what was built cannot be read.
pub(super) fn publish(
    built: &GuestPrograms,
    man_page: &Path,
    folder: &Path,
) -> Result<Vec<(PathBuf, usize)>, Failure> {
    let mut files = Vec::new();
    for (arch, path) in built.of(Program::Loader) {
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())).or_rig()?;
        files.push((file_name(arch), bytes, PROGRAM));
    }
    let page =
        std::fs::read(man_page).with_context(|| format!("cannot read {}", man_page.display())).or_rig()?;
    let name = man_page.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.push((name, page, TEXT));
    put(files, folder).or_input()
}

/// Writes files of these names, bytes and modes, and their digests.
fn put(mut files: Vec<(String, Vec<u8>, u32)>, folder: &Path) -> anyhow::Result<Vec<(PathBuf, usize)>> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let programs = files.iter().filter(|(_, _, mode)| *mode == PROGRAM);
    let programs = programs.map(|(name, bytes, _)| (folder.join(name), bytes.len())).collect();
    files.push((SUMS.to_owned(), sums(&files).into_bytes(), TEXT));
    let write = |(name, bytes, mode): &(String, Vec<u8>, u32)| {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(*mode))?;
        file.as_file().sync_all()?;
        Ok((file, folder.join(name)))
    };
    let written: std::io::Result<Vec<_>> = files.iter().map(write).collect();
    for (file, path) in written.with_context(|| format!("cannot write into {}", folder.display()))? {
        file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(programs)
}

/// The digests of files, as `sha256sum --check` reads them.
fn sums(files: &[(String, Vec<u8>, u32)]) -> String {
    let mut text = String::new();
    for (name, bytes, _) in files {
        let _ = writeln!(text, "{:x}  {name}", Sha256::digest(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches digests of other bytes than those that are there, a program that nobody may run, and a leftover of an earlier run.
    #[test]
    fn what_is_published_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/out");
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join("kexec-load.i386"), "an older and longer program").unwrap();
        let files = vec![
            ("kexec-load.i386".to_owned(), b"abc".to_vec(), PROGRAM),
            ("kexec-load.8".to_owned(), b"page".to_vec(), TEXT),
        ];
        assert_eq!(put(files, &out).unwrap(), [(out.join("kexec-load.i386"), 3)]);
        let mode = |name: &str| std::fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("kexec-load.i386"), mode("kexec-load.8"), mode(SUMS)), (0o755, 0o644, 0o644));
        assert_eq!(std::fs::read(out.join("kexec-load.i386")).unwrap(), b"abc");
        let sums = std::fs::read_to_string(out.join(SUMS)).unwrap();
        // FIPS 180-4's own example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  kexec-load.i386\n";
        assert!(sums.starts_with(abc) && sums.lines().count() == 2, "{sums}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3);
    }
}
