//! A boot whose state many cells start from: followed to *ready*, saved, and ended.

use super::{Ending, Goal, Running, Walk};
use crate::evidence::GuestEnd;
use crate::guest::{GuestPlan, Listener, Reaped, Saved, SharedRam, saved};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use guest_protocol::Message;
use qapi::qmp;
use std::sync::Arc;

impl Running {
    /// Follows the guest to *ready* and saves its state into `state`; its RAM is in `ram` already.
    pub(in crate::guest) async fn save_at_ready(
        mut self,
        plan: &GuestPlan<'_>,
        ram: Arc<SharedRam>,
        state: GuestScratch,
        mut stop: Stop,
        listener: &mut Listener<'_>,
    ) -> Result<Saved, Box<Reaped>> {
        self.walk = Walk::new(Goal::Ready, self.walk.phase());
        match self.follow(plan, &mut stop, listener).await {
            Ok(Ending::Arrived) => {}
            Ok(ending) => return Err(Box::new(self.reap_at(ending).await)),
            Err(error) => {
                let ending = self.exited_or(error).await;
                return Err(Box::new(self.reap_at(ending).await));
            }
        }
        let ready = self.record.evidence.reports.iter().map(|report| &report.what);
        let ready = ready.rev().find(|report| matches!(report.message, Message::Ready(_))).cloned();
        let events = self.record.evidence.events.len();
        let written = tokio::select! {
            biased;
            () = stop.requested() => Err(GuestEnd::Interrupted),
            written = self.write(plan, &state) => written.map_err(|what| GuestEnd::Trouble { what }),
        };
        let at_ms = self.now_ms();
        let (written, ready) = match (written, ready) {
            (Ok(written), Some(ready)) => (written, ready),
            (written, _) => {
                let end = written.err().unwrap_or(GuestEnd::Concluded);
                return Err(Box::new(self.reap(end).await));
            }
        };
        // Bytes that the guest wrote before it stopped may still be on their way: they are read when QEMU is gone.
        let mut reaped = self.reap(GuestEnd::Concluded).await;
        let mut evidence = std::mem::take(&mut reaped.evidence);
        // What followed is the rig's own doing and no part of any cell's story.
        evidence.events.truncate(events);
        evidence.end = None;
        if reaped.leaked.is_some() {
            reaped.evidence = evidence;
            return Err(Box::new(reaped));
        }
        if let Err(error) = ram.seal() {
            evidence.end =
                Some(GuestEnd::Trouble { what: format!("cannot seal the file of the guest's RAM: {error}") });
            reaped.evidence = evidence;
            return Err(Box::new(reaped));
        }
        let mut saved = Saved::new(state, written, ram, evidence, ready, at_ms);
        saved.times = reaped.times;
        Ok(saved)
    }

    async fn write(&mut self, plan: &GuestPlan<'_>, state: &GuestScratch) -> Result<saved::Written, String> {
        self.qmp.execute(qmp::stop {}).await.map_err(|error| error.to_string())?;
        saved::write(plan.cell.platform.memory, &self.qmp, &mut self.events, state).await
    }
}
