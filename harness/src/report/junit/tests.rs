//! Tests of the JUnit file.

use super::*;
use crate::report::samples::{hold_against, report};
use proptest::prelude::*;

/// Bug: any change of the document that CI systems would see.
#[test]
fn the_document_is_the_known_one() {
    hold_against("junit.xml", &junit(&report("words")).unwrap());
}

/// Bug: trouble of the rig counts as a failure of the loader, a flaky cell as one or as a plain pass; a skipped cell vanishes.
#[test]
fn each_verdict_has_its_element() {
    let document = junit(&report("words")).unwrap();
    assert!(document.contains(r#"tests="6" skipped="1" failures="1" errors="1""#), "{document}");
    let case = |name: &str| {
        let (_, case) = document.split_once(&format!("<testcase name=\"{name}.")).expect(name);
        case.split_once("</testcase>").expect(name).0
    };
    assert!(case("failed").contains("<failure ") && case("failed").contains("<rerunError "));
    assert!(case("broken").contains("<error "));
    assert!(case("flaky").contains("<flakyFailure ") && !case("flaky").contains("<failure "));
    assert!(case("skipped").contains("<skipped message=\"known words\""));
    for name in ["captured", "refused"] {
        assert!(!["<failure", "<error", "<flaky", "<skipped"].iter().any(|tag| case(name).contains(tag)));
    }
}

/// Bug: what to begin with is not there for somebody who sees nothing but the CI system's page.
#[test]
fn a_failure_says_what_a_person_needs() {
    let document = junit(&report("words")).unwrap();
    let (_, failure) = document.split_once("<failure ").unwrap();
    let (failure, _) = failure.split_once("</failure>").unwrap();
    for part in [
        "message=\"hung during panic",
        "expected: captured, vmcore verified",
        "why: first kernel panicked and did not jump to a crash image",
        "last phase: panic; awaited: the first kernel",
        "evidence: failed.attempt-1 words",
        "last words words",
    ] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
}

/// Whether XML 1.0 has a way to write it (<https://www.w3.org/TR/xml/#charsets>).
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Bug: a NUL or an escape sequence on a console makes a document that no CI system reads; or an escape sequence takes what
    /// follows it away.
    #[test]
    fn no_text_breaks_the_document(text in ".{0,20}|[\\x00-\\x1f<>&\"'\u{fffe}\u{ffff}\\]]{1,9}") {
        let document = junit(&report(&format!("{text}end"))).unwrap();
        prop_assert!(document.chars().all(is_xml));
        let read = quick_junit::Report::deserialize_from_str(&document).expect("it reads back");
        prop_assert_eq!((read.tests, read.failures, read.errors), (6, 1, 1));
        prop_assert!(document.matches("end").count() >= junit(&report("end")).unwrap().matches("end").count());
    }
}
