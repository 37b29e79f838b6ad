//! The walk of a cell's guest through its phases: what the rig does next at what it sees. Pure, so that it is tested without
//! a guest. What an outcome is decided by stands in [`crate::classify`], not here.

use crate::classify::console::Landmark;
use crate::phase::Phase;
use guest_protocol::{Message, Planted, Report, Side};

/// Something seen of a guest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight<'a> {
    /// A kernel wrote to the console.
    Console,
    /// This came on the console since the trigger.
    SinceTrigger(Landmark),
    /// An agent said something.
    Report(&'a Report),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A phase has begun: its deadline counts from now.
    Enter(Phase),
    /// The guest is where it was to go.
    Arrived,
    /// Order the load from the first kernel's agent.
    OrderLoad,
    /// Make the first kernel panic.
    Trigger,
    /// Order the capture kernel's agent to read at these places.
    OrderRead(Vec<Planted>),
}

/// How far a guest is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Up to *ready*, and no order is given.
    Ready,
    /// Up to *armed*, and the panic is not triggered.
    Armed,
    /// To the cell's outcome.
    Outcome,
}

/// Where the walk is.
#[derive(Debug)]
pub(super) struct Walk {
    goal: Goal,
    phase: Phase,
    planted: Vec<Planted>,
}

impl Walk {
    /// At the moment of `cont`: in the firmware, or, from a saved state, at *ready*.
    pub(super) fn new(goal: Goal, phase: Phase) -> Self {
        Self { goal, phase, planted: Vec::new() }
    }

    /// The present phase.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// What to do at this sight. Sights out of order change nothing: they are evidence, not steps.
    pub(super) fn at(&mut self, sight: Sight<'_>) -> Vec<Action> {
        match sight {
            Sight::Console => match self.phase {
                Phase::Firmware => vec![self.enter(Phase::FirstKernel)],
                _ => Vec::new(),
            },
            Sight::SinceTrigger(landmark) => {
                let next = match landmark {
                    Landmark::Panic => Phase::Purgatory,
                    Landmark::Decompressor => Phase::Decompression,
                    Landmark::Banner => Phase::Capture,
                };
                // Only onwards: the capture kernel may panic too.
                let awaited = (Phase::Panicking..Phase::Capture).contains(&self.phase) && self.phase < next;
                if awaited { vec![self.enter(next)] } else { Vec::new() }
            }
            Sight::Report(report) => self.at_report(report),
        }
    }

    fn at_report(&mut self, report: &Report) -> Vec<Action> {
        match (&report.message, report.kernel, self.phase) {
            // A kernel without a console that early is silent up to here.
            (Message::Ready(_), Side::First, Phase::Firmware | Phase::FirstKernel | Phase::Ready) => {
                // A restored guest is there already.
                let ready = (self.phase < Phase::Ready).then(|| self.enter(Phase::Ready));
                let next = match self.goal {
                    Goal::Ready => vec![Action::Arrived],
                    Goal::Armed | Goal::Outcome => vec![self.enter(Phase::Loading), Action::OrderLoad],
                };
                ready.into_iter().chain(next).collect()
            }
            (Message::Armed { planted }, Side::First, Phase::Loading) => {
                self.planted.clone_from(planted);
                let armed = self.enter(Phase::Armed);
                match self.goal {
                    Goal::Ready | Goal::Armed => vec![armed, Action::Arrived],
                    Goal::Outcome => vec![armed, Action::Trigger, self.enter(Phase::Panicking)],
                }
            }
            (
                Message::Up(_),
                Side::Capture,
                Phase::Panicking | Phase::Purgatory | Phase::Decompression | Phase::Capture,
            ) => {
                let read = Action::OrderRead(self.planted.clone());
                vec![self.enter(Phase::Reading), read]
            }
            (Message::Done, Side::Capture, Phase::Reading) => vec![self.enter(Phase::Done)],
            (
                Message::Ready(_)
                | Message::Loaded(_)
                | Message::Armed { .. }
                | Message::Up(_)
                | Message::Vmcore(_)
                | Message::Told(_)
                | Message::Reader(_)
                | Message::Done
                | Message::Lacks { .. }
                | Message::Trouble { .. },
                _,
                _,
            ) => Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase) -> Action {
        self.phase = phase;
        Action::Enter(phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::{Arch, KernelFacts};

    fn facts() -> KernelFacts {
        KernelFacts {
            release: "5.10".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            userspace: Arch::I386,
            cmdline: String::new(),
            cpus: 1,
            crash_regions: Vec::new(),
            system_ram: Vec::new(),
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: Some(false),
        }
    }

    fn report(kernel: Side, message: Message) -> Report {
        Report { seq: 0, kernel, message }
    }

    const PLANTED: Planted = Planted { id: 0, address: 0x1000 };

    /// Bug: the panic is triggered before *armed*, or the addresses are not those that were read back last.
    #[test]
    fn a_whole_capture() {
        let mut walk = Walk::new(Goal::Outcome, Phase::Firmware);
        assert_eq!(walk.at(Sight::Console), [Action::Enter(Phase::FirstKernel)]);
        let ready = report(Side::First, Message::Ready(facts()));
        assert_eq!(
            walk.at(Sight::Report(&ready)),
            [Action::Enter(Phase::Ready), Action::Enter(Phase::Loading), Action::OrderLoad]
        );
        let armed = report(Side::First, Message::Armed { planted: vec![PLANTED] });
        assert_eq!(
            walk.at(Sight::Report(&armed)),
            [Action::Enter(Phase::Armed), Action::Trigger, Action::Enter(Phase::Panicking)]
        );
        for (landmark, phase) in [
            (Landmark::Panic, Phase::Purgatory),
            (Landmark::Decompressor, Phase::Decompression),
            (Landmark::Banner, Phase::Capture),
        ] {
            assert_eq!(walk.at(Sight::SinceTrigger(landmark)), [Action::Enter(phase)]);
        }
        let up = report(Side::Capture, Message::Up(facts()));
        assert_eq!(
            walk.at(Sight::Report(&up)),
            [Action::Enter(Phase::Reading), Action::OrderRead(vec![PLANTED])]
        );
        let done = report(Side::Capture, Message::Done);
        assert_eq!(walk.at(Sight::Report(&done)), [Action::Enter(Phase::Done)]);
    }

    /// Bug: a second *ready* (the first kernel rebooted) gets a second order, and its capture counts as this cell's.
    #[test]
    fn nothing_is_done_twice_or_out_of_order() {
        let mut walk = Walk::new(Goal::Outcome, Phase::Firmware);
        let ready = report(Side::First, Message::Ready(facts()));
        walk.at(Sight::Report(&ready));
        assert_eq!(walk.at(Sight::Report(&ready)), []);
        let up = report(Side::Capture, Message::Up(facts()));
        assert_eq!(walk.at(Sight::Report(&up)), [], "a capture kernel before any trigger");
        let armed = report(Side::Capture, Message::Armed { planted: vec![PLANTED] });
        assert_eq!(walk.at(Sight::Report(&armed)), [], "armed, said by the wrong side");
        assert_eq!(walk.phase(), Phase::Loading);
    }

    /// Bug: a kernel without an early console keeps the panic's deadline; or a capture kernel that panics is taken back to it.
    #[test]
    fn landmarks_lead_only_onwards() {
        let mut walk = Walk::new(Goal::Outcome, Phase::Panicking);
        assert_eq!(walk.at(Sight::SinceTrigger(Landmark::Banner)), [Action::Enter(Phase::Capture)]);
        assert_eq!(walk.at(Sight::SinceTrigger(Landmark::Panic)), []);
        let mut walk = Walk::new(Goal::Outcome, Phase::Loading);
        assert_eq!(walk.at(Sight::SinceTrigger(Landmark::Panic)), [], "a panic that the rig did not cause");
    }

    /// Bug: an order is in the state that many cells start from; or a cell that starts from one is never ordered to load; or a guest
    /// panics before its breakpoints are set.
    #[test]
    fn a_boot_that_is_shared_ends_at_ready() {
        let ready = report(Side::First, Message::Ready(facts()));
        let mut walk = Walk::new(Goal::Ready, Phase::Firmware);
        assert_eq!(walk.at(Sight::Console), [Action::Enter(Phase::FirstKernel)]);
        assert_eq!(walk.at(Sight::Report(&ready)), [Action::Enter(Phase::Ready), Action::Arrived]);
        let armed = report(Side::First, Message::Armed { planted: vec![PLANTED] });
        let mut measured = Walk::new(Goal::Armed, Phase::Loading);
        assert_eq!(measured.at(Sight::Report(&armed)), [Action::Enter(Phase::Armed), Action::Arrived]);
        let mut restored = Walk::new(Goal::Outcome, Phase::Ready);
        assert_eq!(restored.at(Sight::Report(&ready)), [Action::Enter(Phase::Loading), Action::OrderLoad]);
    }
}
