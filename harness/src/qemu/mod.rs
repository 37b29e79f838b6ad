//! QEMU as a program: its arguments as a pure function of a machine, and what it says of itself.

mod args;
mod script;
mod version;

pub(crate) use args::option_path;
pub use args::{MachineSpec, Start, Wiring, qemu_args};
pub use script::{SCRIPT_CHANNEL, SCRIPT_INITRAMFS, run_script};
pub use version::{QemuVersionError, qemu_version};
