//! What a report was made with: only a run of the same cells, in the same way, with the same artifacts may continue it.

use super::RunHeader;
use crate::artifacts::{Artifacts, digest};
use crate::cell::Cell;
use crate::runner::Options;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What decides results, beside the versions that a [`RunHeader`] names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWith {
    /// Digest of the cells with their expectations, whatever their order.
    pub cells: String,
    /// How often each cell is run.
    pub repeat: u32,
    /// Further attempts for a trial that was not as expected.
    pub retries: u32,
    /// Whether every guest boots from power-on.
    pub fresh: bool,
    /// Versions and digests of kernels, loaders and agents, by their names.
    pub artifacts: BTreeMap<String, String>,
}

impl MadeWith {
    /// For a run of these cells.
    pub fn of(cells: &[Cell], artifacts: &Artifacts, options: &Options) -> Self {
        // Cells always serialise; what could not would be told apart by its id.
        let text = |cell: &Cell| serde_json::to_string(cell).unwrap_or_else(|_| cell.id.0.clone());
        let all: BTreeSet<String> = cells.iter().map(text).collect();
        let all: String = all.into_iter().map(|text| text + "\n").collect();
        Self {
            cells: digest(all.as_bytes()),
            repeat: options.repeat.get(),
            retries: options.retries,
            fresh: options.fresh,
            artifacts: artifacts.versions(),
        }
    }
}

/// How the run to be done differs from the one that a report was made by; none where it may continue it.
pub(super) fn difference(report: &RunHeader, run: &RunHeader) -> Option<String> {
    let means = difference_of_means(report, run);
    if means.is_some() {
        return means;
    }
    if run.made_with.cells != report.made_with.cells {
        return Some(
            "the suites, the filter, the partition, the loaders or kernels named, or what is expected select other cells"
                .to_owned(),
        );
    }
    (run.part != report.part).then(|| "the plan that it is a part of is another".to_owned())
}

/// How two runs differ in what they were run with, whatever their cells.
pub(super) fn difference_of_means(report: &RunHeader, run: &RunHeader) -> Option<String> {
    let RunHeader { rig, qemu, accel, made_with, accel_reason: _, jobs: _, total: _, part: _, merged: _ } =
        run;
    let before = &report.made_with;
    let was = |what: &str, before: &dyn std::fmt::Display, now: &dyn std::fmt::Display| {
        Some(format!("{what} was {before} and is {now}"))
    };
    if *rig != report.rig {
        return was("the rig's version", &report.rig, rig);
    }
    if *qemu != report.qemu {
        return was("QEMU", &report.qemu, qemu);
    }
    if *accel != report.accel {
        return was("the accelerator", &report.accel, accel);
    }
    let names: BTreeSet<&String> = before.artifacts.keys().chain(made_with.artifacts.keys()).collect();
    for name in names {
        let none = "not used".to_owned();
        let (old, new) = (before.artifacts.get(name), made_with.artifacts.get(name));
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            return was(name, old, new);
        }
        if old != new && before.cells == made_with.cells {
            return was(name, old.unwrap_or(&none), new.unwrap_or(&none));
        }
    }
    if made_with.repeat != before.repeat {
        return was("--repeat", &before.repeat, &made_with.repeat);
    }
    if made_with.retries != before.retries {
        return was("--retries", &before.retries, &made_with.retries);
    }
    if made_with.fresh != before.fresh {
        return was("--fresh", &before.fresh, &made_with.fresh);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::Accel;
    use crate::testing;

    fn header(change: impl FnOnce(&mut RunHeader)) -> RunHeader {
        let artifacts = [("kernel 5.10-amd64".to_owned(), "5.10.223-1".to_owned())].into();
        let made_with = MadeWith { cells: "c".into(), repeat: 1, artifacts, ..MadeWith::default() };
        let mut header = RunHeader {
            rig: "0.1.0".into(),
            qemu: "7.2".into(),
            accel: Accel::Tcg,
            accel_reason: None,
            jobs: 2,
            total: 9,
            made_with,
            part: None,
            merged: Vec::new(),
        };
        change(&mut header);
        header
    }

    /// Bug: results of two kernels, or of two loaders, stand in one report as if they were of one.
    #[test]
    fn what_decides_results_is_told_when_it_differs() {
        let before = header(|_| ());
        assert_eq!(difference(&before, &header(|run| (run.jobs, run.total) = (1, 3))), None);
        let kernel = |version: &str| {
            let artifacts = [("kernel 5.10-amd64".to_owned(), version.to_owned())].into();
            header(|run| run.made_with.artifacts = artifacts)
        };
        assert_eq!(
            difference(&before, &kernel("5.10.226-1")).unwrap(),
            "kernel 5.10-amd64 was 5.10.223-1 and is 5.10.226-1"
        );
        for (run, told) in [
            (header(|run| run.qemu = "9.0".into()), "QEMU was 7.2 and is 9.0"),
            (header(|run| run.accel = Accel::Kvm), "accelerator"),
            (header(|run| run.made_with.repeat = 3), "--repeat"),
            (header(|run| run.made_with.retries = 3), "--retries"),
            (header(|run| run.made_with.fresh = true), "--fresh"),
            (header(|run| run.made_with.cells = "d".into()), "other cells"),
            (
                header(|run| run.made_with.artifacts.clear()),
                "kernel 5.10-amd64 was 5.10.223-1 and is not used",
            ),
        ] {
            let why = difference(&before, &run).unwrap();
            assert!(why.contains(told), "{why}");
        }
    }

    /// Bug: a changed expectation leaves verdicts standing that were given under the earlier one; or a sorted file ends a report.
    #[test]
    fn cells_are_the_same_in_any_order_and_with_their_expectations() {
        let of = |cells: &[Cell]| MadeWith::of(cells, &Artifacts::default(), &Options::default()).cells;
        let mut second = testing::cell();
        second.id.0 = "b".into();
        let expected = crate::outcome::Expectation::Observed;
        let otherwise = Cell { expected, ..testing::cell() };
        let both = of(&[testing::cell(), second.clone()]);
        assert_eq!(both, of(&[second.clone(), testing::cell()]));
        assert_ne!(both, of(&[second, otherwise]));
    }
}
