//! Ctrl-C and SIGTERM: the first asks everything to end cleanly, the second ends the program at once.

use crate::exit::Exit;
use crate::output;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whoever waits that the user wants the run to end. Clones see the same signal.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Receiver<bool>);

impl Interrupts {
    /// Takes over both signals for the rest of the process's life. Must be called inside a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
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
