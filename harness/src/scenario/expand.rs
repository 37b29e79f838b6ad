//! A scenario as written to a checked suite: the cells of each block, those that cannot be, the rule that each cell's expectation
//! comes from. All that is wrong is collected, not only the first thing.

use super::block::Checked;
use super::coverage::Covered;
use super::cross::{self, Combination, Cross, PlacedRegion, Table};
use super::hardware::Platforms;
use super::position::NodePath;
use super::possible;
use super::problem::{At, Finding};
use super::rules::{self, Rule};
use super::words::Text;
use super::written::{Block, Scenario};
use super::{Catalog, SkippedCell, Suite};
use crate::cell::{Cell, CellId, Kernel, Platform};
use std::collections::{BTreeMap, BTreeSet};

/// Checks a scenario and makes its cells.
pub(super) fn suite(
    file: &str,
    written: &Scenario,
    hardware: &Platforms,
    catalog: &Catalog,
) -> Result<Suite, Vec<Finding>> {
    let mut expansion = Expansion::new(written, hardware, catalog);
    let rules = expansion.rules();
    let mut cells = Vec::new();
    for (number, block) in written.matrix.0.iter().enumerate() {
        cells.extend(expansion.block(number, block));
    }
    // With cells missing, rules would look dead that are not.
    if !expansion.findings.is_empty() {
        return Err(expansion.findings);
    }
    expansion.expect(&rules, &mut cells);
    let (cells, skipped) = expansion.skip(cells);
    if !expansion.findings.is_empty() {
        return Err(expansion.findings);
    }
    Ok(Suite {
        name: written.suite.0.clone(),
        description: written.description.0.trim().to_owned(),
        cells: cells.into_iter().map(|placed| placed.cell).collect(),
        skipped,
        impossible: expansion.impossible,
        covered: expansion.covered,
        rules,
        file: file.to_owned(),
    })
}

/// A cell and where it comes from.
struct Placed {
    cell: Cell,
    at: NodePath,
}

struct Expansion<'s> {
    written: &'s Scenario,
    hardware: &'s Platforms,
    catalog: &'s Catalog,
    findings: Vec<Finding>,
    /// The cells so far by id, with their block's number.
    seen: BTreeMap<CellId, usize>,
    /// Combinations that generated blocks do without.
    untaken: Vec<(Cross<'s>, Vec<Combination>)>,
    /// Combinations that generated blocks leave out, by the axis to blame.
    impossible: BTreeMap<&'static str, usize>,
    covered: Covered,
}

impl<'s> Expansion<'s> {
    fn new(written: &'s Scenario, hardware: &'s Platforms, catalog: &'s Catalog) -> Self {
        Self {
            written,
            hardware,
            catalog,
            findings: Vec::new(),
            seen: BTreeMap::new(),
            untaken: Vec::new(),
            impossible: BTreeMap::new(),
            covered: Covered::default(),
        }
    }

    fn wrong(&mut self, at: NodePath, what: String) {
        self.findings.push(Finding { at: At::Node(at), what });
    }

    fn rules(&mut self) -> Vec<Rule> {
        let root = NodePath::default().key("expect");
        let mut rules = Vec::new();
        for (number, rule) in self.written.expect.0.iter().enumerate() {
            match Rule::check(rule, &root.item(number)) {
                Ok(rule) => rules.push(rule),
                Err(findings) => self.findings.extend(findings),
            }
        }
        rules
    }

    /// The cells of a block.
    fn block(&mut self, number: usize, block: &'s Block) -> Vec<Placed> {
        let at = NodePath::default().key("matrix").item(number);
        let checked = Checked { block, at: at.clone(), cross: self.cross(block, &at) };
        let made = checked.cells(self.catalog);
        self.findings.extend(made.findings);
        self.untaken.push((checked.cross, made.untaken));
        self.covered += made.covered;
        for (axis, combinations) in made.impossible {
            *self.impossible.entry(axis).or_insert(0) += combinations;
        }
        let mut placed = Vec::new();
        for cell in made.cells {
            if self.is_new(&cell, number, &at) {
                placed.push(Placed { cell, at: at.clone() });
            }
        }
        placed
    }

    /// A block's axes, with their names looked up.
    fn cross(&mut self, block: &'s Block, at: &NodePath) -> Cross<'s> {
        let firsts = self.kernels(&block.first.0, &at.key("first"));
        let captures = self.kernels(&block.capture.0, &at.key("capture"));
        let regions = self.regions(block, &at.key("region"), &at.key("machines"));
        Cross::new(block, &self.written.suite.0, firsts, captures, regions)
    }

    /// Whether no earlier cell is the same.
    fn is_new(&mut self, cell: &Cell, block: usize, at: &NodePath) -> bool {
        let Some(earlier) = self.seen.insert(cell.id.clone(), block) else {
            return true;
        };
        let what = if earlier == block {
            format!("cell {} comes twice out of this block: an axis names the same thing twice", cell.id)
        } else {
            format!(
                "cell {} is already made by block {} of the matrix: take it out of one of the two",
                cell.id,
                earlier + 1
            )
        };
        self.wrong(at.clone(), what);
        false
    }

    fn kernels(&mut self, names: &[Text], at: &NodePath) -> Vec<Kernel> {
        let mut kernels = Vec::new();
        for (number, Text(name)) in names.iter().enumerate() {
            match self.catalog.kernels.iter().find(|kernel| kernel.name == *name) {
                Some(kernel) => kernels.push(kernel.clone()),
                None => {
                    let known: Vec<&str> =
                        self.catalog.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
                    self.wrong(
                        at.item(number),
                        format!("the lock has no kernel {name:?}; it has {}", known.join(", ")),
                    );
                }
            }
        }
        kernels
    }

    /// The regions of a block with their platforms, in its order.
    fn regions<'b>(&mut self, block: &'b Block, at: &NodePath, on_at: &NodePath) -> Vec<PlacedRegion<'b>> {
        let mut regions = Vec::new();
        let made = match block.on.as_ref().map(|on| self.hardware.cross(on, on_at)) {
            None => None,
            Some(Ok(made)) => Some(made),
            Some(Err(findings)) => {
                self.findings.extend(findings);
                return regions;
            }
        };
        for (limit, region, at) in cross::listed(&block.region, at) {
            match (&region.platform, &made) {
                (None, Some(made)) => regions.extend(made.iter().map(|made| PlacedRegion {
                    region,
                    platform: made.platform.clone(),
                    machine: Some(made.machine.clone()),
                    limit,
                    at: at.clone(),
                })),
                (Some(name), None) => match self.named_platform(name) {
                    Ok(platform) => regions.push(PlacedRegion { region, platform, machine: None, limit, at }),
                    Err(why) => self.wrong(at, why),
                },
                (Some(name), Some(_)) => self.wrong(
                    at,
                    format!("this block says on which machines its regions are by `machines`: remove `on {name}`"),
                ),
                (None, None) => self.wrong(
                    at,
                    format!(
                        "{} is on no platform: name one, such as \"{} on pc-4g\", or give the block `machines`",
                        region.reservation, region.reservation
                    ),
                ),
            }
        }
        regions
    }

    /// The suite's own platform of this name. The error says which there are.
    fn named_platform(&self, name: &str) -> Result<Platform, String> {
        let Some((_, written)) = self.written.platforms.iter().find(|(known, _)| known.0 == name) else {
            let known: Vec<&str> = self.written.platforms.keys().map(|name| name.0.as_str()).collect();
            return Err(format!("no platform is named {name:?}; known: {}", known.join(", ")));
        };
        Ok(Platform {
            name: name.to_owned(),
            machine: written.machine.0.clone(),
            memory: written.memory.0,
            cpu: written.cpu.0.clone(),
            cpus: written.cpus,
            boot: written.boot,
            firmware: written.firmware,
            five_levels: written.five_levels,
            hardware: None,
        })
    }

    /// Gives each cell its expectation, and finds cells without a rule and rules without a cell.
    fn expect(&mut self, rules: &[Rule], cells: &mut [Placed]) {
        let root = NodePath::default().key("expect");
        let mut used = BTreeSet::new();
        for Placed { cell, at } in cells {
            match rules::expectation(rules, cell) {
                Ok((number, expected)) => {
                    used.insert(number);
                    cell.expected = expected;
                }
                Err(None) => {
                    self.wrong(
                        at.clone(),
                        format!("no rule of `expect` matches cell {}: say what is expected of it", cell.id),
                    );
                }
                Err(Some((number, why))) => {
                    used.insert(number);
                    self.wrong(root.item(number).key("message"), why);
                }
            }
        }
        // A rule is not dead because the cells that it was written for were not taken this time.
        if used.len() < rules.len() {
            self.untaken.iter().for_each(|(cross, untaken)| used.extend(come_to(rules, cross, untaken)));
        }
        for number in (0..rules.len()).filter(|number| !used.contains(number)) {
            self.wrong(
                root.item(number).key("when"),
                "no cell comes to this rule: remove it, or look for the earlier rule that takes its cells"
                    .to_owned(),
            );
        }
    }

    /// Sets apart the cells that are not to be run.
    fn skip(&mut self, cells: Vec<Placed>) -> (Vec<Placed>, Vec<SkippedCell>) {
        let mut used = vec![false; self.written.skip.len()];
        let mut kept = Vec::new();
        let mut skipped = Vec::new();
        for placed in cells {
            match self.written.skip.iter().position(|skip| skip.when.0.matches(&placed.cell)) {
                Some(number) => {
                    used[number] = true;
                    skipped.push(SkippedCell {
                        cell: placed.cell,
                        why: self.written.skip[number].why.0.clone(),
                    });
                }
                None => kept.push(placed),
            }
        }
        for (number, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
            let at = NodePath::default().key("skip").item(number).key("when");
            self.wrong(at, "this filter skips no cell: remove it".to_owned());
        }
        (kept, skipped)
    }
}

/// The rules that these combinations come to.
fn come_to(rules: &[Rule], cross: &Cross<'_>, combinations: &[Combination]) -> BTreeSet<usize> {
    // There may be a hundred thousand, and most of them differ in nothing that rules ask for.
    let choices = possible::looked_at(rules.iter().map(|rule| &rule.when));
    let mut known = Table::filled(cross, &choices, false);
    let mut come_to = BTreeSet::new();
    for &combination in combinations {
        if !std::mem::replace(known.get_mut(combination), true) {
            match rules::expectation(rules, &cross.cell(combination)) {
                Ok((number, _)) | Err(Some((number, _))) => drop(come_to.insert(number)),
                Err(None) => {}
            }
        }
    }
    come_to
}

#[cfg(test)]
mod tests;
