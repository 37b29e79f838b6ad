//! QEMU as a program: its arguments as a pure function of a machine, and what it says of itself.

mod args;
mod script;
mod version;

pub(crate) use args::option_path;
pub use args::{CONSOLE, CpuLog, MachineSpec, Start, Wiring, qemu_args};
#[cfg(test)]
pub(crate) use script::STATUS_LINE;
pub use script::{Purpose, Script, in_quotes, quoted};
pub use version::{QemuVersionError, qemu_version};
