//! The guest's two serial ports: drained by a task each from before the guest runs until the end of file after it is gone.

use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Chunks that may wait to be looked at. When the rig is busy a full queue holds the guest up, and nothing is lost.
pub(super) const QUEUE: usize = 1024;

/// A serial port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// The first: the console of both kernels.
    Console,
    /// The second: messages.
    Channel,
}

/// Bytes that came out of a port.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) port: Port,
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
}

/// Drains both ports. The receiver ends when both have ended.
pub(super) fn drain<C, M>(console: C, channel: M) -> mpsc::Receiver<Chunk>
where
    C: AsyncRead + Send + Unpin + 'static,
    M: AsyncRead + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(drain_port(Port::Console, console, sender.clone()));
    tokio::spawn(drain_port(Port::Channel, channel, sender));
    receiver
}

async fn drain_port(port: Port, mut stream: impl AsyncRead + Unpin, sender: mpsc::Sender<Chunk>) {
    let mut buffer = vec![0; 16 << 10];
    // An error is an end as well: QEMU is gone.
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let chunk = Chunk { port, at: Instant::now(), bytes: buffer[..length].to_vec() };
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}
