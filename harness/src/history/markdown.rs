//! What changed, for a chat or an issue: short whatever happened, tables, the less urgent folded. Pure.

use super::compare::{Change, Changes, Kind};
use super::night::Night;
use super::words::{counts, heading, outcome, overview, since, speed, summary, with};
use crate::report::visible::visible;

/// Rows of a table that are shown.
const SHOWN_ROWS: usize = 5;
/// Rows beyond them that can be unfolded; after these only the number is told.
const FOLDED_ROWS: usize = 10;
/// Lines in all. Tables that do not fit any more, those of the least urgent kinds, are left to the counts.
const MOST_LINES: usize = 60;
/// Characters of a cell of a table.
const WIDTH: usize = 160;
/// Differences between what both nights were made with that are named.
const MOST_DIFFERENCES: usize = 6;

/// What changed up to this night, beside each night that it is compared with. Tables are of the first of these comparisons; of the
/// others it says the counts. `history` has those nights.
pub fn markdown(now: &Night, history: &[&Night], all: &[Changes]) -> String {
    let mut text = format!("### Night {}\n\n{}\n", now.header.id, quoted(&summary(now)));
    let mut first = String::new();
    for (at, changes) in all.iter().enumerate() {
        let base = changes.base.as_ref();
        let base = base.and_then(|id| history.iter().find(|night| night.header.id == *id));
        let beside = match base {
            Some(base) => format!(" ({}, {})", quoted(base.header.id.as_str()), counts(base)),
            None => " (there is none; whatever fails counts as new)".to_owned(),
        };
        text.push_str(&format!("\n**Since {}**{beside}: {}.\n", changes.what, overview(changes)));
        if at > 0 {
            continue;
        }
        let text = &mut first;
        if !changes.with.is_empty() {
            let named: Vec<String> =
                changes.with.iter().take(MOST_DIFFERENCES).map(|with| quoted(with)).collect();
            let more = changes.with.len().saturating_sub(named.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("\nWith {}{more}.\n", named.join(", ")));
        }
        if let Some(speed) = speed(changes) {
            text.push_str(&format!("\nHost: {speed}.\n"));
        }
    }
    text.push_str(&first);
    all.first().into_iter().for_each(|changes| tables(&mut text, changes));
    // The same as in a terminal: no text of a guest's turns the direction of what follows it.
    visible(&text)
}

fn tables(text: &mut String, changes: &Changes) {
    let kinds = Kind::ALL.into_iter().filter(|kind| changes.of(*kind).next().is_some());
    for kind in kinds {
        let cells: Vec<&Change> = changes.of(kind).collect();
        let (shown, rest) = cells.split_at(cells.len().min(SHOWN_ROWS));
        let (folded, left) = rest.split_at(rest.len().min(FOLDED_ROWS));
        let title = heading(kind, cells.len());
        let mut table = format!("\n**{title}**\n\n| cell | what | more |\n| --- | --- | --- |\n");
        shown.iter().for_each(|change| table.push_str(&row(change)));
        if !folded.is_empty() {
            // Folded rows are short: a list in one paragraph.
            let ids: Vec<String> = folded.iter().map(|change| quoted(&change.cell.0)).collect();
            let left = if left.is_empty() { String::new() } else { format!(" and {} more", left.len()) };
            table.push_str(&format!(
                "\n<details><summary>{} more</summary>\n\n{}{left}\n\n</details>\n",
                rest.len(),
                ids.join(", ")
            ));
        }
        if text.lines().count() + table.lines().count() > MOST_LINES {
            return;
        }
        text.push_str(&table);
    }
}

fn row(change: &Change) -> String {
    let more = [change.why.clone(), since(change), with(change)];
    let more: Vec<String> = more.into_iter().flatten().collect();
    let cell = |words: &str| if words.is_empty() { String::new() } else { quoted(words) };
    format!("| {} | {} | {} |\n", cell(&change.cell.0), cell(&outcome(change)), cell(&more.join("; ")))
}

/// A text as code, on one line: nothing in it can become a table's bar, a link, a mention or an element.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("`");
    for (at, c) in text.chars().enumerate() {
        if at == WIDTH {
            quoted.push('…');
            break;
        }
        match c {
            '`' => quoted.push('\''),
            // Within a table a bar must be escaped even in code; elsewhere nobody has one.
            '|' => quoted.push('¦'),
            '\n' | '\r' | '\t' => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('`');
    quoted
}
