//! What is refused, with the place and the words that are told.

use super::*;

/// A scenario without anything wrong.
pub(super) const GOOD: &str = "\
suite: mine
description: a text
platforms:
  pc-4g: { machine: pc, memory: 4G, cpu: qemu64, cpus: 1 }
matrix:
  - first: [5.10-amd64]
    userspace: [i386]
    loader: [in-tree]
    capture: [5.10-amd64]
    region: [256M@1968M on pc-4g]
expect:
  - when: all
    outcome: captured
    vmcore: verified
";

fn problems(text: &str) -> Vec<String> {
    match parse("my.yaml", text, &Catalog::locked().unwrap(), &no_base) {
        Ok(suite) => panic!("nothing wrong with {} cells of\n{text}", suite.cells.len()),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The one problem of the good scenario with a piece replaced.
fn problem(piece: &str, by: &str) -> String {
    assert!(GOOD.contains(piece), "{piece}");
    let problems = problems(&GOOD.replacen(piece, by, 1));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn the_good_one_is_taken() {
    assert_eq!(suite("my.yaml", GOOD).cells.len(), 1);
}

/// Bug: an empty file is told in the YAML reader's own words.
#[test]
fn an_empty_file_is_told_as_one() {
    assert_eq!(problems(""), ["my.yaml:1:1: this file is empty; a suite is wanted"]);
}

#[test]
fn errors_of_form_are_told_with_their_place() {
    let mut otherwise = Vec::new();
    for (piece, by, place, words) in [
        // Unknown and missing keys, at every level.
        ("suite: mine\n", "suite: mine\nsuites: 1\n", "2:1", "unknown field `suites`"),
        ("cpus: 1", "cpu-count: 1", "4:50", "unknown field `cpu-count`"),
        ("    userspace:", "    user-space:", "7:5", "unknown field `user-space`"),
        ("    vmcore:", "    vmcores:", "14:5", "unknown field `vmcores`"),
        ("    capture: [5.10-amd64]\n", "", "6:5", "missing field `capture`"),
        // Wrong types.
        ("suite: mine", "suite: [mine]", "1:8", "expected text"),
        ("memory: 4G", "memory: 4096", "4:33", "a size needs its unit"),
        ("memory: 4G", "memory: ~", "4:33", "a size needs its unit"),
        ("cpus: 1", "cpus: 0", "4:56", "expected a nonzero u32"),
        ("cpus: 1", "cpus: 1.5", "4:56", "invalid type"),
        ("first: [5.10-amd64]", "first: 5.10-amd64", "6:12", "expected a list"),
        ("first: [5.10-amd64]", "first: [5.10]", "6:13", "expected text"),
        ("first: [5.10-amd64]", "first: []", "6:12", "list is empty"),
        ("first: [5.10-amd64]", "first: [true]", "6:13", "expected text"),
        ("description: a text", "description: ''", "2:14", "text is empty"),
        ("suite: mine", "suite: my suite", "1:8", "is no name"),
        ("userspace: [i386]", "userspace: [i686]", "7:17", "is no architecture"),
        ("loader: [in-tree]", "loader: [kexec]", "8:14", "is no loader"),
        ("    capture:", "    reader: [dmesg]\n    capture:", "9:14", "is no reader"),
        ("    capture:", "    tamper: [cmdline]\n    capture:", "9:14", "is no part of a crash image"),
        ("    capture:", "    low-memory: [planed]\n    capture:", "9:18", "known: untouched, planted"),
        (
            "outcome: captured",
            "outcome: stopped-by-purgatory\n    end: halted",
            "14:10",
            "unknown variant `halted`",
        ),
        (
            "    capture:",
            "    circumstances: [lockdwn]\n    capture:",
            "9:21",
            "no circumstances of a load: none",
        ),
        ("cpus: 1", "firmware: efi", "4:60", "unknown variant `efi`"),
        ("    vmcore:", "    acpi: yes\n    vmcore:", "14:11", "take yes for a boolean"),
        ("    vmcore:", "    setup-data: [seed]\n    vmcore:", "14:18", "unknown variant `seed`"),
        ("256M@1968M on pc-4g", "256@1968M on pc-4g", "10:14", "is no reservation"),
        ("256M@1968M on pc-4g", "256M@1968M pc-4g", "10:14", "is no region"),
        ("256M@1968M on pc-4g", "0M@1968M on pc-4g", "10:14", "at least 1M"),
        ("when: all", "when: userspce=i386", "12:11", "unknown axis `userspce`"),
        ("outcome: captured", "outcome: caught", "13:14", "unknown variant `caught`"),
        // Keys that come twice.
        (
            "description: a text\n",
            "description: a text\nsuite: other\n",
            "3:1",
            "`suite` stands here for the second time",
        ),
        (
            "    vmcore: verified\n",
            "    vmcore: verified\n    when: cpus=1\n",
            "15:5",
            "`when` stands here for the second",
        ),
        ("memory: 4G,", "memory: 4G, memory: 8G,", "4:37", "`memory` stands here for the second"),
        // What YAML readers disagree about.
        ("suite: mine", "suite: no", "1:8", "take no for a boolean"),
        ("cpu: qemu64", "cpu: 0777", "4:42", "take 0777 for an octal number"),
        ("cpu: qemu64", "cpu: 1:30", "4:42", "a number to the base of 60"),
        ("description: a text", "description: 2026-01-31", "2:14", "a date"),
        ("  pc-4g:", "  off:", "4:3", "take off for a boolean"),
        ("cpus: 1", "cpus: 01", "4:56", "an octal number"),
        // Not YAML at all.
        ("matrix:\n", "matrix: [\n", "6:", "did not find"),
        ("suite: mine", "suite: *mine", "1:8", "unknown anchor"),
    ] {
        let told = problem(piece, by);
        // The place stands in front, and only there.
        let is_right = told.starts_with(&format!("my.yaml:{place}"))
            && told.contains(words)
            && !told.contains(" at line ");
        if !is_right {
            otherwise.push(format!("{by:?} is to be {place} {words:?}: {told}"));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    // Where the document ends in the middle of something, its beginning is told as well.
    let unclosed = problem("suite: mine", "suite: \"mine");
    assert!(
        unclosed.starts_with("my.yaml:15:1: ") && unclosed.contains("quoted scalar at line 1 column 8"),
        "{unclosed}"
    );
    assert_eq!(problems("").len(), 1);
    assert_eq!(problems(&format!("{GOOD}---\n{GOOD}")).len(), 1);
}

#[test]
fn quoted_words_are_text() {
    for (piece, by) in
        [("suite: mine", "suite: 'no'"), ("a text", "\"0777\""), ("cpu: qemu64", "cpu: \"on\"")]
    {
        suite("my.yaml", &GOOD.replacen(piece, by, 1));
    }
    suite("my.yaml", &GOOD.replacen("a text", "|\n  no", 1));
}

#[test]
fn what_does_not_fit_together_is_told_with_its_place() {
    for (piece, by, place, words) in [
        (
            "first: [5.10-amd64]",
            "first: [5.10-amd64, 4.19-amd64]",
            "6:25",
            "no kernel \"4.19-amd64\"; it has 5.10-amd64",
        ),
        ("on pc-4g", "on pc-5g", "10:14", "no platform is named \"pc-5g\"; known: pc-4g"),
        ("[in-tree]", "[kexec-tools@2.0.1]", "8:13", "no kexec-tools 2.0.1 for i386; it has 2.0.20 for"),
        (
            "region: [",
            "region: [256M on pc-4g, 192M@3264M on pc-4g, ",
            "10:29",
            "cannot hold 192M@3264M (0xcc000000-0xd7ffffff)",
        ),
        (
            "[5.10-amd64]\n    userspace: [i386]\n    loader: [in-tree]\n    capture: [5.10-amd64]\n    region: [256M@1968M",
            "[6.12-amd64]\n    userspace: [i386]\n    loader: [in-tree]\n    capture: [5.10-amd64]\n    region: [256M@1969M",
            "10:14",
            "multiples of 16M",
        ),
        ("256M@1968M on pc-4g", "'256M,high on pc-4g'", "10:14", "needs 6G"),
        ("machine: pc", "machine: microvm", "10:14", "is not known"),
        (
            "    capture:",
            "    reader: [vmcore-dmesg@2.0.0]\n    capture:",
            "9:13",
            "no kexec-tools 2.0.0 for i386",
        ),
        (
            "    capture:",
            "    circumstances: [none, load-limit-used-up]\n    capture:",
            "9:20",
            "5.10-amd64 does not count loads",
        ),
        (
            "i386]\n    loader: [in-tree]",
            "x86_64]\n    loader: [in-tree]\n    circumstances: [no-64-bit-code]",
            "9:20",
            "64-bit code itself",
        ),
        ("loader: [in-tree]", "loader: [in-tree, in-tree]", "6:5", "comes twice out of this block"),
        ("when: all", "when: cpus=2", "6:5", "no rule of `expect` matches cell 5.10-amd64.i386"),
        ("    vmcore: verified\n", "", "12:14", "add `vmcore: verified`"),
        (
            "    vmcore: verified\n",
            "    vmcore: verified\n    cause: nothing-took-over\n",
            "15:5",
            "`cause` says nothing",
        ),
        (
            "captured\n    vmcore: verified",
            "unreserved\n    acpi: found",
            "14:5",
            "`acpi` says nothing about the outcome",
        ),
        ("vmcore: verified", "vmcore: wrong", "13:14", "is expected with what is wrong"),
        ("vmcore: verified\n", "vmcore: verified\n    why: [x]\n", "15:5", "`why` says nothing"),
        ("captured\n    vmcore: verified", "hung\n    cause: unknown", "13:14", "is expected with its cause"),
        ("captured\n    vmcore: verified", "refused", "13:14", "add `by: loader`"),
        ("captured\n    vmcore: verified", "stopped-by-purgatory", "13:14", "add `segment: …`"),
        ("vmcore: verified\n", "vmcore: verified\n    segment: kernel\n", "15:5", "`segment` says nothing"),
        ("vmcore: verified\n", "vmcore: verified\n    end: reset\n", "15:5", "`end` says nothing"),
        ("captured\n    vmcore: verified", "unreserved\n    message: [x]", "14:5", "`message` says nothing"),
    ] {
        // A rule for cells without a rule would be dead, and the cell unmatched: two problems, of which one is looked at.
        let told = problems(&GOOD.replacen(piece, by, 1));
        let told = told.iter().find(|told| told.contains(words)).unwrap_or_else(|| panic!("{by}: {told:#?}"));
        let place = if words.starts_with("add `vmcore") { "13:14" } else { place };
        assert!(told.starts_with(&format!("my.yaml:{place}: ")), "{by}: {told}");
    }
}

#[test]
fn an_i386_kernel_with_x86_64_userspace_cannot_be() {
    let text = GOOD.replacen("first: [5.10-amd64]", "first: [5.10-686-pae]", 1).replacen(
        "[i386]",
        "[i386, x86_64]",
        1,
    );
    let told = problems(&text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("my.yaml:7:16: 5.10-686-pae is an i386 kernel"), "{}", told[0]);
    // Left out of the block, the rest of it stands.
    let text = text.replacen("    capture:", "    without: [userspace=x86_64]\n    capture:", 1);
    assert_eq!(suite("my.yaml", &text).cells.len(), 1);
}

#[test]
fn dead_rules_filters_and_skips_are_errors() {
    // They look as if they said something, and nobody notices when a typo has killed them.
    let rule = "  - when: cpus=2\n    outcome: unreserved\n";
    let told = problems(&GOOD.replacen("  - when: all", &format!("{rule}  - when: all"), 1));
    assert!(told[0].starts_with("my.yaml:12:11: no cell comes to this rule"), "{told:?}");
    let told = problems(&GOOD.replacen("    capture:", "    without: [userspace=x86_64]\n    capture:", 1));
    assert!(told[0].starts_with("my.yaml:9:15: this filter leaves nothing out"), "{told:?}");
    let told = problems(&GOOD.replacen("expect:", "skip:\n  - when: cpus=2\n    why: x\nexpect:", 1));
    assert!(told[0].starts_with("my.yaml:12:11: this filter skips no cell"), "{told:?}");
}

#[test]
fn the_same_cell_in_two_blocks_is_refused() {
    let block = &GOOD[GOOD.find("  - first").unwrap()..GOOD.find("expect:").unwrap()];
    let told = problems(&GOOD.replacen("expect:", &format!("{block}expect:"), 1));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("my.yaml:11:5: cell 5.10-amd64.i386.in-tree"), "{told:?}");
    assert!(told[0].contains("already made by block 1"), "{told:?}");
}

#[test]
fn the_region_stands_in_messages_only_where_it_is_fixed() {
    let refused = GOOD.replacen(
        "captured\n    vmcore: verified",
        "refused\n    by: loader\n    message: ['at {region}']",
        1,
    );
    let suite = suite("my.yaml", &refused);
    assert!(
        matches!(&suite.cells[0].expected, Expectation::Refused { message, .. } if message == &["at 0x7b000000-0x8affffff"])
    );
    let told = problems(&refused.replacen("256M@1968M", "256M", 1));
    assert!(told[0].starts_with("my.yaml:15:14: {region} has no value"), "{told:?}");
}

#[test]
fn what_the_rig_changes_is_an_axis_and_names_itself() {
    // A cell that is tampered with has the id, or the expectation, of one that is not; or a rule asks for a segment of no name.
    let text = GOOD
        .replacen(
            "    capture:",
            "    tamper: [initrd, boot_params]\n    low-memory: [planted]\n    capture:",
            1,
        )
        .replacen("captured\n    vmcore: verified", "stopped-by-purgatory\n    segment: '{tamper}'", 1);
    let changed = suite("my.yaml", &text);
    let ids: Vec<&str> = changed.cells.iter().map(|cell| cell.id.0.as_str()).collect();
    let id = "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g";
    assert_eq!(
        ids,
        [
            format!("{id}.tamper-initrd.low-memory-planted"),
            format!("{id}.tamper-boot_params.low-memory-planted")
        ]
    );
    let named: Vec<_> = changed
        .cells
        .iter()
        .map(|cell| match &cell.expected {
            Expectation::StoppedByPurgatory { segment, .. } => segment.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(named, [Some("initrd"), Some("boot_params")]);
    let told = problems(&text.replacen("[initrd, boot_params]", "[none]", 1));
    assert!(told[0].contains("{tamper} has no value in cell"), "{told:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Path::new("/nonexistent/my.yaml"), &Catalog::default()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/my.yaml: cannot read this scenario: No such file"), "{error}");
}

proptest! {
    /// Whatever stands in the file is a suite or a problem, never a panic; and a mark of the YAML reader is never missing
    /// where there is text.
    #[test]
    fn damaged_files_are_borne(at in 0..GOOD.len(), by in "[ \\[\\]{}:,\n#&*!|>'\"%@a0-]{0,3}", cut in 0usize..6) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{by}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(problems) = parse("my.yaml", &text, &Catalog::default(), &no_base) {
            prop_assert!(problems.iter().count() > 0);
        }
    }
}
