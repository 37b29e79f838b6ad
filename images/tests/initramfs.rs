//! The initramfs writer against a reader of its own, written from the format's document and sharing nothing with the writer.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::collections::BTreeMap;

use images::initramfs::{Initramfs, InitramfsError};
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u32,
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

/// Reads an archive as the kernel does: header, name, content, each aligned, up to the trailer.
fn read(archive: &[u8]) -> Vec<(String, Entry)> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(at % 4, 0, "headers are aligned");
        assert_eq!(&archive[at..at + 6], b"070701");
        let header = at;
        let field = |index: usize| {
            let start = header + 6 + index * 8;
            u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
        };
        let (size, name_size) = (field(6) as usize, field(11) as usize);
        let name_start = at + 110;
        let name = &archive[name_start..name_start + name_size];
        assert_eq!(name.last(), Some(&0));
        let name = std::str::from_utf8(&name[..name_size - 1]).unwrap().to_owned();
        let start = (name_start + name_size).next_multiple_of(4);
        let content = archive[start..start + size].to_vec();
        at = (start + size).next_multiple_of(4);
        for (index, what) in
            [(2, "uid"), (3, "gid"), (5, "mtime"), (7, "major"), (8, "minor"), (12, "checksum")]
        {
            assert_eq!(field(index), 0, "{what} of {name}");
        }
        assert_eq!(field(4), 1, "links of {name}");
        if name == "TRAILER!!!" {
            assert_eq!(at, archive.len(), "nothing follows the trailer");
            return entries;
        }
        entries
            .push((name, Entry { inode: field(0), mode: field(1), device: (field(9), field(10)), content }));
    }
}

/// Catches wrong file types, lost device numbers, parents after their children or made twice, and inodes used twice (the kernel
/// would take the later one for a hard link).
#[test]
fn every_kind_of_entry() {
    let mut image = Initramfs::new();
    image.file("/sbin/init", 0o755, b"program").unwrap();
    image.char_device("/dev/console", 0o600, 5, 1).unwrap();
    image.file("sbin/other", 0o644, b"").unwrap();
    image.symlink("/init", "sbin/init").unwrap();
    image.dir("/proc", 0o555).unwrap();
    let entries = read(&image.finish());
    let expected = [
        ("sbin", 0o040_755, (0, 0), &b""[..]),
        ("sbin/init", 0o100_755, (0, 0), b"program"),
        ("dev", 0o040_755, (0, 0), b""),
        ("dev/console", 0o020_600, (5, 1), b""),
        ("sbin/other", 0o100_644, (0, 0), b""),
        ("init", 0o120_777, (0, 0), b"sbin/init"),
        ("proc", 0o040_555, (0, 0), b""),
    ];
    let expected: Vec<_> = (1..)
        .zip(expected)
        .map(|(inode, (name, mode, device, content))| {
            (name.to_owned(), Entry { inode, mode, device, content: content.to_vec() })
        })
        .collect();
    assert_eq!(entries, expected);
}

/// Catches entries that the kernel would skip or overwrite without a word.
#[test]
fn what_cannot_work_is_refused() {
    let mut image = Initramfs::new();
    image.file("/a/b", 0o644, b"").unwrap();
    assert_eq!(image.file("a/b", 0o644, b"").unwrap_err(), InitramfsError::Duplicate("a/b".to_owned()));
    assert_eq!(image.dir("/a", 0o700).unwrap_err(), InitramfsError::Duplicate("/a".to_owned()));
    assert!(matches!(image.file("/a/b/c", 0o644, b""), Err(InitramfsError::ParentNotDirectory { .. })));
    for path in ["", "/", "//a", "a/", "a/../b", "./a", "a\0b", "TRAILER!!!", &"x".repeat(4096)] {
        assert_eq!(image.file(path, 0o644, b"").unwrap_err(), InitramfsError::BadPath(path.to_owned()));
    }
    assert_eq!(read(&image.finish()).len(), 2, "refused entries leave nothing behind");
}

proptest! {
    /// Catches padding that depends on lengths not tried by hand, and output that depends on more than the calls.
    #[test]
    fn any_files_are_read_back(files in proptest::collection::btree_map("[a-z]{1,9}(/[a-z]{1,9}){0,2}", proptest::collection::vec(any::<u8>(), 0..70), 0..12)) {
        let build = || {
            let mut image = Initramfs::new();
            let mut written = BTreeMap::new();
            for (path, content) in &files {
                // A path can be the parent of another one; then one of them is refused.
                if image.file(path, 0o644, content).is_ok() {
                    written.insert(path.clone(), content.clone());
                }
            }
            (image.finish(), written)
        };
        let (archive, written) = build();
        prop_assert_eq!(&archive, &build().0);
        let mut found = BTreeMap::new();
        for (name, entry) in read(&archive) {
            if entry.mode & 0o170_000 == 0o100_000 {
                found.insert(name, entry.content);
            }
        }
        prop_assert_eq!(found, written);
    }
}
