//! Tests of the page.

use super::*;
use crate::report::samples::{hold_against, report};
use proptest::prelude::*;

fn page(text: &str) -> String {
    html(&report(text), Path::new("."))
}

/// The page, a tag to a line, so that a difference has a place.
fn lines(page: &str) -> String {
    page.replace("><", ">\n<")
}

/// Bug: any change of the page that nobody has looked at; or one that differs from run to run.
#[test]
fn the_page_is_the_known_one() {
    hold_against("report.html", &lines(&page("words")));
}

/// Bug: the page loads something from elsewhere, or cannot be read on a phone.
#[test]
fn it_needs_nothing_but_itself() {
    let page = page("words");
    for elsewhere in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("width=device-width"));
    for (at, _) in page.match_indices("href=\"") {
        let address = &page[at + 6..];
        assert!(address.starts_with("./") || address.starts_with('#'), "{}", &address[..20]);
    }
}

/// Bug: a mark of the matrix leads nowhere, or a cell is in the page twice.
#[test]
fn every_mark_leads_to_its_cell() {
    let page = page("words");
    for index in 0..5 {
        assert_eq!(page.matches(&format!("id=\"t{index}\"")).count(), 1);
        assert!(page.contains(&format!("href=\"#t{index}\"")));
    }
}

/// Bug: a report of a run that was killed, of one that has just begun, or without evidence has no page.
#[test]
fn a_report_with_little_in_it_has_a_page() {
    let mut little = report("words");
    little.run = Default::default();
    little.skipped.clear();
    for trial in &mut little.trials {
        trial.attempts.iter_mut().for_each(|attempt| *attempt = Default::default());
    }
    let page = html(&little, Path::new("."));
    assert!(page.contains("has not ended, or was killed") && page.contains("as asked for"));
    assert!(html(&ReportView::default(), Path::new("/r")).contains("no results"));
}

/// Bug: a folder's name ends the attribute that it stands in, or is taken for the scheme of an address.
#[test]
fn addresses_hold_any_name() {
    assert_eq!(address(Path::new("."), &["a b\"#?%", "run.sh"]), "./a%20b%22%23%3F%25/run.sh");
    assert_eq!(address(Path::new("."), &["javascript:alert(1)"]), "./javascript%3Aalert%281%29");
    assert_eq!(address(Path::new("/r s"), &["256M@1968M", ""]), "file:///r%20s/256M@1968M/");
}

/// What the browser acts upon.
fn markup(page: &str) -> [usize; 3] {
    ['<', '>', '"'].map(|c| page.matches(c).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Bug: something that a guest wrote becomes an element, an attribute or a command to a terminal.
    #[test]
    fn no_text_becomes_more_than_text(
        text in "[^\\s]{1,20}|<script>alert\\([0-9]\\)</script>|[\"'<>&\\x00-\\x08\\x0e-\\x1f\\x7f\u{80}-\u{84}\u{86}-\u{9f}\u{202e}]{1,9}"
    ) {
        // Blanks aside, by which the loader's words are told apart: as many elements as with a harmless word.
        let page = page(&text);
        prop_assert_eq!(markup(&page), markup(&html(&report("x"), Path::new("."))));
        prop_assert_eq!(page.matches("<script>").count(), 1);
        let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
        prop_assert!(!page.contains(acts));
    }
}
