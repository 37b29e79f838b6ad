//! What a capture kernel must have been told of its machine, beside what it says of it. Pure.

use crate::outcome::{AcpiWord, EfiWord, ExpectedTold};
use guest_protocol::Told;

/// What is expected and was not told, or was told and should not have been: one sentence each.
pub(super) fn wrong(found: Option<&Told>, expected: &ExpectedTold) -> Vec<String> {
    if expected.is_nothing() {
        return Vec::new();
    }
    let Some(told) = found else {
        return vec!["the capture kernel's agent does not say what that kernel was told".to_owned()];
    };
    let mut wrong = Vec::new();
    for kind in &expected.setup_data {
        if !told.setup_data.iter().any(|blob| blob.kind == kind.number()) {
            let there: Vec<String> = told.setup_data.iter().map(|blob| blob.kind.to_string()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            wrong.push(format!(
                "no setup_data of type {} ({}) reached the capture kernel; there: {there}",
                kind.number(),
                kind.name()
            ));
        }
    }
    match expected.acpi {
        None => {}
        Some(AcpiWord::Found) => wrong.extend(tables_missing(told)),
        Some(AcpiWord::HandedOn) => {
            if told.acpi_rsdp == 0 {
                wrong.push("the capture kernel's boot_params have no acpi_rsdp_addr".to_owned());
            }
            wrong.extend(tables_missing(told));
        }
        Some(AcpiWord::None) if told.acpi_tables.is_empty() => {}
        Some(AcpiWord::None) => {
            wrong.push(format!("the capture kernel found ACPI tables: {}", told.acpi_tables.join(", ")));
        }
    }
    match (expected.efi, told.efi) {
        (None, _) | (Some(EfiWord::None), None) => {}
        (Some(EfiWord::None), Some(_)) => wrong.push("the capture kernel was told of UEFI".to_owned()),
        (Some(EfiWord::Runtime), None) => wrong.push("the capture kernel was not told of UEFI".to_owned()),
        (Some(EfiWord::Runtime), Some(efi)) if efi.runtime_map == 0 => {
            wrong.push("the capture kernel has no map of UEFI's runtime services".to_owned());
        }
        (Some(EfiWord::Runtime), Some(_)) => {}
    }
    match expected.memory_map {
        Some(least) if told.memory_map < least.get() => wrong.push(format!(
            "the capture kernel's memory map has {} entries, and {least} or more were expected",
            told.memory_map
        )),
        Some(_) | None => {}
    }
    wrong
}

/// The tables without which ACPI does nothing: FADT (`FACP`) and DSDT.
fn tables_missing(told: &Told) -> Option<String> {
    let missing: Vec<&str> = ["FACP", "DSDT"]
        .into_iter()
        .filter(|table| !told.acpi_tables.iter().any(|known| known == table))
        .collect();
    (!missing.is_empty()).then(|| format!("the capture kernel found no ACPI table {}", missing.join(" nor ")))
}

/// What is expected, in words that follow on "captured, …"; empty where it is nothing.
pub(super) fn in_words(expected: &ExpectedTold) -> String {
    let kinds: Vec<&str> = expected.setup_data.iter().map(|kind| kind.name()).collect();
    let setup_data = (!kinds.is_empty()).then(|| format!("setup_data {}", kinds.join(", ")));
    let acpi = expected.acpi.map(|acpi| match acpi {
        AcpiWord::Found => "ACPI found".to_owned(),
        AcpiWord::HandedOn => "ACPI handed on".to_owned(),
        AcpiWord::None => "no ACPI".to_owned(),
    });
    let efi = expected.efi.map(|efi| match efi {
        EfiWord::Runtime => "UEFI with its runtime services".to_owned(),
        EfiWord::None => "no UEFI".to_owned(),
    });
    let map = expected.memory_map.map(|least| format!("{least} entries of memory or more"));
    setup_data.into_iter().chain(acpi).chain(efi).chain(map).map(|part| format!(", {part}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::SetupDataKind;
    use guest_protocol::{Efi, SetupData};
    use std::num::NonZeroU32;

    fn told() -> Told {
        Told {
            setup_data: vec![SetupData { kind: 9, length: 0 }, SetupData { kind: 4, length: 96 }],
            memory_map: 7,
            ram_entries: 3,
            acpi_rsdp: 0xbf77_e014,
            acpi_tables: ["DSDT", "FACP", "FACS"].map(str::to_owned).to_vec(),
            efi: Some(Efi { runtime_map: 5 }),
        }
    }

    fn nothing() -> ExpectedTold {
        ExpectedTold::default()
    }

    /// Bug: an expectation that anything meets, as an agent of before said nothing of it; or one that nothing meets.
    #[test]
    fn each_expectation_is_met_and_missed() {
        let entries = |least| ExpectedTold { memory_map: NonZeroU32::new(least), ..nothing() };
        let data = |kind| ExpectedTold { setup_data: vec![kind], ..nothing() };
        let acpi = |word| ExpectedTold { acpi: Some(word), ..nothing() };
        let efi = |word| ExpectedTold { efi: Some(word), ..nothing() };
        let bare = Told::default();
        let found = Told { acpi_rsdp: 0, ..told() };
        for (expected, met, missed, words) in [
            (data(SetupDataKind::RngSeed), told(), bare.clone(), "type 9 (rng-seed)"),
            (data(SetupDataKind::Efi), told(), bare.clone(), "there: none"),
            (
                data(SetupDataKind::E820Ext),
                Told { setup_data: vec![SetupData { kind: 1, length: 20 }], ..bare.clone() },
                told(),
                "there: 9, 4",
            ),
            (acpi(AcpiWord::HandedOn), told(), found.clone(), "no acpi_rsdp_addr"),
            (acpi(AcpiWord::Found), found, bare.clone(), "FACP nor DSDT"),
            (acpi(AcpiWord::None), bare.clone(), told(), "DSDT, FACP, FACS"),
            (efi(EfiWord::Runtime), told(), bare.clone(), "not told of UEFI"),
            (efi(EfiWord::Runtime), told(), Told { efi: Some(Efi { runtime_map: 0 }), ..told() }, "no map"),
            (efi(EfiWord::None), bare, told(), "was told of UEFI"),
            (entries(7), told(), Told { memory_map: 6, ..told() }, "has 6 entries"),
        ] {
            assert_eq!(wrong(Some(&met), &expected), [""; 0], "{expected:?}");
            let missed = wrong(Some(&missed), &expected);
            assert!(missed.len() == 1 && missed[0].contains(words), "{expected:?}: {missed:?}");
            assert_eq!(wrong(None, &expected).len(), 1);
            assert!(in_words(&expected).starts_with(", "));
        }
        assert_eq!(wrong(None, &nothing()), [""; 0], "evidence of before is judged as before");
        assert_eq!(in_words(&nothing()), "");
    }
}
