//! The programs that run in guests: which toolchain builds them, in which environment, and where they end up.

mod environment;
mod guest;
mod i686;

pub(crate) use guest::{GuestPrograms, build, checks};
pub(crate) use i686::Toolchain;
