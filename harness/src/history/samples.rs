//! Made-up nights that the history's tests start from.

use super::collect::date;
use super::night::{CellNight, End, FORMAT, Header, Night, NightId};
use crate::accel::Accel;
use crate::cell::CellId;
use crate::outcome::Verdict;
use crate::report::{Look, Versions};

/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// A night that began `day` days after the epoch, at 3 o'clock, and took ten minutes.
pub(super) fn night(day: u64, cells: impl IntoIterator<Item = CellNight>) -> Night {
    let began = day * DAY + 3 * 3600;
    let cells: std::collections::BTreeMap<CellId, CellNight> =
        cells.into_iter().map(|cell| (cell.id.clone(), cell)).collect();
    let header = Header {
        format: FORMAT,
        id: NightId::try_from(format!("{}-0000{day:02}", date(began, "%Y%m%d-%H%M%S"))).unwrap(),
        began,
        time: date(began, "%Y-%m-%d %H:%M:%S UTC"),
        host: Some("rig1".into()),
        accel: Some(Accel::Tcg),
        jobs: Some(2),
        suites: ["nightly".to_owned()].into(),
        selection: None,
        qemu: Some("7.2".into()),
        versions: [("loader in-tree for i386".to_owned(), "aaaa".to_owned())].into(),
        revision: None,
    };
    let mut night = Night { header, cells, end: None };
    night.end = Some(End {
        ended: began + 600,
        counts: night.counts(),
        cells: night.cells.len(),
        not_run: 0,
        interrupted: false,
    });
    night
}

/// A cell that took `total` seconds. One that failed hung.
pub(super) fn cell(id: &str, verdict: Verdict, total: f64) -> CellNight {
    let (outcome, words, why) = match verdict {
        Verdict::Pass | Verdict::Flaky => (Some(Look::Captured), "captured, vmcore verified", None),
        Verdict::Fail => (Some(Look::Hung), "hung during jump and purgatory", Some("first kernel faulted")),
        Verdict::Error => (Some(Look::RigError), "rig error: QEMU ended", None),
        Verdict::Skipped => (None, "not enough memory", None),
    };
    CellNight {
        id: CellId(id.into()),
        suite: "nightly".into(),
        expected: "captured, vmcore verified".into(),
        outcome,
        words: words.into(),
        verdict,
        why: why.map(str::to_owned),
        seconds: [("total".to_owned(), total), ("capture".to_owned(), total / 2.0)].into(),
        shared: true,
        attempts: 1,
        runs: 1,
        passed: usize::from(matches!(verdict, Verdict::Pass | Verdict::Flaky)),
        evidence: format!("/r/{id}").into(),
        versions: Some(Versions {
            qemu: "7.2".into(),
            first: "5.10".into(),
            capture: "5.10".into(),
            loader: "aaaa".into(),
            agent: "bbbb".into(),
            firmware: None,
        }),
    }
}
