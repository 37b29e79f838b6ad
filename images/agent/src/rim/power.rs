//! The end: power off, or, where that fails, nothing for ever.

use super::{channel, errno, process, setup};
use guest_agent::failure::Failure;
use rustix::system::{RebootCommand, reboot};
use syscalls::{Sysno, syscall};

/// Powers the machine off after everything said is on the wire.
pub(crate) fn off() -> ! {
    channel::drain();
    // reboot(2) ends its caller where the machine stays on, and the end of PID 1 is a panic: a child calls it.
    match process::fork() {
        Ok(None) => {
            for command in [RebootCommand::PowerOff, RebootCommand::Halt] {
                if let Err(error) = reboot(command) {
                    setup::say(&Failure::errno("power off", errno(error)));
                }
            }
            static_start::exit(1)
        }
        Ok(Some(_)) => {}
        Err(error) => setup::say(&Failure::errno("fork in order to power off", error)),
    }
    park()
}

/// Does nothing, for ever.
pub(crate) fn park() -> ! {
    loop {
        // SAFETY: pause(2) takes nothing and touches no memory of ours.
        let _ = unsafe { syscall!(Sysno::pause) };
    }
}
