//! Names that the prebuilt `core` and `alloc` refer to because they were compiled for unwinding. Nothing unwinds here: the
//! programs are built with `panic = "abort"`, so neither is ever called.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::exit(101)
}
