//! Expectation rules: the first that matches a cell decides what is expected of it.

use super::position::NodePath;
use super::problem::{At, Finding};
use super::words::{Filled, Text};
use super::written::{self, OutcomeWord, RefuserWord, VmcoreWord};
use crate::cell::Cell;
use crate::filter::Filter;
use crate::outcome::{Expectation, ExpectedRefuser, ExpectedTold, ExpectedVmcore, HangCause};

/// Stands in a message for the cell's crash region, as loaders print it: `0x7b000000-0x8affffff`.
const REGION: &str = "{region}";

/// Stands for the segment that the rig changes.
const TAMPER: &str = "{tamper}";

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
        let says = captured || matches!(rule.outcome, OutcomeWord::Refused | OutcomeWord::StoppedByPurgatory);
        foreign("message", rule.message.is_some(), says);
        foreign("segment", rule.segment.is_some(), rule.outcome == OutcomeWord::StoppedByPurgatory);
        foreign("end", rule.end.is_some(), rule.outcome == OutcomeWord::StoppedByPurgatory);
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
                Some(VmcoreWord::Any) => Some(ExpectedVmcore::Any),
                Some(VmcoreWord::Wrong) if rule.why.is_none() => {
                    incomplete("add `why: […]`: a wrong vmcore is expected with what is wrong, or any fault would do");
                    None
                }
                Some(VmcoreWord::Wrong) => Some(ExpectedVmcore::Wrong { why: texts(&rule.why) }),
                None => None,
            }
            .map(|vmcore| Expectation::Captured {
                vmcore,
                told: told.clone(),
                message: texts(&rule.message),
            }),
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
            OutcomeWord::StoppedByPurgatory => {
                (rule.segment.is_some() || rule.message.is_some()).then(|| Expectation::StoppedByPurgatory {
                    segment: rule.segment.as_ref().map(|segment| segment.0.clone()),
                    message: texts(&rule.message),
                    end: rule.end.unwrap_or_default(),
                })
            }
            OutcomeWord::Unreserved => Some(Expectation::Unreserved),
            OutcomeWord::Observed => Some(Expectation::Observed),
        };
        if expected.is_none() && findings.is_empty() {
            let missing = match rule.outcome {
                OutcomeWord::Captured => {
                    "add `vmcore: verified`, `absent`, `wrong` or `any`: what the vmcore is to be worth"
                }
                OutcomeWord::Refused => "add `by: loader` or `by: kernel`: who is to refuse",
                OutcomeWord::Hung => {
                    "add `cause: …`: a hang is expected with its cause, or any hang would do"
                }
                OutcomeWord::StoppedByPurgatory => {
                    "add `segment: …`, or `message: […]`: what the purgatory is to name, or any stop would do"
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
        let filled = |texts: &[String]| -> Result<Vec<String>, String> {
            texts.iter().map(|text| fill(text, cell)).collect()
        };
        Ok(match &self.expected {
            Expectation::Captured { vmcore, told, message } => Expectation::Captured {
                vmcore: vmcore.clone(),
                told: told.clone(),
                message: filled(message)?,
            },
            Expectation::Refused { by, message } => {
                Expectation::Refused { by: *by, message: filled(message)? }
            }
            Expectation::StoppedByPurgatory { segment, message, end } => Expectation::StoppedByPurgatory {
                segment: segment.as_deref().map(|segment| fill(segment, cell)).transpose()?,
                message: filled(message)?,
                end: *end,
            },
            other => other.clone(),
        })
    }
}

/// A text with the cell's own values in place of what stands for them. The error says what has none.
fn fill(text: &str, cell: &Cell) -> Result<String, String> {
    let values = [
        (
            REGION,
            cell.reservation.range().map(|range| range.to_string()),
            "the first kernel chooses its place",
        ),
        (TAMPER, cell.tamper.segment().map(str::to_owned), "the rig changes nothing of its image"),
    ];
    let mut text = text.to_owned();
    for (stands, value, why_not) in values {
        match value {
            Some(value) => text = text.replace(stands, &value),
            None if text.contains(stands) => {
                return Err(format!("{stands} has no value in cell {}: {why_not}", cell.id));
            }
            None => {}
        }
    }
    Ok(text)
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
