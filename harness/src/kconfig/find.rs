//! Where a kernel's configuration comes from: out of the image itself, where it was built with CONFIG_IKCONFIG, or a file beside it.

use super::Config;
use crate::pvh;
use flate2::read::GzDecoder;
use guest_protocol::Arch;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Stands before the embedded configuration, which is packed with gzip (kernel/configs.c; scripts/extract-ikconfig looks for it too).
const EMBEDDED_BEGIN: &[u8] = b"IKCFG_ST\x1f\x8b";
/// The part of [`EMBEDDED_BEGIN`] that is no gzip.
const MARK: usize = 8;
/// No configuration is larger; Debian's have 300 KiB.
const LARGEST: u64 = 16 << 20;

/// A configuration, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// For people: a path, or that it is the image's own.
    pub origin: String,
    /// What it says.
    pub config: Config,
}

/// The configuration of a local image: its own, or that of a file beside it.
///
/// # Errors
/// One line: why it is not known. That is no reason not to boot the kernel.
pub fn of_local(bzimage: &Path, image: &[u8], arch: Arch) -> Result<Found, String> {
    let embedded = match pvh::uncompressed(image) {
        None => Err("the image is packed in a way that is not unpacked here (xz, zstd and gzip are)"),
        Some(kernel) => embedded(&kernel).ok_or("the image holds none (CONFIG_IKCONFIG)"),
    };
    let not_embedded = match embedded {
        Ok(config) => return Ok(Found { origin: "the image itself".to_owned(), config }),
        Err(why) => why,
    };
    let places = beside(bzimage);
    let mut why = format!("{not_embedded}, and there is no {}", list(&places));
    for place in &places {
        let Ok(text) = std::fs::read_to_string(place) else { continue };
        match Config::parse(&text) {
            Some(config) if config.arch() == arch => {
                return Ok(Found { origin: place.display().to_string(), config });
            }
            Some(config) => {
                why = format!(
                    "{not_embedded}, and {} is of another kernel, for {}",
                    place.display(),
                    config.arch()
                );
            }
            None => why = format!("{not_embedded}, and {} is none", place.display()),
        }
    }
    Err(why)
}

/// The configuration in an unpacked kernel.
fn embedded(kernel: &[u8]) -> Option<Config> {
    let at = kernel.windows(EMBEDDED_BEGIN.len()).position(|window| window == EMBEDDED_BEGIN)?;
    let mut text = Vec::new();
    // What follows the stream (the mark of its end) is not read.
    GzDecoder::new(&kernel[at + MARK..]).take(LARGEST).read_to_end(&mut text).ok()?;
    Config::parse(std::str::from_utf8(&text).ok()?)
}

/// Where the configuration of an image may lie, best first: as distributions name it in /boot, as Debian has it in /lib/modules
/// since Linux 7, and as a build has it, in the image's folder or at the root of the kernel's tree.
fn beside(bzimage: &Path) -> Vec<PathBuf> {
    let name = bzimage.file_name().unwrap_or_default().to_string_lossy();
    let folder = bzimage.parent().unwrap_or(Path::new(""));
    let mut places = Vec::new();
    if let Some((_, version)) = name.split_once('-').filter(|(_, version)| !version.is_empty()) {
        places.push(folder.join(format!("config-{version}")));
    }
    places.push(folder.join(format!("{name}.config")));
    places.push(folder.join("config"));
    places.push(folder.join(".config"));
    // arch/x86/boot/bzImage, or by the old names of the architecture.
    let mut upwards = folder.iter().rev().map(|part| part.to_string_lossy());
    let in_tree = upwards.next().is_some_and(|part| part == "boot")
        && upwards.next().is_some_and(|part| matches!(&*part, "x86" | "i386" | "x86_64"))
        && upwards.next().is_some_and(|part| part == "arch");
    if let Some(root) = folder.ancestors().nth(3).filter(|_| in_tree) {
        places.push(root.join(".config"));
    }
    places
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const TEXT: &str = "CONFIG_X86=y\nCONFIG_X86_64=y\n# CONFIG_KEXEC is not set\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn kernel(text: &str) -> Vec<u8> {
        // The mark alone stands in the kernel's own strings as well.
        [b"\x7fELF IKCFG_ST no stream IKCFG_ST".as_slice(), &gzip(text.as_bytes()), b"IKCFG_ED more"].concat()
    }

    /// Bug: the mark in a string is taken for the configuration, or the mark of its end makes it "corrupt".
    #[test]
    fn the_embedded_configuration_is_found() {
        assert_eq!(embedded(&kernel(TEXT)), Config::parse(TEXT));
        assert_eq!(embedded(b"IKCFG_ST"), None);
        assert_eq!(embedded(&kernel("no configuration")), None);
    }

    /// Bug: a kernel that says itself what it has is judged by a file beside it, or one that does not by none; and an unknown
    /// configuration is an empty one.
    #[test]
    fn the_image_comes_first_then_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("vmlinuz-7.2.1-mine");
        let packed = |kernel: &[u8]| pvh::tests::bzimage(&gzip(kernel));
        let of = |kernel: &[u8]| of_local(&image, kernel, Arch::X86_64);
        let unknown = of(&packed(b"\x7fELF")).unwrap_err();
        assert!(unknown.contains("CONFIG_IKCONFIG") && unknown.contains("config-7.2.1-mine"), "{unknown}");
        let odd = of(&pvh::tests::bzimage(b"BZh")).unwrap_err();
        assert!(odd.contains("is packed in a way"), "{odd}");
        std::fs::write(
            folder.path().join(".config"),
            TEXT.replace("# CONFIG_KEXEC is not set", "CONFIG_KEXEC=y"),
        )
        .unwrap();
        let beside = of(&packed(b"\x7fELF")).unwrap();
        assert!(beside.origin.ends_with("/.config"), "{}", beside.origin);
        assert_eq!(beside.config.setting("KEXEC"), super::super::Setting::BuiltIn);
        let own = of(&packed(&kernel(TEXT))).unwrap();
        assert_eq!(
            (own.origin.as_str(), own.config.setting("KEXEC")),
            ("the image itself", super::super::Setting::Off)
        );
        let i386 = of_local(&image, &packed(b"\x7fELF"), Arch::I386).unwrap_err();
        assert!(i386.contains("is of another kernel, for x86_64"), "{i386}");
    }

    /// Bug: the configuration at the root of a kernel's build is not found, or one three folders above any file is taken for it.
    #[test]
    fn a_build_has_it_at_its_root() {
        assert_eq!(
            beside(Path::new("/src/linux/arch/x86/boot/bzImage")).last(),
            Some(&"/src/linux/.config".into())
        );
        assert!(!beside(Path::new("/home/me/x86/boot/bzImage")).contains(&"/home/.config".into()));
        assert_eq!(beside(Path::new("/boot/vmlinuz-6.1"))[0], Path::new("/boot/config-6.1"));
    }
}
