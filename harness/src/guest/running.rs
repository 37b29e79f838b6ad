//! A guest that runs: one loop over everything that can happen to it, until its outcome is proven or nothing more is awaited.

mod ending;
mod save;

use super::ports::{Chunk, Port};
use super::stopped::Stopped;
use super::walk::{Action, Goal, Sight, Walk};
use super::{GuestPlan, Reaped, Saved, first_words, nonces};
use crate::channel::{Line, LineSplitter};
use crate::classify;
use crate::classify::console::Landmark;
use crate::cmdline::reader_argv;
use crate::evidence::{GuestEnd, QmpEvent, Timed};
use crate::phase::Phase;
use crate::process::Process;
use crate::qmp::{Qmp, QmpError, Unasked};
use crate::registers;
use crate::stop::Stop;
use guest_protocol::{KernelFacts, LoadOrder, Message, Order, Planted, Read, ReaderOrder, Report};
use qapi::qmp;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Time between register samples after the trigger. A sample stops the guest for a few milliseconds.
const SAMPLE_PERIOD: Duration = Duration::from_millis(500);
/// A guest that wrote something this recently is at work: no sample is needed.
const QUIET: Duration = Duration::from_millis(300);
/// Distance of the two last looks before a deadline's verdict. Proof of a dead CPU needs two samples 100 ms apart.
const LAST_LOOKS_APART: Duration = Duration::from_millis(250);
/// Console bytes that are kept: a kernel that prints for ever must not fill the host's memory. A boot prints 50 KB.
const MAX_CONSOLE: usize = 16 << 20;
/// The deadline of a loader, or of a reader, ends before the phase's, so that the agent can still report it.
const PROGRAM_SHARE: f64 = 0.75;
/// The socket takes an order at once; a rig that waits longer has a QEMU that does not run.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

/// A guest that runs.
#[derive(Debug)]
pub struct Running {
    started: Instant,
    process: Process,
    qmp: Qmp,
    events: mpsc::UnboundedReceiver<Unasked>,
    chunks: mpsc::Receiver<Chunk>,
    order_port: OwnedWriteHalf,
    /// The moment of `cont`: zero of all times.
    zero: Instant,
    walk: Walk,
    phase_since: Instant,
    last_output: Instant,
    lines: LineSplitter,
    facts: Option<KernelFacts>,
    /// What the agent had reported when the state was saved in which this guest began; taken up when the walk begins.
    resumed: Option<Report>,
    /// Whether the guest is where it was to go.
    arrived: bool,
    record: Reaped,
}

/// Why the loop ends.
enum Ending {
    /// The reason is known.
    Known(GuestEnd),
    /// QEMU has ended; its last words are still to be read.
    Exited(ExitStatus),
    /// The guest is where it was to go, and runs.
    Arrived,
}

impl Running {
    pub(super) fn new(stopped: Stopped) -> Self {
        let mut record = Reaped::default();
        record.evidence.phases.push(Timed { ms: 0, what: Phase::Firmware });
        Self::begin(stopped, Instant::now(), Walk::new(Goal::Outcome, Phase::Firmware), record)
    }

    /// A guest that begins in a saved state. Its evidence begins with that of the boot, and its clock where that one's stopped.
    pub(super) fn resumed(stopped: Stopped, saved: &Saved) -> Self {
        let now = Instant::now();
        let zero = now.checked_sub(Duration::from_millis(saved.at_ms)).unwrap_or(now);
        let record = Reaped { evidence: saved.evidence.clone(), ..Reaped::default() };
        let mut running = Self::begin(stopped, zero, Walk::new(Goal::Outcome, Phase::Ready), record);
        running.note_facts(&saved.ready);
        running.resumed = Some(saved.ready.clone());
        running
    }

    fn begin(stopped: Stopped, zero: Instant, walk: Walk, record: Reaped) -> Self {
        let Stopped { started, process, qmp, events, chunks, orders } = stopped;
        let now = Instant::now();
        Self {
            started,
            process,
            qmp,
            events,
            chunks,
            order_port: orders,
            zero,
            walk,
            phase_since: now,
            last_output: now,
            lines: LineSplitter::default(),
            facts: None,
            resumed: None,
            arrived: false,
            record,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.walk.phase()
    }

    pub(super) async fn cont(&mut self) -> Result<(), QmpError> {
        self.qmp.execute(qmp::cont {}).await.map(|_| ())
    }

    /// Waits for the banner of the kernel proper on the console; none when the console ends before.
    pub(super) async fn banner(&mut self) -> Option<Duration> {
        while let Some(chunk) = self.chunks.recv().await {
            if chunk.port == Port::Console {
                let new = self.keep_console(&chunk);
                let console = &self.record.evidence.console;
                if first_words::landmarks(console, 0, new).any(|landmark| landmark == Landmark::Banner) {
                    return Some(chunk.at.saturating_duration_since(self.zero));
                }
            }
        }
        None
    }

    /// Follows the guest to its end.
    pub async fn walk(
        mut self,
        plan: &GuestPlan<'_>,
        mut stop: Stop,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Reaped {
        let ending = match self.follow(plan, &mut stop, on_phase).await {
            Ok(ending) => ending,
            Err(error) => self.exited_or(error).await,
        };
        self.reap_at(ending).await
    }

    async fn follow(
        &mut self,
        plan: &GuestPlan<'_>,
        stop: &mut Stop,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Result<Ending, String> {
        let mut sampler = tokio::time::interval(SAMPLE_PERIOD);
        sampler.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Some(ready) = self.resumed.take() {
            let actions = self.walk.at(Sight::Report(&ready));
            self.act(actions, plan, on_phase).await?;
            if self.is_concluded(plan) {
                return Ok(Ending::Known(GuestEnd::Concluded));
            }
        }
        loop {
            if self.arrived {
                return Ok(Ending::Arrived);
            }
            let limit = plan.deadlines.of(self.walk.phase(), plan.accel);
            let deadline = tokio::time::Instant::from_std(self.phase_since + limit);
            let news = tokio::select! {
                // In this order, so that a guest that prints for ever cannot starve its deadline.
                biased;
                () = stop.requested() => return Ok(Ending::Known(GuestEnd::Interrupted)),
                () = tokio::time::sleep_until(deadline) => return self.at_deadline(plan, limit).await,
                Some(chunk) = self.chunks.recv() => self.take_chunk(chunk, plan, on_phase).await?,
                Some(unasked) = self.events.recv() => match unasked {
                    Unasked::Event(at, event) => self.take_event(at, event),
                    Unasked::Closed(_) => {
                        return Ok(self.exited_or("the QMP connection ended while QEMU goes on".into()).await);
                    }
                },
                ended = self.process.wait() => {
                    return ended.map(Ending::Exited).map_err(|error| error.to_string());
                }
                // Whether a sample is worth it is asked at the tick, not here: a silent guest makes nothing else happen that
                // would let this be asked again.
                _ = sampler.tick() => self.is_worth_a_sample() && self.sample().await?,
            };
            // After *done* only the power-off is awaited; before, whatever proves the outcome ends the guest.
            if news && self.walk.phase() < Phase::Done && self.is_concluded(plan) {
                return Ok(Ending::Known(GuestEnd::Concluded));
            }
        }
    }

    fn is_concluded(&self, plan: &GuestPlan<'_>) -> bool {
        classify::conclude(plan.cell, &self.record.evidence).is_some()
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_millis()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }

    /// Whether a sample may tell something: the panic was triggered, and the guest is silent.
    fn is_worth_a_sample(&self) -> bool {
        self.record.evidence.triggered_ms.is_some()
            && self.walk.phase() < Phase::Done
            && self.last_output.elapsed() >= QUIET
    }

    /// Takes bytes of a port; true when there is something new to conclude from. Console text alone is not: a conclusion
    /// from it needs to know that nothing followed, and comes with the next sample.
    async fn take_chunk(
        &mut self,
        chunk: Chunk,
        plan: &GuestPlan<'_>,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Result<bool, String> {
        self.last_output = chunk.at;
        match chunk.port {
            Port::Console => {
                let new = self.keep_console(&chunk);
                let mut actions = self.walk.at(Sight::Console);
                let evidence = &self.record.evidence;
                if let Some(from) = evidence.console_at_trigger
                    && self.walk.phase() < Phase::Capture
                {
                    let landmarks = first_words::landmarks(&evidence.console, from, new);
                    actions
                        .extend(landmarks.flat_map(|landmark| self.walk.at(Sight::SinceTrigger(landmark))));
                }
                self.act(actions, plan, on_phase).await?;
                Ok(false)
            }
            Port::Channel => {
                for line in self.lines.push(&chunk.bytes) {
                    let actions = self.keep_line(line, chunk.at);
                    self.act(actions, plan, on_phase).await?;
                }
                Ok(true)
            }
        }
    }

    /// Keeps console bytes, and gives the length of the console before them.
    fn keep_console(&mut self, chunk: &Chunk) -> usize {
        let ms = self.ms(chunk.at);
        let evidence = &mut self.record.evidence;
        let before = evidence.console.len();
        let room = MAX_CONSOLE.saturating_sub(before);
        if room < chunk.bytes.len() && room > 0 {
            self.record
                .notes
                .push(format!("only the first {} MiB of the console are kept", MAX_CONSOLE >> 20));
        }
        evidence.console.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
        evidence.last_console_ms = Some(ms);
        before
    }

    fn keep_line(&mut self, line: Line, at: Instant) -> Vec<Action> {
        let ms = self.ms(at);
        match line {
            Line::Foreign(text) => {
                self.record.evidence.foreign_lines.push(Timed { ms, what: text });
                Vec::new()
            }
            Line::Report(report) => {
                self.note_facts(&report);
                let actions = self.walk.at(Sight::Report(&report));
                self.record.evidence.reports.push(Timed { ms, what: *report });
                actions
            }
        }
    }

    fn note_facts(&mut self, report: &Report) {
        if let Message::Ready(facts) = &report.message {
            self.facts.get_or_insert_with(|| facts.clone());
        }
    }

    fn take_event(&mut self, at: Instant, event: QmpEvent) -> bool {
        let ms = self.ms(at);
        self.record.evidence.events.push(Timed { ms, what: event });
        true
    }

    async fn act(
        &mut self,
        actions: Vec<Action>,
        plan: &GuestPlan<'_>,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Enter(phase) => {
                    self.phase_since = Instant::now();
                    self.record.evidence.phases.push(Timed { ms: self.now_ms(), what: phase });
                    on_phase(phase);
                }
                Action::Arrived => self.arrived = true,
                Action::OrderLoad => {
                    let order = self.load_order(plan);
                    self.order(Order::Load(order)).await?;
                }
                Action::Trigger => self.trigger().await?,
                Action::OrderRead(planted) => {
                    let reads = self.reads(&planted);
                    let reader = reader_order(plan);
                    self.order(Order::Read { reads, reader }).await?;
                }
            }
        }
        Ok(())
    }

    fn load_order(&mut self, plan: &GuestPlan<'_>) -> LoadOrder {
        let (ram, crash) = match &self.facts {
            Some(facts) => (facts.system_ram.as_slice(), facts.crash_regions.as_slice()),
            None => (&[][..], &[][..]),
        };
        let plants = nonces::plants(ram, crash, nonces::draw);
        self.record.evidence.plants.clone_from(&plants);
        let log_line = nonces::log_line(nonces::draw);
        self.record.evidence.log_line.clone_from(&log_line);
        let limit = plan.deadlines.of(Phase::Loading, plan.accel).as_secs_f64() * PROGRAM_SHARE;
        LoadOrder {
            plants,
            log_line,
            argv: plan.loader_argv.to_vec(),
            timeout_seconds: limit.max(1.0) as u32,
            arm_unloaded: false,
        }
    }

    /// The reads that look for each nonce where it was last seen.
    fn reads(&self, planted: &[Planted]) -> Vec<Read> {
        let plants = &self.record.evidence.plants;
        let length = |id| plants.iter().find(|plant| plant.id == id).map_or(0, |plant| plant.bytes.0.len());
        planted
            .iter()
            .map(|planted| Read {
                address: planted.address,
                length: u32::try_from(length(planted.id)).unwrap_or(u32::MAX),
            })
            .collect()
    }

    async fn order(&mut self, order: Order) -> Result<(), String> {
        let mut line =
            serde_json::to_vec(&order).map_err(|error| format!("cannot write an order: {error}"))?;
        line.push(b'\n');
        self.record.orders.push(Timed { ms: self.now_ms(), what: order });
        match tokio::time::timeout(ORDER_PATIENCE, self.order_port.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot send an order to the agent: {error}")),
            Err(_) => Err(format!("QEMU did not take an order within {} s", ORDER_PATIENCE.as_secs())),
        }
    }

    async fn trigger(&mut self) -> Result<(), String> {
        self.record.evidence.console_at_trigger = Some(self.record.evidence.console.len());
        self.record.evidence.triggered_ms = Some(self.now_ms());
        // The reply says nothing about the guest; what follows on console and channel does.
        self.qmp.execute(qmp::inject_nmi {}).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn sample(&mut self) -> Result<bool, String> {
        let command =
            qmp::human_monitor_command { command_line: "info registers -a".into(), cpu_index: None };
        let text = match self.qmp.execute(command).await {
            Ok(text) => text,
            // A QEMU that is just ending: the loop sees its end next, and knows better what it means.
            Err(QmpError::Closed { .. }) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let ms = self.now_ms();
        self.record.evidence.samples.push(Timed { ms, what: registers::parse(&text) });
        self.record.registers.push(Timed { ms, what: text });
        Ok(true)
    }

    /// The phase took too long. One more look at the machine, twice, before silence is all that can be said.
    async fn at_deadline(&mut self, plan: &GuestPlan<'_>, limit: Duration) -> Result<Ending, String> {
        if self.walk.phase() == Phase::Done {
            let note = format!("the guest did not power off within {} s", limit.as_secs());
            self.record.notes.push(note);
            return Ok(Ending::Known(GuestEnd::Concluded));
        }
        self.sample().await?;
        tokio::time::sleep(LAST_LOOKS_APART).await;
        self.sample().await?;
        // Its answer goes to the log, for people: running, paused, an internal error.
        let _ = self.qmp.execute(qmp::query_status {}).await;
        if self.is_concluded(plan) {
            return Ok(Ending::Known(GuestEnd::Concluded));
        }
        let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        Ok(Ending::Known(GuestEnd::Deadline { phase: self.walk.phase(), seconds }))
    }
}

/// The order to run the cell's reader, where it has one.
fn reader_order(plan: &GuestPlan<'_>) -> Option<ReaderOrder> {
    let limit = plan.deadlines.of(Phase::Reading, plan.accel).as_secs_f64() * PROGRAM_SHARE;
    reader_argv(plan.cell).map(|argv| ReaderOrder { argv, timeout_seconds: limit.max(1.0) as u32 })
}
