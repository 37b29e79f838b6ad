//! `kexec-load`'s logic: from the files of a running kernel and a bzImage to a plan of segments, or to a refusal.
//!
//! Everything here is pure and builds with and without std; the program (`main.rs` and its modules) reads the files and
//! makes the system call. The order of work:
//!
//! ```text
//! bzImage --bzimage--> header      /proc/iomem --iomem--> memory map      running kernel, userspace
//!        \________________ rule: the highest address of each kind of segment ______________/
//!     control, working: what the running kernel and the capture kernel need of the region for themselves
//!                                   layout: where each segment lies
//!      params (boot_params, command line, e820, setup_data, efi), elfcorehdr: what the segments hold
//!                verification, serial, purgatory: what happens before the capture kernel starts
//!                                   plan: all of it, ready for kexec_load
//! ```
//!
//! Written from the kernel's documentation: `Documentation/arch/x86/boot.rst`, `zero-page.rst`, `admin-guide/kdump/`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod addr;
pub mod backup;
pub mod boot_params;
pub mod bytes;
pub mod bzimage;
pub mod cmdline;
pub mod control;
pub mod cpu;
pub mod denied;
pub mod digest;
pub mod e820;
pub mod efi;
pub mod elfcorehdr;
pub mod iomem;
pub mod kcore;
pub mod kexec;
pub mod layout;
pub mod native;
pub mod options;
pub mod params;
pub mod places;
pub mod plan;
pub mod purgatory;
pub mod refusal;
pub mod rule;
pub mod screen;
pub mod segment;
pub mod serial;
pub mod setup_data;
pub mod sysfs;
pub mod text;
pub mod verification;
pub mod working;

#[cfg(test)]
mod testing;
