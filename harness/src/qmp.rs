//! QMP: one connection to one QEMU. Typed commands, a deadline each, and every event as evidence.
//!
//! It stands *below* qapi's own stream: commands and their results are qapi's types, the envelope is read here, line by
//! line, as plain JSON. qapi's stream would end for good at an event that its schema does not know (every QEMU newer than
//! the schema sends one some day), would send no ids, so that one slow command blocks all others, and panics (with a poisoned
//! lock, which aborts the whole rig) when a command is issued after another was given up. Reading the envelope takes a
//! hundred lines, and there is none of that: an unknown event is kept, a late reply is dropped by its id, and a caller may be
//! cancelled at any time.
//!
//! After one expired deadline the connection counts as dead: a QEMU that does not answer has no state to be asked for.

use crate::evidence::QmpEvent;
use qapi::{Command, Execute};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// How long QEMU may take for an ordinary command. It answers in milliseconds; the rest is for a loaded host.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// Longest line that is read: `info registers -a` of 64 CPUs is 100 KB. A longer one is no QMP, and ends the connection.
const MAX_QMP_LINE: u64 = 16 << 20;
/// Bytes of text that the log keeps. A sample of a 64-CPU guest's registers twice a second for a minute is 12 MB.
const MAX_LOG_BYTES: usize = 16 << 20;
/// Events of one name that are logged and passed on. A cell sees a dozen; what repeats more often tells nothing new, and must not fill the
/// rig's memory.
const MAX_EVENTS_OF_A_NAME: u32 = 256;
/// Names of events that are logged and passed on. QEMU has some sixty.
const MAX_EVENT_NAMES: usize = 256;

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// QEMU said nothing after the connection was made. Another client may hold its only QMP socket.
    #[error("no QMP greeting within {seconds} s")]
    NoGreeting {
        /// How long it was awaited.
        seconds: u64,
    },
    /// The connection ended.
    #[error("QMP command {command}: the connection ended ({why})")]
    Closed {
        /// The command.
        command: &'static str,
        /// How it ended.
        why: String,
    },
    /// No reply in time; the connection is dead from now on.
    #[error("QMP command {command}: no reply within {seconds} s")]
    Late {
        /// The command.
        command: &'static str,
        /// Its deadline.
        seconds: u64,
    },
    /// QEMU refused.
    #[error("QMP command {command}: {class}: {description}")]
    Refused {
        /// The command.
        command: &'static str,
        /// QMP's class of the error.
        class: String,
        /// QEMU's words.
        description: String,
    },
    /// The reply has not the form that the command's result has.
    #[error("QMP command {command}: unexpected reply: {why}")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What comes without being asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Unasked {
    /// An event, known to anybody or not.
    Event(Instant, QmpEvent),
    /// The connection ended; nothing comes after this.
    Closed(Instant),
}

/// Direction of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the rig.
    Sent,
    /// From QEMU.
    Received,
}

/// A line of the connection's log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// The line without its newline, lossy.
    pub text: String,
}

/// One connection. Its tasks end with QEMU's end of the socket.
#[derive(Debug)]
pub struct Qmp {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    command_deadline: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    log: Mutex<Log>,
}

/// What was said, up to [`MAX_LOG_BYTES`].
#[derive(Debug, Default)]
struct Log {
    lines: Vec<LogLine>,
    bytes: usize,
    /// Lines that were not kept.
    dropped: u64,
    /// Events that were neither logged nor passed on.
    events_dropped: u64,
}

#[derive(Debug, Default)]
struct State {
    next_id: u32,
    waiting: BTreeMap<u32, oneshot::Sender<Result<Value, Value>>>,
    /// Why the connection is dead.
    dead: Option<String>,
}

impl Shared {
    // A panic while holding these locks cannot leave them half changed: each holder does one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, direction: Direction, line: &[u8]) {
        let mut log = self.whole_log();
        if log.bytes.saturating_add(line.len()) > MAX_LOG_BYTES {
            log.dropped += 1;
            return;
        }
        log.bytes += line.len();
        let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        log.lines.push(LogLine { at: Instant::now(), direction, text });
    }

    fn whole_log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the connection dead; whoever waits learns it by its dropped sender.
    fn die(&self, why: String) {
        let mut state = self.state();
        state.dead.get_or_insert(why);
        state.waiting.clear();
    }
}

impl Qmp {
    /// Awaits the greeting and negotiates, within `deadline`. Events are sent to the receiver from here on, in order.
    pub async fn negotiate(
        stream: UnixStream,
        deadline: Duration,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Unasked>), QmpError> {
        let (read, write) = stream.into_split();
        let shared = Arc::new(Shared::default());
        let (outgoing, to_write) = mpsc::unbounded_channel();
        let (greeted, greeting) = oneshot::channel();
        let (unasked, events) = mpsc::unbounded_channel();
        tokio::spawn(write_lines(write, to_write, shared.clone()));
        tokio::spawn(read_lines(read, shared.clone(), greeted, unasked));
        let qmp = Self { shared, outgoing, command_deadline: COMMAND_DEADLINE };
        match tokio::time::timeout(deadline, greeting).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(QmpError::Closed { command: "qmp_capabilities", why: qmp.why_dead() }),
            Err(_) => {
                qmp.shared.die("it never greeted".into());
                return Err(QmpError::NoGreeting { seconds: deadline.as_secs() });
            }
        }
        qmp.execute_within(qapi::qmp::qmp_capabilities { enable: None }, deadline).await?;
        Ok((qmp, events))
    }

    /// The same connection, with another deadline for ordinary commands than [`COMMAND_DEADLINE`].
    pub fn with_command_deadline(self, deadline: Duration) -> Self {
        Self { command_deadline: deadline, ..self }
    }

    /// Runs an ordinary command within its deadline.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Ok, QmpError> {
        self.execute_within(command, self.command_deadline).await
    }

    /// Runs a command within `deadline`. May be cancelled: a reply that nobody awaits is dropped.
    pub async fn execute_within<C: Command>(
        &self,
        command: C,
        deadline: Duration,
    ) -> Result<C::Ok, QmpError> {
        let name = C::NAME;
        let (id, reply) = {
            let mut state = self.shared.state();
            if let Some(why) = &state.dead {
                return Err(QmpError::Closed { command: name, why: why.clone() });
            }
            let id = state.next_id;
            state.next_id = state.next_id.wrapping_add(1);
            let (sender, reply) = oneshot::channel();
            state.waiting.insert(id, sender);
            (id, reply)
        };
        let mut line = serde_json::to_vec(&Execute::with_id(command, id))
            .map_err(|error| QmpError::Unexpected { command: name, why: error.to_string() })?;
        line.push(b'\n');
        // A writer that is gone has marked the connection dead, and the reply's sender is dropped: seen below.
        let _ = self.outgoing.send(line);
        match tokio::time::timeout(deadline, reply).await {
            Ok(Ok(Ok(value))) => serde_json::from_value(value)
                .map_err(|error| QmpError::Unexpected { command: name, why: error.to_string() }),
            Ok(Ok(Err(error))) => Err(refused(name, &error)),
            Ok(Err(_)) => Err(QmpError::Closed { command: name, why: self.why_dead() }),
            Err(_) => {
                self.shared.die(format!("{name} had no reply within {} s", deadline.as_secs()));
                Err(QmpError::Late { command: name, seconds: deadline.as_secs() })
            }
        }
    }

    /// The lines so far, both ways.
    pub fn log(&self) -> Vec<LogLine> {
        self.shared.whole_log().lines.clone()
    }

    /// What QEMU said too often to be kept, in words; none where all was kept.
    pub fn not_kept(&self) -> Option<String> {
        let log = self.shared.whole_log();
        (log.dropped > 0 || log.events_dropped > 0).then(|| {
            format!(
                "QEMU said too much on QMP: {} lines are not in its log, and {} repeated events were left out",
                log.dropped, log.events_dropped
            )
        })
    }

    fn why_dead(&self) -> String {
        self.shared.state().dead.clone().unwrap_or_else(|| "the reply was lost".into())
    }
}

fn refused(command: &'static str, error: &Value) -> QmpError {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("(none)").to_owned();
    QmpError::Refused { command, class: text("class"), description: text("desc") }
}

async fn write_lines(
    mut write: OwnedWriteHalf,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Shared>,
) {
    while let Some(line) = lines.recv().await {
        shared.log(Direction::Sent, &line);
        if let Err(error) = write.write_all(&line).await {
            shared.die(format!("cannot write: {error}"));
            return;
        }
    }
}

async fn read_lines(
    read: OwnedReadHalf,
    shared: Arc<Shared>,
    greeted: oneshot::Sender<()>,
    unasked: mpsc::UnboundedSender<Unasked>,
) {
    let mut read = BufReader::new(read);
    let mut greeted = Some(greeted);
    let mut seen = EventCounts::default();
    let mut line = Vec::new();
    let why = loop {
        line.clear();
        match (&mut read).take(MAX_QMP_LINE).read_until(b'\n', &mut line).await {
            Ok(0) => break "end of file".to_owned(),
            Ok(_) if !line.ends_with(b"\n") => {
                shared.log(Direction::Received, &line);
                break format!("a line of {} bytes without an end", line.len());
            }
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
        let incoming = sort(&line);
        if let Incoming::Event(event) = &incoming
            && !seen.admit(&event.name)
        {
            shared.whole_log().events_dropped += 1;
            continue;
        }
        shared.log(Direction::Received, &line);
        match incoming {
            Incoming::Greeting => {
                if let Some(greeted) = greeted.take() {
                    let _ = greeted.send(());
                }
            }
            Incoming::Event(event) => {
                let _ = unasked.send(Unasked::Event(Instant::now(), event));
            }
            Incoming::Reply(id, result) => {
                let waiter = shared.state().waiting.remove(&id);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(result);
                }
            }
            // In the log; the next line may be sound.
            Incoming::Garbage => {}
        }
    };
    shared.die(why);
    let _ = unasked.send(Unasked::Closed(Instant::now()));
}

/// How often each event came.
#[derive(Debug, Default)]
struct EventCounts(BTreeMap<String, u32>);

impl EventCounts {
    /// Counts an event; whether it is to be passed on.
    fn admit(&mut self, name: &str) -> bool {
        if let Some(count) = self.0.get_mut(name) {
            *count = count.saturating_add(1);
            return *count <= MAX_EVENTS_OF_A_NAME;
        }
        let room = self.0.len() < MAX_EVENT_NAMES;
        if room {
            self.0.insert(name.to_owned(), 1);
        }
        room
    }
}

/// What a line from QEMU is.
#[derive(Debug, PartialEq)]
enum Incoming {
    Greeting,
    Event(QmpEvent),
    Reply(u32, Result<Value, Value>),
    Garbage,
}

/// Sorts a line by the members that the QMP specification gives each kind (QEMU docs/interop/qmp-spec, "Protocol
/// Specification": greeting `QMP`, success `return`, error `error`, asynchronous events `event`).
fn sort(line: &[u8]) -> Incoming {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(line) else {
        return Incoming::Garbage;
    };
    if object.contains_key("QMP") {
        return Incoming::Greeting;
    }
    if let Some(Value::String(name)) = object.get("event") {
        let name = name.clone();
        return Incoming::Event(QmpEvent { name, data: object.remove("data").unwrap_or(Value::Null) });
    }
    let id = object.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    match (id, object.remove("return"), object.remove("error")) {
        (Some(id), Some(value), _) => Incoming::Reply(id, Ok(value)),
        (Some(id), None, Some(error)) => Incoming::Reply(id, Err(error)),
        _ => Incoming::Garbage,
    }
}
