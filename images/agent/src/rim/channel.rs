//! The message channel: the second serial port, and numbered reports on it.

use super::{errno, power, setup};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use guest_agent::failure::Failure;
use guest_agent::line::LineSplitter;
use guest_protocol::{CHANNEL_DEVICE, MAX_LINE, Message, Report, Side};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::{read, write};
use rustix::termios::{ControlModes, OptionalActions, SpecialCodeIndex, tcdrain, tcgetattr, tcsetattr};

/// Bits per second; emulated ports do not wait for it.
const SPEED: u32 = 115_200;

/// Number of the next report. Static, so that a panic can be reported without the [`Channel`] at hand.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// The open channel for the same purpose; -1 where there is none. It is never closed.
static DEVICE: AtomicI32 = AtomicI32::new(-1);
/// Which side the channel speaks for: 1 in the capture kernel.
static IS_CAPTURE: AtomicI32 = AtomicI32::new(0);

/// The channel to the rig.
pub(crate) struct Channel {
    device: OwnedFd,
    side: Side,
    splitter: LineSplitter,
    /// Bytes read, of which those from `next` on are not looked at yet.
    received: [u8; 512],
    next: usize,
    end: usize,
}

impl Channel {
    /// Opens the port, in raw mode.
    pub(crate) fn open(side: Side) -> Result<Self, Failure> {
        let failed = |tried: &str, error| Failure::errno(format!("{tried} {CHANNEL_DEVICE}"), errno(error));
        // Not blocking, as the open would otherwise wait for a carrier until CLOCAL is set below.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = open(CHANNEL_DEVICE, flags, Mode::empty()).map_err(|error| failed("open", error))?;
        let mut mode = tcgetattr(&device).map_err(|error| failed("read the mode of", error))?;
        mode.make_raw();
        mode.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        mode.set_speed(SPEED).map_err(|error| failed("set the speed of", error))?;
        tcsetattr(&device, OptionalActions::Now, &mode).map_err(|error| failed("set the mode of", error))?;
        fcntl_setfl(&device, OFlags::RDWR).map_err(|error| failed("make blocking", error))?;
        IS_CAPTURE.store(i32::from(side == Side::Capture), Ordering::Relaxed);
        DEVICE.store(device.as_raw_fd(), Ordering::Relaxed);
        let channel =
            Self { device, side, splitter: LineSplitter::new(), received: [0; 512], next: 0, end: 0 };
        if side == Side::Capture {
            // The first kernel may have died in the middle of a line: end it, so that it does not spoil the first report.
            channel.or_lost("write", write_all(&channel.device, b"\n"));
        }
        Ok(channel)
    }

    /// Sends a message. Does not return when the channel is lost.
    pub(crate) fn report(&self, message: Message) {
        self.or_lost("write", send(&self.device, self.side, message));
    }

    /// The next line, without its newline. Does not return when the channel is lost.
    pub(crate) fn next_line(&mut self) -> Vec<u8> {
        loop {
            while self.next < self.end {
                self.next += 1;
                if let Some(line) = self.splitter.push(self.received[self.next - 1]) {
                    return line;
                }
            }
            self.next = 0;
            self.end = match read(&self.device, &mut self.received) {
                Err(rustix::io::Errno::INTR) => 0,
                // End of file: the line was hung up.
                Ok(0) => self.or_lost("read", Err(rustix::io::Errno::IO)),
                other => self.or_lost("read", other),
            };
        }
    }

    fn or_lost<T>(&self, tried: &str, result: rustix::io::Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => {
                setup::say(&Failure::errno(format!("{tried} {CHANNEL_DEVICE}"), errno(error)));
                match self.side {
                    // It may be armed: a power-off would hide what the panic does.
                    Side::First => power::park(),
                    Side::Capture => power::off(),
                }
            }
        }
    }
}

/// Sends a message without the [`Channel`], as far as it is open: for a panic.
pub(crate) fn report_anyway(message: Message) {
    if let Some(device) = device() {
        let side = if IS_CAPTURE.load(Ordering::Relaxed) == 1 { Side::Capture } else { Side::First };
        // A failure cannot be told any more.
        let _ = send(device, side, message);
    }
}

/// Waits until everything is on the wire, as far as the channel is open.
pub(crate) fn drain() {
    if let Some(device) = device() {
        // The power-off comes next, and it must come.
        let _ = tcdrain(device);
    }
}

fn device() -> Option<BorrowedFd<'static>> {
    let device = DEVICE.load(Ordering::Relaxed);
    // SAFETY: it is the open channel's, which lives in `main` until the machine is off.
    (device >= 0).then(|| unsafe { BorrowedFd::borrow_raw(device) })
}

fn send(device: impl rustix::fd::AsFd, side: Side, message: Message) -> rustix::io::Result<()> {
    let seq = NEXT.fetch_add(1, Ordering::Relaxed);
    write_all(device, &encode(&Report { seq, kernel: side, message }))
}

/// The report as a line. One that cannot be sent becomes a report of that.
fn encode(report: &Report) -> Vec<u8> {
    let why = match serde_json::to_vec(report) {
        Ok(mut line) if line.len() < MAX_LINE => {
            line.push(b'\n');
            return line;
        }
        Ok(line) => format!("a report of {} bytes is longer than a line may be ({MAX_LINE})", line.len()),
        Err(error) => format!("encode a report: {error}"),
    };
    encode(&Report { message: Message::Trouble { what: why }, ..*report })
}

fn write_all(device: impl rustix::fd::AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match write(&device, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
