//! Outcomes and expectations in words: for the table, and for the sentence that says where the two differ.

use super::{missing_texts, proves, refuser_meets, told, vmcore_meets};
use crate::outcome::{
    Expectation, ExpectedPurgatoryEnd, ExpectedRefuser, ExpectedVmcore, HangCause, HangProof, LoadFailure,
    Outcome, OutcomeKind, PurgatoryEnd, Refuser, VmcoreState,
};
use crate::quote::quote;

/// An outcome in a few words, for one line of the table.
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Captured { vmcore, .. } => match vmcore {
            VmcoreState::Verified => "captured, vmcore verified".to_owned(),
            VmcoreState::Wrong { why } => format!("captured, vmcore wrong: {why}"),
            VmcoreState::Absent { why } => format!("captured, no vmcore ({})", quote(why)),
        },
        Outcome::Refused { by: Refuser::Loader, message } => {
            format!("refused by the loader: {}", quote(telling_line(message)))
        }
        Outcome::Refused { by: Refuser::Kernel { errno }, message } => {
            format!("refused by the kernel with {}: {}", errno_words(*errno), quote(telling_line(message)))
        }
        Outcome::LoadFailed { how, stderr } => {
            let how = match how {
                LoadFailure::Killed { signal } => {
                    format!("the loader was killed by {}", signal_words(*signal))
                }
                LoadFailure::Status { status } => format!("the loader ended with status {status}"),
                LoadFailure::NothingLoaded => "the loader claims success, but nothing is loaded".to_owned(),
                LoadFailure::LoadedAnyway { status } => {
                    format!("the loader ended with status {status}, but something is loaded")
                }
                LoadFailure::TimedOut => "the loader did not end in its time".to_owned(),
                LoadFailure::NotStarted { errno } => {
                    format!("the loader did not start: {}", errno_words(*errno))
                }
            };
            match telling_line(stderr) {
                "" => how,
                line => format!("{how}: {}", quote(line)),
            }
        }
        Outcome::Hung { at, proof, cause } => {
            let at = at.in_words();
            let cause = match cause {
                HangCause::Unknown => String::new(),
                HangCause::DestinationTooLarge | HangCause::FaultInPanicPath | HangCause::NothingTookOver => {
                    format!(", {}", cause_words(*cause))
                }
            };
            match proof {
                HangProof::AllHaltedIrqsOff { ip } => {
                    format!("hung during {at}{cause} (all CPUs halted with interrupts off at {ip:#x})")
                }
                HangProof::EndOfPanic { line } => format!("hung during {at}{cause} ({})", quote(line)),
                HangProof::Silence { seconds } => {
                    format!("hung during {at}{cause} (nothing proves it but {seconds} s without a result)")
                }
            }
        }
        Outcome::CapturePanicked { line } => format!("the capture kernel panicked: {}", quote(line)),
        Outcome::StoppedByPurgatory { line, segment: _, end } => {
            let end = match end {
                PurgatoryEnd::Halted { ip } => format!("halted at {ip:#x}"),
                PurgatoryEnd::Loops { ip } => format!("it goes round at {ip:#x}"),
                PurgatoryEnd::Reset { reason } => format!("reset: {}", quote(reason)),
            };
            format!("stopped by the purgatory ({end}): {}", quote(line))
        }
        Outcome::Reset { at, reason } => format!("reset during {}: {}", at.in_words(), quote(reason)),
        Outcome::NotPanicked { seen } => format!("the first kernel did not panic: {}", quote(seen)),
        Outcome::Unreserved { why } => format!("no such crash region: {why}"),
        Outcome::NoFirstKernel { at, why } => {
            format!("the first kernel stopped during {}: {}", at.in_words(), quote(why))
        }
        Outcome::RigError { what } => format!("rig error: {what}"),
    }
}

/// An outcome in a few words, beside what was expected: of a capture kernel that was not told what it should have been, that.
pub fn describe_beside(outcome: &Outcome, expected: &Expectation) -> String {
    match (outcome.kind(), near_miss(outcome, expected)) {
        (OutcomeKind::Captured, Some(miss)) => format!("{}, but {miss}", describe(outcome)),
        _ => describe(outcome),
    }
}

/// An expectation in a few words, to stand beside an outcome that differs.
pub fn describe_expectation(expected: &Expectation) -> String {
    match expected {
        Expectation::Captured { vmcore, told } => {
            let vmcore = match vmcore {
                ExpectedVmcore::Verified => "vmcore verified".to_owned(),
                ExpectedVmcore::Absent => "no vmcore".to_owned(),
                ExpectedVmcore::Wrong { why } => {
                    format!("vmcore wrong: {}", in_quotes(why.iter().map(String::as_str), " and "))
                }
            };
            format!("captured, {vmcore}{}", told::in_words(told))
        }
        Expectation::Refused { by, message } => {
            let by = match by {
                ExpectedRefuser::Loader => "the loader",
                ExpectedRefuser::Kernel => "the kernel",
            };
            if message.is_empty() {
                format!("refused by {by}")
            } else {
                format!("refused by {by}, naming {}", in_quotes(message.iter().map(String::as_str), " and "))
            }
        }
        Expectation::Hung { cause } => format!("hung, {}", cause_words(*cause)),
        Expectation::StoppedByPurgatory { segment, message, end } => {
            let end = match end {
                ExpectedPurgatoryEnd::Stopped => "stopped",
                ExpectedPurgatoryEnd::Reset => "reset",
            };
            let named = segment.iter().chain(message).map(String::as_str);
            format!("{end} by the purgatory, naming {}", in_quotes(named, " and "))
        }
        Expectation::Unreserved => "no such crash region".to_owned(),
        Expectation::Observed => "observed, whatever comes of it".to_owned(),
    }
}

/// Where the kind is right and a detail is not: the detail. To be asked of outcomes that miss their expectation.
pub fn near_miss(outcome: &Outcome, expected: &Expectation) -> Option<String> {
    if let (Outcome::Refused { message, by }, Expectation::Refused { by: expected_by, message: texts }) =
        (outcome, expected)
    {
        let missing = missing_texts(message, texts);
        return (refuser_meets(*by, *expected_by) && !missing.is_empty())
            .then(|| format!("the refusal does not name {}", in_quotes(missing.into_iter(), " nor ")));
    }
    if let (Outcome::Captured { vmcore, told }, Expectation::Captured { vmcore: wanted, told: expected }) =
        (outcome, expected)
    {
        let wrong = told::wrong(told.as_ref(), expected);
        return (vmcore_meets(vmcore, wanted) && !wrong.is_empty()).then(|| wrong.join("; "));
    }
    if let (
        Outcome::StoppedByPurgatory { line, segment: found, end: _ },
        Expectation::StoppedByPurgatory { segment, message, end },
    ) = (outcome, expected)
    {
        let missing = missing_texts(line, message);
        return Some(match (segment, found) {
            (Some(segment), Some(found)) if segment != found => {
                format!("the purgatory names another segment: expected: {segment}; found: {found}")
            }
            (Some(segment), None) => format!("the purgatory names no segment: expected: {segment}"),
            _ if !missing.is_empty() => {
                format!("the purgatory does not say {}", in_quotes(missing.into_iter(), " nor "))
            }
            _ => match end {
                ExpectedPurgatoryEnd::Stopped => {
                    "the purgatory was to stop, not to reset the machine".to_owned()
                }
                ExpectedPurgatoryEnd::Reset => {
                    "the purgatory was to reset the machine, not to stop".to_owned()
                }
            },
        });
    }
    if let (Outcome::Hung { proof, cause: found, .. }, Expectation::Hung { cause }) = (outcome, expected) {
        return Some(if proves(proof) {
            format!(
                "it hung for another cause: expected: {}; found: {}",
                cause_words(*cause),
                cause_words(*found)
            )
        } else {
            "it hung, but nothing proves it: any hang would look so".to_owned()
        });
    }
    None
}

/// Texts in quotes, with a word between them.
fn in_quotes<'a>(texts: impl Iterator<Item = &'a str>, between: &str) -> String {
    texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(between)
}

const fn cause_words(cause: HangCause) -> &'static str {
    match cause {
        HangCause::DestinationTooLarge => "the capture kernel's decompressor refused its place",
        HangCause::FaultInPanicPath => "the first kernel faulted in its panic path",
        HangCause::NothingTookOver => "the first kernel panicked and nothing took over",
        HangCause::Unknown => "of unknown cause",
    }
}

/// The line of a message that most likely says why.
///
/// Loaders print what they do first and why they stop last. kexec-tools is the exception: behind the line that says why it
/// prints its segments, or where in its code it stopped.
pub fn telling_line(text: &str) -> &str {
    const TELLING: [&str; 2] = ["kexec_load failed", "Could not find a free area"];
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| TELLING.iter().any(|words| line.contains(words)))
        .or_else(|| lines().next_back())
        .unwrap_or("")
}

pub(crate) fn errno_words(errno: i32) -> String {
    match crate::classify::errno_name(errno) {
        Some(name) => name.to_owned(),
        None => format!("errno {errno}"),
    }
}

/// The signals that kill programs, by their numbers on x86 (signal(7)).
pub(crate) fn signal_words(signal: u8) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    format!("{name} (signal {signal})")
}
