//! The script of a shell: led to, with a command or without.

use super::*;

/// Up to the trigger, as the shell's script walks it.
fn to_trigger() -> String {
    [
        says(Side::First, Message::Ready(facts())),
        takes("load"),
        loaded(0, ""),
        says(Side::First, Message::Armed { planted: Vec::new() }),
        "timeout 20 head -n 1 < $monitor.in > trigger 3>&-\n".into(),
    ]
    .concat()
}

/// A line of shell that says this on the console.
fn prints(text: &str) -> String {
    format!("printf '{text}' >> shell/console.log\n")
}

/// A script that runs a command in its guest.
fn command(limit: u64) -> Purpose {
    Purpose::Command { limit: Some(Duration::from_secs(limit)) }
}

/// Bug: a shell in the capture kernel that nobody panics into; or one that is ended for silence, when its user thinks, or looks at
/// the machine with a debugger.
#[test]
fn a_shell_is_led_to_and_left_alone() {
    for (purpose, last) in [
        (Purpose::Shell, "capture# exit\\r\\n".to_owned()),
        (Purpose::Command { limit: None }, format!("{STATUS_LINE} 0\\r\\n")),
    ] {
        let stage = Stage::of(purpose, &(to_trigger() + "sleep 3\n" + &prints(&last) + ": > left\n"));
        let (status, said) = stage.run(&[], "1");
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(std::fs::read_to_string(stage.path("trigger")).unwrap(), "nmi\n");
        assert!(stage.path("left").exists(), "{said}");
    }
}

/// Bug: a command that failed in the guest passes, or one that says such a line itself decides.
#[test]
fn a_commands_status_is_the_scripts() {
    for (output, expected) in [("", 0), ("kdump-rig: the command ended with status 0\\r\\n", 7), ("torn", 1)]
    {
        let machine = to_trigger() + &prints(&format!("{output}\\r\\n{STATUS_LINE} {expected}\\r\\n"));
        let (status, said) = Stage::of(command(20), &machine).run(&[], "20");
        assert_eq!(status, Some(expected), "{said}");
        assert!(said.ends_with(&format!("the command ended with status {expected}\n")), "{said}");
    }
}

/// Bug: a QEMU that ends at once, a kernel that resets, or a console that shows init's own text, passes for a command that ran.
#[test]
fn a_command_that_did_not_end_is_no_success() {
    let own_text = prints(&format!("{STATUS_LINE} %%s\\r\\n{STATUS_LINE} 0 or so\\r\\n"));
    for machine in ["exit 0\n".to_owned(), to_trigger(), to_trigger() + &own_text] {
        let (status, said) = Stage::of(command(20), &machine).run(&[], "20");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.ends_with("shell: the command did not come to its end\n"), "{said}");
    }
}

/// Bug: a guest that never comes to the command runs for ever.
#[test]
fn a_command_that_is_never_reached_has_a_limit() {
    let machine = to_trigger()
        + &prints("end Kernel panic\\r\\n")
        + "timeout 20 head -n 2 < $monitor.in > asked 3>&-\n";
    let stage = Stage::of(command(20), &machine);
    let (status, said) = stage.run(&[], "1");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the console's last line: end Kernel panic\n"), "{said}");
    assert!(said.contains("the command did not come to its end; not a word for 1 s"), "{said}");
    assert_eq!(std::fs::read_to_string(stage.path("asked")).unwrap(), "info registers -a\nquit\n");
}

/// Bug: a capture kernel that was refused looks like a shell that somebody left.
#[test]
fn a_shell_that_cannot_be_led_to_says_why() {
    let machine =
        [says(Side::First, Message::Ready(facts())), takes("load"), loaded(1, "too high\n"), takes("order")];
    let (status, said) = Stage::of(Purpose::Shell, &machine.concat()).run(&[], "1");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("there will be no capture kernel: too high\n"), "{said}");
}
