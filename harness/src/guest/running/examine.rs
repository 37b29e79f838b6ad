//! The look at a machine before it is ended, where its outcome is not the expected one, and wherever it hung: what its CPUs are
//! doing, and where.
//! Nothing here decides an outcome, and whatever fails is told and left out.

use super::{Ending, Running};
use crate::evidence::{Code, Cpu, Examination, GuestEnd, Ip, Timed};
use crate::guest::GuestPlan;
use crate::outcome::{Outcome, Verdict};
use crate::paging::Walk;
use crate::qmp::{QmpError, Unasked};
use crate::stop::Stop;
use crate::{classify, judge, monitor, registers, triage};
use guest_protocol::HexBytes;
use qapi::qmp;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between the two looks: a kernel that lives moves on in that time, whatever it waits for.
const LOOKS_APART: Duration = Duration::from_secs(1);
/// For the whole examination but the dump. QEMU answers in milliseconds; a host under load may take seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the dump of a guest's memory. Zero pages, which most are, take no time.
const DUMP_PATIENCE: Duration = Duration::from_secs(180);
/// Bytes of code that are read before the instruction, and from it on.
const CODE_BEFORE: u64 = 48;
const CODE_FROM: u64 = 48;
/// CPUs whose place is looked up. All registers are kept in any case.
const MOST_CPUS: usize = 16;

impl Running {
    /// Looks at the machine, if it hung or what became of it is not expected, and there is something to look at.
    pub(super) async fn examine_before(&mut self, plan: &GuestPlan<'_>, ending: &Ending, stop: &mut Stop) {
        let Ending::Known(end) = ending else { return };
        if !plan.inquiry.examine || !self.is_there(end) {
            return;
        }
        let outcome = self.outcome_at(plan, end);
        let verdict = judge::judge(&outcome, &plan.cell.expected);
        if !triage::is_wanted(&outcome, verdict) {
            return;
        }
        let mut found = Examination::default();
        let looked = tokio::select! {
            biased;
            () = stop.requested() => Ok(Err("the run was interrupted".to_owned())),
            looked = tokio::time::timeout(PATIENCE, self.examine(&mut found)) => {
                looked.map(|looked| looked.map_err(|error| error.to_string()))
            }
        };
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(why)) => found.missing.push(why),
            Err(_) => found.missing.push(format!("QEMU did not tell all within {} s", PATIENCE.as_secs())),
        }
        if let Some(file) = plan.inquiry.dump.filter(|_| verdict != Verdict::Pass) {
            let dumped = tokio::select! {
                biased;
                () = stop.requested() => Err("the run was interrupted".to_owned()),
                dumped = self.dump(file) => dumped,
            };
            match dumped {
                Ok(note) => self.record.notes.push(note),
                Err(why) => {
                    // What is there of it is no dump.
                    let _ = std::fs::remove_file(file);
                    self.record.notes.push(format!("no dump of the guest's memory: {why}"));
                }
            }
        }
        self.record.evidence.examined = Some(found);
    }

    /// Whether the machine still is what it was.
    fn is_there(&self, end: &GuestEnd) -> bool {
        match end {
            GuestEnd::Concluded | GuestEnd::Deadline { .. } => true,
            // A machine that powered off, by its own will, stands where ACPI left it.
            GuestEnd::ByItself => classify::was_reset(&self.record.evidence),
            GuestEnd::Trouble { .. } | GuestEnd::Interrupted => false,
        }
    }

    /// What becomes of the guest if it ends so.
    fn outcome_at(&mut self, plan: &GuestPlan<'_>, end: &GuestEnd) -> Outcome {
        let evidence = &mut self.record.evidence;
        evidence.end = Some(end.clone());
        let outcome = classify::classify(plan.cell, evidence);
        evidence.end = None;
        outcome
    }

    async fn examine(&mut self, found: &mut Examination) -> Result<(), QmpError> {
        let state = self.qmp.execute(qmp::query_status {}).await?;
        found.status =
            serde_json::to_value(state.status).ok().and_then(|status| Some(status.as_str()?.to_owned()));
        self.look(found).await?;
        if state.running {
            tokio::time::sleep(LOOKS_APART).await;
            // From here on nothing moves: registers, code and page tables are those of one moment.
            self.qmp.execute(qmp::stop {}).await?;
            self.look(found).await?;
        }
        let cpus = found.looks.last().map(|look| look.what.clone()).unwrap_or_default();
        for (index, cpu) in cpus.iter().enumerate().take(MOST_CPUS) {
            let ip = self.place(index as i64, cpu).await?;
            found.ips.push(ip);
        }
        self.ask_for_people("info pic".to_owned(), 0).await
    }

    async fn look(&mut self, found: &mut Examination) -> Result<(), QmpError> {
        let text = self.ask("info registers -a".to_owned(), None).await?;
        let ms = self.now_ms();
        // Not among the samples: what is looked at because of an outcome must not make another one of it.
        found.looks.push(Timed { ms, what: registers::cpus(&text) });
        self.record.registers.push(Timed { ms, what: text });
        Ok(())
    }

    async fn place(&mut self, index: i64, cpu: &Cpu) -> Result<Ip, QmpError> {
        let address = cpu.address();
        let mut walk = Walk::begin(cpu, address);
        while let Some((at, bytes)) = walk.wanted() {
            let size = if bytes == 4 { 'w' } else { 'g' };
            let answer = self.ask(format!("xp /1x{size} {at:#x}"), Some(index)).await?;
            walk.take(monitor::number(&answer));
        }
        let before = address.saturating_sub(CODE_BEFORE);
        let mut code = None;
        // The page before may not be mapped.
        for (start, length) in [(before, address - before + CODE_FROM), (address, CODE_FROM)] {
            let bytes = monitor::bytes(&self.ask(format!("x /{length}xb {start:#x}"), Some(index)).await?);
            if bytes.len() as u64 > address - start {
                code = Some(Code { start, bytes: HexBytes(bytes) });
                break;
            }
        }
        self.ask_for_people(format!("x /12i {address:#x}"), index).await?;
        self.ask_for_people("info lapic".to_owned(), index).await?;
        Ok(Ip { address, code, walk: walk.finish(), symbol: None })
    }

    /// Asks the monitor something whose answer is for people alone.
    async fn ask_for_people(&mut self, command: String, cpu: i64) -> Result<(), QmpError> {
        let answer = self.ask(command.clone(), Some(cpu)).await?;
        self.record.machine.push((format!("CPU {cpu}: {command}"), answer));
        Ok(())
    }

    async fn ask(&self, command_line: String, cpu_index: Option<i64>) -> Result<String, QmpError> {
        self.qmp.execute(qmp::human_monitor_command { command_line, cpu_index }).await
    }

    /// Writes the guest's memory into a file, and says what there is then.
    async fn dump(&mut self, file: &Path) -> Result<String, String> {
        let text = |error: QmpError| error.to_string();
        let Some(path) =
            std::path::absolute(file).ok().and_then(|path| path.into_os_string().into_string().ok())
        else {
            return Err(format!("{} is no path that QEMU takes", file.display()));
        };
        // QEMU dumps stopped guests alone, and stops one that runs.
        let dump = qmp::dump_guest_memory {
            paging: false,
            protocol: format!("file:{path}"),
            detach: Some(true),
            begin: None,
            length: None,
            // Compressed: of gigabytes that a guest never touched nothing is written.
            format: Some(qmp::DumpGuestMemoryFormat::kdump_zlib),
        };
        self.qmp.execute(dump).await.map_err(text)?;
        let completed = async {
            while let Some(unasked) = self.events.recv().await {
                let Unasked::Event(at, event) = unasked else { break };
                let error = event.data.get("error").and_then(serde_json::Value::as_str).map(str::to_owned);
                let is_dump = event.name == "DUMP_COMPLETED";
                self.take_event(at, event);
                if is_dump {
                    return error.map_or(Ok(()), Err);
                }
            }
            Err("the QMP connection ended".to_owned())
        };
        let began = Instant::now();
        tokio::time::timeout(DUMP_PATIENCE, completed)
            .await
            .unwrap_or_else(|_| Err(format!("not complete after {} s", DUMP_PATIENCE.as_secs())))?;
        let bytes = std::fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?.len();
        Ok(format!(
            "the guest's memory is in {} ({} MiB, written in {} s), a flattened kdump file as crash(8) reads it",
            file.file_name().unwrap_or_default().display(),
            bytes.div_ceil(1 << 20),
            began.elapsed().as_secs()
        ))
    }
}
