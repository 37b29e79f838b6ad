//! A purgatory that found the loaded image changed: what it said, and what shows that it stopped there.
//!
//! Its words alone do not: it may print them and start the capture kernel all the same.

use super::Finding;
use super::console::Text;
use super::panicked::{APART_MS, QUIET_MS, all_dead, reset_reason};
use crate::cell::Cell;
use crate::evidence::{CpuState, Evidence};
use crate::outcome::{Outcome, PurgatoryEnd};
use crate::triage::SegmentMap;
use guest_protocol::{KernelFacts, PhysRange};

/// Begins what this repository's purgatory says; the segment's name follows.
const SEGMENT: &str = "SHA-256 of the ";
/// Follows the segment's name.
const PLACE: &str = " at 0x";

/// What has come of a purgatory's stop, where `before` (the console between trigger and capture kernel) tells of one. None: it
/// does not, or it is not shown that it stopped.
pub(super) fn find(cell: &Cell, before: &Text, ready: &KernelFacts, evidence: &Evidence) -> Option<Finding> {
    let line = before.purgatory_stop()?;
    let stopped = |end| {
        let end = Some(end);
        let segment = segment(line).map(str::to_owned);
        Some(Finding::Final(Outcome::StoppedByPurgatory { line: line.to_owned(), segment, end }))
    };
    if let Some(reason) = reset_reason(evidence) {
        return stopped(PurgatoryEnd::Reset { reason });
    }
    let places = places(ready, evidence);
    let inside = |cpu: &&CpuState| places.iter().any(|place| (place.start..=place.end).contains(&cpu.ip));
    let latest = evidence.samples.last()?;
    let ip = latest.what.cpus.iter().find(inside)?.ip;
    if all_dead(cell, evidence).is_some() {
        return stopped(PurgatoryEnd::Halted { ip });
    }
    let quiet_since = evidence.last_console_ms.unwrap_or(0).saturating_add(QUIET_MS);
    let mut earlier = evidence.samples.iter().rev().skip_while(|sample| sample.ms + APART_MS > latest.ms);
    let was_there = earlier.next().is_some_and(|sample| sample.what.cpus.iter().any(|cpu| inside(&cpu)));
    if latest.ms >= quiet_since && was_there {
        return stopped(PurgatoryEnd::Loops { ip });
    }
    None
}

/// Where the purgatory lies: as its loader said it, else somewhere in the crash regions.
fn places(ready: &KernelFacts, evidence: &Evidence) -> Vec<PhysRange> {
    let map = SegmentMap::of(evidence);
    let said: Vec<PhysRange> = map
        .segments()
        .iter()
        .filter(|segment| segment.name == "purgatory")
        .map(|segment| segment.range)
        .collect();
    if said.is_empty() { ready.crash_regions.clone() } else { said }
}

/// The segment that a purgatory names.
fn segment(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(SEGMENT)?;
    rest.split_once(PLACE).map(|(segment, _)| segment)
}
