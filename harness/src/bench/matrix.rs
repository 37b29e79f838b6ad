//! The same cells run in several ways: how many of them an hour, beside each other, and beside what their guests cannot do without.
//! Pure.

use super::Spread;
use crate::cost::Cost;
use serde::Serialize;
use std::collections::BTreeMap;

/// A way of running cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// As a script around QEMU does it: one guest at a time, each from power-on by its firmware and its bzImage, and one that
    /// hangs is known by its silence.
    Loop,
    /// The rig, every guest from power-on by its bzImage.
    Fresh,
    /// The rig.
    Rig,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loop, Self::Fresh, Self::Rig];

    /// In tables and names of folders.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Fresh => "fresh",
            Self::Rig => "rig",
        }
    }

    /// The ways in the order of a round, counted from 1: each is first, second and third as often as the others.
    pub fn order(round: u32) -> impl Iterator<Item = Self> {
        let ways = Self::ALL.len();
        (0..ways).map(move |turn| Self::ALL[(round as usize + turn + ways - 1) % ways])
    }
}

/// All cells, once, in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lap {
    /// The way.
    pub way: Way,
    /// The round, from 1.
    pub round: u32,
    /// How many cells.
    pub cells: usize,
    /// How long it took, from the look at the host to the report's last page, in seconds.
    pub seconds: f64,
    /// What it cost.
    pub cost: Cost,
}

impl Lap {
    /// How long it would have taken, had the host never withheld a CPU from a guest that wanted one, in seconds. What other work took
    /// is left out then, and so is what guests took from each other.
    fn undisturbed_seconds(&self) -> f64 {
        let ledger = &self.cost.ledger;
        self.seconds - ledger.withheld_seconds() / ledger.places.max(1) as f64
    }

    fn cells_an_hour(&self) -> f64 {
        self.cells as f64 * 3600.0 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Part of the time of the rig's places: what for, and its share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What for.
    pub what: String,
    /// Seconds of one place.
    pub seconds: f64,
    /// Of all places' time.
    pub share: f64,
}

/// The laps beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// CPUs of the host.
    pub cpus: usize,
    /// All laps, in the order in which they were run.
    pub laps: Vec<Lap>,
    /// Cells an hour.
    pub cells_an_hour: BTreeMap<Way, Spread>,
    /// Cells an hour, had the host never withheld a CPU from a guest that wanted one: of a busy host the better figure.
    pub undisturbed_cells_an_hour: BTreeMap<Way, Spread>,
    /// Of the rig's ways: how many times the loop's cells an hour, round by round.
    pub times_the_loop: BTreeMap<Way, Spread>,
    /// How long the rig took, in parts of its bound: of the guests' own CPU time, divided by the CPUs.
    pub of_the_bound: Option<Spread>,
    /// Where the places' time went in the rig's laps.
    pub profile: Vec<Part>,
}

impl Comparison {
    /// Of these laps on a host with so many CPUs.
    pub fn of(laps: Vec<Lap>, cpus: usize) -> Self {
        let each = |way: Way, figure: &dyn Fn(&Lap) -> Option<f64>| {
            let values: Vec<f64> = laps.iter().filter(|lap| lap.way == way).filter_map(figure).collect();
            Spread::of(&values).map(|spread| (way, spread))
        };
        let undisturbed = |lap: &Lap| {
            let seconds = lap.undisturbed_seconds();
            (seconds > 0.0).then(|| lap.cells as f64 * 3600.0 / seconds)
        };
        let base = |round: u32| laps.iter().find(|lap| lap.way == Way::Loop && lap.round == round);
        let times = |lap: &Lap| Some(lap.cells_an_hour() / base(lap.round)?.cells_an_hour());
        let bound = |lap: &Lap| {
            let bound = lap.cost.ledger.bound_seconds(cpus);
            (bound > 0.0).then(|| lap.seconds / bound)
        };
        Self {
            cpus,
            cells_an_hour: Way::ALL
                .into_iter()
                .filter_map(|way| each(way, &|lap| Some(lap.cells_an_hour())))
                .collect(),
            undisturbed_cells_an_hour: Way::ALL
                .into_iter()
                .filter_map(|way| each(way, &undisturbed))
                .collect(),
            times_the_loop: [Way::Fresh, Way::Rig].into_iter().filter_map(|way| each(way, &times)).collect(),
            of_the_bound: each(Way::Rig, &bound).map(|(_, spread)| spread),
            profile: profile(laps.iter().filter(|lap| lap.way == Way::Rig)),
            laps,
        }
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:>9} {:>22} {:>22} {:>24} {:>12}",
            "way", "cells/h", "times the loop", "cells/h, undisturbed", "CPU s a lap"
        )];
        let spread = |of: &Spread, digits: usize| {
            format!("{:.digits$} [{:.digits$}, {:.digits$}]", of.median, of.least, of.most)
        };
        for (way, rate) in &self.cells_an_hour {
            let times = self.times_the_loop.get(way).map_or_else(String::new, |times| spread(times, 2));
            let cpu: Vec<f64> = self
                .laps
                .iter()
                .filter(|lap| lap.way == *way)
                .map(|lap| lap.cost.guests_cpu_seconds)
                .collect();
            let cpu = Spread::of(&cpu).map_or(0.0, |cpu| cpu.median);
            let undisturbed = self.undisturbed_cells_an_hour.get(way);
            let undisturbed = undisturbed.map_or_else(String::new, |rate| spread(rate, 0));
            lines.push(format!(
                "{:>9} {:>22} {times:>22} {undisturbed:>24} {cpu:>12.1}",
                way.name(),
                spread(rate, 0)
            ));
        }
        if let Some(bound) = &self.of_the_bound {
            lines.push(format!(
                "The rig took {} times what its guests' own CPU time comes to on {} CPUs. Its places' time:",
                spread(bound, 2),
                self.cpus
            ));
        }
        for Part { what, seconds, share } in &self.profile {
            lines.push(format!("{:>8.1} % {seconds:>9.1} s  {what}", share * 100.0));
        }
        lines
    }
}

/// Where the places' time went in these laps, most first behind the guests' own.
fn profile<'a>(laps: impl Iterator<Item = &'a Lap>) -> Vec<Part> {
    let (mut own, mut rest, mut all) = (0.0, BTreeMap::<String, f64>::new(), 0.0);
    for Lap { seconds, cost, .. } in laps {
        let ledger = &cost.ledger;
        let places = ledger.places as f64;
        all += seconds * places;
        own += ledger.guests_seconds();
        let waits =
            ledger.phases.iter().map(|(phase, span)| (format!("guests wait: {phase}"), span.unused()));
        let others = [
            (
                "QEMU starts, and reads the state that the guest begins in",
                ledger.setup.wall - ledger.setup.withheld,
            ),
            ("QEMU writes states", ledger.saving.wall - ledger.saving.withheld),
            ("QEMU is ready to run, and the host has no CPU for it", ledger.withheld_seconds()),
            ("no QEMU: files made up, digests, evidence", ledger.without_qemu_seconds()),
            ("empty places: nothing left to start, or no memory", ledger.empty_seconds),
            ("before the first guest and after the last", (seconds - ledger.wall_seconds) * places),
        ];
        let others = others.map(|(what, seconds)| (what.to_owned(), seconds));
        for (what, seconds) in waits.chain(others) {
            *rest.entry(what).or_insert(0.0) += seconds.max(0.0);
        }
    }
    if all <= 0.0 {
        return Vec::new();
    }
    let part = |(what, seconds): (String, f64)| Part { what, seconds, share: seconds / all };
    let mut rest: Vec<Part> = rest.into_iter().map(part).filter(|part| part.share >= 0.001).collect();
    rest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let own = part(("the guests' own work".to_owned(), own));
    std::iter::once(own).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, Span};

    fn lap(way: Way, round: u32, seconds: f64) -> Lap {
        let phases = [("capture".to_owned(), Span { wall: 70.0, cpu: 60.0, withheld: 4.0 })].into();
        let ledger = Ledger {
            wall_seconds: seconds - 2.0,
            places: 2,
            empty_seconds: 5.0,
            setup: Span { wall: 3.0, cpu: 2.0, withheld: 0.0 },
            phases,
            ..Ledger::default()
        };
        Lap { way, round, cells: 10, seconds, cost: Cost { ledger, ..Cost::default() } }
    }

    /// Bug: one way begins each round, and has the caches that another has filled; or one is left out.
    #[test]
    fn every_way_is_first_in_turn() {
        let order = |round| Way::order(round).collect::<Vec<_>>();
        assert_eq!(order(1), [Way::Loop, Way::Fresh, Way::Rig]);
        assert_eq!(order(2), [Way::Fresh, Way::Rig, Way::Loop]);
        assert_eq!(order(3), [Way::Rig, Way::Loop, Way::Fresh]);
    }

    /// Bug: ratios are of medians, or upside down, or to another round's loop.
    #[test]
    fn ratios_are_taken_round_by_round() {
        let laps = vec![
            lap(Way::Loop, 1, 100.0),
            lap(Way::Rig, 1, 50.0),
            lap(Way::Rig, 2, 40.0),
            lap(Way::Loop, 2, 200.0),
        ];
        let found = Comparison::of(laps, 2);
        assert_eq!(found.times_the_loop[&Way::Rig], Spread { median: 3.5, least: 2.0, most: 5.0 });
        assert_eq!(found.cells_an_hour[&Way::Loop], Spread { median: 270.0, least: 180.0, most: 360.0 });
        assert!(!found.times_the_loop.contains_key(&Way::Fresh), "it was not run");
        // Two of the 4 s that were withheld fall on each of two places.
        assert_eq!(found.undisturbed_cells_an_hour[&Way::Rig].most, 36_000.0 / 38.0);
        // 60 s on two CPUs are 30 s at the least.
        assert_eq!(found.of_the_bound.map(|bound| bound.least), Some(40.0 / 30.0));
    }

    /// Bug: a part of the time is told twice or not at all, so that the profile does not come to the time that the run took.
    #[test]
    fn the_profile_has_all_of_the_time() {
        let found = Comparison::of(vec![lap(Way::Loop, 1, 500.0), lap(Way::Rig, 1, 50.0)], 2);
        let of =
            |what: &str| found.profile.iter().find(|part| part.what.contains(what)).map(|part| part.seconds);
        assert_eq!(of("own work"), Some(60.0));
        assert_eq!(of("wait: capture"), Some(6.0));
        assert_eq!(of("has no CPU"), Some(4.0));
        // 48 s in two places, 5 s of them empty, 73 s with a QEMU.
        assert_eq!(of("no QEMU"), Some(18.0));
        let sum: f64 = found.profile.iter().map(|part| part.share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{:?}", found.profile);
        let lines = found.lines().join("\n");
        assert!(lines.contains("guests wait: capture") && lines.contains("rig"), "{lines}");
    }
}
