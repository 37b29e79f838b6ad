//! The hardware that machines stand for, as `platforms.yaml` beside the suites has it, and the platforms that a block's `machines` makes of it.

use super::position::NodePath;
use super::problem::{At, Finding};
use super::surprises;
use super::words::{Filled, Literal, Name, Text};
use super::written::{On, finding};
use crate::cell::{Firmware, FirstBoot, Hardware, Mib, Platform};
use guest_protocol::CpuIdentity;
use std::collections::BTreeMap;

/// Name of the file, without its ending.
pub const PLATFORMS: &str = "platforms";

/// What the file has.
#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Platforms {
    hardware: BTreeMap<Name, Written>,
    machines: BTreeMap<Name, Text>,
}

/// Hardware, as QEMU's CPU model with what makes it this one.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// What people call it.
    #[expect(dead_code, reason = "for the reader of the file; checked to be there")]
    title: Text,
    /// QEMU's model that it is made from.
    model: Text,
    /// What its CPUs say they are.
    cpu: CpuIdentity,
    /// Features that QEMU's model lacks.
    #[serde(default)]
    with: Vec<Text>,
    /// Features of QEMU's model that this one lacks, or that QEMU cannot emulate.
    #[serde(default)]
    without: Vec<Text>,
}

impl Written {
    /// QEMU's `-cpu`.
    fn cpu(&self) -> String {
        let CpuIdentity { vendor, family, model, stepping } = &self.cpu;
        let mut words = vec![
            self.model.0.clone(),
            format!("vendor={vendor}"),
            format!("family={family}"),
            format!("model={model}"),
            format!("stepping={stepping}"),
        ];
        words.extend(self.with.iter().map(|feature| format!("{}=on", feature.0)));
        words.extend(self.without.iter().map(|feature| format!("{}=off", feature.0)));
        words.join(",")
    }
}

/// A platform that a block's `machines` makes, with the values that make it.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) platform: Platform,
    /// The name of its machine.
    pub(super) machine: String,
}

impl Platforms {
    /// Reads the text of the file.
    pub(super) fn read(text: &str) -> Result<Self, Finding> {
        surprises::find(text)?;
        serde_yaml::from_str(text).map_err(|error| finding(&error))
    }

    /// Every platform that `machines` ask for, in its order. `at` is its place; names that are not known are told.
    pub(super) fn cross(&self, on: &On, at: &NodePath) -> Result<Vec<Made>, Vec<Finding>> {
        let mut unknown = Vec::new();
        let hardware = look_up(&self.hardware, &on.hardware, &at.key("hardware"), "hardware", &mut unknown);
        let machines = look_up(&self.machines, &on.machine, &at.key("machine"), "machine", &mut unknown);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut made = Vec::new();
        for (name, written) in &hardware {
            for Literal(memory) in &on.memory.0 {
                for (machine_name, machine) in &machines {
                    for firmware in &on.firmware.0 {
                        for cpus in &on.cpus.0 {
                            let platform = Platform {
                                name: platform_name(name, *memory, machine_name, *firmware, cpus.get()),
                                machine: machine.0.clone(),
                                memory: *memory,
                                cpu: written.cpu(),
                                cpus: *cpus,
                                boot: FirstBoot::Fastest,
                                firmware: *firmware,
                                five_levels: false,
                                hardware: Some(Hardware {
                                    name: (*name).to_owned(),
                                    identity: written.cpu.clone(),
                                }),
                            };
                            made.push(Made { platform, machine: (*machine_name).to_owned() });
                        }
                    }
                }
            }
        }
        Ok(made)
    }
}

/// What the file has under these names, in their order.
fn look_up<'w, T>(
    known: &'w BTreeMap<Name, T>,
    names: &'w Filled<Name>,
    at: &NodePath,
    what: &str,
    unknown: &mut Vec<Finding>,
) -> Vec<(&'w str, &'w T)> {
    let mut found = Vec::new();
    for (number, name) in names.0.iter().enumerate() {
        match known.get(name) {
            Some(value) => found.push((name.0.as_str(), value)),
            None => {
                let all: Vec<&str> = known.keys().map(|name| name.0.as_str()).collect();
                unknown.push(Finding {
                    at: At::Node(at.item(number)),
                    what: format!("{PLATFORMS}.yaml has no {what} {:?}; it has {}", name.0, all.join(", ")),
                });
            }
        }
    }
    found
}

/// What a platform is called in ids, such as `ekabini-4g-q35-uefi-4cpu`: its BIOS and a single CPU go without saying.
fn platform_name(hardware: &str, memory: Mib, machine: &str, firmware: Firmware, cpus: u32) -> String {
    const MIB_PER_GIB: u32 = 1024;
    let memory = memory.0.get();
    let memory = match memory % MIB_PER_GIB {
        0 => format!("{}g", memory / MIB_PER_GIB),
        _ => format!("{memory}m"),
    };
    let mut words = vec![hardware.to_owned(), memory, machine.to_owned()];
    if firmware != Firmware::Bios {
        words.push(firmware.name().to_owned());
    }
    if cpus > 1 {
        words.push(format!("{cpus}cpu"));
    }
    words.join("-")
}
