//! Placeholder.
#![no_std]
#![no_main]
extern crate alloc;
static_start::entry!(main);
fn main(args: &static_start::Args) -> u8 {
    let v: alloc::vec::Vec<_> = args.args.iter().map(|a| alloc::string::String::from_utf8_lossy(a)).collect();
    static_start::write_stderr(alloc::format!("{v:?} {}\n", 1.5e10f64).as_bytes());
    3
}
