//! Links the program without libc and its start files (`_start` is ours, crate `static-start`), and without the tables for
//! unwinding, which nothing reads: a fifth of the program's size.
fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/start/no-unwind.ld");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={script}");
    for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--no-eh-frame-hdr", "-T", script] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    // Some hundred bytes, and with GNU ld up to a page for each segment: nothing is read-only only after relocation in a program that
    // has no relocations, and nothing needs its code on other pages than its constants. The commit names a build, no id.
    for arg in ["-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,-z,noseparate-code"] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
