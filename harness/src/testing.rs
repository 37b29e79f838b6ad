//! Values that several unit tests start from.

use crate::accel::Accel;
use crate::cell::{
    Cell, CellId, Firmware, FirstBoot, Kernel, Loader, LowMemory, Mib, Platform, Reservation, Tamper, Trigger,
};
use crate::judge;
use crate::outcome::{Expectation, ExpectedVmcore, Outcome};
use crate::report::{CellResult, Versions};
use guest_protocol::{Arch, Circumstances};
use std::num::NonZeroU32;

/// A size.
pub(crate) fn mib(size: u32) -> Mib {
    Mib(NonZeroU32::new(size).unwrap())
}

/// The seed's own cell: x86_64 kernels, i386 userspace, a region above 896 MiB.
pub(crate) fn cell() -> Cell {
    let kernel = Kernel { name: "5.10-amd64".into(), arch: Arch::X86_64, pae: true, path: None };
    Cell {
        id: CellId("5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g".into()),
        suite: "test".into(),
        first: kernel.clone(),
        userspace: Arch::I386,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        circumstances: Circumstances::None,
        capture: kernel,
        reservation: Reservation::At { size: mib(256), offset_mib: 1968 },
        platform: Platform {
            name: "pc-4g".into(),
            machine: "pc".into(),
            memory: mib(4096),
            cpu: "qemu64".into(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        tamper: Tamper::None,
        low_memory: LowMemory::Untouched,
        expected: Expectation::captured(ExpectedVmcore::Verified),
    }
}

/// A result of [`cell`] with this outcome.
pub(crate) fn result(outcome: Outcome) -> CellResult {
    let cell = cell();
    CellResult {
        id: cell.id.clone(),
        repetition: 1,
        suite: cell.suite.clone(),
        expected: cell.expected.clone(),
        words: judge::describe(&outcome),
        verdict: judge::judge(&outcome, &cell.expected),
        cell,
        outcome,
        attempts: Vec::new(),
        seconds: std::collections::BTreeMap::new(),
        evidence: std::path::PathBuf::new(),
        versions: Versions {
            qemu: String::new(),
            first: String::new(),
            capture: String::new(),
            loader: String::new(),
            agent: String::new(),
            firmware: None,
        },
        accel: Accel::Tcg,
        accel_reason: None,
    }
}
