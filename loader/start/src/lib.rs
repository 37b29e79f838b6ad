//! What a static Linux program needs where there is no libc: `_start`, arguments, an allocator, the memory functions
//! that compilers call, and an end. For i386 and x86_64.
//!
//! A program says once, at the top of its `main.rs`:
//!
//! ```text
//! #![no_std]
//! #![no_main]
//! static_start::entry!(main);
//! fn main(args: &static_start::Args) -> u8 { 0 }
//! ```
//!
//! The crate is for programs that run for seconds and then end: memory is not given back (see [`Bump`]), and there are no
//! threads. It holds no logic of its users.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod args;
mod bump;
#[cfg(feature = "freestanding")]
mod mem;
#[cfg(feature = "freestanding")]
mod unwind;

pub use args::Args;
pub use bump::Bump;

/// Ends the process with this status.
pub fn exit(status: u8) -> ! {
    loop {
        // SAFETY: exit_group takes a number and touches no memory of ours. It does not return; the loop is for the
        // compiler.
        let _ = unsafe { syscalls::syscall!(syscalls::Sysno::exit_group, usize::from(status)) };
    }
}

/// Defines the program's entry, its allocator and its panic handler.
///
/// The first argument is the program's `fn(&Args) -> u8`, the second, optional one a `fn(&core::panic::PanicInfo) -> !`
/// which takes the place of the usual end of a panic: its text on standard error, then status 101.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::entry!($main, $crate::report_panic);
    };
    ($main:path, $on_panic:path) => {
        // The kernel enters with the stack pointer at argc (System V ABI, "Process Initialization", i386 and AMD64
        // supplements). The ABI wants it 16-byte aligned at a call, and a zero frame pointer marks the outermost frame.
        #[cfg(target_arch = "x86_64")]
        ::core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {run}",
            "ud2",
            run = sym static_start_run,
        );
        #[cfg(target_arch = "x86")]
        ::core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "mov eax, esp",
            "and esp, -16",
            "sub esp, 12",
            "push eax",
            "call {run}",
            "ud2",
            run = sym static_start_run,
        );

        unsafe extern "C" fn static_start_run(stack: *const usize) -> ! {
            // SAFETY: `_start` passes the stack pointer that the kernel gave.
            let args = unsafe { $crate::Args::from_stack(stack) };
            $crate::exit($main(&args))
        }

        #[global_allocator]
        static STATIC_START_ALLOCATOR: $crate::Bump = $crate::Bump::new();

        #[panic_handler]
        fn static_start_panic(info: &::core::panic::PanicInfo) -> ! {
            $on_panic(info)
        }
    };
}

/// Writes the panic to standard error and ends with status 101, as Rust programs do.
pub fn report_panic(info: &core::panic::PanicInfo) -> ! {
    // Formatting may allocate, which is sound here: the allocator holds no lock.
    write_stderr(alloc::format!("{info}\n").as_bytes());
    exit(101)
}

/// Writes to standard error as much as it takes, and ignores failure: there is nowhere left to report it.
pub fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a live slice, which write(2) only reads.
        match unsafe { syscalls::syscall!(syscalls::Sysno::write, 2, bytes.as_ptr(), bytes.len()) } {
            Ok(written) if written > 0 && written <= bytes.len() => bytes = &bytes[written..],
            Ok(_) => return,
            Err(syscalls::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
