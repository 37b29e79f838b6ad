//! A report as one HTML page that needs nothing but itself. Pure.
//!
//! Every text goes through the templates' escaping, and the whole page through [`visible`] at the end, so that nothing that a
//! guest wrote can become more than text. Choosing and folding is done by elements and the style sheet; the page works without
//! its one script.

mod blocks;
mod facts;
mod matrix;
mod memory;
mod timeline;

use super::view::ReportView;
use super::visible::visible;
use maud::{DOCTYPE, Markup, PreEscaped, html as template};
use std::path::Path;

/// The style sheet.
const STYLE: &str = include_str!("html/style.css");

/// Opens what is folded around the place that a link leads to. Browsers of today do it by themselves.
const UNFOLD: &str = "const unfold=()=>{for(let e=document.getElementById(location.hash.slice(1));e;e=e.parentElement)\
                      if(e.tagName===\"DETAILS\")e.open=true};addEventListener(\"hashchange\",unfold);unfold()";

/// A page that needs nothing but itself, in the look of reports: with more of a style sheet, and what is in its body.
pub(crate) fn page(title: &str, more_style: &PreEscaped<impl AsRef<str>>, body: &Markup) -> String {
    let page = template! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) (more_style) }
            }
            body { (body) }
        }
    };
    visible(&page.into_string())
}

/// The page for a report. `base` is the path from the page's folder to the report's, or an absolute one.
pub fn html(view: &ReportView, base: &Path) -> String {
    let shown = facts::Filters::of(view);
    let body = template! {
        header { (facts::head(view)) }
        main {
            (blocks::list(view))
            (matrix::matrix(view))
            (shown.choice())
            (blocks::unexpected(view, base))
            (blocks::as_expected(view, base))
            (blocks::skipped(view))
        }
        (facts::foot(view))
        script { (PreEscaped(UNFOLD)) }
    };
    page(&facts::title(view), &shown.rules(), &body)
}

/// The address of a file or a folder below `base`. Never one of another kind: a relative address begins with a dot.
fn address(base: &Path, below: &[&str]) -> String {
    let mut address = if base.is_absolute() { "file://".to_owned() } else { String::new() };
    address.push_str(&escaped(&base.display().to_string()));
    for part in below {
        address.push('/');
        address.push_str(&escaped(part));
    }
    address
}

/// A path with every byte percent-encoded that is neither unreserved (RFC 3986, 2.3), nor harmless in a path (3.3).
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => escaped.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b'+' | b',' | b'=' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The name of a trial's place in the page.
fn anchor(index: usize) -> String {
    format!("t{index}")
}

/// A share of a whole in percent with as many digits as a screen can show, for positions in drawings.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// One of the outcomes, as it shows in matrix and lists.
fn mark(look: super::Look, verdict: crate::outcome::Verdict) -> Markup {
    template! { b class={ "m " (look.class()) " v-" (super::verdict_name(verdict)) } { (look.glyph()) } }
}

#[cfg(test)]
mod tests;
