//! What holds for all evidence, however it came about.

use super::*;
use proptest::prelude::*;

/// One thing that may be seen next.
#[derive(Clone, Debug)]
enum Step {
    Ready,
    Loaded(bool),
    Armed,
    Trigger,
    Console(&'static str),
    Sample(bool, u64),
    Event(&'static str, &'static str),
    Up,
    Vmcore(bool),
    Done,
    Trouble,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Ready),
        2 => any::<bool>().prop_map(Step::Loaded),
        2 => Just(Step::Armed),
        3 => Just(Step::Trigger),
        4 => prop::sample::select(vec![NMI_PANIC, END_OF_PANIC, FAULT, DECOMPRESSOR_REFUSES, CAPTURE_BOOTS, "\u{0}\u{fffd}\r\n"])
            .prop_map(Step::Console),
        4 => (any::<bool>(), 0u64..2).prop_map(|(is_dead, ip)| Step::Sample(is_dead, ip)),
        1 => prop::sample::select(vec![("SHUTDOWN", "guest-reset"), ("RESET", "guest-reset"), ("SHUTDOWN", "guest-shutdown")])
            .prop_map(|(name, reason)| Step::Event(name, reason)),
        2 => Just(Step::Up),
        2 => any::<bool>().prop_map(Step::Vmcore),
        1 => Just(Step::Done),
        1 => Just(Step::Trouble),
    ]
}

/// Mostly a life in the right order, with anything in between.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let in_order = [Step::Ready, Step::Loaded(true), Step::Armed, Step::Trigger];
    (0usize..=4, prop::collection::vec(step(), 0..8))
        .prop_map(move |(before, then)| in_order[..before].iter().cloned().chain(then).collect())
}

fn apply(mut life: Life, step: Step, ms: u64) -> Life {
    let cell = life.cell.clone();
    match step {
        Step::Ready => life.says(ms, Side::First, Message::Ready(first_facts(&cell))),
        Step::Loaded(crash_loaded) => {
            life.says(ms, Side::First, Message::Loaded(LoadReport { crash_loaded, ..loaded() }))
        }
        Step::Armed => life.says(ms, Side::First, Message::Armed { planted: planted() }),
        Step::Trigger => {
            life.evidence.triggered_ms = Some(ms);
            life.evidence.console_at_trigger = Some(life.evidence.console.len());
            life
        }
        Step::Console(text) => life.console(ms, text),
        Step::Sample(true, ip) => life.sample(ms, &[dead(ip)]),
        Step::Sample(false, ip) => life.sample(ms, &[running(ip)]),
        Step::Event(name, reason) => life.event(ms, name, reason),
        Step::Up => life.says(ms, Side::Capture, Message::Up(capture_facts(&cell))),
        Step::Vmcore(true) => {
            life.says(ms, Side::Capture, Message::Vmcore(VmcoreReport::Present(vmcore(&cell))))
        }
        Step::Vmcore(false) => life.says(ms, Side::Capture, Message::Vmcore(VmcoreReport::Absent)),
        Step::Done => life.says(ms, Side::Capture, Message::Done),
        Step::Trouble => life.says(ms, Side::First, Message::Trouble { what: "trouble".to_owned() }),
    }
}

proptest! {
    /// A guest that is ended because its outcome is proven must be judged by that outcome, whatever ends it: otherwise
    /// ending early would change verdicts.
    #[test]
    fn a_conclusion_is_what_classify_says_however_the_guest_ends(steps in steps(), first in 0u8..2) {
        let arch = if first == 0 { Arch::I386 } else { Arch::X86_64 };
        let mut life = Life::of(cell(arch, Arch::X86_64));
        for (number, step) in steps.into_iter().enumerate() {
            life = apply(life, step, 1000 * (number as u64 + 1));
            let Some(conclusion) = conclude(&life.cell, &life.evidence) else { continue };
            for end in [GuestEnd::Concluded, GuestEnd::ByItself, GuestEnd::Interrupted, GuestEnd::Trouble { what: String::new() }] {
                prop_assert_eq!(&life.clone().ends(end).outcome(), &conclusion.outcome);
            }
            prop_assert_eq!(&life.clone().deadline(Phase::Capture).outcome(), &conclusion.outcome);
            break;
        }
    }

    /// Silence is never a reason to end a guest before its deadline.
    #[test]
    fn silence_is_never_concluded(steps in steps()) {
        let mut life = Life::of(amd64());
        for (number, step) in steps.into_iter().enumerate() {
            life = apply(life, step, 1000 * (number as u64 + 1));
            let silent = matches!(
                conclude(&life.cell, &life.evidence),
                Some(Conclusion { outcome: Outcome::Hung { proof: HangProof::Silence { .. }, .. } })
            );
            prop_assert!(!silent);
        }
    }

    /// Serial lines carry anything when a kernel dies.
    #[test]
    fn any_console_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..500) {
        let mut life = Life::of(amd64()).triggered();
        life.evidence.console = bytes;
        life.evidence.console_at_trigger = Some(at);
        life.outcome();
        life.is_concluded();
    }
}
