//! A client of QEMU's gdb stub: the guest's physical memory and hardware breakpoints, from outside and without the guest's help.
//!
//! No crate does it: those for the remote protocol are for stubs. What is needed is small, and all of it has a deadline.
//!
//! The stub is started on demand, by the monitor's `gdbserver`, and connects to a socket in the guest's private folder. While it
//! is attached the machine stands still; whatever byte it gets while the machine runs stops the machine (`gdb_read_byte`, QEMU
//! gdbstub.c). So a client is one of two types: [`Attached`] to a machine that stands, or [`Going`], which can only wait.

mod packet;
mod reply;

use crate::qemu::option_path;
use crate::qmp::{Qmp, QmpError};
use packet::{Decoder, Incoming};
use qapi::qmp;
use reply::Reply;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Bytes of memory in one packet: two digits each, and the stub takes at most 4 KiB (`MAX_PACKET_LENGTH`, QEMU gdbstub.c).
const PIECE: usize = 1024;

/// Where RIP stands in the stub's block of registers: behind sixteen of general use, of eight bytes each (QEMU
/// target/i386/gdbstub.c, `IDX_IP_REG`). qemu-system-x86_64 has this layout in every mode of its CPUs.
const RIP: std::ops::Range<usize> = 128..136;

/// Times that a damaged packet is asked for again. On a socket none is ever damaged.
const TRIES: u32 = 3;

/// Why the stub was of no use. Trouble of the rig, never a statement on a loader.
#[derive(Debug, thiserror::Error)]
pub enum GdbError {
    /// The stub could not be started.
    #[error("cannot start QEMU's gdb stub: {0}")]
    Start(String),
    /// The monitor could not be asked.
    #[error("cannot start or end QEMU's gdb stub: {0}")]
    Monitor(#[from] QmpError),
    /// The connection failed.
    #[error("gdb stub, {request}: {source}")]
    Connection {
        /// What was asked.
        request: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("gdb stub, {request}: no answer within {seconds} s")]
    Late {
        /// What was asked.
        request: String,
        /// Its deadline.
        seconds: u64,
    },
    /// An answer that makes no sense here.
    #[error("gdb stub, {request}: {found}")]
    Unexpected {
        /// What was asked.
        request: String,
        /// What came.
        found: String,
    },
}

/// Why the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At a breakpoint (SIGTRAP).
    Breakpoint,
    /// Because somebody asked for it (SIGINT).
    Asked,
    /// For another reason, by the signal's number: a reset or an end shows as 3 (`gdb_vm_state_change`, QEMU gdbstub.c).
    Other(u8),
}

impl Stop {
    /// By gdb's own numbers of signals.
    const fn of(signal: u8) -> Self {
        match signal {
            5 => Self::Breakpoint,
            2 => Self::Asked,
            other => Self::Other(other),
        }
    }
}

/// A connection to the stub.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    waiting: VecDeque<Incoming>,
    /// For an ordinary request.
    deadline: Duration,
}

/// A client of a machine that stands still. One that is dropped leaves it so.
#[derive(Debug)]
pub struct Attached(Connection);

/// A client of a machine that runs until it comes to a breakpoint.
#[derive(Debug)]
pub struct Going {
    connection: Connection,
    /// When it was let run.
    since: Instant,
}

impl Attached {
    /// Starts the stub of the machine behind `qmp` on a socket at `socket`, which stops the machine, and has it read and write
    /// physical addresses. Each request may take `deadline`.
    ///
    /// # Errors
    /// [`GdbError`]. The machine may stand still then.
    pub async fn attach(qmp: &Qmp, socket: &Path, deadline: Duration) -> Result<Self, GdbError> {
        let failed = |error: io::Error| GdbError::Start(format!("{}: {error}", socket.display()));
        let listener = UnixListener::bind(socket).map_err(failed)?;
        let said = monitor(qmp, &start_command(socket)?).await?;
        let accepted = tokio::time::timeout(deadline, listener.accept()).await;
        // The listener has done its work, and the name is free for the next time.
        let _ = std::fs::remove_file(socket);
        let (stream, _) = accepted
            .map_err(|_| {
                GdbError::Start(format!(
                    "no connection within {} s; QEMU said: {}",
                    deadline.as_secs(),
                    said.trim()
                ))
            })?
            .map_err(failed)?;
        Self::over(stream, deadline).await
    }

    async fn over(stream: UnixStream, deadline: Duration) -> Result<Self, GdbError> {
        let connection =
            Connection { stream, decoder: Decoder::default(), waiting: VecDeque::new(), deadline };
        let mut attached = Self(connection);
        let request = "?";
        match attached.0.ask(request).await? {
            Reply::Stopped(_) => {}
            other => return Err(unexpected(request, &other)),
        }
        attached.must("Qqemu.PhyMemMode:1").await?;
        Ok(attached)
    }

    /// Reads physical memory.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn read(&mut self, address: u64, length: usize) -> Result<Vec<u8>, GdbError> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let piece = (length - bytes.len()).min(PIECE);
            let request = format!("m{:x},{piece:x}", address.wrapping_add(bytes.len() as u64));
            match self.0.ask(&request).await? {
                Reply::Bytes(read) if read.len() == piece => bytes.extend(read),
                other => return Err(unexpected(&request, &other)),
            }
        }
        Ok(bytes)
    }

    /// Writes physical memory, and reads it back.
    ///
    /// # Errors
    /// [`GdbError`]; also where it reads back otherwise, as it does where there is no RAM.
    pub async fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), GdbError> {
        let mut at = address;
        for piece in bytes.chunks(PIECE) {
            let digits = guest_protocol::HexBytes(piece.to_vec());
            self.must(&format!("M{at:x},{:x}:{digits}", piece.len())).await?;
            at = at.wrapping_add(piece.len() as u64);
        }
        if self.read(address, bytes.len()).await? == bytes {
            return Ok(());
        }
        let found = "it reads back otherwise".to_owned();
        Err(GdbError::Unexpected { request: format!("write {} bytes at {address:#x}", bytes.len()), found })
    }

    /// Sets a hardware breakpoint at a linear address, on every CPU.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn break_at(&mut self, address: u64) -> Result<(), GdbError> {
        self.must(&format!("Z1,{address:x},1")).await
    }

    /// Takes it away.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn unbreak(&mut self, address: u64) -> Result<(), GdbError> {
        self.must(&format!("z1,{address:x},1")).await
    }

    /// The instruction pointer of the CPU that stopped the machine, or of the first one.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn instruction_pointer(&mut self) -> Result<u64, GdbError> {
        // One register alone (`p`) is told to clients that read the stub's description of them (`gdb_has_xml`, QEMU gdbstub.c).
        let request = "g";
        let reply = self.0.ask(request).await?;
        let rip = match &reply {
            Reply::Bytes(bytes) => bytes.get(RIP).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()),
            _ => None,
        };
        rip.map(u64::from_le_bytes).ok_or_else(|| unexpected(request, &reply))
    }

    /// Lets the machine run, to its next breakpoint.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn go(mut self) -> Result<Going, GdbError> {
        let since = Instant::now();
        self.0.send("c").await?;
        Ok(Going { connection: self.0, since })
    }

    /// Lets the machine run without the stub, and ends that.
    ///
    /// # Errors
    /// [`GdbError`].
    pub async fn detach(mut self, qmp: &Qmp) -> Result<(), GdbError> {
        self.must("D").await?;
        // Else the stub would go on to tell of every stop of the machine, to nobody.
        monitor(qmp, "gdbserver none").await.map(|_| ())
    }

    async fn must(&mut self, request: &str) -> Result<(), GdbError> {
        match self.0.ask(request).await? {
            Reply::Ok => Ok(()),
            other => Err(unexpected(request, &other)),
        }
    }
}

impl Going {
    /// Waits for the machine to stop, for at most `limit`; says why it did, and how long it ran by the host's clock.
    ///
    /// # Errors
    /// [`GdbError`]; the machine runs on where it was too late.
    pub async fn stopped(mut self, limit: Duration) -> Result<(Attached, Stop, Duration), GdbError> {
        let request = "wait for a breakpoint";
        let reply = self.connection.reply(request, limit).await?;
        let ran = self.since.elapsed();
        match reply {
            Reply::Stopped(stop) => Ok((Attached(self.connection), stop, ran)),
            other => Err(unexpected(request, &other)),
        }
    }
}

impl Connection {
    async fn ask(&mut self, request: &str) -> Result<Reply, GdbError> {
        self.send(request).await?;
        let deadline = self.deadline;
        self.reply(request, deadline).await
    }

    /// Sends a request until it is taken.
    async fn send(&mut self, request: &str) -> Result<(), GdbError> {
        let packet = packet::encode(request);
        for _ in 0..TRIES {
            self.write(request, &packet).await?;
            match self.incoming(request, self.deadline).await? {
                Incoming::Taken => return Ok(()),
                Incoming::Again => {}
                other => {
                    let found = format!("an acknowledgement was awaited, and came: {}", in_words(&other));
                    return Err(GdbError::Unexpected { request: request.to_owned(), found });
                }
            }
        }
        let found = format!("it was not taken in {TRIES} tries");
        Err(GdbError::Unexpected { request: request.to_owned(), found })
    }

    async fn reply(&mut self, request: &str, limit: Duration) -> Result<Reply, GdbError> {
        match self.incoming(request, limit).await? {
            Incoming::Packet(payload) => {
                self.write(request, b"+").await?;
                reply::parse(&payload).map_err(|text| {
                    let found = format!("an answer that is none: {text:?}");
                    GdbError::Unexpected { request: request.to_owned(), found }
                })
            }
            other => Err(GdbError::Unexpected { request: request.to_owned(), found: in_words(&other) }),
        }
    }

    async fn write(&mut self, request: &str, bytes: &[u8]) -> Result<(), GdbError> {
        let written = tokio::time::timeout(self.deadline, self.stream.write_all(bytes)).await;
        let written = written.map_err(|_| late(request, self.deadline))?;
        written.map_err(|source| GdbError::Connection { request: request.to_owned(), source })
    }

    async fn incoming(&mut self, request: &str, limit: Duration) -> Result<Incoming, GdbError> {
        let failed = |source| GdbError::Connection { request: request.to_owned(), source };
        let until = tokio::time::Instant::now() + limit;
        let mut buffer = [0; 4096];
        loop {
            if let Some(incoming) = self.waiting.pop_front() {
                return Ok(incoming);
            }
            let read = tokio::time::timeout_at(until, self.stream.read(&mut buffer)).await;
            let length = read.map_err(|_| late(request, limit))?.map_err(failed)?;
            if length == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            self.waiting.extend(buffer[..length].iter().filter_map(|&byte| self.decoder.push(byte)));
        }
    }
}

fn late(request: &str, limit: Duration) -> GdbError {
    GdbError::Late { request: request.to_owned(), seconds: limit.as_secs() }
}

fn unexpected(request: &str, reply: &Reply) -> GdbError {
    let found = match reply {
        Reply::Ok => "done, and more was asked for".to_owned(),
        Reply::Error(code) => format!("error {code:#04x}"),
        Reply::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Reply::Stopped(stop) => format!("the machine stopped ({stop:?})"),
        Reply::Unknown => "QEMU's stub does not know it".to_owned(),
    };
    GdbError::Unexpected { request: request.to_owned(), found }
}

fn in_words(incoming: &Incoming) -> String {
    match incoming {
        Incoming::Taken => "an acknowledgement".to_owned(),
        Incoming::Again => "a packet was not understood".to_owned(),
        Incoming::Packet(payload) => format!("the packet {:?}", String::from_utf8_lossy(payload)),
        Incoming::Damaged(why) => why.clone(),
    }
}

async fn monitor(qmp: &Qmp, command: &str) -> Result<String, GdbError> {
    let command = qmp::human_monitor_command { command_line: command.to_owned(), cpu_index: None };
    Ok(qmp.execute(command).await?)
}

/// The monitor's command that lets the stub connect to a socket. Its argument is in the monitor's quotes (`get_str`, QEMU
/// monitor/hmp.c), with the path as a chardev option has it.
fn start_command(socket: &Path) -> Result<String, GdbError> {
    let device = option_path("unix:", socket).into_string();
    let device =
        device.map_err(|path| GdbError::Start(format!("{path:?} is no path that the monitor takes")))?;
    Ok(format!("gdbserver \"{}\"", device.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests;
