//! QEMU as a program: its arguments as a pure function of a machine, and what it says of itself.

mod args;
mod script;
mod version;

pub(crate) use args::option_path;
pub use args::{CpuLog, MachineSpec, Start, Wiring, qemu_args};
pub(crate) use script::quoted;
pub use script::{Purpose, Script};
pub use version::{QemuVersionError, qemu_version};
