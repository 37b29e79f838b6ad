//! `--list`: the cells, for people or for scripts. The ids are those that a run prints.
//!
//! What people are told beside the cells goes to standard error, where it is in nobody's way.

use super::plan::Plan;
use crate::cli::ListFormat;
use crate::output;
use harness::cell::Cell;
use harness::judge::describe_expectation;
use harness::scenario::Covered;

/// Prints the cells, one a line, in the order in which they would start; then, for people only, those that are skipped.
pub(super) fn print(plan: &Plan, format: ListFormat) {
    let all = plan.cells.iter().chain(plan.skipped.iter().map(|skipped| &skipped.cell));
    let width = crate::table::id_width(all.map(|cell| cell.id.0.as_str()));
    match format {
        ListFormat::Json => plan.cells.iter().for_each(|cell| output::line(json(cell))),
        ListFormat::Text => {
            plan.cells.iter().for_each(|cell| output::line(text(cell, width)));
            for skipped in &plan.skipped {
                output::line(format_args!("{:<width$}  skipped: {}", skipped.cell.id, skipped.why));
            }
            if let Some(told) = impossible(plan) {
                output::note(told);
            }
            if let Some(told) = left_out(plan) {
                output::note(told);
            }
        }
    }
}

/// How many combinations are not there because they cannot be; none where all are.
fn impossible(plan: &Plan) -> Option<String> {
    let all: usize = plan.impossible.values().sum();
    let axes: Vec<String> = plan
        .impossible
        .iter()
        .map(|(axis, combinations)| format!("{combinations} by their {axis}"))
        .collect();
    (all > 0).then(|| {
        format!(
            "note: {all} combinations of the suites' axes cannot be and were left out: {}",
            axes.join(", ")
        )
    })
}

/// What the coverage leaves out of what can be; none where it takes everything.
pub(super) fn left_out(plan: &Plan) -> Option<String> {
    let Covered { taken, possible, demands } = plan.covered;
    let left_out = possible.checked_sub(taken).filter(|&left_out| left_out > 0)?;
    Some(format!(
        "note: {taken} of the {possible} combinations that can be are taken, and {left_out} left out; in those that are taken occur all \
         {demands} pairs of values, and groups of `every`, that can be. `--coverage full` takes all"
    ))
}

fn text(cell: &Cell, width: usize) -> String {
    format!("{:<width$}  {}", cell.id, describe_expectation(&cell.expected))
}

/// With the fields that `results.jsonl` has under the same names.
fn json(cell: &Cell) -> String {
    serde_json::json!({ "id": cell.id, "suite": cell.suite, "cell": cell, "expected": cell.expected })
        .to_string()
}
