//! The agent's own panic: told to the rig or to the console, and then the guest ends in order.

use super::{channel, power, setup};
use alloc::format;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use guest_protocol::Message;

/// Reports the panic and powers the guest off.
pub(crate) fn report(info: &PanicInfo<'_>) -> ! {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    // A panic while a panic is told, for want of memory perhaps: no words then.
    if !REPORTED.swap(true, Ordering::Relaxed) {
        let what = format!("the guest agent panicked: {info}");
        setup::say(&what);
        channel::report_anyway(Message::Trouble { what });
    }
    power::off()
}
