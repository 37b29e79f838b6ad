//! The request to stop a run: made once, by Ctrl-C, SIGTERM or SIGHUP, and seen by everything that waits.

use tokio::sync::watch;

/// Makes the request.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Sees the request. Cheap to clone, one for each that waits.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A request that has not been made yet, and the end that sees it.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks everything that holds a [`Stop`] to end cleanly, evidence kept. Asking twice changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the request was made.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the request. Never returns when the [`Stopper`] is gone without having asked.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
