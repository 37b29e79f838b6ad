use super::*;
use crate::cell::Reservation;
use crate::runner::TrialId;
use crate::testing;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn todo(id: &str, offset_mib: u32, repetition: u32) -> Todo {
    let mut cell = testing::cell();
    cell.id.0 = id.into();
    cell.reservation = Reservation::At { size: testing::mib(256), offset_mib };
    (TrialId { cell: cell.id.clone(), repetition }, Arc::new(cell))
}

fn ids(trials: &[Todo]) -> Vec<&str> {
    trials.iter().map(|(id, _)| id.cell.0.as_str()).collect()
}

/// Durations by which cells take so long, by their ids.
fn durations(of: &[(&str, f64)]) -> Durations {
    let result = |(id, seconds): &(&str, f64)| {
        let mut result =
            testing::result(crate::outcome::Outcome::captured(crate::outcome::VmcoreState::Verified));
        result.id.0 = (*id).to_owned();
        result.seconds = BTreeMap::from([("total".to_owned(), *seconds)]);
        result
    };
    let results: Vec<_> = of.iter().map(result).collect();
    let mut durations = Durations::default();
    durations.record(&results).unwrap();
    durations
}

fn schedule(trials: impl IntoIterator<Item = Todo>, accel: Accel, fresh: bool) -> Schedule {
    Schedule::new(trials, accel, fresh, 2, Durations::default())
}

fn all(mut schedule: Schedule) -> Vec<String> {
    std::iter::from_fn(|| schedule.next(|_| true))
        .map(|work| match work {
            Work::Boot(trials) => format!("boot {}", ids(&trials).join(" ")),
            Work::Trial(todo, _) => ids(&[todo]).join(" "),
        })
        .collect()
}

/// Bug: cells of one boot are booted one by one, or a cell that is alone pays for a state.
#[test]
fn what_shares_a_boot_is_booted_once() {
    let trials = || [todo("a", 512, 1), todo("b", 1968, 1), todo("c", 512, 1)];
    assert_eq!(all(schedule(trials(), Accel::Tcg, false)), ["boot a c", "b"]);
    assert_eq!(all(schedule(trials(), Accel::Tcg, true)), ["a", "c", "b"]);
    assert_eq!(all(schedule(trials(), Accel::Kvm, false)), ["a", "c", "b"]);
}

/// Bug: `--repeat` repeats the panic only, from one and the same boot; or a run that is stopped says nothing of some cells, because
/// the longest one had all of its runs before.
#[test]
fn repetitions_boot_anew_and_go_round() {
    let trials = || [todo("a", 512, 1), todo("b", 512, 1), todo("a", 512, 2), todo("b", 512, 2)];
    assert_eq!(all(schedule(trials(), Accel::Tcg, false)), ["boot a b", "boot a b"]);
    let durations = durations(&[("a", 90.0), ("b", 1.0)]);
    let fresh = Schedule::new(trials(), Accel::Tcg, true, 2, durations);
    assert_eq!(all(fresh), ["a", "b", "a", "b"]);
}

/// Bug: a hang of a minute begins last, and all places but one stand empty until it ends; or a boot waits behind trials that are
/// shorter than what waits for it.
#[test]
fn the_longest_goes_first() {
    let durations = || durations(&[("short", 1.0), ("hung", 60.0), ("x", 10.0), ("y", 9.0), ("z", 2.0)]);
    let of = |trials: Vec<Todo>| all(Schedule::new(trials, Accel::Tcg, false, 2, durations()));
    assert_eq!(of(vec![todo("short", 1, 1), todo("x", 2, 1), todo("hung", 3, 1)]), ["hung", "x", "short"]);
    let boots =
        vec![todo("short", 1, 1), todo("z", 1, 1), todo("x", 2, 1), todo("y", 2, 1), todo("hung", 3, 1)];
    assert_eq!(of(boots), ["hung", "boot x y", "boot short z"]);
}

/// Bug: every boot of a night is done before the first trial, and the states fill the disk; or a state that nothing waits for any more
/// still counts, and no further boot starts.
#[test]
fn only_so_many_states_are_there_at_a_time() {
    let pair = |offset: u32| [todo(&format!("a{offset}"), offset, 1), todo(&format!("b{offset}"), offset, 1)];
    let mut schedule = Schedule::new((1..=9).flat_map(pair), Accel::Tcg, false, 1, Durations::default());
    let boot = |schedule: &mut Schedule| match schedule.next(|_| true) {
        Some(Work::Boot(trials)) => Some(trials),
        _ => None,
    };
    let (first, _second) = (boot(&mut schedule).unwrap(), boot(&mut schedule).unwrap());
    assert!(boot(&mut schedule).is_none(), "two are going on");
    schedule.boot_ended(first, None);
    assert!(boot(&mut schedule).is_some(), "it came to no state");
    schedule.boot_died();
    assert!(boot(&mut schedule).is_some());
}

/// Bug: a guest that has no room keeps small ones waiting that have; or it is forgotten.
#[test]
fn what_may_not_start_now_stays() {
    let durations = durations(&[("a", 60.0), ("b", 1.0)]);
    let mut schedule = Schedule::new([todo("a", 1, 1), todo("b", 2, 1)], Accel::Tcg, false, 2, durations);
    let next = schedule.next(|cell| cell.id.0 != "a");
    assert!(matches!(&next, Some(Work::Trial((id, _), None)) if id.cell.0 == "b"), "{next:?}");
    assert!(schedule.next(|cell| cell.id.0 != "a").is_none());
    assert_eq!((schedule.len(), all(schedule)), (1, vec!["a".to_owned()]));
}

/// Bug: trials are lost, or counted twice, when a boot fails or does not hold all that its cells need.
#[test]
fn every_trial_is_started_once() {
    let trials = [todo("a", 512, 1), todo("b", 512, 1), todo("c", 512, 1), todo("d", 1968, 1)];
    let mut schedule = schedule(trials, Accel::Tcg, false);
    let Some(Work::Boot(mut group)) = schedule.next(|_| true) else { panic!("a boot comes first") };
    assert_eq!(schedule.len(), 1);
    let rest = group.split_off(2);
    schedule.boot_again(rest);
    schedule.boot_ended(group, None);
    assert_eq!(schedule.len(), 4);
    let mut started = all(schedule).join(" ").replace("boot ", "");
    started.retain(|c| c != ' ');
    let mut started: Vec<char> = started.chars().collect();
    started.sort_unstable();
    assert_eq!(started, ['a', 'b', 'c', 'd']);
}

/// Runs a schedule in so many places with tasks that take just what is estimated, and gives when the last one ends, and how often each
/// trial was started. A boot that ends hands its trials over as if it had come to a state.
fn simulate(mut schedule: Schedule, places: usize) -> (f64, BTreeMap<String, u32>) {
    let (mut now, mut running, mut started) =
        (0.0_f64, Vec::<(f64, Option<Vec<Todo>>)>::new(), BTreeMap::new());
    loop {
        while running.len() < places {
            match schedule.next(|_| true) {
                Some(Work::Boot(trials)) => running.push((now + BOOT_SECONDS, Some(trials))),
                Some(Work::Trial(trial, _)) => {
                    *started.entry(trial.0.cell.0.clone()).or_insert(0) += 1;
                    running.push((now + schedule.durations.estimate(&trial.1), None));
                }
                None => break,
            }
        }
        let Some(next) = (0..running.len()).min_by(|a, b| running[*a].0.total_cmp(&running[*b].0)) else {
            return (now, started);
        };
        let (at, boot) = running.remove(next);
        now = at;
        if let Some(trials) = boot {
            schedule.booting -= 1;
            let state = Some(schedule.states);
            schedule.states += 1;
            for trial in trials {
                let rank = schedule.rank(&trial);
                schedule.ready.push(Ready { trial, boot: None, state, rank });
            }
        }
    }
}

proptest! {
    /// Bug: a trial is lost or run twice in some order of groups and durations; or places stand empty while work is left, so that a
    /// night takes much longer than its work.
    #[test]
    fn any_work_is_done_once_and_nearly_as_fast_as_can_be(
        cells in prop::collection::vec((0_u32..12, 0.5_f64..60.0), 1..80),
        places in 1_usize..9,
    ) {
        let names: Vec<String> = (0..cells.len()).map(|number| format!("cell{number}")).collect();
        let trials: Vec<Todo> =
            names.iter().zip(&cells).map(|(name, (group, _))| todo(name, 16 * (group + 1), 1)).collect();
        let named: Vec<(&str, f64)> = names.iter().zip(&cells).map(|(name, (_, s))| (name.as_str(), *s)).collect();
        let durations = durations(&named);
        // Recorded durations are rounded.
        let seconds: Vec<f64> = trials.iter().map(|(_, cell)| durations.estimate(cell)).collect();
        let schedule = Schedule::new(trials, Accel::Tcg, false, places, durations);
        let boots = schedule.groups.len() as f64;
        let longest = seconds.iter().fold(0.0_f64, |most, s| most.max(*s)) + BOOT_SECONDS;
        let bound = (seconds.iter().sum::<f64>() + boots * BOOT_SECONDS) / places as f64;
        let (took, started) = simulate(schedule, places);
        prop_assert_eq!(started.len(), cells.len());
        prop_assert!(started.values().all(|times| *times == 1), "{:?}", started);
        prop_assert!(took <= bound * 4.0 / 3.0 + longest, "{took} s; {bound} s of work, the longest {longest} s");
    }
}
