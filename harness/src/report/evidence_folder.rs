//! The folder of one attempt's evidence: all that was seen, in files that people read and that can be judged again.

use super::{ReportError, io_error};
use crate::evidence::{Evidence, Timed};
use crate::guest::Reaped;
use crate::qmp::Direction;
use crate::triage::Triage;
use guest_protocol::{Order, Report as AgentReport};
use serde::Serialize;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The console, byte for byte as it was judged.
const CONSOLE_FILE: &str = "console.log";
/// The console as QEMU itself writes it, for when the rig dies; gone when [`CONSOLE_FILE`] is there. Not fit for evidence:
/// QEMU 7.2 writes a byte twice into it now and then (one in 20000, a socket behind the same port got it once).
const QEMU_CONSOLE_FILE: &str = "console.qemu.log";
/// [`Evidence`] without the console.
const EVIDENCE_FILE: &str = "evidence.json";
/// What [`SCRIPT_FILE`] feeds to the first kernel's agent.
const ORDERS_FILE: &str = "orders.jsonl";
/// The script that does it all again.
pub const SCRIPT_FILE: &str = "repro.sh";

/// The folder of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptFolder {
    /// Its path.
    pub path: PathBuf,
    /// Its path in the report.
    pub name: PathBuf,
}

/// A line of `agent.jsonl`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum ChannelLine<'a> {
    Rig(&'a Order),
    Agent(&'a AgentReport),
    Foreign(&'a str),
}

/// A line of `qmp.jsonl`.
#[derive(Serialize)]
struct QmpLine<'a> {
    ms: i64,
    direction: &'static str,
    message: QmpMessage<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum QmpMessage<'a> {
    Json(serde_json::Value),
    Text(&'a str),
}

impl AttemptFolder {
    /// The file that QEMU writes the console to while the guest lives.
    pub fn console_log(&self) -> PathBuf {
        self.path.join(QEMU_CONSOLE_FILE)
    }

    /// Writes all that is left of a guest, and the script that starts it again.
    pub fn write(&self, reaped: &Reaped, script: &[u8]) -> Result<(), ReportError> {
        self.file(CONSOLE_FILE, &reaped.evidence.console)?;
        match std::fs::remove_file(self.console_log()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &self.console_log())(error));
            }
            _ => {}
        }
        self.file("agent.jsonl", &agent_log(reaped))?;
        self.file("qmp.jsonl", &qmp_log(reaped))?;
        self.file("registers.txt", &registers(reaped))?;
        if !reaped.machine.is_empty() {
            self.file("machine.txt", &machine(reaped))?;
        }
        // That of every guest begins with the resets of a power-on, which tell nothing.
        if !reaped.evidence.cpu_log.is_empty() {
            self.file("cpu.log", &reaped.cpu_log)?;
        }
        self.file(EVIDENCE_FILE, &pretty(&reaped.evidence))?;
        if !reaped.stderr.is_empty() {
            self.file("qemu.log", reaped.stderr.as_bytes())?;
        }
        self.file(ORDERS_FILE, &orders(reaped))?;
        self.file(SCRIPT_FILE, script)?;
        let script = self.path.join(SCRIPT_FILE);
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
            .map_err(io_error("make executable", &script))
    }

    /// Writes why the attempt was not as expected, for who looks at the folder alone.
    pub fn write_triage(&self, triage: &Triage) -> Result<(), ReportError> {
        self.file("triage.txt", format!("{}\n", triage.sentence).as_bytes())
    }

    /// The file for a dump of the guest's memory.
    pub fn memory_dump(&self) -> PathBuf {
        self.path.join("memory.kdump")
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<(), ReportError> {
        let path = self.path.join(name);
        std::fs::write(&path, content).map_err(io_error("write", &path))
    }
}

/// Saved evidence cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A file of it is not there, or cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no evidence: cut off, changed, or of another version.
    #[error("{path} is no evidence: {source}")]
    NoEvidence {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line and column.
        source: serde_json::Error,
    },
    /// The console is shorter than it was when the panic was triggered.
    #[error(
        "{path} is cut off: it has {found} bytes, and there were {at_trigger} already when the panic was triggered"
    )]
    ConsoleCut {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
        /// The length at the trigger, in bytes.
        at_trigger: usize,
    },
}

impl EvidenceError {
    /// Whether nothing was saved at all, which is not the same as something that was spoilt.
    pub fn is_absence(&self) -> bool {
        let Self::Unreadable { path, source } = self else { return false };
        source.kind() == io::ErrorKind::NotFound && path.ends_with(EVIDENCE_FILE)
    }
}

/// Reads saved evidence, console included, so that it can be judged again.
pub fn load_evidence(folder: &Path) -> Result<Evidence, EvidenceError> {
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(source) => Err(EvidenceError::Unreadable { path, source }),
        }
    };
    let (path, json) = read(EVIDENCE_FILE)?;
    let mut evidence: Evidence =
        serde_json::from_slice(&json).map_err(|source| EvidenceError::NoEvidence { path, source })?;
    let (path, console) = read(CONSOLE_FILE)?;
    if let Some(at_trigger) = evidence.console_at_trigger.filter(|at_trigger| *at_trigger > console.len()) {
        return Err(EvidenceError::ConsoleCut { path, found: console.len(), at_trigger });
    }
    evidence.console = console;
    Ok(evidence)
}

/// JSON for people. Evidence always serialises; if it ever did not, the file would say so.
fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_else(|error| error.to_string().into_bytes())
}

fn push_line(lines: &mut Vec<u8>, value: &impl Serialize) {
    lines.extend(serde_json::to_vec(value).unwrap_or_else(|error| error.to_string().into_bytes()));
    lines.push(b'\n');
}

/// Both directions of the message channel, in the order of time.
fn agent_log(reaped: &Reaped) -> Vec<u8> {
    let evidence = &reaped.evidence;
    let orders =
        reaped.orders.iter().map(|order| Timed { ms: order.ms, what: ChannelLine::Rig(&order.what) });
    let reports =
        evidence.reports.iter().map(|report| Timed { ms: report.ms, what: ChannelLine::Agent(&report.what) });
    let foreign = evidence
        .foreign_lines
        .iter()
        .map(|line| Timed { ms: line.ms, what: ChannelLine::Foreign(&line.what) });
    let mut all: Vec<_> = reports.chain(foreign).chain(orders).collect();
    // Stable: an order follows the report that it answers, in the same millisecond as well.
    all.sort_by_key(|line| line.ms);
    let mut lines = Vec::new();
    all.iter().for_each(|line| push_line(&mut lines, line));
    lines
}

fn qmp_log(reaped: &Reaped) -> Vec<u8> {
    let mut lines = Vec::new();
    for (ms, direction, text) in &reaped.qmp_log {
        let message = match serde_json::from_str(text) {
            Ok(json) => QmpMessage::Json(json),
            Err(_) => QmpMessage::Text(text),
        };
        let direction = match direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        push_line(&mut lines, &QmpLine { ms: *ms, direction, message });
    }
    lines
}

fn registers(reaped: &Reaped) -> Vec<u8> {
    let mut text = Vec::new();
    for sample in &reaped.registers {
        // Writing to memory cannot fail.
        let _ = write!(text, "=== {} ms ===\n{}\n", sample.ms, sample.what.replace('\r', ""));
    }
    text
}

/// What the monitor said of a machine that was looked at.
fn machine(reaped: &Reaped) -> Vec<u8> {
    let mut text = Vec::new();
    for (asked, answer) in &reaped.machine {
        // Writing to memory cannot fail.
        let _ = write!(text, "=== {asked} ===\n{}\n", answer.replace('\r', ""));
    }
    text
}

/// The order to load, for a guest that is started by hand.
fn orders(reaped: &Reaped) -> Vec<u8> {
    let mut lines = Vec::new();
    for order in &reaped.orders {
        match &order.what {
            Order::Load(_) => push_line(&mut lines, &order.what),
            // For the capture kernel: the first one's agent would take it.
            Order::Read { .. } | Order::Panic { .. } | Order::PowerOff => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::QmpEvent;

    /// Bug: saved evidence lacks something that the outcome is derived from, so that it is judged differently later.
    #[test]
    fn evidence_comes_back_whole() {
        let temp = tempfile::tempdir().unwrap();
        let folder = AttemptFolder { path: temp.path().to_owned(), name: "x".into() };
        let evidence = Evidence {
            console: b"\xffLinux version\r\n\0".to_vec(),
            console_at_trigger: Some(3),
            events: vec![Timed {
                ms: 7,
                what: QmpEvent { name: "STOP".into(), data: serde_json::Value::Null },
            }],
            ..Evidence::default()
        };
        let reaped = Reaped { evidence: evidence.clone(), ..Reaped::default() };
        folder.write(&reaped, b"#!/bin/sh\n").unwrap();
        assert_eq!(load_evidence(temp.path()).unwrap(), evidence);
    }

    /// Bug: evidence that was cut off is judged as if it were whole; the error does not say where it lies; or a folder that is
    /// gone is taken for a spoilt one.
    #[test]
    fn spoilt_evidence_is_told_with_its_place() {
        let temp = tempfile::tempdir().unwrap();
        let folder = AttemptFolder { path: temp.path().to_owned(), name: "x".into() };
        let why = |name: &str, content: &[u8]| {
            folder.file(name, content).unwrap();
            let error = load_evidence(temp.path()).unwrap_err();
            assert!(!error.is_absence());
            error.to_string()
        };
        assert!(load_evidence(temp.path()).unwrap_err().is_absence());
        let evidence =
            Evidence { console: b"abc".to_vec(), console_at_trigger: Some(3), ..Evidence::default() };
        folder.write(&Reaped { evidence, ..Reaped::default() }, b"").unwrap();
        let json = std::fs::read(temp.path().join(EVIDENCE_FILE)).unwrap();
        let cut = why(CONSOLE_FILE, b"ab");
        assert!(cut.contains("console.log is cut off: it has 2 bytes, and there were 3"), "{cut}");
        let cut = why(EVIDENCE_FILE, &json[..json.len() / 2]);
        assert!(cut.contains("evidence.json is no evidence: EOF") && cut.contains("line"), "{cut}");
        folder.file(EVIDENCE_FILE, &json).unwrap();
        std::fs::remove_file(temp.path().join(CONSOLE_FILE)).unwrap();
        assert!(!load_evidence(temp.path()).unwrap_err().is_absence());
    }
}
