//! What is started next. Pure: which trials share a boot, and in which order boots and trials take the places that get free.

use super::Todo;
use super::boot::SharedBoot;
use crate::accel::Accel;
use crate::boot::{grouped, worth_saving};
use std::collections::VecDeque;
use std::sync::Arc;

/// Something to start.
#[derive(Debug)]
pub(super) enum Work {
    /// A boot that these trials are to start from.
    Boot(Vec<Todo>),
    /// A trial, from a saved state or by itself.
    Trial(Todo, Option<Arc<SharedBoot>>),
}

/// All that is still to be started.
#[derive(Debug)]
pub(super) struct Schedule {
    groups: VecDeque<Vec<Todo>>,
    ready: VecDeque<(Todo, Option<Arc<SharedBoot>>)>,
    share: bool,
}

impl Schedule {
    /// For these trials in their order. Under KVM a boot costs less than a restore; with `fresh` none is wanted.
    pub(super) fn new(trials: impl IntoIterator<Item = Todo>, accel: Accel, fresh: bool) -> Self {
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
        let groups = by_repetition.into_iter().flat_map(|run| grouped(run, |(_, cell)| cell)).collect();
        let share = accel == Accel::Tcg && !fresh;
        Self { groups, ready: VecDeque::new(), share }
    }

    /// Takes the next. Trials whose boot is there go first: their state takes room until the last has started.
    pub(super) fn next(&mut self) -> Option<Work> {
        loop {
            if let Some((todo, boot)) = self.ready.pop_front() {
                return Some(Work::Trial(todo, boot));
            }
            let group = self.groups.pop_front()?;
            let memory = group.first().map(|(_, cell)| cell.platform.memory);
            if self.share && memory.is_some_and(|memory| worth_saving(group.len(), memory)) {
                return Some(Work::Boot(group));
            }
            self.ready.extend(group.into_iter().map(|todo| (todo, None)));
        }
    }

    /// These trials can start, from this boot or by themselves.
    pub(super) fn start_from(&mut self, trials: Vec<Todo>, boot: Option<&Arc<SharedBoot>>) {
        self.ready.extend(trials.into_iter().map(|todo| (todo, boot.cloned())));
    }

    /// These trials need another boot.
    pub(super) fn boot_again(&mut self, trials: Vec<Todo>) {
        if !trials.is_empty() {
            self.groups.push_front(trials);
        }
    }

    /// How many trials were not started.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Reservation;
    use crate::runner::TrialId;
    use crate::testing;

    fn todo(id: &str, offset_mib: u32, repetition: u32) -> Todo {
        let mut cell = testing::cell();
        cell.id.0 = id.into();
        cell.reservation = Reservation::At { size: testing::mib(256), offset_mib };
        (TrialId { cell: cell.id.clone(), repetition }, Arc::new(cell))
    }

    fn ids(trials: &[Todo]) -> Vec<&str> {
        trials.iter().map(|(id, _)| id.cell.0.as_str()).collect()
    }

    fn all(mut schedule: Schedule) -> Vec<String> {
        std::iter::from_fn(|| schedule.next())
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
        assert_eq!(all(Schedule::new(trials(), Accel::Tcg, false)), ["boot a c", "b"]);
        assert_eq!(all(Schedule::new(trials(), Accel::Tcg, true)), ["a", "c", "b"]);
        assert_eq!(all(Schedule::new(trials(), Accel::Kvm, false)), ["a", "c", "b"]);
    }

    /// Bug: `--repeat` repeats the panic only, from one and the same boot; or a run that is stopped says nothing of some cells.
    #[test]
    fn repetitions_boot_anew_and_go_round() {
        let trials = [todo("a", 512, 1), todo("b", 512, 1), todo("a", 512, 2), todo("b", 512, 2)];
        assert_eq!(all(Schedule::new(trials, Accel::Tcg, false)), ["boot a b", "boot a b"]);
    }

    /// Bug: trials are lost, or counted twice, when a boot fails or does not hold all that its cells need.
    #[test]
    fn every_trial_is_started_once() {
        let trials = [todo("a", 512, 1), todo("b", 512, 1), todo("c", 512, 1), todo("d", 1968, 1)];
        let mut schedule = Schedule::new(trials, Accel::Tcg, false);
        let Some(Work::Boot(mut group)) = schedule.next() else { panic!("a boot comes first") };
        assert_eq!(schedule.len(), 1);
        let rest = group.split_off(2);
        schedule.boot_again(rest);
        schedule.start_from(group, None);
        assert_eq!(schedule.len(), 4);
        assert_eq!(all(schedule), ["a", "b", "c", "d"]);
    }
}
