//! A guest that runs: one loop over everything that can happen to it, until its outcome is proven or nothing more is awaited.

mod changes;
mod console;
mod ending;
mod examine;
mod look;
mod measure;
mod orders;
mod save;

pub(crate) use orders::reader_order;

use super::console_tail::ConsoleTail;
use super::cpu_log::CpuLogPipe;
use super::ports::{self, Chunk, Port};
use super::stopped::Stopped;
use super::walk::{Action, Goal, Sight, Walk};
use super::{GuestPlan, Listener, News, Reaped, Saved, first_words};
use crate::cell::Firmware;
use crate::channel::{Line, LineSplitter};
use crate::classify;
use crate::classify::console::Landmark;
use crate::cost;
use crate::evidence::{GuestEnd, PhaseWait, QmpEvent, Timed};
use crate::ledger::Mark;
use crate::patience::{self, Looked, Patience};
use crate::phase::Phase;
use crate::process::Process;
use crate::qmp::{Qmp, QmpError, Unasked};
use crate::stop::Stop;
use guest_protocol::{KernelFacts, Message, Order, Report};
use qapi::qmp;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Time between register samples after the trigger. A sample stops the guest for a few milliseconds.
const SAMPLE_PERIOD: Duration = Duration::from_millis(500);
/// A guest that wrote something this recently is at work: no sample is needed.
const QUIET: Duration = Duration::from_millis(300);
/// A phase is slow from the deadline's this part on: long enough for a warning to be rare, early enough for one to be of use.
const SLOW_PART: f64 = 2.0;
/// Messages of the agents that are kept. A conversation has a dozen; an agent that says more has gone mad.
const MAX_REPORTS: usize = 1024;
/// Lines of the message channel that are no messages, of which so many are kept, at most 4 KiB of each.
const MAX_FOREIGN_LINES: usize = 1024;
/// A wait for CPUs that people must know of beside a deadline.
const WORTH_A_NOTE: Duration = Duration::from_secs(1);

/// A guest that runs.
#[derive(Debug)]
pub struct Running {
    started: Instant,
    process: Process,
    qmp: Qmp,
    events: mpsc::UnboundedReceiver<Unasked>,
    chunks: mpsc::Receiver<Chunk>,
    order_port: OwnedWriteHalf,
    /// What is typed on the console.
    keyboard: OwnedWriteHalf,
    cpu_log: CpuLogPipe,
    /// Where a gdb stub of QEMU may connect to.
    gdb_socket: PathBuf,
    /// The moment of `cont`: zero of all times.
    zero: Instant,
    walk: Walk,
    /// The wait for the present phase's end.
    patience: Patience,
    /// Whether it was said that the present phase takes long.
    told_slow: bool,
    last_output: Instant,
    tail: ConsoleTail,
    lines: LineSplitter,
    /// Bytes of the console that are not in the evidence.
    console_left_out: usize,
    facts: Option<KernelFacts>,
    /// What the agent had reported when the state was saved in which this guest began; taken up when the walk begins.
    resumed: Option<Report>,
    /// Whether the guest is where it was to go.
    arrived: bool,
    /// When its phases were entered, and what QEMU had used of the CPUs by then.
    marks: Vec<(Phase, Mark)>,
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
        let Stopped { started, process, qmp, events, chunks, orders, keyboard, cpu_log, gdb_socket } =
            stopped;
        let now = Instant::now();
        let patience = Patience::begin(process.pid());
        let mark = Mark {
            at: started.elapsed(),
            cpu: cost::cpu_of(process.pid()).unwrap_or_default(),
            withheld: patience::withheld(process.pid()),
        };
        Self {
            marks: vec![(walk.phase(), mark)],
            started,
            process,
            qmp,
            events,
            chunks,
            order_port: orders,
            keyboard,
            cpu_log,
            gdb_socket,
            zero,
            walk,
            patience,
            told_slow: false,
            last_output: now,
            tail: ConsoleTail::default(),
            lines: LineSplitter::default(),
            console_left_out: 0,
            facts: None,
            resumed: None,
            arrived: false,
            record,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.walk.phase()
    }

    /// This moment in QEMU's life. One that is gone has used no more than was seen last.
    fn mark(&self) -> Mark {
        let (pid, last) = (self.process.pid(), self.marks.last().map(|(_, mark)| *mark).unwrap_or_default());
        let at = self.started.elapsed();
        match cost::cpu_of(pid) {
            Some(cpu) => Mark { at, cpu, withheld: patience::withheld(pid) },
            None => Mark { at, ..last },
        }
    }

    /// Process id of QEMU.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
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
    pub async fn walk(mut self, plan: &GuestPlan<'_>, mut stop: Stop, listener: &mut Listener<'_>) -> Reaped {
        let ending = match self.follow(plan, &mut stop, listener).await {
            Ok(ending) => ending,
            Err(error) => self.exited_or(error).await,
        };
        self.examine_before(plan, &ending, &mut stop).await;
        self.reap_at(ending).await
    }

    async fn follow(
        &mut self,
        plan: &GuestPlan<'_>,
        stop: &mut Stop,
        listener: &mut Listener<'_>,
    ) -> Result<Ending, String> {
        let mut sampler = tokio::time::interval(SAMPLE_PERIOD);
        sampler.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Some(ready) = self.resumed.take() {
            let actions = self.walk.at(Sight::Report(&ready));
            self.act(actions, plan, listener).await?;
            if self.is_concluded(plan) {
                return Ok(Ending::Known(GuestEnd::Concluded));
            }
        }
        loop {
            if self.arrived {
                return Ok(Ending::Arrived);
            }
            self.patience.awake();
            let limit = plan.deadlines.of(self.walk.phase());
            let slow = self.patience.at(limit.wall.div_f64(SLOW_PART));
            let news = tokio::select! {
                // In this order, so that a guest that prints for ever cannot starve its deadline.
                biased;
                () = stop.requested() => return Ok(Ending::Known(GuestEnd::Interrupted)),
                () = tokio::time::sleep_until(self.patience.until(limit)) => {
                    let phase = self.walk.phase();
                    // It is the first to be seen when the rig goes on after it was stopped.
                    self.patience.awake();
                    match self.patience.look(limit) {
                        Looked::Moved => continue,
                        looked => {
                            // What came in time may still lie in a queue.
                            if let Some(ending) = self.take_queued(plan, listener).await? {
                                return Ok(ending);
                            }
                            if self.walk.phase() == phase {
                                return self.at_deadline(plan, looked).await;
                            }
                            continue;
                        }
                    }
                }
                () = tokio::time::sleep_until(slow), if !self.told_slow => {
                    self.told_slow = true;
                    listener(News::Slow { phase: self.walk.phase(), limit: limit.wall });
                    false
                }
                Some(chunk) = self.chunks.recv() => self.take_chunk(chunk, plan, listener).await?,
                Some(unasked) = self.events.recv() => match self.take_unasked(unasked).await? {
                    Some(ending) => return Ok(ending),
                    None => true,
                },
                ended = self.process.wait() => {
                    return ended.map(Ending::Exited).map_err(|error| error.to_string());
                }
                // Whether a sample is worth it is asked at the tick, not here: a silent guest makes nothing else happen that
                // would let this be asked again.
                _ = sampler.tick() => {
                    self.tell_console(listener);
                    if plan.deadlines.silence.is_some() {
                        if self.walk.phase() < Phase::Done && plan.deadlines.is_hang(self.last_output.elapsed()) {
                            return self.at_deadline(plan, Looked::Spent).await;
                        }
                        continue;
                    }
                    match self.is_worth_a_sample() {
                        true => self.sample().await?,
                        // A first kernel that panics says so and falls silent: nothing else makes one ask whether that was all.
                        false => self.last_output.elapsed() >= QUIET,
                    }
                }
            };
            // After *done* only the power-off is awaited; before, whatever proves the outcome ends the guest.
            let is_over = if self.walk.phase() < Phase::Done {
                news && self.is_concluded(plan)
            } else {
                first_words::has_halted(&self.record.evidence.console)
            };
            if is_over {
                return Ok(Ending::Known(GuestEnd::Concluded));
            }
        }
    }

    /// Takes what has come and was not looked at yet. An ending, where it shows one.
    async fn take_queued(
        &mut self,
        plan: &GuestPlan<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<Option<Ending>, String> {
        // No more than can have been waiting: a guest that prints for ever must not keep its deadline away.
        for _ in 0..ports::QUEUE {
            let Ok(chunk) = self.chunks.try_recv() else { break };
            self.take_chunk(chunk, plan, listener).await?;
        }
        while let Ok(unasked) = self.events.try_recv() {
            if let Some(ending) = self.take_unasked(unasked).await? {
                return Ok(Some(ending));
            }
        }
        // A process that has ended is told by its sockets first.
        if let Ok(ended) = tokio::time::timeout(Duration::ZERO, self.process.wait()).await {
            return ended.map(|status| Some(Ending::Exited(status))).map_err(|error| error.to_string());
        }
        Ok(self.is_concluded(plan).then_some(Ending::Known(GuestEnd::Concluded)))
    }

    /// Takes what QMP says unasked. An ending, where it is one.
    async fn take_unasked(&mut self, unasked: Unasked) -> Result<Option<Ending>, String> {
        let (at, event) = match unasked {
            Unasked::Event(at, event) => (at, event),
            Unasked::Closed(_) => {
                return Ok(Some(self.exited_or("the QMP connection ended while QEMU goes on".into()).await));
            }
        };
        let stopped = event.name == "STOP";
        self.take_event(at, event);
        // QEMU stands still now, and waits to be ended: what the guest wrote is read then.
        if ending::ended_by_guest(&self.record.evidence) {
            return Ok(Some(Ending::Known(GuestEnd::ByItself)));
        }
        if stopped { self.standing_still().await } else { Ok(None) }
    }

    fn is_concluded(&self, plan: &GuestPlan<'_>) -> bool {
        classify::conclude(plan.cell, &self.record.evidence)
            .is_some_and(|concluded| plan.deadlines.is_over(&concluded.outcome, self.last_output.elapsed()))
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_millis()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }

    /// Takes bytes of a port; true when there is something new to conclude from. Console text alone is not: a conclusion
    /// from it needs to know that nothing followed, and comes with the next sample.
    async fn take_chunk(
        &mut self,
        chunk: Chunk,
        plan: &GuestPlan<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<bool, String> {
        self.last_output = chunk.at;
        match chunk.port {
            Port::Console => {
                let new = self.keep_console(&chunk);
                self.tail.push(&chunk.bytes);
                self.tell_console(listener);
                let mut actions = match self.a_kernel_spoke(plan.cell.platform.firmware, new) {
                    true => self.walk.at(Sight::Console),
                    false => Vec::new(),
                };
                let evidence = &self.record.evidence;
                if let Some(from) = evidence.console_at_trigger
                    && self.walk.phase() < Phase::Capture
                {
                    let landmarks = first_words::landmarks(&evidence.console, from, new);
                    actions
                        .extend(landmarks.flat_map(|landmark| self.walk.at(Sight::SinceTrigger(landmark))));
                }
                self.act(actions, plan, listener).await?;
                Ok(false)
            }
            Port::Channel => {
                let before = self.lines_kept();
                for line in self.lines.push(&chunk.bytes) {
                    let actions = self.keep_line(line, chunk.at);
                    self.act(actions, plan, listener).await?;
                }
                Ok(self.lines_kept() > before)
            }
        }
    }

    /// Whether what came on the console beyond `new` bytes is a kernel's. QEMU's BIOS has no words there; a UEFI firmware clears
    /// the screen, some seconds before its kernel speaks.
    fn a_kernel_spoke(&self, firmware: Firmware, new: usize) -> bool {
        match firmware {
            Firmware::Bios => true,
            Firmware::Uefi if self.walk.phase() > Phase::Firmware => true,
            Firmware::Uefi => first_words::landmarks(&self.record.evidence.console, 0, new).next().is_some(),
        }
    }

    /// Says what the console's last line is, if it is another and not too soon.
    fn tell_console(&mut self, listener: &mut Listener<'_>) {
        let quiet = self.last_output.elapsed() >= QUIET;
        if let Some(line) = self.tail.due(Instant::now(), quiet) {
            listener(News::Console(line));
        }
    }

    /// Keeps console bytes, and gives the length of the console before them.
    fn keep_console(&mut self, chunk: &Chunk) -> usize {
        let ms = self.ms(chunk.at);
        let evidence = &mut self.record.evidence;
        self.console_left_out += console::make_room(evidence);
        let before = evidence.console.len();
        evidence.console.extend_from_slice(&chunk.bytes);
        evidence.last_console_ms = Some(ms);
        before
    }

    fn keep_line(&mut self, line: Line, at: Instant) -> Vec<Action> {
        let ms = self.ms(at);
        let evidence = &self.record.evidence;
        let (kept, most, what) = match line {
            Line::Report(_) => (evidence.reports.len(), MAX_REPORTS, "messages of the agents"),
            Line::Foreign(_) => {
                (evidence.foreign_lines.len(), MAX_FOREIGN_LINES, "lines that are no messages")
            }
        };
        if kept >= most {
            let note = format!("only the first {most} {what} are kept");
            if !self.record.notes.contains(&note) {
                self.record.notes.push(note);
            }
            return Vec::new();
        }
        match line {
            Line::Foreign(text) => {
                self.record.evidence.foreign_lines.push(Timed { ms, what: text });
                Vec::new()
            }
            Line::Report(report) => {
                self.note_facts(&report);
                self.note_wait();
                let actions = self.walk.at(Sight::Report(&report));
                self.record.evidence.reports.push(Timed { ms, what: *report });
                actions
            }
        }
    }

    fn lines_kept(&self) -> usize {
        self.record.evidence.reports.len() + self.record.evidence.foreign_lines.len()
    }

    /// Keeps how long the host has withheld the CPU from QEMU in the present phase, where that weighs: programs in the guest have a
    /// time limit of their own, by the guest's clock, which goes on meanwhile.
    pub(super) fn note_wait(&mut self) {
        let waited = self.patience.waited();
        if waited >= WORTH_A_NOTE {
            let ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.record.evidence.waits.push(PhaseWait { phase: self.walk.phase(), ms });
        }
    }

    fn note_facts(&mut self, report: &Report) {
        if let Message::Ready(facts) = &report.message {
            self.facts.get_or_insert_with(|| facts.clone());
        }
    }

    fn take_event(&mut self, at: Instant, event: QmpEvent) {
        let ms = self.ms(at);
        self.record.evidence.events.push(Timed { ms, what: event });
    }

    async fn act(
        &mut self,
        actions: Vec<Action>,
        plan: &GuestPlan<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Enter(phase) => {
                    self.note_wait();
                    self.patience = Patience::begin(self.process.pid());
                    self.told_slow = false;
                    self.record.evidence.phases.push(Timed { ms: self.now_ms(), what: phase });
                    let mark = self.mark();
                    self.marks.push((phase, mark));
                    listener(News::Phase(phase));
                }
                Action::Arrived => self.arrived = true,
                Action::OrderLoad => {
                    let order = self.load_order(plan);
                    self.order(Order::Load(order)).await?;
                }
                Action::Trigger => {
                    self.change_memory(plan).await?;
                    self.trigger(plan.cell.trigger).await?;
                }
                Action::OrderRead(planted) => {
                    let reads = self.reads(&planted);
                    let reader = reader_order(plan);
                    self.order(Order::Read { reads, reader }).await?;
                }
            }
        }
        Ok(())
    }
}
