//! The end of a guest that ran: QEMU is ended and reaped, everything that it wrote is read, and only then there is evidence.

use super::{Ending, Running, console};
use crate::evidence::{Evidence, GuestEnd, QemuExit};
use crate::guest::Reaped;
use crate::guest::cpu_log;
use crate::guest::ports::Port;
use crate::guest::stopped::{END_AFTER_SOCKETS, END_GRACE};
use crate::ledger::GuestTimes;
use crate::qmp::Unasked;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long the ports may take to end after QEMU is gone. Only a survivor that holds the sockets lets them.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

impl Running {
    /// QEMU does not take or say something any more, most often because it has just ended: sockets show that before the process
    /// does. Then its status and its last words are the cause, else `trouble`.
    pub(super) async fn exited_or(&mut self, trouble: String) -> Ending {
        match tokio::time::timeout(END_AFTER_SOCKETS, self.process.wait()).await {
            Ok(Ok(status)) => Ending::Exited(status),
            Ok(Err(error)) => Ending::Known(GuestEnd::Trouble { what: format!("{trouble}; {error}") }),
            Err(_) => Ending::Known(GuestEnd::Trouble { what: trouble }),
        }
    }

    /// What is left of the guest after this trouble with QEMU, or after the end of QEMU that was its cause.
    pub(in crate::guest) async fn reap_after(mut self, trouble: String) -> Reaped {
        let ending = self.exited_or(trouble).await;
        self.reap_at(ending).await
    }

    /// What is left of the guest after this ending. One that has arrived somewhere is of no more use.
    pub(super) async fn reap_at(self, ending: Ending) -> Reaped {
        match ending {
            Ending::Known(end) => self.reap(end).await,
            Ending::Exited(status) => self.reap_exited(status).await,
            Ending::Arrived => self.reap(GuestEnd::Concluded).await,
        }
    }

    /// Ends QEMU, and reads all that it wrote.
    pub(in crate::guest) async fn reap(mut self, end: GuestEnd) -> Reaped {
        self.note_wait();
        self.record.times = GuestTimes::of(&self.marks, self.mark());
        if let Err(error) = self.process.end(END_GRACE).await {
            self.record.leaked = Some(error.to_string());
        }
        self.drain().await;
        self.finish(end).await
    }

    /// QEMU has ended on its own: by the guest's doing, or by somebody's.
    async fn reap_exited(mut self, status: ExitStatus) -> Reaped {
        self.record.times = GuestTimes::of(&self.marks, self.mark());
        // A wrapper may have left others of its group.
        if let Err(error) = self.process.end(END_GRACE).await {
            self.record.leaked = Some(error.to_string());
        }
        self.drain().await;
        let end = match ended_by_guest(&self.record.evidence) {
            true => GuestEnd::ByItself,
            false => {
                let stderr = self.process.stderr();
                let said = match stderr.trim() {
                    "" => "it said nothing".to_owned(),
                    text => format!("it said: {text}"),
                };
                let what = format!(
                    "QEMU (pid {}) ended, not by the guest's doing: {status}; {said}",
                    self.process.pid()
                );
                self.record.evidence.qemu_exit = Some(match (status.signal(), status.code()) {
                    (Some(signal), _) => QemuExit::Signal { signal },
                    (None, code) => {
                        let said = stderr.trim().lines().next_back().unwrap_or_default().to_owned();
                        QemuExit::Status { status: code.unwrap_or_default(), said }
                    }
                });
                GuestEnd::Trouble { what }
            }
        };
        self.finish(end).await
    }

    /// Reads ports and events to their ends. Only evidence comes of it, no more actions.
    async fn drain(&mut self) {
        let until = tokio::time::Instant::now() + DRAIN_PATIENCE;
        while let Ok(Some(chunk)) = tokio::time::timeout_at(until, self.chunks.recv()).await {
            match chunk.port {
                Port::Console => {
                    self.keep_console(&chunk);
                }
                Port::Channel => {
                    for line in self.lines.push(&chunk.bytes) {
                        self.keep_line(line, chunk.at);
                    }
                }
            }
        }
        for line in std::mem::take(&mut self.lines).finish() {
            self.keep_line(line, Instant::now());
        }
        while let Ok(Some(Unasked::Event(at, event))) =
            tokio::time::timeout_at(until, self.events.recv()).await
        {
            self.take_event(at, event);
        }
    }

    async fn finish(self, end: GuestEnd) -> Reaped {
        let ended_ms = self.now_ms();
        let Self { started, process, qmp, zero, mut record, console_left_out, cpu_log, .. } = self;
        record.cpu_log = cpu_log.finish().await;
        record.evidence.cpu_log = cpu_log::parse(&record.cpu_log);
        record.evidence.end = Some(end);
        record.stderr = process.stderr();
        record.lasted = started.elapsed();
        record.peak_mib = process.peak_mib();
        let last_message = record.evidence.reports.last();
        record.last_message = last_message.map(|report| zero + Duration::from_millis(report.ms));
        record.ended_ms = ended_ms;
        let ms = |at: Instant| match at.checked_duration_since(zero) {
            Some(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            None => -i64::try_from(zero.duration_since(at).as_millis()).unwrap_or(i64::MAX),
        };
        record.notes.extend(console::note(console_left_out));
        record.notes.extend(qmp.not_kept());
        record.qmp_log = qmp.log().into_iter().map(|line| (ms(line.at), line.direction, line.text)).collect();
        record
    }
}

/// Whether QEMU said that the guest shut down or reset itself. Its exit status says nothing: it is 0 after SIGTERM as well.
pub(super) fn ended_by_guest(evidence: &Evidence) -> bool {
    let shutdown = evidence.events.iter().rev().find(|event| event.what.name == "SHUTDOWN");
    shutdown
        .is_some_and(|event| event.what.data.get("guest").and_then(serde_json::Value::as_bool) == Some(true))
}
