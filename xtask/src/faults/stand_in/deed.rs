//! What can go wrong in a guest that is played, and when.

/// A moment in a guest's life, before what the guest does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Moment {
    /// QEMU has started and is not connected yet.
    Started,
    /// QEMU is about to greet.
    Greeting,
    /// The first kernel's agent is about to say *ready*.
    Ready,
    /// The order to load has come.
    Load,
    /// The NMI has come.
    Triggered,
    /// The order to read has come.
    Read,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Deed {
    /// QEMU is killed by SIGKILL.
    Die,
    /// QEMU is stopped by SIGSTOP.
    Freeze,
    /// QEMU does not like its arguments.
    RefuseArguments,
    /// Nothing more happens.
    Wait,
    /// Nothing happens for a while, as in a guest that is at work; then all goes on.
    Dawdle,
    /// Nothing happens until somebody takes away the file that says so; then all goes on.
    Pause,
    /// QEMU stops the machine, with this status, as it does where an accelerator breaks down; nothing more happens.
    StandStill(&'static str),
    /// QEMU closes QMP and runs on.
    CloseQmp,
    /// These lines on QMP, and all goes on.
    SayOnQmp(&'static [&'static str]),
    /// QEMU answers no command any more.
    NoReply,
    /// So many events of one kind, and all goes on.
    FloodOfEvents(u32),
    /// So many MiB on the console, and all goes on.
    FloodOfConsole(usize),
    /// The console repeats itself for ever, and nothing more happens.
    EndlessConsole,
    /// So many MiB of lines on the message channel that are no messages, and all goes on.
    FloodOfChannel(usize),
    /// These bytes on the console, and all goes on.
    SayOnConsole(&'static [u8]),
    /// These bytes on the console, and nothing more happens.
    LastOnConsole(&'static [u8]),
    /// Nothing more on the console, and all else goes on.
    MuteConsole,
    /// These bytes on the message channel, and all goes on.
    SayOnChannel(&'static [u8]),
    /// These bytes on the message channel, and nothing more happens.
    LastOnChannel(&'static [u8]),
    /// The next message is cut in its middle, and no other follows.
    HalfMessage,
    /// The next message comes twice, with a number of its own each time.
    SayTwice,
    /// Another cell's message on the vmcore comes first.
    ForeignVerdict,
    /// The disk with the report is filled up, and all goes on.
    FillDisk,
}
