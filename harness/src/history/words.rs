//! Phrases that the renderings of a comparison share. Pure.

use super::compare::{Change, Changes, Kind};
use super::night::{Night, NightId};
use crate::outcome::Verdict;

/// Speeds that differ from the usual one by less than this share are not worth a word.
const SPEED_WORTH_TELLING: f64 = 0.1;

/// The night as a line: when, where, and what its cells came to.
pub fn summary(night: &Night) -> String {
    let header = &night.header;
    let mut words = vec![header.time.clone()];
    words.extend(header.host.clone());
    words.extend(header.accel.map(|accel| accel.to_string()));
    let suites: Vec<&str> = header.suites.iter().map(String::as_str).collect();
    words.push(suites.join(" + "));
    words.extend(header.selection.clone());
    format!("{}: {}", words.join(", "), counts(night))
}

/// What a night's cells came to, how long it took, and whether it is whole.
pub(super) fn counts(night: &Night) -> String {
    let verdicts = [
        (Verdict::Pass, "passed"),
        (Verdict::Fail, "failed"),
        (Verdict::Error, "in error"),
        (Verdict::Flaky, "flaky"),
        (Verdict::Skipped, "skipped"),
    ];
    let counts = verdicts.map(|(verdict, words)| (night.count(verdict), words));
    let counts =
        counts.into_iter().filter(|(count, words)| *count > 0 || matches!(*words, "passed" | "failed"));
    let counts: Vec<String> = counts.map(|(count, words)| format!("{count} {words}")).collect();
    let mut text = format!("{} cells: {}", night.cells.len(), counts.join(", "));
    if let Some(took) = night.took() {
        text.push_str(&format!("; {}", duration(took)));
    }
    text.push_str(match &night.end {
        None => "; its run never ended",
        Some(end) if end.interrupted => "; interrupted",
        Some(end) if end.not_run > 0 => "; not all was run",
        Some(_) => "",
    });
    text
}

/// A duration in its two greatest units.
pub(super) fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The day of a night, which its name begins with, as people write it; the name of one that has another.
pub(super) fn day(id: &NightId) -> String {
    let name = id.as_str();
    match (name.get(..4), name.get(4..6), name.get(6..8)) {
        (Some(year), Some(month), Some(day))
            if [year, month, day].iter().all(|part| part.chars().all(|c| c.is_ascii_digit())) =>
        {
            format!("{year}-{month}-{day}")
        }
        _ => name.to_owned(),
    }
}

/// What a heading says: the kind, and how many cells.
pub(super) fn heading(kind: Kind, count: usize) -> String {
    let words = kind.words();
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
    format!("{}: {count}", first.chain(letters).collect::<String>())
}

/// All kinds with a count, as in `2 newly failing, 1 slower`.
pub(super) fn overview(changes: &Changes) -> String {
    let counts = Kind::ALL.map(|kind| (changes.of(kind).count(), kind.words()));
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    if told.is_empty() { "nothing changed".to_owned() } else { told.join(", ") }
}

/// What it came to, and what it had come to before.
pub(super) fn outcome(change: &Change) -> String {
    match (change.kind, &change.was, &change.is) {
        (Kind::Slower | Kind::Faster, _, _) => time(change).unwrap_or_default(),
        (Kind::Flaky, _, is) => flaky(change, is.as_deref().unwrap_or("")),
        (Kind::StillFailing, _, Some(is)) => is.clone(),
        (_, Some(was), Some(is)) if was != is => format!("{was} -> {is}"),
        (Kind::Vanished, Some(was), _) => format!("was: {was}"),
        (_, _, Some(is)) => is.clone(),
        (_, Some(was), None) => was.clone(),
        (_, None, None) => String::new(),
    }
}

fn flaky(change: &Change, is: &str) -> String {
    match change.flips {
        0 | 1 => format!("{is}, but not at the first attempt"),
        flips => format!("{is}; its verdict changed {flips} times though nothing that took part did"),
    }
}

/// Its time beside the usual one.
pub(super) fn time(change: &Change) -> Option<String> {
    let time = change.time.as_ref()?;
    let mut text = format!("{:.1} s in place of {:.1} s", time.seconds, time.usual);
    if let Some((phase, seconds)) = &time.phase {
        text.push_str(&format!(" ({phase} {seconds:+.1} s)"));
    }
    match &time.since {
        Some(since) => text.push_str(&format!(", since {}", day(since))),
        None => text.push_str(", for the first time"),
    }
    Some(text)
}

/// Since when it has been so; nothing where it is the first night.
pub(super) fn since(change: &Change) -> Option<String> {
    match &change.since {
        Some((night, nights)) if *nights > 1 => Some(format!("since {} ({nights} nights)", day(night))),
        _ => None,
    }
}

/// What changed with it, where that may be the cause.
pub(super) fn with(change: &Change) -> Option<String> {
    let matters = matches!(change.kind, Kind::NewlyFailing | Kind::OtherOutcome | Kind::NewlyPassing);
    let with = change.with.as_ref().filter(|_| matters)?;
    Some(match with.is_empty() {
        true => "nothing that took part changed".to_owned(),
        false => with.join("; "),
    })
}

/// That the whole night was slower or faster than usual, where it was.
pub(super) fn speed(changes: &Changes) -> Option<String> {
    let speed = changes.speed;
    ((speed - 1.0).abs() > SPEED_WORTH_TELLING).then(|| {
        format!("cells took {speed:.2} times as long as usual; this is taken off before they are judged")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{cell, night};

    /// Bug: an interrupted night looks like a whole one; or a failure is not in the line.
    #[test]
    fn a_night_in_a_line() {
        let mut night = night(3, [cell("a", Verdict::Pass, 1.0), cell("b", Verdict::Error, 1.0)]);
        let line = "1970-01-04 03:00:00 UTC, rig1, tcg, nightly: 2 cells: 1 passed, 0 failed, 1 in error; 10 min 0 s";
        assert_eq!(summary(&night), line);
        night.end.as_mut().unwrap().interrupted = true;
        assert_eq!(summary(&night), format!("{line}; interrupted"));
        night.end = None;
        assert!(summary(&night).ends_with("1 in error; its run never ended"));
        assert_eq!(day(&night.header.id), "1970-01-04");
        assert_eq!(day(&NightId::try_from("mine".to_owned()).unwrap()), "mine");
    }
}
