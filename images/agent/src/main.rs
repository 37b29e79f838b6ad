//! The guest agent: PID 1 of the first kernel and of the capture kernel. Here is its beginning and its end; what it says
//! and does in between is the library's `conversation`, and `rim` is what does the system calls for it.
#![no_std]
#![no_main]

extern crate alloc;

mod rim;

use guest_agent::cmdline;
use guest_agent::conversation::converse;
use guest_agent::failure::Failure;
use rim::channel::Channel;
use rim::{Rim, files, power, setup};

static_start::entry!(main, rim::panic::report);

/// Never returns: a PID 1 that ends is a kernel panic ("Attempted to kill init!"), which would be taken for something else.
fn main(_: &static_start::Args) -> u8 {
    match start() {
        Ok((side, channel)) => converse(&mut Rim::new(channel), side),
        // Without a channel the console is all there is.
        Err(failure) => setup::say(&failure),
    }
    power::off()
}

fn start() -> Result<(guest_protocol::Side, Channel), Failure> {
    setup::prepare()?;
    let text = files::read_text("/proc/cmdline")?;
    let side = cmdline::side(&text).ok_or_else(|| {
        Failure::new(alloc::format!(
            "/proc/cmdline does not say {0}=first or {0}=capture: {text}",
            guest_protocol::SIDE_PARAMETER
        ))
    })?;
    Ok((side, Channel::open(side)?))
}
