//! `cargo xtask`: the command line of the rig. Thin: each verb is a few lines over `harness` and `images`.

mod build;
mod cli;
mod exit;
mod interrupt;
mod output;
mod process;
mod repo;
mod tools;

fn main() {}
