//! What the loader was asked for by its options, beside what came of it: an option that is read and passed over shows nowhere else.

use crate::cell::Cell;
use crate::evidence::Evidence;
use crate::triage::SegmentMap;
use guest_protocol::PhysRange;

/// Options that ask for a class of core headers, and the class in bits (kexec(8)).
const CLASSES: [(&str, u8); 2] = [("--elf32-core-headers", 32), ("--elf64-core-headers", 64)];

/// Begins the option with the lowest address of a segment.
const MEM_MIN: &str = "--mem-min=";

/// Begins the option with the highest address of a segment's last byte.
const MEM_MAX: &str = "--mem-max=";

/// The class of core headers that the cell's loader is asked for, in bits; none where that is left to it.
pub(super) fn class_bits(cell: &Cell) -> Option<u8> {
    let asked = |option: &str| cell.loader_args.iter().any(|argument| argument == option);
    CLASSES.iter().find(|(option, _)| asked(option)).map(|(_, bits)| *bits)
}

/// What lies outside of the addresses that the loader is asked to keep to, by its own lines. The error is a rig error's text.
pub(super) fn places(cell: &Cell, evidence: &Evidence) -> Result<Option<String>, String> {
    let (least, last) = (address(cell, MEM_MIN)?, address(cell, MEM_MAX)?);
    if least.is_none() && last.is_none() {
        return Ok(None);
    }
    let map = SegmentMap::of(evidence);
    if map.segments().is_empty() {
        return Err(
            "the loader is asked to keep to some addresses, and its lines tell of no segment".to_owned()
        );
    }
    let outside = |range: &PhysRange| {
        least.is_some_and(|least| range.start < least) || last.is_some_and(|last| range.end > last)
    };
    let strayed: Vec<String> = map
        .segments()
        .iter()
        .filter(|segment| outside(&segment.range))
        .map(|segment| format!("{} {}", segment.name, segment.range))
        .collect();
    Ok((!strayed.is_empty()).then(|| {
        format!("outside of what {} allows lie: {}", cell.loader_args.join(" "), strayed.join(", "))
    }))
}

/// The address of an option, where the cell has it. The error is a rig error's text: what the rig cannot read it cannot compare.
fn address(cell: &Cell, option: &str) -> Result<Option<u64>, String> {
    let Some(text) = cell.loader_args.iter().find_map(|argument| argument.strip_prefix(option)) else {
        return Ok(None);
    };
    let digits = text.strip_prefix("0x").ok_or_else(|| format!("{option}{text} is no address in 0x…"))?;
    u64::from_str_radix(digits, 16).map(Some).map_err(|error| format!("{option}{text}: {error}"))
}
