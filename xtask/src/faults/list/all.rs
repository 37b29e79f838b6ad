//! The faults of the campaign, as data: what is injected, and what must come of it.

use super::expect::{INTERRUPTED, UNNOTICED, bounded, error, hung, load_failed, not_run, says};
use super::{
    Damage, FalseLoader, FalseMirror, FalseQemu, Fault, Injection, RealSignal, RigSignal, StateDamage,
};
use crate::exit::Exit;
use crate::faults::judge::{Expected, Fate};
use crate::faults::stand_in::{Deed, Moment};
use harness::outcome::{OutcomeKind, Verdict};

const fn guest(
    name: &'static str,
    what: &'static str,
    moment: Moment,
    deed: Deed,
    expected: Expected,
) -> Fault {
    Fault { name, what, injection: Injection::Guest(moment, deed), expected, slice: false }
}

const fn other(name: &'static str, what: &'static str, injection: Injection, expected: Expected) -> Fault {
    Fault { name, what, injection, expected, slice: false }
}

const fn signal(name: &'static str, what: &'static str, signal: RigSignal) -> Fault {
    other(name, what, Injection::Signal(signal), INTERRUPTED)
}

const fn in_slice(fault: Fault) -> Fault {
    Fault { slice: true, ..fault }
}

const UNKNOWN_EVENTS: &[&str] = &[
    r#"{"event": "FROM_THE_FUTURE", "data": {"a": [1, {"b": null}]}}"#,
    r#"{"event": "NO_DATA"}"#,
    r#"{"event": "BALLOON_CHANGE", "data": 7, "more": {}}"#,
];

const GARBAGE: &[&str] = &[
    "\u{0}\u{1}\u{fffd} this is not JSON",
    "{\"return\": {}, \"id\": 99999999999999999999}",
    "{\"return\": {}, \"id\": 4000000000}",
    "{\"id\": 0}",
    "[1, 2",
    "",
    "{\"error\": \"text\", \"id\": 7}",
];

/// Half of what would be a panic line.
const HALF_LINE: &[u8] = b"[    1.0] Kernel pan";

const NOT_UTF8: &[u8] = b"\xff\xfe\x80\xc3(\xed\xa0\x80\x00\x1b[2J\r\r\n";

/// Lines on the message channel: no text, no JSON, no message, no object.
const NONSENSE: &[u8] =
    b"\x00\xffhello\n{\"seq\":\n{\"seq\":1,\"kernel\":\"third\",\"message\":{\"type\":\"done\"}}\n[]\n";

/// A message of no type that there is.
const MISSPELT: &[u8] = b"{\"seq\":1,\"kernel\":\"first\",\"message\":{\"type\":\"loded\"}}\n";

/// All of them, in the order of the table.
pub(in crate::faults) const FAULTS: &[Fault] = &[
    in_slice(guest(
        "qemu-killed",
        "QEMU is killed as its guest is to load",
        Moment::Load,
        Deed::Die,
        error("signal: 9"),
    )),
    guest("qemu-stopped", "QEMU is stopped by SIGSTOP", Moment::Load, Deed::Freeze, error("no reply within")),
    other(
        "real-qemu-killed",
        "the QEMU of a real guest is killed while the first kernel boots",
        Injection::RealQemu(RealSignal::Kill),
        error("signal: 9"),
    ),
    other(
        "real-qemu-stopped",
        "the QEMU of a real guest is stopped while the first kernel boots",
        Injection::RealQemu(RealSignal::Stop),
        error("no reply within"),
    ),
    in_slice(other(
        "qemu-missing",
        "there is no QEMU at the path",
        Injection::Qemu(FalseQemu::Missing),
        not_run(Exit::BadInput, &["no such program"]),
    )),
    in_slice(other(
        "qemu-too-old",
        "QEMU is of a version that is too old",
        Injection::Qemu(FalseQemu::Version("QEMU emulator version 5.2.0")),
        not_run(Exit::BadInput, &["the rig needs 6.1 or later"]),
    )),
    other(
        "qemu-is-none",
        "what is given as QEMU is something else",
        Injection::Qemu(FalseQemu::Version("bash 5.2")),
        not_run(Exit::BadInput, &["no version of QEMU"]),
    ),
    in_slice(guest(
        "qemu-refuses",
        "QEMU refuses its arguments",
        Moment::Started,
        Deed::RefuseArguments,
        error("unsupported machine type"),
    )),
    other(
        "qemu-without-memory",
        "a real QEMU cannot have the guest's memory",
        Injection::Qemu(FalseQemu::WithoutMemory),
        error("emory"),
    ),
    guest(
        "qemu-never-greets",
        "QEMU connects and never greets",
        Moment::Greeting,
        Deed::Wait,
        error("no QMP greeting within"),
    ),
    in_slice(guest(
        "qmp-closed",
        "the QMP socket is closed while QEMU runs on",
        Moment::Load,
        Deed::CloseQmp,
        error("connection ended"),
    )),
    in_slice(guest(
        "qmp-garbage",
        "garbage and replies to nobody on QMP",
        Moment::Triggered,
        Deed::SayOnQmp(GARBAGE),
        UNNOTICED,
    )),
    guest(
        "qmp-no-reply",
        "a command that never returns",
        Moment::Triggered,
        Deed::NoReply,
        error("inject-nmi: no reply within"),
    ),
    in_slice(guest(
        "qmp-event-flood",
        "half a million events at once",
        Moment::Load,
        Deed::FloodOfEvents(500_000),
        bounded(UNNOTICED),
    )),
    in_slice(guest(
        "qmp-unknown-events",
        "events that no schema knows",
        Moment::Load,
        Deed::SayOnQmp(UNKNOWN_EVENTS),
        UNNOTICED,
    )),
    in_slice(guest(
        "qmp-events-before-replies",
        "events before the greeting and before replies",
        Moment::Greeting,
        Deed::SayOnQmp(UNKNOWN_EVENTS),
        UNNOTICED,
    )),
    in_slice(guest(
        "console-flood",
        "100 MB on the console",
        Moment::Ready,
        Deed::FloodOfConsole(96),
        bounded(UNNOTICED),
    )),
    in_slice(guest(
        "console-endless",
        "the console repeats itself for ever",
        Moment::Load,
        Deed::EndlessConsole,
        bounded(hung("load")),
    )),
    in_slice(guest(
        "qemu-stands-still",
        "QEMU stops the machine after the panic, with an internal error",
        Moment::Triggered,
        Deed::StandStill("internal-error"),
        error("internal-error"),
    )),
    guest("console-silent", "the console goes silent", Moment::Ready, Deed::MuteConsole, UNNOTICED),
    guest(
        "console-silent-hang",
        "console and agent go silent after the panic",
        Moment::Triggered,
        Deed::Wait,
        hung("panic"),
    ),
    guest(
        "console-half-line",
        "the console ends in mid-line, and the guest is silent for good",
        Moment::Triggered,
        Deed::LastOnConsole(HALF_LINE),
        hung("panic"),
    ),
    guest(
        "console-broken-line",
        "the console breaks off in mid-line, and goes on with another",
        Moment::Ready,
        Deed::SayOnConsole(HALF_LINE),
        UNNOTICED,
    ),
    in_slice(guest(
        "console-not-utf8",
        "the console is not UTF-8",
        Moment::Ready,
        Deed::SayOnConsole(NOT_UTF8),
        UNNOTICED,
    )),
    in_slice(guest(
        "agent-nonsense",
        "the agent sends nonsense, and goes on",
        Moment::Load,
        Deed::SayOnChannel(NONSENSE),
        UNNOTICED,
    )),
    in_slice(guest(
        "agent-only-nonsense",
        "the agent sends nonsense, and nothing more",
        Moment::Load,
        Deed::LastOnChannel(MISSPELT),
        error("no message"),
    )),
    in_slice(guest(
        "agent-flood",
        "64 MB of lines that are no messages from the agent",
        Moment::Load,
        Deed::FloodOfChannel(64),
        bounded(UNNOTICED),
    )),
    guest(
        "agent-half-message",
        "the agent sends half a message, and nothing more",
        Moment::Load,
        Deed::HalfMessage,
        error("no message"),
    ),
    guest(
        "agent-half-up",
        "the capture kernel's agent says half a message, and nothing more",
        Moment::Triggered,
        Deed::HalfMessage,
        error("no message"),
    ),
    in_slice(guest(
        "agent-two-verdicts",
        "the agent says twice what became of the load",
        Moment::Load,
        Deed::SayTwice,
        error("sent `loaded` twice"),
    )),
    in_slice(guest(
        "agent-foreign-verdict",
        "the agent sends another cell's verdict before its own",
        Moment::Read,
        Deed::ForeignVerdict,
        error("sent `vmcore` twice"),
    )),
    in_slice(other(
        "flaky-with-retries",
        "QEMU is killed at the first of two attempts",
        Injection::Again(Moment::Load, Deed::Die, &["--retries", "1"]),
        Expected {
            faulted: Fate::Ends {
                verdict: Verdict::Flaky,
                outcome: OutcomeKind::Captured,
                words: "captured",
            },
            says: &["TRY 1", "FLAKY", "1 flaky", ".attempt-2"],
            ..UNNOTICED
        },
    )),
    in_slice(other(
        "unstable-with-repeat",
        "QEMU is killed in one run of three",
        Injection::Again(Moment::Load, Deed::Die, &["--repeat", "3"]),
        Expected {
            exit: Some(Exit::RigFailed),
            faulted: Fate::OneOf {
                runs: 3,
                verdict: Verdict::Error,
                outcome: OutcomeKind::RigError,
                words: "signal: 9",
            },
            says: &["3 runs: 2 captured, 1 rig-error", "1 cell whose runs all came to the same"],
            ..UNNOTICED
        },
    )),
    other(
        "loader-segfaults",
        "a real loader is killed by SIGSEGV",
        Injection::Loader(FalseLoader::Segfaults),
        load_failed("signal 11"),
    ),
    other(
        "loader-loops",
        "a real loader never ends",
        Injection::Loader(FalseLoader::Loops),
        load_failed("in its time"),
    ),
    in_slice(other(
        "loader-lies",
        "a real loader ends with status 0 and has loaded nothing",
        Injection::Loader(FalseLoader::Lies),
        load_failed("nothing"),
    )),
    other(
        "disk-full",
        "the disk fills up while results are written",
        Injection::SmallDisk(Moment::Load, Deed::FillDisk),
        Expected { faulted: Fate::NoResult, ..says(error(""), &["cannot write", "No space left on device"]) },
    ),
    other(
        "no-temporary-folder",
        "there is no room for temporary files",
        Injection::NoTemporaryFolder,
        not_run(Exit::RigFailed, &["No space left on device"]),
    ),
    in_slice(other(
        "report-unwritable",
        "the folder of the report cannot be made",
        Injection::UnwritableReport,
        not_run(Exit::RigFailed, &["cannot create /sys/kernel/"]),
    )),
    in_slice(other(
        "cache-rots",
        "a byte of each unpacked file of a loader is another",
        Injection::Cache(Damage::Rot),
        says(UNNOTICED, &["unpacking it again"]),
    )),
    other(
        "cache-truncated",
        "each unpacked file of a loader is cut in half",
        Injection::Cache(Damage::Truncate),
        says(UNNOTICED, &["unpacking it again"]),
    ),
    in_slice(other(
        "state-damaged",
        "some bytes of a saved machine state are others",
        Injection::SavedState(StateDamage::Rot),
        UNNOTICED,
    )),
    other(
        "state-stale",
        "the state of an earlier boot of the same cells is in a saved one's place",
        Injection::SavedState(StateDamage::OtherBoot),
        UNNOTICED,
    ),
    other(
        "download-stalls",
        "a download stalls, and comes when it is asked for again",
        Injection::Mirror(FalseMirror::Stalls),
        Expected { exit: Some(Exit::AsExpected), ..not_run(Exit::AsExpected, &["trying again"]) },
    ),
    other(
        "download-cut",
        "a download is cut each time",
        Injection::Mirror(FalseMirror::Cuts),
        not_run(Exit::RigFailed, &["trying again", "after"]),
    ),
    in_slice(other(
        "download-wrong",
        "a download is something else",
        Injection::Mirror(FalseMirror::Lies),
        not_run(Exit::RigFailed, &["the mirror serves something else"]),
    )),
    in_slice(other("clock-jumps", "the wall clock jumps by a year, to and fro", Injection::Clock, UNNOTICED)),
    in_slice(signal("sigint", "SIGINT for the rig", RigSignal::Int)),
    signal("sigterm", "SIGTERM for the rig", RigSignal::Term),
    in_slice(signal("sighup", "SIGHUP for the rig, as when its terminal is closed", RigSignal::Hup)),
    in_slice(other(
        "sigkill",
        "SIGKILL for the rig; the run is resumed",
        Injection::Signal(RigSignal::Kill),
        UNNOTICED,
    )),
    other(
        "real-killed-and-resumed",
        "SIGKILL for the rig amid real cells; the resumed run is compared with a whole one",
        Injection::KilledAndResumed,
        not_run(Exit::AsExpected, &[]),
    ),
    other("two-rigs-one-cache", "two rigs on one cache that is still empty", Injection::OneCache, UNNOTICED),
    in_slice(other(
        "two-rigs-one-report",
        "two rigs on one report folder",
        Injection::OneReport,
        says(UNNOTICED, &["is being written by another run"]),
    )),
    in_slice(other(
        "memory-too-small",
        "more guests are asked for than fit into memory",
        Injection::ManyJobs,
        says(UNNOTICED, &["guests at a time instead of"]),
    )),
];
