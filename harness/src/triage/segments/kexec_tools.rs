//! The places that kexec-tools prints with `--debug`: the names of what it loads with their addresses as it goes, and all
//! segments in its order at the end (`print_segments`, kexec/kexec.c). Its releases have the same words.

use super::{Segment, SegmentMap, number};
use guest_protocol::PhysRange;

/// Words before the address of a part, and the part's name. The two loaders of bzImages have words of their own.
const NAMES: [(&str, &str); 8] = [
    ("Created backup segment at ", "backup"),
    ("Loaded purgatory at addr ", "purgatory"),
    ("Loaded real-mode code and command line at ", "boot_params"),
    ("Loaded real_mode_data and command line at ", "boot_params"),
    ("Loaded 32bit kernel at ", "kernel"),
    ("Loaded 64bit kernel at ", "kernel"),
    ("Loaded initrd at ", "initrd"),
    ("Created elf header segment at ", "elfcorehdr"),
];

/// Before the address that the running kernel jumps to.
const ENTRY: &str = "kexec_load: entry = ";

/// What a segment is called that none of these words names.
const UNNAMED: &str = "unnamed";

/// Reads the lines; the map is empty where there are none.
pub(super) fn parse(stderr: &str) -> SegmentMap {
    let mut map = SegmentMap::default();
    let mut names = Vec::new();
    let mut sizes = [None; 3];
    for line in stderr.lines() {
        for (words, name) in NAMES {
            if let Some(rest) = line.strip_prefix(words) {
                names.extend(rest.split_whitespace().next().and_then(number).map(|address| (address, name)));
            }
        }
        if let Some(rest) = line.strip_prefix(ENTRY) {
            map.jump = rest.split_whitespace().next().and_then(number);
        }
        let Some((field, value)) = line.strip_prefix("segment[").and_then(field) else { continue };
        match field {
            "bufsz" => sizes[0] = Some(value),
            "mem" => sizes[1] = Some(value),
            "memsz" => sizes[2] = Some(value),
            _ => {}
        }
        if field != "memsz" {
            continue;
        }
        if let [Some(loaded), Some(start), Some(size)] = std::mem::take(&mut sizes) {
            let named = names.iter().find(|&&(address, _)| address == start);
            map.segments.push(Segment {
                name: named.map_or(UNNAMED, |&(_, name)| name).to_owned(),
                range: PhysRange { start, end: start.saturating_add(size.max(1) - 1) },
                loaded: loaded
                    .checked_sub(1)
                    .map(|last| PhysRange { start, end: start.saturating_add(last) }),
            });
        }
    }
    map
}

/// `0].bufsz = 0x1000`, behind `segment[`. glibc prints a null pointer or a zero size without `0x`: none of these matters.
fn field(line: &str) -> Option<(&str, u64)> {
    let (_, rest) = line.split_once("].")?;
    let (field, value) = rest.split_once('=')?;
    Some((field.trim(), number(value.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kexec-tools 2.0.20 for amd64, 5.10-amd64 in 256M@512M: the lines that matter, and some around them.
    const AMD64: &str = "\
Created backup segment at 0x2ff61000
Created elf header segment at 0x2ff5d000
Loaded purgatory at addr 0x2ff54000
Loaded real_mode_data and command line at 0x2ff50000
kernel init_size 0x3b7a000
Loaded 64bit kernel at 0x2c200000
Loaded initrd at 0x2ff27000 size 0x280f4
E820 memmap:
kexec_load: entry = 0x2ff54740 flags = 0x3e0001
nr_segments = 6
segment[0].buf   = 0x7f25547c8e10
segment[0].bufsz = 0x6bb060
segment[0].mem   = 0x2c200000
segment[0].memsz = 0x3b7a000
segment[2].buf   = 0x555555743c80
segment[2].bufsz = 0x3eb8
segment[2].mem   = 0x2ff50000
segment[2].memsz = 0x4000
";

    /// The same release for i386, whose words differ.
    const I386: &str = "\
Loaded real-mode code and command line at 0x2ff51000
Loaded 32bit kernel at 0x20000000
segment[0].bufsz = 0x6bb060
segment[0].mem   = 0x20000000
segment[0].memsz = 0x6bc000
segment[1].bufsz = (nil)
segment[1].mem   = 0x2ff51000
segment[1].memsz = 0x4000
segment[2].bufsz = 0x1
segment[2].mem   = 0x2ff51000
segment[2].memsz = 0x4000
";

    fn segment(name: &str, range: [u64; 2], loaded: u64) -> Segment {
        let [start, end] = range;
        Segment {
            name: name.into(),
            range: PhysRange { start, end },
            loaded: Some(PhysRange { start, end: loaded }),
        }
    }

    /// Bug: what is zero behind the loaded bytes counts as loaded; a part has its neighbour's name or size; or the entry is taken for
    /// the purgatory's beginning.
    #[test]
    fn the_parts_have_their_names() {
        let map = parse(AMD64);
        assert_eq!(
            map.segments(),
            [
                segment("kernel", [0x2c20_0000, 0x2fd7_9fff], 0x2c8b_b05f),
                segment("boot_params", [0x2ff5_0000, 0x2ff5_3fff], 0x2ff5_3eb7),
            ]
        );
        assert_eq!(map.jump(), Some(0x2ff5_4740));
        // One whose size cannot be read is left out, and takes nothing from the next.
        assert_eq!(
            parse(I386).segments(),
            [
                segment("kernel", [0x2000_0000, 0x206b_bfff], 0x206b_b05f),
                segment("boot_params", [0x2ff5_1000, 0x2ff5_4fff], 0x2ff5_1000),
            ]
        );
    }
}
