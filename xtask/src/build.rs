//! The programs that run in guests: which toolchain builds them, in which environment, and where they end up.

mod environment;
mod flags;
mod guest;
mod i686;

pub(crate) use environment::forget_this_package;
pub(crate) use flags::{PACKAGES, WORKSPACE};
pub(crate) use guest::{Build, Effort, GuestPrograms, Place, Program, build, build_in, lint};
pub(crate) use i686::{
    DebianRust, Toolchain, complaint as i686_complaint, in_use_has_target as in_use_has_i686,
    provide as provide_i686,
};
