//! A stand-in for QEMU: it connects to the rig's sockets as QEMU does, and plays a recorded conversation of a real guest, with one
//! fault in it. For faults that need no guest: it is done in a fraction of a second, and the fault comes at the named moment.
//!
//! It runs as a process of its own, in which the rig sees nothing but a QEMU. Blocking code: it has one thing to do at a time.

mod act;
mod deed;

use super::list;
use crate::cli::StandInArgs;
use crate::exit::{Exit, Failure, OrFail};
use act::{Then, claim};
use anyhow::{Context, anyhow};
pub(super) use deed::{Deed, Moment};
use guest_protocol::{Message, Order, Report, VmcoreReport};
use harness::evidence::Evidence;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// The word on the first kernel's command line of the cell that is faulted (`xtask/faults.yaml`).
pub(super) const MARK: &str = "kdump_rig.faulted";

/// A cell that was captured, as the rig recorded it.
const RECORDED: &str = include_str!("../../../harness/tests/evidence/captured/evidence.json");
/// Its console.
const CONSOLE: &[u8] = include_bytes!("../../../harness/tests/evidence/captured/console.log");

/// `info registers -a` of a CPU at work: interrupts on, not halted.
const REGISTERS: &str = "CPU#0\r\nEIP=0008a000 EFL=00000206 [-----P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n";

/// A line that a console may repeat.
const REPEATED: &[u8] =
    b"[    1.234567] watchdog: this line comes again, and again, and again, and again\r\n";

/// What comes in.
enum Input {
    Command(Value),
    Order(Order),
}

/// Plays QEMU to its end.
///
/// # Errors
/// The rig's sockets cannot be used. The rig sees a QEMU that failed.
pub(crate) fn run(args: &StandInArgs) -> Result<Exit, Failure> {
    let fault = match &args.fault {
        Some(name) => {
            let fault = list::guest_fault(name);
            Some(fault.ok_or_else(|| anyhow!("{name:?} is no fault of a guest")).or_input()?)
        }
        None => None,
    };
    let faulted = argument(&args.qemu, "-append")
        .is_some_and(|line| line.as_bytes().split(|byte| *byte == b' ').any(|word| word == MARK.as_bytes()));
    let recorded: Evidence = serde_json::from_str(RECORDED).context("the recorded evidence").or_rig()?;
    let reached = args.reached.clone().unwrap_or_default();
    let fault = fault.filter(|_| faulted);
    if let Some((Moment::Started, Deed::RefuseArguments)) = fault
        && claim(&reached).or_rig()?
    {
        std::fs::write(&reached, "").or_rig()?;
        return Err(Failure::Rig(anyhow!("-machine pc: unsupported machine type")));
    }
    let mut guest = Guest::connect(args, fault, recorded).or_rig()?;
    guest.live().or_rig()?;
    Ok(Exit::AsExpected)
}

/// The value after an option of QEMU's.
fn argument<'a>(args: &'a [OsString], option: &str) -> Option<&'a OsStr> {
    args.iter().skip_while(|arg| *arg != option).nth(1).map(OsString::as_os_str)
}

/// The value of a key of the chardev with this id, as in `socket,id=console,path=/x,logfile=/y`. The campaign's paths have no commas.
fn chardev(args: &[OsString], id: &str, key: &str) -> anyhow::Result<PathBuf> {
    let id = format!("id={id}");
    let found = args.iter().filter_map(|arg| arg.to_str()).find(|arg| arg.split(',').any(|part| part == id));
    let value =
        found.and_then(|arg| arg.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')));
    value.map(PathBuf::from).with_context(|| format!("no chardev with {id} and {key} in {args:?}"))
}

struct Guest {
    console: UnixStream,
    channel: UnixStream,
    qmp: UnixStream,
    inputs: mpsc::Receiver<Input>,
    fault: Option<(Moment, Deed)>,
    /// Made when the fault is there, so that the campaign knows.
    reached: PathBuf,
    report_folder: PathBuf,
    recorded: Evidence,
    order: Option<guest_protocol::LoadOrder>,
    mute: bool,
    agent_is_gone: bool,
    /// The status of a machine that stands still.
    stands: Option<&'static str>,
    replies: bool,
    /// What to do to the next message.
    next_message: Option<Deed>,
    /// Messages that came on top of the recorded ones.
    extra: u32,
}

impl Guest {
    fn connect(
        args: &StandInArgs,
        fault: Option<(Moment, Deed)>,
        recorded: Evidence,
    ) -> anyhow::Result<Self> {
        let connect = |id: &str| {
            let path = chardev(&args.qemu, id, "path")?;
            UnixStream::connect(&path).with_context(|| format!("cannot connect to {}", path.display()))
        };
        let (console, channel, qmp) = (connect("console")?, connect("channel")?, connect("qmp")?);
        let log = chardev(&args.qemu, "console", "logfile")?;
        let report_folder = log.parent().map(Path::to_owned).unwrap_or_default();
        let (sender, inputs) = mpsc::channel();
        listen(qmp.try_clone()?, sender.clone(), |line| {
            serde_json::from_slice(line).ok().map(Input::Command)
        });
        listen(channel.try_clone()?, sender, |line| serde_json::from_slice(line).ok().map(Input::Order));
        Ok(Self {
            console,
            channel,
            qmp,
            inputs,
            fault,
            reached: args.reached.clone().unwrap_or_default(),
            report_folder,
            recorded,
            order: None,
            mute: false,
            agent_is_gone: false,
            stands: None,
            replies: true,
            next_message: None,
            extra: 0,
        })
    }

    fn live(&mut self) -> anyhow::Result<()> {
        if self.at(Moment::Started)? == Then::Nothing {
            return Ok(());
        }
        if self.at(Moment::Greeting)? == Then::GoOn {
            self.say(&json!({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}))?;
        }
        while let Ok(input) = self.inputs.recv() {
            match input {
                Input::Command(command) => self.obey(&command)?,
                Input::Order(Order::Load(order)) => {
                    self.order = Some(order);
                    if self.at(Moment::Load)? == Then::GoOn {
                        self.report(1)?;
                        self.report(2)?;
                    }
                }
                Input::Order(Order::Read { .. }) => {
                    if self.at(Moment::Read)? == Then::GoOn {
                        self.report(4)?;
                        self.report(5)?;
                        return self.power_off();
                    }
                }
                // It is armed by no cell whose trigger that is.
                Input::Order(Order::Panic { cpu }) => anyhow::bail!("ordered to panic CPU {cpu}"),
                Input::Order(Order::PowerOff) => return self.power_off(),
            }
        }
        // The rig is gone, or has closed everything: a QEMU runs on until it is ended.
        loop {
            std::thread::park();
        }
    }

    fn obey(&mut self, command: &Value) -> anyhow::Result<()> {
        let id = &command["id"];
        match command["execute"].as_str().unwrap_or_default() {
            "cont" => {
                self.say(&json!({"event": "RESUME"}))?;
                self.reply(id, json!({}))?;
                self.print(&CONSOLE[..self.trigger_at()])?;
                if self.at(Moment::Ready)? == Then::GoOn {
                    self.report(0)?;
                }
            }
            "inject-nmi" => {
                let then = self.at(Moment::Triggered)?;
                self.reply(id, json!({}))?;
                if then == Then::GoOn {
                    self.print(&CONSOLE[self.trigger_at()..])?;
                    self.write_channel(b"\n")?;
                    self.report(3)?;
                }
            }
            "human-monitor-command" => self.reply(id, json!(REGISTERS))?,
            "query-status" => {
                let (status, running) = (self.stands.unwrap_or("running"), self.stands.is_none());
                self.reply(id, json!({"status": status, "running": running, "singlestep": false}))?;
            }
            _ => self.reply(id, json!({}))?,
        }
        Ok(())
    }

    /// Sends the recorded message with this index, as it must be in this cell.
    fn report(&mut self, index: usize) -> anyhow::Result<()> {
        let recorded = self.recorded.reports.get(index).context("the recording has no such message")?;
        let mut report = recorded.what.clone();
        report.seq += self.extra;
        if let Some(order) = &self.order {
            fit(&mut report, order);
        }
        match self.next_message.take() {
            Some(Deed::HalfMessage) => {
                let line = serde_json::to_vec(&report)?;
                self.write_channel(&line[..line.len() / 2])?;
                self.agent_is_gone = true;
                Ok(())
            }
            Some(Deed::SayTwice) => {
                self.send(&report)?;
                report.seq += 1;
                self.extra += 1;
                self.send(&report)
            }
            _ => self.send(&report),
        }
    }

    fn send(&mut self, report: &Report) -> anyhow::Result<()> {
        if self.agent_is_gone {
            return Ok(());
        }
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.write_channel(&line)
    }

    fn write_channel(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.channel.write_all(bytes).context("cannot write to the channel")
    }

    fn print(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.mute {
            return Ok(());
        }
        self.console.write_all(bytes).context("cannot write to the console")
    }

    fn say(&mut self, line: &Value) -> anyhow::Result<()> {
        // A closed connection is a fault that the campaign wanted.
        let _ = self.qmp.write_all(format!("{line}\r\n").as_bytes());
        Ok(())
    }

    fn reply(&mut self, id: &Value, value: Value) -> anyhow::Result<()> {
        if self.replies { self.say(&json!({"return": value, "id": id})) } else { Ok(()) }
    }

    fn power_off(&mut self) -> anyhow::Result<()> {
        self.say(&json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}))
    }

    fn trigger_at(&self) -> usize {
        self.recorded.console_at_trigger.unwrap_or(0).min(CONSOLE.len())
    }
}

/// Puts into a recorded message what this cell was ordered: its own nonces, its own line in the log, its own command line.
fn fit(report: &mut Report, order: &guest_protocol::LoadOrder) {
    match &mut report.message {
        Message::Vmcore(VmcoreReport::Present(vmcore)) => {
            for (read, plant) in vmcore.reads.iter_mut().zip(&order.plants) {
                read.found = guest_protocol::Found::Bytes(plant.bytes.clone());
            }
            if let Ok(log) = &mut vmcore.log {
                log.tail.push_str(&format!("\n{}\n", order.log_line));
            }
        }
        Message::Up(facts) => {
            let given = order.argv.iter().find_map(|word| word.strip_prefix("--command-line="));
            let header = facts.cmdline.split(' ').next().unwrap_or_default().to_owned();
            facts.cmdline = format!("{header} {}", given.unwrap_or_default());
        }
        _ => {}
    }
}

/// Hands over the lines that come in on a socket.
fn listen(
    stream: UnixStream,
    inputs: mpsc::Sender<Input>,
    read: impl Fn(&[u8]) -> Option<Input> + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if let Some(input) = read(&line)
                && inputs.send(input).is_err()
            {
                return;
            }
        }
    });
}
