//! Links the program without libc and its start files (`_start` is ours, crate `static-start`), and without the tables for
//! unwinding, which nothing reads: a fifth of the program's size.
fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../loader/start/no-unwind.ld");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={script}");
    for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--no-eh-frame-hdr", "-T", script] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
