//! QEMU's own log of what its CPUs do (`-d`): resets always, exceptions and interrupts where a run is traced.
//!
//! It says what nothing else does: that a reset was a triple fault, and which exceptions came before. QEMU writes it into a
//! named pipe, for it has no end: a traced boot gives hundreds of megabytes, of which the last few tell how it died.

use crate::evidence::{Access, CpuLog, Exception};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::io;
use std::path::Path;
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What is kept of it, in bytes; twice as much for moments. An exception takes 1.5 KB.
const KEPT: usize = 4 << 20;
/// Exceptions that become evidence: those between the first fault and a triple fault are three.
const LAST_EXCEPTIONS: usize = 16;
/// Vectors of the CPU's own exceptions (Intel SDM volume 3, table 6-1); those from here on are interrupts.
const FIRST_INTERRUPT: u8 = 32;
/// Vector of a page fault.
const PAGE_FAULT: u8 = 14;

/// The reading end of the pipe.
#[derive(Debug)]
pub(super) struct CpuLogPipe {
    end: oneshot::Sender<()>,
    reader: JoinHandle<Vec<u8>>,
}

impl CpuLogPipe {
    /// Makes the pipe, and reads it until [`CpuLogPipe::finish`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
        // Open for writing as well: QEMU's opening then waits for nobody.
        let pipe = OpenOptions::new().read_write(true).open_receiver(path)?;
        let (end, ended) = oneshot::channel();
        Ok(Self { end, reader: tokio::spawn(read(pipe, ended)) })
    }

    /// The last of what was written. To be called when QEMU is gone: all that it wrote is in the pipe then.
    pub(super) async fn finish(self) -> Vec<u8> {
        let _ = self.end.send(());
        self.reader.await.unwrap_or_default()
    }
}

async fn read(pipe: Receiver, mut ended: oneshot::Receiver<()>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let over = tokio::select! {
            _ = &mut ended => true,
            ready = pipe.readable() => ready.is_err(),
        };
        // Until nothing is there: a pipe whose writer is gone, and which this end holds open, says no more than that.
        while let Ok(length @ 1..) = pipe.try_read(&mut buffer) {
            kept.extend_from_slice(&buffer[..length]);
            if kept.len() > 2 * KEPT {
                kept.drain(..kept.len() - KEPT);
            }
        }
        if over {
            kept.drain(..kept.len().saturating_sub(KEPT));
            return kept;
        }
    }
}

/// What the log says (QEMU target/i386/tcg: `raise_interrupt2`, `check_exception` and `do_interrupt_all` write it).
pub(super) fn parse(log: &[u8]) -> CpuLog {
    let text = String::from_utf8_lossy(log);
    let triple_fault = text.lines().any(|line| line.trim() == "Triple fault");
    let mut exceptions: Vec<Exception> =
        text.lines().rev().filter_map(exception).take(LAST_EXCEPTIONS).collect();
    exceptions.reverse();
    CpuLog { triple_fault, exceptions }
}

/// A line such as `    2: v=0e e=0002 i=0 cpl=0 IP=0060:c1057d46 pc=c1057d46 SP=0068:c1aafdc8 CR2=00000000`.
fn exception(line: &str) -> Option<Exception> {
    let (_, rest) = line.trim_start().split_once(": v=")?;
    let (vector, rest) = rest.split_once(' ')?;
    let vector = u8::from_str_radix(vector, 16).ok()?;
    let value = |key: &str| rest.split_whitespace().find_map(|word| word.strip_prefix(key));
    let hex = |key| u64::from_str_radix(value(key)?, 16).ok();
    // `i=1` is an instruction's own doing, such as int3 of a breakpoint.
    if vector >= FIRST_INTERRUPT || value("i=")? != "0" {
        return None;
    }
    let access = if vector == PAGE_FAULT { hex("CR2=").map(Access) } else { None };
    Some(Exception { vector, error: hex("e=")? as u32, address: hex("pc=")?, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU 7.2 writes it; registers cut.
    const LOG: &str = "\
CPU Reset (CPU 0)
EAX=00000000 EBX=00000000
     0: v=20 e=0000 i=0 cpl=0 IP=0010:ffffffff81a1c32e pc=ffffffff81a1c32e SP=0018:ffffffff82603eb8 env->regs[R_EAX]=0
     1: v=0e e=0002 i=0 cpl=0 IP=0060:00000000c1057d46 pc=00000000c1057d46 SP=0068:00000000c1aafdc8 CR2=0000000000000010
check_exception old: 0xffffffff new 0xd
     2: v=03 e=0000 i=1 cpl=0 IP=0000:0000000000007c13 pc=0000000000007c13 SP=0000:0000000000006f04 env->regs[R_EAX]=11
     3: v=08 e=0000 i=0 cpl=0 IP=0000:0000000000007c13 pc=0000000000007c13 SP=0000:0000000000006f04 env->regs[R_EAX]=11
check_exception old: 0x8 new 0xd
Triple fault
";

    /// Bug: timer interrupts push the faults out of what is kept; or a fault's own address is taken for what it accessed.
    #[test]
    fn exceptions_are_told_from_interrupts() {
        let log = parse(LOG.as_bytes());
        assert!(log.triple_fault);
        let expected = [
            Exception { vector: 14, error: 2, address: 0xc105_7d46, access: Some(Access(0x10)) },
            Exception { vector: 8, error: 0, address: 0x7c13, access: None },
        ];
        assert_eq!(log.exceptions, expected);
        let many = LOG.repeat(LAST_EXCEPTIONS);
        assert_eq!(parse(many.as_bytes()).exceptions.len(), LAST_EXCEPTIONS);
    }

    /// Bug: a guest that was never reset is said to have had a triple fault, by the words of an ordinary reset.
    #[test]
    fn power_on_is_no_triple_fault() {
        assert!(parse(b"CPU Reset (CPU 0)\nEAX=0\n\xff\xfe: v=zz\n: v=0e\n").is_empty());
    }

    /// Bug: a log without an end fills the host's memory; or what QEMU wrote last, which tells, is the part that is lost.
    #[tokio::test]
    async fn only_the_last_of_a_long_log_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let pipe = CpuLogPipe::open(&path).unwrap();
        let written = tokio::task::spawn_blocking(move || {
            let mut file = io::BufWriter::new(std::fs::File::options().write(true).open(path)?);
            (0..3 * KEPT / 8)
                .try_for_each(|number| io::Write::write_all(&mut file, format!("{number:07}\n").as_bytes()))
        });
        written.await.unwrap().unwrap();
        let kept = pipe.finish().await;
        let last: String = (2 * KEPT / 8..3 * KEPT / 8).map(|number| format!("{number:07}\n")).collect();
        assert!(kept == last.as_bytes(), "{} bytes, not the last {KEPT}", kept.len());
    }
}
