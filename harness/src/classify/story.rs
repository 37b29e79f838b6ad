//! The agents' reports as one story: each message at most once, numbered without gaps, from the right kernel, in the order of
//! the protocol. A story that does not hold is a rig error: no verdict may rest on a channel that lost or mixed messages.

use crate::evidence::{Evidence, Timed};
use guest_protocol::{
    KernelFacts, LoadReport, Message, Planted, ReaderReport, Report, Side, Told, VmcoreReport,
};

/// What the agents said.
#[derive(Default)]
pub(super) struct Story<'a> {
    /// The first kernel at *ready*.
    pub(super) ready: Option<&'a KernelFacts>,
    /// What became of the load.
    pub(super) loaded: Option<&'a LoadReport>,
    /// The nonces in place, once armed.
    pub(super) planted: Option<&'a [Planted]>,
    /// The capture kernel at *up*.
    pub(super) up: Option<&'a KernelFacts>,
    /// What /proc/vmcore held.
    pub(super) vmcore: Option<&'a VmcoreReport>,
    /// What the capture kernel was told of its machine.
    pub(super) told: Option<&'a Told>,
    /// What became of the independent reader.
    pub(super) reader: Option<&'a ReaderReport>,
    /// Everything is said.
    pub(super) done: bool,
    /// An agent's own trouble: in which kernel, and what.
    pub(super) trouble: Option<(Side, &'a str)>,
    /// What a kernel was built without: in which, the option, and what shows it.
    pub(super) lacks: Option<(Side, &'a str, &'a str)>,
    /// The first kernel's agent reported *ready* again after the trigger: the machine went through a reboot.
    pub(super) rebooted: bool,
}

impl<'a> Story<'a> {
    /// Reads the reports; the error is a rig error's text.
    pub(super) fn read(evidence: &'a Evidence) -> Result<Self, String> {
        let mut story = Self::default();
        let mut next_seq = [0u32; 2];
        for report in &evidence.reports {
            if story.is_reboot(report, evidence) {
                // What a second life of the first kernel says is no part of this cell.
                story.rebooted = true;
                break;
            }
            let next = &mut next_seq[report.what.kernel as usize];
            let Report { seq, kernel, message } = &report.what;
            if seq != next {
                let told = super::with_foreign_lines(
                    format!(
                        "the {} agent's message {next} is missing: {seq} came in its place",
                        side_words(*kernel)
                    ),
                    evidence,
                );
                return Err(told);
            }
            *next = next.saturating_add(1);
            story.add(*kernel, message)?;
        }
        story.check_trigger(evidence)?;
        Ok(story)
    }

    fn is_reboot(&self, report: &Timed<Report>, evidence: &Evidence) -> bool {
        let is_ready = report.what.kernel == Side::First && matches!(report.what.message, Message::Ready(_));
        is_ready
            && self.ready.is_some()
            && evidence.triggered_ms.is_some_and(|triggered| report.ms >= triggered)
    }

    fn add(&mut self, kernel: Side, message: &'a Message) -> Result<(), String> {
        let (name, side) = name_and_side(message);
        if side.is_some_and(|side| side != kernel) {
            return Err(format!("the {} agent sent `{name}`, which is not its message", side_words(kernel)));
        }
        let out_of_order = |before: &str| {
            Err(format!("the agents' messages are out of order: `{name}` came before `{before}`"))
        };
        let twice = || Err(format!("the {} agent sent `{name}` twice", side_words(kernel)));
        match message {
            Message::Ready(facts) => match self.ready.replace(facts) {
                Some(_) => return twice(),
                None if self.up.is_some() => return Err("`ready` came after `up`".to_owned()),
                None => {}
            },
            Message::Loaded(report) => match self.loaded.replace(report) {
                Some(_) => return twice(),
                None if self.ready.is_none() => return out_of_order("ready"),
                None => {}
            },
            Message::Armed { planted } => match self.planted.replace(planted) {
                Some(_) => return twice(),
                None if self.loaded.is_none() => return out_of_order("loaded"),
                None => {}
            },
            Message::Up(facts) => match self.up.replace(facts) {
                Some(_) => return twice(),
                None if self.planted.is_none() => return out_of_order("armed"),
                None => {}
            },
            Message::Vmcore(report) => match self.vmcore.replace(report) {
                Some(_) => return twice(),
                None if self.up.is_none() => return out_of_order("up"),
                None => {}
            },
            Message::Told(told) => match self.told.replace(told) {
                Some(_) => return twice(),
                None if self.vmcore.is_none() => return out_of_order("vmcore"),
                None => {}
            },
            Message::Reader(report) => match self.reader.replace(report) {
                Some(_) => return twice(),
                None if self.vmcore.is_none() => return out_of_order("vmcore"),
                None => {}
            },
            Message::Done => match std::mem::replace(&mut self.done, true) {
                true => return twice(),
                false if self.vmcore.is_none() => return out_of_order("vmcore"),
                false => {}
            },
            Message::Lacks { option, seen } => self.lacks = self.lacks.or(Some((kernel, option, seen))),
            // The first trouble is the cause, a later one its consequence.
            Message::Trouble { what } => self.trouble = self.trouble.or(Some((kernel, what))),
        }
        Ok(())
    }

    /// The trigger must lie between *armed* and *up*: anything else shows a panic that the rig did not cause.
    fn check_trigger(&self, evidence: &Evidence) -> Result<(), String> {
        let Some(triggered) = evidence.triggered_ms else {
            return match self.up {
                Some(_) => {
                    Err("the capture kernel came up although the panic had not been triggered".to_owned())
                }
                None => Ok(()),
            };
        };
        let armed =
            evidence.reports.iter().find(|report| matches!(report.what.message, Message::Armed { .. }));
        match armed {
            None => Err("the panic was triggered although the first kernel's agent was not armed".to_owned()),
            Some(armed) if armed.ms > triggered => {
                Err(format!("the panic was triggered at {triggered} ms, before `armed` at {} ms", armed.ms))
            }
            Some(_) => {
                match evidence.reports.iter().find(|report| matches!(report.what.message, Message::Up(_))) {
                    Some(up) if up.ms < triggered => Err(format!(
                        "the capture kernel came up at {} ms, before the panic was triggered at {triggered} ms",
                        up.ms
                    )),
                    Some(_) | None => Ok(()),
                }
            }
        }
    }
}

const fn name_and_side(message: &Message) -> (&'static str, Option<Side>) {
    match message {
        Message::Ready(_) => ("ready", Some(Side::First)),
        Message::Loaded(_) => ("loaded", Some(Side::First)),
        Message::Armed { .. } => ("armed", Some(Side::First)),
        Message::Up(_) => ("up", Some(Side::Capture)),
        Message::Vmcore(_) => ("vmcore", Some(Side::Capture)),
        Message::Told(_) => ("told", Some(Side::Capture)),
        Message::Reader(_) => ("reader", Some(Side::Capture)),
        Message::Done => ("done", Some(Side::Capture)),
        Message::Lacks { .. } => ("lacks", None),
        Message::Trouble { .. } => ("trouble", None),
    }
}

/// The side in words that fit "the {} agent".
pub(super) const fn side_words(side: Side) -> &'static str {
    match side {
        Side::First => "first kernel's",
        Side::Capture => "capture kernel's",
    }
}
