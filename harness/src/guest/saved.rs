//! The saved state of a guest at *ready*, from which many cells start, and how QEMU is brought to write and read one.
//!
//! A state is a QEMU migration stream without the guest's RAM, which lies in a file in memory that the guest ran in: what begins there
//! maps that file for itself, copy on write, so that nobody reads or writes the hundreds of megabytes again. The stream is written through a
//! socket, by a task of the rig, and read from a file that is QEMU's standard input: no shell, and no path in a URI.

use super::ram::SharedRam;
use crate::cell::Mib;
use crate::evidence::Evidence;
use crate::ledger::GuestTimes;
use crate::process::Process;
use crate::qmp::{Qmp, Unasked};
use crate::scratch::GuestScratch;
use guest_protocol::Report;
use qapi::qmp;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// The state's file.
const FILE: &str = "state";
/// The socket that QEMU writes it to.
const SOCKET: &str = "state.sock";
/// How long writing or reading a state may take, for a guest of any size (measured: half a second for 4 GiB) ...
const DEADLINE: Duration = Duration::from_secs(30);
/// ... and for each GiB more, since QEMU looks at every page.
const DEADLINE_PER_GIB: Duration = Duration::from_secs(2);
/// QEMU's default of 128 MiB/s is for networks. In bytes a second: as good as none.
const BANDWIDTH: u64 = 1 << 40;

/// A guest's state at *ready*. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Saved {
    scratch: GuestScratch,
    /// What the file holds. One that holds something else when it is used was damaged.
    written: Written,
    /// Its RAM.
    pub(super) ram: Arc<SharedRam>,
    /// What was seen up to *ready*: the beginning of the evidence of every cell that starts from here.
    pub(super) evidence: Evidence,
    /// The agent's report of *ready*.
    pub(super) ready: Report,
    /// When the guest was stopped, in milliseconds since `cont`.
    pub(super) at_ms: u64,
    /// What boot and saving took of the CPUs.
    pub(crate) times: GuestTimes,
}

/// Length and digest of a state as it was written. QEMU's stream has no checksum: with a few wrong bytes in it a guest is
/// restored all the same, and what it does then would be put down to loader or kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    bytes: u64,
    sha256: [u8; 32],
}

impl Saved {
    /// The state that [`write`] has put into `scratch`, and its sealed RAM, with the evidence of how the guest got there.
    pub(super) fn new(
        scratch: GuestScratch,
        written: Written,
        ram: Arc<SharedRam>,
        evidence: Evidence,
        ready: Report,
        at_ms: u64,
    ) -> Self {
        Self { scratch, written, ram, evidence, ready, at_ms, times: GuestTimes::default() }
    }

    /// The file, to be QEMU's standard input, once it was read and found to be what was written.
    pub(super) async fn open(&self) -> Result<File, String> {
        let (path, written) = (self.scratch.path(FILE), self.written);
        let checked = tokio::task::spawn_blocking(move || checked(&path, written));
        checked.await.unwrap_or_else(|error| Err(format!("checking the saved state broke off: {error}")))
    }
}

/// Opens the file and compares it with what was written.
fn checked(path: &Path, written: Written) -> Result<File, String> {
    let read = || -> io::Result<(File, Written)> {
        let mut file = File::open(path)?;
        let found = copy_hashed(&mut file, &mut io::sink())?;
        // QEMU reads on from where the descriptor stands.
        file.rewind()?;
        Ok((file, found))
    };
    match read() {
        Ok((file, found)) if found == written => Ok(file),
        Ok((_, found)) if found.bytes == written.bytes => {
            Err(format!("{} is damaged: it no longer has the bytes that were written", path.display()))
        }
        Ok((_, found)) => Err(format!(
            "{} is damaged: it has {} bytes, and {} were written",
            path.display(),
            found.bytes,
            written.bytes
        )),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Copies to the end, and says what it was.
fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<Written> {
    // Large pieces: each costs two system calls.
    let mut buffer = vec![0; 256 << 10];
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(Written { bytes, sha256: hasher.finalize().into() }),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
        bytes += length as u64;
    }
}

fn deadline(memory: Mib) -> Duration {
    let gib = u32::try_from(memory.bytes() >> 30).unwrap_or(u32::MAX);
    DEADLINE + DEADLINE_PER_GIB * gib
}

/// Lets a stopped guest write its state into `scratch`. The guest is of no use afterwards.
pub(super) async fn write(
    memory: Mib,
    qmp: &Qmp,
    events: &mut mpsc::UnboundedReceiver<Unasked>,
    scratch: &GuestScratch,
) -> Result<Written, String> {
    let socket = scratch.path(SOCKET);
    let listener = UnixListener::bind(&socket)
        .map_err(|error| format!("cannot listen on {}: {error}", socket.display()))?;
    let path = scratch.path(FILE);
    let mut file =
        File::create_new(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    let copied = async {
        let (stream, _) = listener.accept().await?;
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let copy = tokio::task::spawn_blocking(move || copy_hashed(&mut stream, &mut file));
        copy.await.map_err(io::Error::other)?
    };
    let ordered = async {
        announce(qmp).await?;
        let parameters = qmp::MigrateSetParameters { max_bandwidth: Some(BANDWIDTH), ..Default::default() };
        let run = qmp.execute(qmp::migrate_set_parameters(parameters)).await;
        run.map_err(|error| error.to_string())?;
        let uri = Some(format!("unix:{}", socket.display()));
        let migrate = qmp::migrate { uri, channels: None, detach: None, resume: None };
        qmp.execute(migrate).await.map_err(|error| error.to_string())?;
        ended(events).await
    };
    let all = async {
        // The first that fails is the cause: QEMU that refuses never connects, and a full disk is what QEMU's own failure comes of.
        let copied =
            async { copied.await.map_err(|error| format!("cannot write {}: {error}", path.display())) };
        tokio::try_join!(copied, ordered).map(|(written, ())| written)
    };
    let limit = deadline(memory);
    match tokio::time::timeout(limit, all).await {
        Ok(written) => written.map_err(|why| format!("cannot save the guest's state: {why}")),
        Err(_) => Err(format!("the guest's state was not saved within {} s", limit.as_secs())),
    }
}

/// Brings a QEMU that waits for a state (`-incoming defer`) to read the one that is its standard input.
pub(super) async fn restore(
    memory: Mib,
    qmp: &Qmp,
    events: &mut mpsc::UnboundedReceiver<Unasked>,
    process: &mut Process,
) -> Result<(), String> {
    let ordered = async {
        announce(qmp).await?;
        let incoming =
            qmp::migrate_incoming { uri: Some("fd:0".into()), channels: None, exit_on_error: None };
        qmp.execute(incoming).await.map_err(|error| error.to_string())?;
        ended(events).await
    };
    let limit = deadline(memory);
    let restored = tokio::select! {
        restored = tokio::time::timeout(limit, ordered) => restored,
        // A QEMU that does not like the state says so and ends.
        ended = process.wait() => {
            let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Ok(Err(format!("QEMU ended ({status}): {}", process.stderr().trim())))
        }
    };
    match restored {
        Ok(restored) => restored.map_err(|why| format!("cannot restore the guest's state: {why}")),
        Err(_) => Err(format!("the guest's state was not restored within {} s", limit.as_secs())),
    }
}

/// Asks for events of the migration, which are off by default, and leaves RAM out of it that is shared with a file. Both sides must have
/// been asked for the latter, for the stream has other fields then.
async fn announce(qmp: &Qmp) -> Result<(), String> {
    let wanted = [qmp::MigrationCapability::events, qmp::MigrationCapability::x_ignore_shared];
    let wanted = wanted.map(|capability| qmp::MigrationCapabilityStatus { capability, state: true });
    let set = qmp::migrate_set_capabilities { capabilities: wanted.into() };
    qmp.execute(set).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Waits for the migration's end. Its other events tell nothing more, and the guest is stopped.
async fn ended(events: &mut mpsc::UnboundedReceiver<Unasked>) -> Result<(), String> {
    while let Some(unasked) = events.recv().await {
        let Unasked::Event(_, event) = unasked else { break };
        match (event.name.as_str(), event.data.get("status").and_then(serde_json::Value::as_str)) {
            ("MIGRATION", Some("completed")) => return Ok(()),
            ("MIGRATION", Some(status @ ("failed" | "cancelled"))) => {
                return Err(format!("QEMU says that it {status}"));
            }
            _ => {}
        }
    }
    Err("the QMP connection ended".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::testing;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    /// A QEMU that answers every command and ends each migration like this; an outgoing one brings these bytes.
    fn qemu(status: &'static str, state: &'static [u8]) -> UnixStream {
        let (client, server) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut say = server.try_clone().unwrap();
            writeln!(say, r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#).unwrap();
            for line in BufReader::new(server).lines().map_while(Result::ok) {
                let command: serde_json::Value = serde_json::from_str(&line).unwrap();
                writeln!(say, r#"{{"return": {{}}, "id": {}}}"#, command["id"]).unwrap();
                let name = command["execute"].as_str().unwrap_or_default();
                if name == "migrate" {
                    let uri = command["arguments"]["uri"].as_str().unwrap();
                    let mut stream = UnixStream::connect(uri.strip_prefix("unix:").unwrap()).unwrap();
                    stream.write_all(state).unwrap();
                }
                if name.starts_with("migrate") && !name.contains("set") {
                    for status in ["setup", "active", status] {
                        let data = format!(r#"{{"event": "MIGRATION", "data": {{"status": "{status}"}}}}"#);
                        writeln!(say, "{data}").unwrap();
                    }
                }
            }
        });
        client.set_nonblocking(true).unwrap();
        client
    }

    async fn negotiated(client: UnixStream) -> (Qmp, mpsc::UnboundedReceiver<Unasked>) {
        let client = tokio::net::UnixStream::from_std(client).unwrap();
        Qmp::negotiate(client, Duration::from_secs(5)).await.unwrap()
    }

    fn ram() -> Arc<SharedRam> {
        Arc::new(SharedRam::new(testing::mib(1)).unwrap())
    }

    fn ready() -> Report {
        let message = guest_protocol::Message::Done;
        Report { seq: 0, kernel: guest_protocol::Side::First, message }
    }

    /// Bug: the state's last bytes are missing, because QEMU said that it is done before they were read.
    #[tokio::test]
    async fn the_whole_state_is_written() {
        let (run, _) = Scratch::new().unwrap();
        let folder = run.guest().unwrap();
        let (qmp, mut events) = negotiated(qemu("completed", &[7; 1 << 20])).await;
        let written = write(testing::mib(4096), &qmp, &mut events, &folder).await.unwrap();
        let saved = Saved::new(folder, written, ram(), Evidence::default(), ready(), 1);
        let mut read = Vec::new();
        saved.open().await.unwrap().read_to_end(&mut read).unwrap();
        assert!(read == [7; 1 << 20] && written.bytes == 1 << 20, "{} bytes", read.len());
    }

    /// Bug: a state that QEMU could not write whole is used.
    #[tokio::test]
    async fn a_failed_save_is_told() {
        let (run, _) = Scratch::new().unwrap();
        let (qmp, mut events) = negotiated(qemu("failed", b"half")).await;
        let error = write(testing::mib(4096), &qmp, &mut events, &run.guest().unwrap()).await.unwrap_err();
        assert!(error.contains("failed"), "{error}");
    }

    /// Bug: a file that was truncated, or rotted in place, is fed to QEMU, and what the guest does then counts as the loader's doing.
    #[tokio::test]
    async fn a_damaged_state_is_found() {
        let (run, _) = Scratch::new().unwrap();
        let folder = run.guest().unwrap();
        let path = folder.path(FILE);
        let mut file = File::create_new(&path).unwrap();
        let written = copy_hashed(&mut b"state".as_slice(), &mut file).unwrap();
        let saved = Saved::new(folder, written, ram(), Evidence::default(), ready(), 1);
        for (found, told) in [("sta", "3 bytes, and 5 were written"), ("stale", "no longer has the bytes")] {
            std::fs::write(&path, found).unwrap();
            let error = saved.open().await.unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(saved.open().await.unwrap_err().contains("cannot read"));
    }

    /// Bug: a QEMU that rejects the state and ends is waited for until the deadline, its words lost.
    #[tokio::test]
    async fn a_qemu_that_rejects_the_state_is_quoted() {
        let (qmp, mut events) = negotiated(qemu("active", b"")).await;
        let script = ["-c", "echo 'error while loading state' >&2; exit 1"].map(std::ffi::OsString::from);
        let mut process = Process::spawn(Path::new("sh"), &script, None).await.unwrap();
        let error = restore(testing::mib(4096), &qmp, &mut events, &mut process).await.unwrap_err();
        assert!(error.contains("error while loading state"), "{error}");
    }
}
