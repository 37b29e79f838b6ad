//! Where the parts of a loaded crash image lie, as the loader itself said it: `kexec-load --debug` prints its plan on standard
//! error, which the agent reports, and so does kexec-tools. Other loaders say nothing that is read here.

mod kexec_tools;

use crate::evidence::Evidence;
use guest_protocol::{Message, PhysRange};

/// Begins every line of this repository's loader.
const LOADER: &str = "kexec-load: ";

/// A part of a loaded crash image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it is.
    pub name: String,
    /// Where it lies.
    pub range: PhysRange,
    /// Where the bytes lie that were loaded into it; the rest is zero. None where the loader does not say it, or there are none.
    pub loaded: Option<PhysRange>,
}

/// Where the parts of a crash image lie in physical memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentMap {
    /// The segments, in the loader's order.
    segments: Vec<Segment>,
    /// Where the running kernel jumps to.
    jump: Option<u64>,
    /// Where the running kernel takes its control pages from.
    control: Option<PhysRange>,
    /// The highest address that the capture kernel was allowed, and why.
    limit: Option<(u64, String)>,
}

impl SegmentMap {
    /// The map that the loader of this guest printed; empty where it printed none.
    pub fn of(evidence: &Evidence) -> Self {
        let stderr = evidence.reports.iter().find_map(|report| match &report.what.message {
            Message::Loaded(load) => Some(load.stderr.as_str()),
            _ => None,
        });
        Self::parse(stderr.unwrap_or_default())
    }

    /// Reads the loader's lines (`describe` in loader/src/program/mod.rs), or those of kexec-tools.
    pub(crate) fn parse(stderr: &str) -> Self {
        let mut map = kexec_tools::parse(stderr);
        let mut loaded = Vec::new();
        for line in stderr.lines() {
            let Some(line) = line.strip_prefix(LOADER) else { continue };
            if let Some(segment) = line.strip_prefix("segment: ") {
                let mut words = segment.split_whitespace();
                if let (Some(name), Some(range)) = (words.next(), words.next().and_then(range)) {
                    map.segments.push(Segment { name: name.to_owned(), range, loaded: None });
                }
            } else if let Some(bytes) = line.strip_prefix("loaded: ") {
                let mut words = bytes.split_whitespace();
                loaded.extend(words.next().zip(words.next().and_then(range)));
            } else if let Some(place) = line.strip_prefix("jump: ") {
                map.jump = place.split_whitespace().next_back().and_then(number);
            } else if let Some(place) = line.strip_prefix("control pages of the running kernel: ") {
                map.control = range(place.trim());
            } else if let Some(limit) = line.strip_prefix("highest address of the kernel: ") {
                let (address, why) = limit.split_once(", ").unwrap_or((limit, ""));
                map.limit = number(address).map(|address| (address, why.to_owned()));
            }
        }
        for (name, range) in loaded {
            map.segments.iter_mut().filter(|one| one.name == name).for_each(|one| one.loaded = Some(range));
        }
        map
    }

    /// The segment that holds a physical address, and how far behind its beginning that is.
    pub fn at(&self, physical: u64) -> Option<(&str, u64)> {
        let segment =
            self.segments.iter().find(|one| (one.range.start..=one.range.end).contains(&physical))?;
        Some((&segment.name, physical - segment.range.start))
    }

    /// The segments, in the loader's order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The highest address that the capture kernel was allowed, and why.
    pub fn limit(&self) -> Option<(u64, &str)> {
        self.limit.as_ref().map(|(address, why)| (*address, why.as_str()))
    }

    /// Where the running kernel jumps to, into the purgatory.
    pub fn jump(&self) -> Option<u64> {
        self.jump
    }

    /// Where the running kernel takes its control pages from: its lowest page to its highest.
    pub fn control(&self) -> Option<PhysRange> {
        self.control
    }
}

/// `0x7b000000-0x8affffff`, the last byte included; none where the end lies before the start.
fn range(text: &str) -> Option<PhysRange> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some(PhysRange { start, end })
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDERR: &str = "\
kexec-load: warning: the crash region is small
kexec-load: crash region: 0x7b000000-0x8affffff (256 MiB)
kexec-load: segment: kernel 0x7b000000-0x7eb79fff (0x3b7a000 bytes)
kexec-load: segment: purgatory 0x8affd000-0x8affefff (0x2000 bytes)
kexec-load: loaded: kernel 0x7b000000-0x7b6bb05f
kexec-load: jump: to the purgatory at 0x8affd07e
kexec-load: control pages of the running kernel: 0x7eb7a000-0x7eb7bfff
kexec-load: command line: segment: initrd 0x1-0x2
";

    /// Bug: the region itself is taken for a segment, or the last byte of one for the next one's.
    #[test]
    fn an_address_lies_in_its_segment() {
        let map = SegmentMap::parse(STDERR);
        assert_eq!(map.at(0x7b00_0000), Some(("kernel", 0)));
        assert_eq!(map.at(0x8aff_efff), Some(("purgatory", 0x1fff)));
        assert_eq!(map.at(0x8aff_f000), None);
        assert_eq!(map.at(1), None, "a command line is no map");
        let loaded: Vec<_> = map.segments().iter().map(|segment| segment.loaded).collect();
        assert_eq!(loaded, [Some(PhysRange { start: 0x7b00_0000, end: 0x7b6b_b05f }), None]);
        assert_eq!(map.jump(), Some(0x8aff_d07e));
        assert_eq!(map.control(), Some(PhysRange { start: 0x7eb7_a000, end: 0x7eb7_bfff }));
    }

    /// Bug: another loader's words become places.
    #[test]
    fn without_a_plan_the_map_is_empty() {
        for stderr in [
            "",
            "segment[0].buf = 0x1\n",
            "kexec-load: segment: kernel nowhere\n",
            "kexec-load: segment: b 0x5-0x1\n",
        ] {
            assert_eq!(SegmentMap::parse(stderr), SegmentMap::default(), "{stderr:?}");
        }
    }
}
