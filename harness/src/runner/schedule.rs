//! What is started next. Pure: which trials share a boot, and in which order boots and trials take the places that get free.
//!
//! The longest first, by what cells took when they were last run: what begins late must be short, for at the end places stand empty
//! until the last guest is done. A boot counts with the longest trial that waits for it. States take room as long as trials
//! wait to start from them, so that only so many are there at a time; what is longest among their trials goes next, and a short one that
//! is left over never keeps a long one of another boot waiting for more than itself.

use super::Todo;
use super::boot::SharedBoot;
use crate::accel::Accel;
use crate::boot::{grouped, worth_saving};
use crate::cell::Cell;
use crate::durations::Durations;
use std::sync::Arc;

/// What a boot to *ready* takes with its state's saving, in seconds (measured under TCG: 4 s by PVH, 8 s by a bzImage).
const BOOT_SECONDS: f64 = 6.0;

/// Something to start.
#[derive(Debug)]
pub(super) enum Work {
    /// A boot that these trials are to start from.
    Boot(Vec<Todo>),
    /// A trial, from a saved state or by itself.
    Trial(Todo, Option<Arc<SharedBoot>>),
}

impl Work {
    /// The cell whose guest it is; of a boot, one of those.
    pub(super) fn cell(&self) -> Option<&Cell> {
        match self {
            Self::Boot(trials) => cell_of(trials).map(|cell| &**cell),
            Self::Trial((_, cell), _) => Some(cell),
        }
    }
}

/// A boot that is still to be started.
#[derive(Debug)]
struct Group {
    trials: Vec<Todo>,
    rank: Rank,
}

/// A trial that can start.
#[derive(Debug)]
struct Ready {
    trial: Todo,
    boot: Option<Arc<SharedBoot>>,
    /// Which boot it waits for, or started from; none of one by itself.
    state: Option<usize>,
    rank: Rank,
}

/// What goes first: an earlier repetition, for a run that is stopped should have seen every cell; then what takes longer.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    repetition: u32,
    seconds: f64,
}

impl Rank {
    fn is_before(self, other: Self) -> bool {
        match self.repetition.cmp(&other.repetition) {
            std::cmp::Ordering::Equal => self.seconds > other.seconds,
            order => order.is_lt(),
        }
    }
}

/// All that is still to be started.
#[derive(Debug)]
pub(super) struct Schedule {
    groups: Vec<Group>,
    ready: Vec<Ready>,
    durations: Durations,
    /// How many states may be there, from a boot's start until the last of its trials has started.
    most_states: usize,
    /// Boots that were started and have not ended.
    booting: usize,
    /// States so far, by which they are told apart.
    states: usize,
}

impl Schedule {
    /// For these trials in so many places. Under KVM a boot costs less than a restore; with `fresh` none is wanted.
    pub(super) fn new(
        trials: impl IntoIterator<Item = Todo>,
        accel: Accel,
        fresh: bool,
        places: usize,
        durations: Durations,
    ) -> Self {
        // A further run of a cell has a boot of its own: it is there to show whether the outcome varies.
        let mut by_repetition: Vec<Vec<Todo>> = Vec::new();
        for todo in trials {
            match by_repetition.last_mut() {
                Some(run) if run.last().is_some_and(|last| last.0.repetition == todo.0.repetition) => {
                    run.push(todo)
                }
                _ => by_repetition.push(vec![todo]),
            }
        }
        let share = accel == Accel::Tcg && !fresh;
        // One for each place to start from, and one more each, so that a boot is done before its trials are wanted.
        let most_states = places.saturating_mul(2).max(2);
        let mut schedule =
            Self { groups: Vec::new(), ready: Vec::new(), durations, most_states, booting: 0, states: 0 };
        for group in by_repetition.into_iter().flat_map(|run| grouped(run, |(_, cell)| cell)) {
            match share && worth_saving(group.len()) {
                true => schedule.add_group(group),
                false => schedule.start_by_themselves(group),
            }
        }
        schedule
    }

    /// Takes the next of those whose guest may start now; none: nothing is left, or nothing of it may.
    pub(super) fn next(&mut self, may_start: impl Fn(&Cell) -> bool) -> Option<Work> {
        let boot = match self.states_there() < self.most_states {
            true => first(&self.groups, |group| group.rank, |group| cell_of(&group.trials), &may_start),
            false => None,
        };
        let trial = first(&self.ready, |ready| ready.rank, |ready| Some(&ready.trial.1), &may_start);
        match (boot, trial) {
            (Some(boot), Some(trial)) if self.ready[trial].rank.is_before(self.groups[boot].rank) => {
                Some(self.take_trial(trial))
            }
            (Some(boot), _) => Some(self.take_boot(boot)),
            (None, Some(trial)) => Some(self.take_trial(trial)),
            (None, None) => None,
        }
    }

    fn take_trial(&mut self, index: usize) -> Work {
        let Ready { trial, boot, .. } = self.ready.remove(index);
        Work::Trial(trial, boot)
    }

    fn take_boot(&mut self, index: usize) -> Work {
        self.booting += 1;
        Work::Boot(self.groups.remove(index).trials)
    }

    /// States that take room: those that trials still wait to start from, and those of boots that go on.
    fn states_there(&self) -> usize {
        let mut states: Vec<usize> = self.ready.iter().filter_map(|ready| ready.state).collect();
        states.sort_unstable();
        states.dedup();
        states.len() + self.booting
    }

    /// A boot has ended, and these trials can start, from it or by themselves.
    pub(super) fn boot_ended(&mut self, trials: Vec<Todo>, boot: Option<&Arc<SharedBoot>>) {
        self.booting = self.booting.saturating_sub(1);
        match boot {
            None => self.start_by_themselves(trials),
            Some(_) => {
                let state = Some(self.states);
                self.states += 1;
                for trial in trials {
                    let rank = self.rank(&trial);
                    self.ready.push(Ready { trial, boot: boot.cloned(), state, rank });
                }
            }
        }
    }

    /// The task of a boot died, and its trials with it.
    pub(super) fn boot_died(&mut self) {
        self.booting = self.booting.saturating_sub(1);
    }

    /// These trials need another boot.
    pub(super) fn boot_again(&mut self, trials: Vec<Todo>) {
        if !trials.is_empty() {
            self.add_group(trials);
        }
    }

    fn add_group(&mut self, trials: Vec<Todo>) {
        let ranks: Vec<Rank> = trials.iter().map(|trial| self.rank(trial)).collect();
        let repetition = ranks.iter().map(|rank| rank.repetition).min().unwrap_or(1);
        let longest = ranks.iter().map(|rank| rank.seconds).fold(0.0, f64::max);
        self.groups.push(Group { trials, rank: Rank { repetition, seconds: BOOT_SECONDS + longest } });
    }

    fn start_by_themselves(&mut self, trials: Vec<Todo>) {
        for trial in trials {
            let rank = self.rank(&trial);
            let rank = Rank { seconds: rank.seconds + BOOT_SECONDS, ..rank };
            self.ready.push(Ready { trial, boot: None, state: None, rank });
        }
    }

    fn rank(&self, (id, cell): &Todo) -> Rank {
        Rank { repetition: id.repetition, seconds: self.durations.estimate(cell) }
    }

    /// How many trials were not started.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.groups.iter().map(|group| group.trials.len()).sum::<usize>()
    }
}

fn cell_of(trials: &[Todo]) -> Option<&Arc<Cell>> {
    trials.first().map(|(_, cell)| cell)
}

/// The one that goes first of those whose guest may start; of equals the one that came first.
fn first<'a, T>(
    all: &'a [T],
    rank: impl Fn(&T) -> Rank,
    cell: impl Fn(&'a T) -> Option<&'a Arc<Cell>>,
    may_start: impl Fn(&Cell) -> bool,
) -> Option<usize> {
    let mut best: Option<(usize, Rank)> = None;
    for (index, one) in all.iter().enumerate() {
        let rank = rank(one);
        let better = best.is_none_or(|(_, best)| rank.is_before(best));
        if better && cell(one).is_none_or(|cell| may_start(cell)) {
            best = Some((index, rank));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests;
