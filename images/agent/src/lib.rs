//! The logic of the guest agent, PID 1 of both kernels: what it says when, and what it makes of what it reads.
//!
//! Nothing here does a system call. The program (`main.rs`) is a thin rim of those around [`conversation`]; so everything
//! that can be wrong in an interesting way is tested on the host, with std and without a guest.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod circumstances;
pub mod cmdline;
pub mod conversation;
pub mod cpuinfo;
pub mod cpulist;
pub mod elf;
pub mod failure;
pub mod iomem;
pub mod kernel_memory;
pub mod lacks;
pub mod line;
pub mod meminfo;
pub mod memmap;
pub mod notes;
pub mod output;
pub mod page_tables;
pub mod pagemap;
pub mod printk_log;
pub mod read_at;
pub mod told;
pub mod vmcore;
pub mod vmcoreinfo;
