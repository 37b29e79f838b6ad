//! Arguments that many verbs have: what guests run by, what may be done to the host, and where artifacts come from.

use super::{AccelArg, I686Arg};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How guests are run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GuestsArgs {
    /// Guests that run at the same time. Default: as many as CPUs and free memory allow.
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Acceleration. `auto` takes KVM only where a probe shows that it really runs.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: AccelArg,
    /// QEMU to use. Default: qemu-system-x86_64 in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
}

/// What may be done to the host, and how the guests' programs are built.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct HostArgs {
    /// Install missing host tools first. Without: say which are missing, and run nothing.
    #[arg(long)]
    pub(crate) install: bool,
    /// Where the i686 core library comes from: the Rust toolchain in use, or Debian's rustc 1.85 out of the cache.
    #[arg(long, value_enum, default_value_t, value_name = "SOURCE")]
    pub(crate) i686: I686Arg,
}

/// Where kernels and reference loaders come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// Package mirror, for one suite or for all. Default: those of the host's apt configuration. Repeatable.
    #[arg(long, value_name = "[SUITE=]URL", global = true)]
    pub(crate) mirror: Vec<String>,
    /// Folder with the packages, in place of mirrors.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) artifacts: Option<PathBuf>,
    /// Use no network: what is not in the cache is an error.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}
