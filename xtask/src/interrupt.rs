//! Ctrl-C, SIGTERM and SIGHUP: the first asks everything to end cleanly, the second ends the program at once.

use crate::exit::Exit;
use crate::output;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells whoever waits that the user wants the run to end. Clones see the same signal.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Receiver<bool>);

impl Interrupts {
    /// Takes over these signals for the rest of the process's life. Must be called inside a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut hangup = match is_ignored(&status, SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        // Asked for what runs at this moment (SIGUSR1), a verb that runs nothing says nothing. Without a handler it would be killed.
        let _ = signal(SignalKind::user_defined1())?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    Some(_) = received(&mut hangup) => {}
                }
                if sender.send_replace(true) {
                    // Guests end with this process (parent-death signal); their temporary folders are what stays.
                    output::note("interrupted again: leaving at once");
                    std::process::exit(i32::from(Exit::Interrupted.status()));
                }
                output::note("interrupted: ending what runs; once more to leave at once");
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for the signal.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|raised| *raised).await.is_err() {
            // The listener is gone, which only happens while the runtime shuts down: there will be no signal.
            std::future::pending().await
        }
    }

    /// A signal that comes when `sender` says so.
    #[cfg(test)]
    pub(crate) fn from_channel(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }
}

async fn received(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Whether this process was started with the signal ignored, as nohup(1) does with SIGHUP: then it is to stay so. By the mask
/// `SigIgn` of /proc/self/status, whose bit N - 1 is signal N (proc_pid_status(5)).
fn is_ignored(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask.checked_shr(signal.as_raw_value().cast_unsigned().wrapping_sub(1)).is_some_and(|bits| bits & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a run under nohup that ends with its terminal, and one without that outlives it as a killed run.
    #[test]
    fn nohup_is_respected() {
        let status = "Name:\txtask\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_ignored(status, SignalKind::hangup()) && is_ignored(status, SignalKind::pipe()));
        assert!(!is_ignored(status, SignalKind::interrupt()));
        assert!(!is_ignored("", SignalKind::hangup()) && !is_ignored("SigIgn:\tx\n", SignalKind::hangup()));
    }
}
