//! The drawing of a guest's physical memory: all of it to one scale, and below it the crash region that was loaded into, enlarged.
//!
//! Positions are percent of the width and texts have sizes of their own, so that the drawing fits a phone and paper alike.

use super::{percent, template};
use crate::cell::{Cell, Reservation};
use crate::report::machine::Machine;
use crate::triage::Segment;
use guest_protocol::PhysRange;
use maud::Markup;

/// 896 MiB: the end of the low memory of an i386 kernel with the usual split, and the bound of released i386 loaders.
const LOW: u64 = 896 << 20;

/// What a 32-bit process's purgatory and 32-bit boot protocols were bound by for long.
const TWO_GIB: u64 = 2 << 30;

/// The end of 32-bit addresses.
const FOUR_GIB: u64 = 4 << 30;

/// Share of the width that the first 4 GiB have where there is memory beyond: the limits that matter lie there.
const BELOW_4G: f64 = 0.72;

/// What the rows of the drawing are at, in pixels: all memory, and the enlarged region.
const WHOLE: (u32, u32) = (16, 20);
const ENLARGED: (u32, u32) = (52, 20);
const HEIGHT: u32 = 88;

/// Share of the enlarged region from which on a segment has room for its name.
const ROOM_FOR_NAME: f64 = 0.14;

/// Physical addresses on the width of the drawing.
struct Scale {
    top: u64,
}

impl Scale {
    fn of(machine: &Machine) -> Self {
        let ends = machine.ram.iter().chain(&machine.regions).map(|range| range.end.saturating_add(1));
        Self { top: ends.max().unwrap_or(0).max(FOUR_GIB) }
    }

    /// The share of the width at which an address lies.
    fn at(&self, address: u64) -> f64 {
        let share = |part: u64, of: u64| part as f64 / of as f64;
        if self.top == FOUR_GIB {
            share(address.min(FOUR_GIB), FOUR_GIB)
        } else if address <= FOUR_GIB {
            BELOW_4G * share(address, FOUR_GIB)
        } else {
            let beyond = share(address.min(self.top) - FOUR_GIB, self.top - FOUR_GIB);
            BELOW_4G + (1.0 - BELOW_4G) * beyond
        }
    }

    fn range(&self, range: PhysRange) -> (f64, f64) {
        let from = self.at(range.start);
        (from, (self.at(range.end.saturating_add(1)) - from).max(0.0))
    }
}

/// What is known of a cell's memory; without evidence what was asked for.
pub(super) fn memory(cell: &Cell, machine: Option<&Machine>) -> Markup {
    let asked;
    let (machine, what) = match machine {
        Some(machine) => (machine, "crash region"),
        None => {
            asked = as_asked(cell);
            (&asked, "crash region as asked for")
        }
    };
    let scale = Scale::of(machine);
    let loaded = loaded_into(machine);
    template! {
        figure class="memory" {
            svg height=(HEIGHT) role="img" aria-label=(in_words(machine)) {
                rect.hole y=(WHOLE.0) width="100%" height=(WHOLE.1) {}
                @for range in &machine.ram { (bar("ram", scale.range(*range), WHOLE)) }
                @for range in &machine.regions { (bar("region", scale.range(*range), WHOLE)) }
                @for nonce in &machine.nonces { (line("nonce", scale.at(*nonce), (WHOLE.0 + 12, 8))) }
                (limits(&scale, machine))
                @if let Some(region) = loaded { (enlarged(&scale, region, machine, what)) }
            }
            @if machine.regions.is_empty() { figcaption { "No crash region was seen." } }
            (key(machine, loaded))
        }
    }
}

/// Memory of a cell of which nothing was seen: what it asks for.
fn as_asked(cell: &Cell) -> Machine {
    let regions = match cell.reservation {
        Reservation::At { .. } => cell.reservation.range().into_iter().collect(),
        Reservation::Auto { .. } | Reservation::High { .. } => Vec::new(),
    };
    Machine { regions, ..Machine::default() }
}

/// The region that holds segments, or else the highest, which is the one that loaders take.
fn loaded_into(machine: &Machine) -> Option<PhysRange> {
    let holds = |region: &&PhysRange| {
        machine
            .segments
            .first()
            .is_some_and(|segment| (region.start..=region.end).contains(&segment.range.start))
    };
    machine
        .regions
        .iter()
        .find(holds)
        .or_else(|| machine.regions.iter().max_by_key(|region| region.start))
        .copied()
}

fn bar(class: &str, (from, width): (f64, f64), (y, height): (u32, u32)) -> Markup {
    template! { rect class=(class) x=(percent(from)) y=(y) width=(percent(width)) height=(height) {} }
}

fn line(class: &str, at: f64, (y, height): (u32, u32)) -> Markup {
    template! { line class=(class) x1=(percent(at)) x2=(percent(at)) y1=(y) y2=(y + height) {} }
}

fn label(class: &str, at: f64, y: u32, text: &str) -> Markup {
    template! { text class=(class) x=(percent(at)) y=(y) { (text) } }
}

/// The limits' lines, and their names above: none may touch its neighbour on a screen of 360 pixels.
fn limits(scale: &Scale, machine: &Machine) -> Markup {
    let full = (WHOLE.0 - 3, WHOLE.1 + 6);
    template! {
        @for limit in [LOW, TWO_GIB, FOUR_GIB] { (line("limit", scale.at(limit), full)) }
        @if let Some(end) = machine.low_memory_end {
            (line("low", scale.at(end), full))
            (label("e low", scale.at(end) - 0.004, 10, &format!("low {}", mib(end))))
        }
        (label("", scale.at(LOW) + 0.004, 10, "896M"))
        (label("c", scale.at(TWO_GIB), 10, "2G"))
        @if scale.top == FOUR_GIB {
            (label("e", 1.0, 10, "4G"))
        } @else {
            (label("c", scale.at(FOUR_GIB), 10, "4G"))
            (label("e", 1.0, 10, &mib(scale.top)))
        }
    }
}

/// The region over the whole width, with the segments in it.
fn enlarged(scale: &Scale, region: PhysRange, machine: &Machine, what: &str) -> Markup {
    let size = (region.end - region.start) as f64 + 1.0;
    let place = |range: PhysRange| {
        let share = |address: u64| address.clamp(region.start, region.end) as f64 - region.start as f64;
        let from = share(range.start) / size;
        (from, ((share(range.end) + 1.0) / size - from).max(0.0))
    };
    let (from, width) = scale.range(region);
    let (top, bottom) = (WHOLE.0 + WHOLE.1, ENLARGED.0);
    let limit = machine.limit.as_ref().map(|(limit, _)| *limit).filter(|limit| *limit < region.end);
    template! {
        line.zoom x1=(percent(from)) y1=(top) x2="0" y2=(bottom) {}
        line.zoom x1=(percent(from + width)) y1=(top) x2="100%" y2=(bottom) {}
        rect.region y=(ENLARGED.0) width="100%" height=(ENLARGED.1) {}
        @for (index, segment) in machine.segments.iter().enumerate() {
            (bar(&colour(index), place(segment.range), ENLARGED))
        }
        @for segment in &machine.segments {
            @let (from, width) = place(segment.range);
            @if width > ROOM_FOR_NAME { (label("c in", from + width / 2.0, ENLARGED.0 + 14, &segment.name)) }
        }
        @if let Some(limit) = limit {
            @let at = place(PhysRange { start: limit, end: limit }).0;
            (line("low", at, (ENLARGED.0 - 4, ENLARGED.1 + 8)))
        }
        (label("", 0.0, HEIGHT - 4, &format!("{:#x}", region.start)))
        (label("c", 0.5, HEIGHT - 4, &format!("{what}, {}", size_words(region))))
        (label("e", 1.0, HEIGHT - 4, &format!("{:#x}", region.end)))
    }
}

/// Colours repeat after six: a loaded image has five segments and the control pages.
fn colour(index: usize) -> String {
    format!("s s{}", index % 6)
}

/// What was put where, and what bound it.
fn key(machine: &Machine, loaded: Option<PhysRange>) -> Markup {
    let others = machine.regions.iter().filter(|region| Some(**region) != loaded);
    template! {
        ul class="key" {
            @for (index, Segment { name, range, .. }) in machine.segments.iter().enumerate() {
                li { i class=(colour(index)) {} (name) " " code { (range) } " " (size_words(*range)) }
            }
            @for region in others { li { i class="region" {} "further crash region " code { (region) } " " (size_words(*region)) } }
            @if let Some((limit, why)) = &machine.limit {
                li { "highest address of the kernel " code { (format!("{limit:#x}")) } ", " (why) }
            }
            @if let Some(end) = machine.low_memory_end {
                li { i class="low" {} "low memory of the first kernel ends at " code { (format!("{end:#x}")) } }
            }
            @if !machine.nonces.is_empty() { li { i class="nonce" {} "nonces to be found again" } }
        }
    }
}

/// The drawing for who cannot see it.
fn in_words(machine: &Machine) -> String {
    let regions: Vec<String> = machine.regions.iter().map(ToString::to_string).collect();
    let regions = if regions.is_empty() { "none seen".to_owned() } else { regions.join(" and ") };
    format!("Physical memory; crash region {regions}; {} segments", machine.segments.len())
}

/// An address in the greatest unit that it is whole in, M at least; else in M with what is left as digits.
fn mib(address: u64) -> String {
    const MIB: u64 = 1 << 20;
    match address {
        whole if whole % (1 << 30) == 0 => format!("{}G", whole >> 30),
        _ => format!("{}M", address / MIB),
    }
}

/// A range's size in the greatest unit that shows it with at least one digit before the point.
fn size_words(range: PhysRange) -> String {
    let size = (range.end - range.start).saturating_add(1);
    let (unit, name) = match size {
        0..0x10_0000 => (1u64 << 10, "K"),
        0x10_0000..0x4000_0000 => (1 << 20, "M"),
        _ => (1 << 30, "G"),
    };
    let text = format!("{:.1}", size as f64 / unit as f64);
    format!("{}{name}", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::machine::tests::{PLACED, evidence};
    use crate::testing;

    /// Bug: an address beyond 4 GiB is drawn outside of the drawing, or the order of addresses is not that of places.
    #[test]
    fn addresses_lie_in_order_and_inside() {
        for top in [1 << 30, FOUR_GIB, 6 << 30, 1 << 40, u64::MAX] {
            let ram = vec![PhysRange { start: 0, end: top - 1 }];
            let scale = Scale::of(&Machine { ram, ..Machine::default() });
            let mut before = -1.0;
            for address in [0, LOW, TWO_GIB, FOUR_GIB, FOUR_GIB + 1, scale.top] {
                let at = scale.at(address);
                assert!((0.0..=1.0).contains(&at) && at >= before, "{address:#x} of {top:#x}: {at}");
                before = at;
            }
            assert_eq!(scale.at(u64::MAX), 1.0);
        }
    }

    /// Bug: the enlarged region is the low companion of a high one, where nothing was loaded.
    #[test]
    fn what_was_loaded_into_is_enlarged() {
        let mut machine = Machine::of(&evidence(PLACED)).unwrap();
        let loaded = machine.regions[0];
        let high = PhysRange { start: 5 << 30, end: (6 << 30) - 1 };
        machine.regions.push(high);
        assert_eq!(loaded_into(&machine), Some(loaded));
        machine.segments.clear();
        assert_eq!(loaded_into(&machine), Some(high));
    }

    /// Bug: ranges that cannot be (a loader that lies, an end of 2^64) end the report.
    #[test]
    fn impossible_ranges_are_drawn_somehow() {
        let all = PhysRange { start: 0, end: u64::MAX };
        let segments = vec![Segment { name: "x".into(), range: all, loaded: None }];
        let machine = Machine { ram: vec![all], regions: vec![all], segments, ..Machine::default() };
        assert!(memory(&testing::cell(), Some(&machine)).into_string().contains("crash region"));
        assert!(memory(&testing::cell(), None).into_string().contains("0x7b000000"));
    }

    /// Bug: a size without its unit, or rounded to nothing.
    #[test]
    fn sizes() {
        let size = |bytes: u64| size_words(PhysRange { start: 4096, end: 4096 + bytes - 1 });
        assert_eq!(
            [size(4096), size(104 << 20), size(0xf7_6000), size(5 << 29)],
            ["4K", "104M", "15.5M", "2.5G"]
        );
        assert_eq!([mib(0x36ff_e000), mib(7 << 30)], ["879M", "7G"]);
    }
}
