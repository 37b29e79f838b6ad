//! Takes wanted files out of a Debian package, in process and without root: the `ar` container of deb(5), its `data.tar` member,
//! xz or no compression. Memory is bounded by the decoder's, whatever the package's size.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::digest::{Hasher, Sha256};
use crate::error::Error;

/// First bytes of an `ar` archive (ar(5), `ARMAG`).
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";
/// Length of a member's header (`struct ar_hdr`).
const AR_HEADER_LEN: usize = 60;
/// Name, blank-padded, within the header.
const AR_NAME: std::ops::Range<usize> = 0..16;
/// Size in decimal, blank-padded, within the header.
const AR_SIZE: std::ops::Range<usize> = 48..58;
/// End of the header (`ARFMAG`).
const AR_END: std::ops::Range<usize> = 58..60;
/// What the xz decoder may use. Debian's archives are made with `xz -9` at most, which needs 65 MiB to decode (xz(1)).
const XZ_MEMORY: u64 = 256 << 20;

/// Which files are taken.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    /// Decides by the path in the package, without a leading `./`.
    pub(crate) wants: fn(&str) -> bool,
    /// Stop reading after that many: the rest of a kernel package is 100 MB of modules.
    pub(crate) enough: usize,
    /// Goes up when [`Recipe::wants`] takes more than before, so that trees of an older program are unpacked again.
    pub(crate) revision: u32,
}

/// What was unpacked, by path relative to the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) files: BTreeMap<String, FileRecord>,
    /// Symbolic links with their targets as the package has them.
    pub(crate) links: BTreeMap<String, String>,
}

/// What a file was when it was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) sha256: Sha256,
}

/// Unpacks the wanted regular files below `tree`, which the caller made and nobody else uses yet, and records files and links in
/// `contents`. Links are only recorded: with none on disk, nothing can be written through one.
pub(crate) fn unpack(deb: &Path, tree: &Path, recipe: Recipe, contents: &mut Contents) -> Result<(), Error> {
    let file = File::open(deb).map_err(Error::io("open", deb))?;
    unpack_from(file, tree, recipe, contents)
        .map_err(|error| Error::Unpack { deb: deb.to_owned(), reason: error.to_string() })
}

fn unpack_from(file: File, tree: &Path, recipe: Recipe, contents: &mut Contents) -> io::Result<()> {
    let (name, data) = data_member(BufReader::new(file))?;
    match name.as_str() {
        "data.tar.xz" => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(io::Error::other)?;
            take(liblzma::read::XzDecoder::new_stream(data, stream), tree, recipe, contents)
        }
        "data.tar" => take(data, tree, recipe, contents),
        other => {
            let compression = other.strip_prefix("data.tar.").unwrap_or(other);
            Err(invalid(format!("its data is compressed with {compression}, only xz and none are supported")))
        }
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Finds the member with the files, and gives its name and content.
fn data_member<R: Read + Seek>(mut ar: R) -> io::Result<(String, io::Take<R>)> {
    let mut magic = [0; AR_MAGIC.len()];
    ar.read_exact(&mut magic).map_err(|_| invalid("it is shorter than an ar archive's first line"))?;
    if &magic != AR_MAGIC {
        return Err(invalid("it is no Debian package (no ar archive)"));
    }
    loop {
        let mut header = [0; AR_HEADER_LEN];
        ar.read_exact(&mut header).map_err(|_| invalid("it has no data.tar member"))?;
        if &header[AR_END] != b"`\n" {
            return Err(invalid("a member's header is damaged"));
        }
        let text = |range| {
            std::str::from_utf8(&header[range])
                .map(str::trim)
                .map_err(|_| invalid("a member's header is damaged"))
        };
        let name = text(AR_NAME)?.trim_end_matches('/').to_owned();
        let size: u64 = text(AR_SIZE)?.parse().map_err(|_| invalid("a member's size is no number"))?;
        if name.starts_with("data.tar") {
            return Ok((name, ar.take(size)));
        }
        // Members start at even offsets; sizes have ten digits at most, so this cannot overflow.
        ar.seek(SeekFrom::Current((size + size % 2) as i64))?;
    }
}

fn take(tar: impl Read, tree: &Path, recipe: Recipe, contents: &mut Contents) -> io::Result<()> {
    let mut archive = tar::Archive::new(tar);
    let mut taken = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let Some(path) = inner_path(&entry.path()?)? else { continue };
        let kind = entry.header().entry_type();
        if kind.is_dir() || !(recipe.wants)(&path) {
            continue;
        }
        if kind.is_file() {
            let mode = entry.header().mode()? & 0o7777;
            let record = write_file(&mut entry, &tree.join(&path), mode)?;
            contents.files.insert(path, record);
        } else if kind.is_symlink() {
            let target =
                entry.link_name()?.ok_or_else(|| invalid(format!("{path} is a link without a target")))?;
            let target = target
                .to_str()
                .ok_or_else(|| invalid(format!("{path} links to a name that is not UTF-8")))?;
            contents.links.insert(path, target.to_owned());
        } else {
            return Err(invalid(format!("{path} is neither file, folder nor symbolic link")));
        }
        taken += 1;
        if taken == recipe.enough {
            break;
        }
    }
    Ok(())
}

/// The path as we use it: relative, with plain components only. `None` is the root itself.
fn inner_path(path: &Path) -> io::Result<Option<String>> {
    let refuse = |why| invalid(format!("it holds the path `{}`, which {why}", path.display()));
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(|| refuse("is not UTF-8"))?),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refuse("leads out of the package"));
            }
        }
    }
    Ok(if parts.is_empty() { None } else { Some(parts.join("/")) })
}

fn write_file(content: &mut impl Read, path: &Path, mode: u32) -> io::Result<FileRecord> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Two packages of one tree with the same file would be a mistake of the lock: `create_new` shows it.
    let mut file = File::create_new(path)
        .map_err(|error| invalid(format!("cannot create {}: {error}", path.display())))?;
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = content.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n])?;
        size += n as u64;
    }
    // No setuid bits, and always readable and removable by the owner.
    let mode = mode & 0o755 | 0o600;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(FileRecord { size, mode, sha256: hasher.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = AR_MAGIC.to_vec();
        for (name, content) in members {
            bytes.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, content.len()).bytes(),
            );
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    /// A tar archive with the name written raw, as the crate's own writer refuses bad ones.
    fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let data = if kind.is_symlink() {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
                &[][..]
            } else {
                content
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn run(deb: &[u8], recipe: Recipe) -> (tempfile::TempDir, Result<Contents, String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        fs::write(&path, deb).unwrap();
        let mut contents = Contents::default();
        let result = unpack(&path, &dir.path().join("tree"), recipe, &mut contents);
        let result = result.map(|()| contents).map_err(|error| error.to_string());
        (dir, result)
    }

    const ALL: Recipe = Recipe { wants: |_| true, enough: usize::MAX, revision: 0 };
    const FILE: tar::EntryType = tar::EntryType::Regular;

    /// Catches wrong offsets after an odd-sized member, unwanted files being taken, and wrong records.
    #[test]
    fn wanted_files_are_taken() {
        let data =
            tar(&[("./a/b", FILE, b"one"), ("./c", FILE, b"two"), ("./l", tar::EntryType::Symlink, b"a/b")]);
        for (name, data) in [("data.tar", data.clone()), ("data.tar.xz", xz(&data))] {
            let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz/", b"odd"), (name, &data)]);
            let (dir, contents) =
                run(&deb, Recipe { wants: |path| path != "c", enough: usize::MAX, revision: 0 });
            let contents = contents.unwrap();
            assert_eq!(fs::read(dir.path().join("tree/a/b")).unwrap(), b"one");
            assert!(!dir.path().join("tree/c").exists());
            assert_eq!(
                contents.files["a/b"],
                FileRecord { size: 3, mode: 0o644, sha256: Sha256::of(b"one") }
            );
            assert_eq!(contents.links["l"], "a/b");
            assert!(!dir.path().join("tree/l").exists(), "links are only recorded");
        }
    }

    /// Catches the decoder reading on through the modules once the kernel is there.
    #[test]
    fn reading_stops_when_there_is_enough() {
        let mut data = tar(&[("boot/vmlinuz", FILE, b"kernel")]);
        data.truncate(1024);
        data.extend_from_slice(&[0xff; 512]);
        let deb = ar(&[("data.tar", &data)]);
        assert!(run(&deb, Recipe { wants: |_| true, enough: 1, revision: 0 }).1.is_ok());
        assert!(run(&deb, ALL).1.is_err(), "the rest is no archive");
    }

    /// Catches a package that writes outside the tree.
    #[test]
    fn paths_that_lead_out_are_refused() {
        for name in ["../x", "a/../../x", "/x"] {
            let (dir, result) = run(&ar(&[("data.tar", &tar(&[(name, FILE, b"")]))]), ALL);
            assert!(result.unwrap_err().contains("leads out"), "{name}");
            assert!(!dir.path().join("x").exists() && !Path::new("/x").exists());
        }
    }

    /// Catches writing through a link that the same package brought.
    #[test]
    fn nothing_is_written_through_links() {
        let data = tar(&[("d", tar::EntryType::Symlink, b".."), ("d/escaped", FILE, b"!")]);
        let (dir, result) = run(&ar(&[("data.tar", &data)]), ALL);
        assert!(result.is_ok());
        assert!(!dir.path().join("escaped").exists());
    }

    /// Catches errors that do not say what is wrong with the file.
    #[test]
    fn other_files_are_refused_by_name() {
        let cases: [(Vec<u8>, &str); 6] = [
            (b"".to_vec(), "shorter"),
            (b"<html>404</html>".to_vec(), "no Debian package"),
            (ar(&[("debian-binary", b"2.0\n")]), "no data.tar"),
            (ar(&[("data.tar.zst", b"x")]), "compressed with zst"),
            (ar(&[("data.tar.xz", b"not xz")]), "cannot unpack"),
            (ar(&[("data.tar", &tar(&[("f", tar::EntryType::Link, b"")]))]), "neither file"),
        ];
        for (deb, part) in cases {
            let error = run(&deb, ALL).1.unwrap_err();
            assert!(error.contains(part), "{error} lacks `{part}`");
        }
    }
}
