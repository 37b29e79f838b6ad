//! The matrix: kernels, userspace and loader down, crash regions across, a mark for each cell.

use super::{anchor, mark, template};
use crate::cell::{Cell, Reservation};
use crate::filter::Axis;
use crate::report::view::{ReportView, TrialView};
use crate::report::{Look, verdict_name};
use guest_protocol::Arch;
use maud::Markup;
use std::collections::{BTreeMap, BTreeSet};

/// A row: what cells have in common whose regions differ. The order is that of the rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// This repository's loader first.
    loader: (bool, String),
    arches: [Arch; 3],
    first: String,
    capture: String,
    /// Of the loader's, the first kernel's and the capture kernel's command lines, beyond what all cells have.
    words: [String; 3],
}

impl Row {
    pub(super) fn of(cell: &Cell) -> Self {
        let loader = cell.loader.to_string();
        Self {
            loader: (loader != "in-tree", loader),
            arches: [cell.first.arch, cell.capture.arch, cell.userspace],
            first: cell.first.name.clone(),
            capture: cell.capture.name.clone(),
            words: [&cell.loader_args, &cell.first_cmdline, &cell.capture_cmdline]
                .map(|words| words.join(" ")),
        }
    }

    pub(super) fn loader(&self) -> &str {
        &self.loader.1
    }

    /// Architectures of the two kernels, by which the rules of placement differ.
    fn pair(&self) -> (Arch, Arch) {
        (self.arches[0], self.arches[1])
    }

    /// Kernels, userspace and what is said to the loader, as the matrix's corner explains.
    pub(super) fn label(&self) -> Markup {
        template! {
            (self.first) " → " (self.capture) " "
            small {
                (self.arches[2])
                @for (whose, words) in ["", "first: ", "capture: "].iter().zip(&self.words) {
                    @if !words.is_empty() { " " (whose) (words) }
                }
            }
        }
    }
}

/// A column: what is reserved. The order is that of the columns: fixed places by their address, then those that the kernel
/// chooses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    group: Group,
    start: u64,
    size: u32,
    name: String,
}

/// What columns have in common. The order is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Below,
    Across,
    Above,
    Beyond,
    Auto,
    High,
}

impl Group {
    const fn words(self) -> &'static str {
        match self {
            Self::Below => "below 896M",
            Self::Across => "across",
            Self::Above => "above 896M",
            Self::Beyond => "above 4G",
            Self::Auto => "kernel's choice",
            Self::High => "high",
        }
    }
}

impl Column {
    fn of(cell: &Cell) -> Self {
        let range = cell.reservation.range();
        let group = match cell.reservation {
            Reservation::Auto { .. } => Group::Auto,
            Reservation::High { .. } => Group::High,
            Reservation::At { .. } if range.is_some_and(|range| range.start >= 4 << 30) => Group::Beyond,
            Reservation::At { .. } => match Axis::Region.values(cell).concat().as_str() {
                "below" => Group::Below,
                "across" => Group::Across,
                _ => Group::Above,
            },
        };
        Self {
            group,
            start: range.map_or(0, |range| range.start),
            size: cell.reservation.size().0.get(),
            name: cell.reservation.to_string(),
        }
    }
}

/// The trials of a row, by their place in the report.
type Slots = BTreeMap<Column, Vec<usize>>;

/// The matrix of all trials with its legend.
pub(super) fn matrix(view: &ReportView) -> Markup {
    let mut slots: BTreeMap<Row, Slots> = BTreeMap::new();
    for (index, trial) in view.trials.iter().enumerate() {
        let cell = &trial.result.cell;
        slots.entry(Row::of(cell)).or_default().entry(Column::of(cell)).or_default().push(index);
    }
    let columns: BTreeSet<&Column> = slots.values().flat_map(BTreeMap::keys).collect();
    let columns: Vec<&Column> = columns.into_iter().collect();
    let rows: Vec<(&Row, &Slots)> = slots.iter().collect();
    template! {
        section {
            h2 { "Cells" }
            (legend(view))
            div class="matrix" tabindex="0" {
                table {
                    (head(&columns))
                    @for rows in rows.chunk_by(|(row, _), (next, _)| row.loader == next.loader) {
                        (of_one_loader(view, rows, &columns))
                    }
                }
            }
        }
    }
}

/// The columns' names, below those of their groups.
fn head(columns: &[&Column]) -> Markup {
    template! {
        thead {
            tr {
                td {}
                @for group in columns.chunk_by(|column, next| column.group == next.group) {
                    th colspan=(group.len()) scope="colgroup" { (group.first().map_or("", |column| column.group.words())) }
                }
            }
            tr {
                td { small { "first kernel → capture kernel, userspace" } }
                @for (index, column) in columns.iter().enumerate() {
                    th scope="col" class=[edge(columns, index)] { span { (column.name) } }
                }
            }
        }
    }
}

/// The class of a column that ends its group.
fn edge(columns: &[&Column], index: usize) -> Option<&'static str> {
    let (column, next) = (columns.get(index)?, columns.get(index + 1));
    next.is_none_or(|next| next.group != column.group).then_some("g")
}

/// The rows of a loader, with a rule between pairs of architectures.
fn of_one_loader(view: &ReportView, rows: &[(&Row, &Slots)], columns: &[&Column]) -> Markup {
    let loaders = super::facts::loaders(view);
    let begins = |index: usize, row: &Row| {
        let before = index.checked_sub(1).and_then(|before| rows.get(before));
        before.is_some_and(|(before, _)| before.pair() != row.pair()).then_some("begins")
    };
    let name = rows.first().map_or("", |(row, _)| row.loader());
    template! {
        tbody {
            tr class="loader" { th colspan=(columns.len() + 1) scope="rowgroup" { span { (name) } } }
            @for (index, (row, slots)) in rows.iter().enumerate() {
                tr class=[begins(index, row)] {
                    th scope="row" { (row.label()) }
                    @for (at, column) in columns.iter().enumerate() {
                        td class=[edge(columns, at)] {
                            @for index in slots.get(column).into_iter().flatten() {
                                @if let Some(trial) = view.trials.get(*index) { (link(*index, trial, &loaders)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A trial's mark in the matrix.
fn link(index: usize, trial: &TrialView, loaders: &[String]) -> Markup {
    let result = &trial.result;
    let look = Look::of(&result.outcome);
    let class =
        format!("v-{} o-{} {}", verdict_name(result.verdict), look.class(), loader_class(result, loaders));
    let title = format!("{}\n{}: {}", result.trial(), verdict_name(result.verdict), look.words());
    template! { a href={ "#" (anchor(index)) } class=(class) title=(title) { (mark(look, result.verdict)) } }
}

/// The class by which a loader's cells are chosen.
pub(super) fn loader_class(result: &crate::report::CellResult, loaders: &[String]) -> String {
    let name = result.cell.loader.to_string();
    loaders.binary_search(&name).map_or_else(|_| String::new(), |index| format!("l-{index}"))
}

/// What marks and borders mean, of those that are there.
fn legend(view: &ReportView) -> Markup {
    use crate::outcome::Verdict::{Error, Fail, Flaky, Pass};
    let looks: BTreeSet<Look> = view.trials.iter().map(|trial| Look::of(&trial.result.outcome)).collect();
    let borders = [
        (Fail, "not as expected"),
        (Error, "no statement on the loader"),
        (Flaky, "as expected at a later attempt"),
    ];
    template! {
        ul class="legend" {
            @for look in looks { li { (mark(look, Pass)) " " (look.words()) } }
            @for (verdict, words) in borders {
                @if view.trials.iter().any(|trial| trial.result.verdict == verdict) {
                    li { b class={ "m v-" (verdict_name(verdict)) } { "\u{a0}" } " " (words) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Bug: columns in the order of their texts, 1968M before 512M, or a high region among the fixed ones.
    #[test]
    fn columns_lie_in_the_order_of_addresses() {
        let places = ["128M@640M", "192M,high", "64M", "256M@4096M", "256M@1968M", "128M@880M", "256M@512M"];
        let mut columns: Vec<Column> = places
            .into_iter()
            .map(|text| Column::of(&Cell { reservation: text.parse().unwrap(), ..testing::cell() }))
            .collect();
        columns.sort();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(
            names,
            ["256M@512M", "128M@640M", "128M@880M", "256M@1968M", "256M@4096M", "64M", "192M,high"]
        );
        let groups: Vec<Group> = columns.iter().map(|column| column.group).collect();
        use Group::{Above, Across, Auto, Below, Beyond, High};
        assert_eq!(groups, [Below, Below, Across, Above, Beyond, Auto, High]);
    }
}
