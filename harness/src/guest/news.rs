//! What is told of a guest while it runs, for people who watch.

use crate::phase::Phase;
use std::path::PathBuf;
use std::time::Duration;

/// Something to tell of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// QEMU runs, and is attached.
    Started {
        /// Its process id.
        pid: i32,
        /// File that it writes the console to meanwhile.
        console: PathBuf,
    },
    /// The guest enters a phase.
    Phase(Phase),
    /// The console's last line that is not blank, which may be unfinished: at most 160 characters, none of them a control
    /// character. At most five times a second, and only when it is another one.
    Console(String),
    /// The guest has used half of a phase's time.
    Slow {
        /// The phase.
        phase: Phase,
        /// Its deadline, counted from its beginning.
        limit: Duration,
    },
}

/// Whoever is told.
pub type Listener<'a> = dyn FnMut(News) + Send + 'a;
