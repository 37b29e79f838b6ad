//! Expectation rules: the first that matches a cell decides what is expected of it.

use super::position::NodePath;
use super::problem::{At, Finding};
use super::written::{self, Filled, OutcomeWord, RefuserWord, Text, VmcoreWord};
use crate::cell::Cell;
use crate::filter::Filter;
use crate::outcome::{Expectation, ExpectedRefuser, ExpectedTold, ExpectedVmcore, HangCause};

/// Stands in a message for the cell's crash region, as loaders print it: `0x7b000000-0x8affffff`.
const REGION: &str = "{region}";

/// A rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) when: Filter,
    expected: Expectation,
}

impl Rule {
    /// Checks a rule as it is written; `at` is its place.
    pub(super) fn check(rule: &written::Rule, at: &NodePath) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut foreign = |key: &str, given: bool, belongs: bool| {
            if given && !belongs {
                let what = format!("`{key}` says nothing about the outcome of this rule: remove it");
                findings.push(Finding { at: At::Node(at.key_itself(key)), what });
            }
        };
        let told = ExpectedTold {
            setup_data: rule.setup_data.iter().flat_map(|kinds| &kinds.0).copied().collect(),
            acpi: rule.acpi,
            efi: rule.efi,
            memory_map: rule.memory_map,
        };
        let captured = rule.outcome == OutcomeWord::Captured;
        foreign("vmcore", rule.vmcore.is_some(), captured);
        foreign("setup-data", rule.setup_data.is_some(), captured);
        foreign("acpi", rule.acpi.is_some(), captured);
        foreign("efi", rule.efi.is_some(), captured);
        foreign("memory-map", rule.memory_map.is_some(), captured);
        foreign("why", rule.why.is_some(), rule.vmcore == Some(VmcoreWord::Wrong));
        foreign("by", rule.by.is_some(), rule.outcome == OutcomeWord::Refused);
        foreign("message", rule.message.is_some(), rule.outcome == OutcomeWord::Refused);
        foreign("cause", rule.cause.is_some(), rule.outcome == OutcomeWord::Hung);
        let mut incomplete = |what: &str| {
            findings.push(Finding { at: At::Node(at.key("outcome")), what: what.to_owned() });
        };
        let texts = |texts: &Option<Filled<Text>>| -> Vec<String> {
            texts.iter().flat_map(|texts| &texts.0).map(|text| text.0.clone()).collect()
        };
        let expected = match rule.outcome {
            OutcomeWord::Captured => match rule.vmcore {
                Some(VmcoreWord::Verified) => Some(ExpectedVmcore::Verified),
                Some(VmcoreWord::Absent) => Some(ExpectedVmcore::Absent),
                Some(VmcoreWord::Wrong) if rule.why.is_none() => {
                    incomplete("add `why: […]`: a wrong vmcore is expected with what is wrong, or any fault would do");
                    None
                }
                Some(VmcoreWord::Wrong) => Some(ExpectedVmcore::Wrong { why: texts(&rule.why) }),
                None => None,
            }
            .map(|vmcore| Expectation::Captured { vmcore, told: told.clone() }),
            OutcomeWord::Refused => rule.by.map(|by| Expectation::Refused {
                by: match by {
                    RefuserWord::Loader => ExpectedRefuser::Loader,
                    RefuserWord::Kernel => ExpectedRefuser::Kernel,
                },
                message: texts(&rule.message),
            }),
            OutcomeWord::Hung => match rule.cause {
                Some(HangCause::Unknown) => {
                    incomplete("a hang is expected with its cause, or any hang would do: `unknown` is none");
                    None
                }
                cause => cause.map(|cause| Expectation::Hung { cause }),
            },
            OutcomeWord::Unreserved => Some(Expectation::Unreserved),
            OutcomeWord::Observed => Some(Expectation::Observed),
        };
        if expected.is_none() && findings.is_empty() {
            let missing = match rule.outcome {
                OutcomeWord::Captured => {
                    "add `vmcore: verified`, `absent` or `wrong`: what the vmcore is to be worth"
                }
                OutcomeWord::Refused => "add `by: loader` or `by: kernel`: who is to refuse",
                OutcomeWord::Hung => {
                    "add `cause: …`: a hang is expected with its cause, or any hang would do"
                }
                OutcomeWord::Unreserved | OutcomeWord::Observed => "nothing is missing",
            };
            findings.push(Finding { at: At::Node(at.key("outcome")), what: missing.to_owned() });
        }
        match expected {
            Some(expected) if findings.is_empty() => Ok(Self { when: rule.when.0.clone(), expected }),
            Some(_) | None => Err(findings),
        }
    }

    /// What the rule expects of a cell. The error says why it cannot say so.
    fn expectation(&self, cell: &Cell) -> Result<Expectation, String> {
        let Expectation::Refused { by, message } = &self.expected else {
            return Ok(self.expected.clone());
        };
        let range = cell.reservation.range().map(|range| range.to_string());
        let mut texts = Vec::with_capacity(message.len());
        for text in message {
            texts.push(match &range {
                Some(range) => text.replace(REGION, range),
                None if text.contains(REGION) => {
                    return Err(format!(
                        "{REGION} has no value in cell {}: the first kernel chooses its place",
                        cell.id
                    ));
                }
                None => text.clone(),
            });
        }
        Ok(Expectation::Refused { by: *by, message: texts })
    }
}

/// What the first rule that matches expects of the cell, with the rule's number.
///
/// # Errors
/// No rule matches (none), or the one that does cannot say what it expects (its number and why).
pub(super) fn expectation(
    rules: &[Rule],
    cell: &Cell,
) -> Result<(usize, Expectation), Option<(usize, String)>> {
    let (number, rule) = rules.iter().enumerate().find(|(_, rule)| rule.when.matches(cell)).ok_or(None)?;
    match rule.expectation(cell) {
        Ok(expected) => Ok((number, expected)),
        Err(why) => Err(Some((number, why))),
    }
}
