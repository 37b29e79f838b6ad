//! Looks at a running guest's registers: again and again after the trigger, and for the last time when a deadline has passed.

use super::{Ending, QUIET, Running, WORTH_A_NOTE};
use crate::evidence::{GuestEnd, Timed};
use crate::guest::GuestPlan;
use crate::patience::Looked;
use crate::phase::Phase;
use crate::qmp::QmpError;
use crate::registers;
use qapi::qmp;
use std::time::Duration;

/// Distance of the two last looks before a deadline's verdict. Proof of a dead CPU needs two samples 100 ms apart.
const LAST_LOOKS_APART: Duration = Duration::from_millis(250);
/// Register samples that are kept: of two a second, more than any phase has on a host that is not loaded. A text has some KB a CPU.
const MAX_SAMPLES: usize = 1024;

impl Running {
    /// Whether a sample may tell something: the panic was triggered, and the guest is silent.
    pub(super) fn is_worth_a_sample(&self) -> bool {
        self.record.evidence.triggered_ms.is_some()
            && self.walk.phase() < Phase::Done
            && self.last_output.elapsed() >= QUIET
    }

    /// Takes a sample of all registers; false where QEMU is just ending.
    pub(super) async fn sample(&mut self) -> Result<bool, String> {
        let command =
            qmp::human_monitor_command { command_line: "info registers -a".into(), cpu_index: None };
        let text = match self.qmp.execute(command).await {
            Ok(text) => text,
            // A QEMU that is just ending: the loop sees its end next, and knows better what it means.
            Err(QmpError::Closed { .. }) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let ms = self.now_ms();
        keep(&mut self.record.evidence.samples, Timed { ms, what: registers::parse(&text) });
        keep(&mut self.record.registers, Timed { ms, what: text });
        Ok(true)
    }

    /// The ending of a machine that does not run although nobody of the rig stopped it: somebody paused it, or QEMU did, which ran into
    /// an error inside of KVM. It does nothing, and that is no hang.
    pub(super) async fn standing_still(&self) -> Result<Option<Ending>, String> {
        let state = self.qmp.execute(qmp::query_status {}).await.map_err(|error| error.to_string())?;
        if state.running {
            return Ok(None);
        }
        let status = serde_json::to_value(state.status).ok();
        let status = status.as_ref().and_then(serde_json::Value::as_str).unwrap_or("not running");
        let said = match self.process.stderr().trim() {
            "" => "QEMU said nothing of it".to_owned(),
            text => format!("QEMU said: {text}"),
        };
        let what = format!(
            "QEMU's machine stands still, with the status {status}, and the rig did not stop it; {said}"
        );
        Ok(Some(Ending::Known(GuestEnd::Trouble { what })))
    }

    /// The phase took too long. One more look at the machine, twice, before silence is all that can be said.
    pub(super) async fn at_deadline(
        &mut self,
        plan: &GuestPlan<'_>,
        looked: Looked,
    ) -> Result<Ending, String> {
        let (passed, waited) = (self.patience.passed(), self.patience.waited());
        let (passed_s, waited_s) = (passed.as_secs(), waited.as_secs());
        if self.walk.phase() == Phase::Done {
            self.record.notes.push(format!("the guest did not power off within {passed_s} s"));
            return Ok(Ending::Known(GuestEnd::Concluded));
        }
        for apart in [LAST_LOOKS_APART, Duration::ZERO] {
            if !self.sample().await? {
                return Ok(self.exited_or("the QMP connection ended while QEMU goes on".into()).await);
            }
            tokio::time::sleep(apart).await;
        }
        let still = self.standing_still().await?;
        if self.is_concluded(plan) {
            return Ok(Ending::Known(GuestEnd::Concluded));
        }
        if let Some(ending) = still {
            return Ok(ending);
        }
        if looked == Looked::Starved {
            let what = too_loaded(self.walk.phase(), passed, waited);
            return Ok(Ending::Known(GuestEnd::Trouble { what }));
        }
        if waited >= WORTH_A_NOTE {
            self.record.notes.push(format!(
                "of the {passed_s} s until the deadline, QEMU waited {waited_s} s for a CPU: the host is loaded"
            ));
        }
        let seconds = u32::try_from(passed_s).unwrap_or(u32::MAX);
        Ok(Ending::Known(GuestEnd::Deadline { phase: self.walk.phase(), seconds }))
    }
}

/// What is said where the host withheld so much of the time that passed in a phase that nothing else can be said.
pub(super) fn too_loaded(phase: Phase, passed: Duration, waited: Duration) -> String {
    format!(
        "the host is too loaded: during {}, of {} s, QEMU was ready to run and had no CPU for {} s; \
         run fewer guests at a time (-j), or take other work away",
        phase.in_words(),
        passed.as_secs(),
        waited.as_secs()
    )
}

/// Keeps what is taken again and again. The first and the last tell the most; of many the middle goes.
fn keep<T>(all: &mut Vec<T>, one: T) {
    if all.len() >= MAX_SAMPLES {
        all.remove(MAX_SAMPLES / 2);
    }
    all.push(one);
}
