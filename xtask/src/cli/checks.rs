//! Arguments of the verbs that check the project itself.

use super::{AccelArg, GuestsArgs, HostArgs, ListFormat, StoreArgs, WayArg};
use crate::exit::Exit;
use clap::Args;
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct MutantsArgs {
    /// Mutants of xtask/mutants.toml by name. Default: all.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Take only those few that CI runs.
    #[arg(long, conflicts_with = "names")]
    pub(crate) slice: bool,
    /// List the mutants; build and run nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Format of the list.
    #[arg(long, value_enum, default_value_t, requires = "list")]
    pub(crate) format: ListFormat,
    #[command(flatten)]
    pub(crate) guests: GuestsArgs,
    /// Folder of the reports: `mutants.jsonl`, and a folder as that of `e2e` for each run.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct FaultsArgs {
    /// Faults by name. Default: all.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Take only those that CI tries.
    #[arg(long, conflicts_with = "names")]
    pub(crate) slice: bool,
    /// List the faults; run nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Format of the list.
    #[arg(long, value_enum, default_value_t, requires = "list")]
    pub(crate) format: ListFormat,
    /// Faults that are tried at the same time, of those that need no real guest; these come one after the other.
    #[arg(short, long, value_name = "N", default_value_t = Self::JOBS)]
    pub(crate) jobs: NonZeroUsize,
    /// Folder of the reports: `faults.jsonl`, and a folder for each fault.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// QEMU of the real guests. Default: qemu-system-x86_64 in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

impl FaultsArgs {
    /// Default of `--jobs`. Most faults wait for something most of the time, and a guest that is played needs little.
    pub(crate) const JOBS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
}

#[derive(Args, Debug)]
pub(crate) struct StandInArgs {
    /// The fault of the faulted cell's guest.
    #[arg(long, requires = "reached")]
    pub(crate) fault: Option<String>,
    /// File to make when the fault is there.
    #[arg(long)]
    pub(crate) reached: Option<PathBuf>,
    /// QEMU's arguments.
    #[arg(last = true)]
    pub(crate) qemu: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct SoakArgs {
    /// Suites of scenarios/ by name, or YAML files by path.
    #[arg(value_name = "SUITE|FILE.yaml", default_value = "smoke")]
    pub(crate) suites: Vec<String>,
    /// Run at least so many cells: the suites' cells, as often as it takes.
    #[arg(long, value_name = "N", default_value = "300")]
    pub(crate) cells: NonZeroU32,
    /// Busy processes beside the guests. Default: one for each CPU.
    #[arg(long, value_name = "N")]
    pub(crate) load: Option<usize>,
    /// Take only the cells that this expression over their axes selects.
    #[arg(short = 'E', long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) guests: GuestsArgs,
    /// Folder of the report.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct BenchLoaderArgs {
    /// Suites of scenarios/ by name, or YAML files by path. Cells that differ in loader and arguments only are compared.
    #[arg(value_name = "SUITE|FILE.yaml", default_value = "bench")]
    pub(crate) suites: Vec<String>,
    /// Rounds by the clock, and by CPU time.
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) runs: u32,
    /// Rounds of guests whose clocks count their instructions, which are the same whatever the host does (with TCG alone; 0: none).
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) counted_runs: u32,
    /// Take only the cells that this expression over their axes selects.
    ///
    /// For example: 'userspace=i386 & first.arch=x86_64'
    #[arg(short = 'E', long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Acceleration of the rounds by the clock. `auto` takes KVM only where a probe shows that it really runs.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: AccelArg,
    /// Folder of the report: bench.json, and what guests boot with.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// QEMU to use. Default: qemu-system-x86_64 in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct BenchMatrixArgs {
    /// Suites of scenarios/ by name, or YAML files by path.
    #[arg(value_name = "SUITE|FILE.yaml", default_value = "matrix")]
    pub(crate) suites: Vec<String>,
    /// How often all cells are run in each way.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) rounds: NonZeroU32,
    /// Take only the cells that this expression over their axes selects.
    ///
    /// For example: 'first=5.10-amd64 & reservation=at'
    #[arg(short = 'E', long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) guests: GuestsArgs,
    /// Ways that are run: loop, fresh, rig. Default: all of them, beside each other.
    #[arg(long, value_enum, value_name = "WAY", value_delimiter = ',')]
    pub(crate) ways: Vec<WayArg>,
    /// Silence by which the loop knows that a guest hangs, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    pub(crate) silence: NonZeroU32,
    /// Folder of the reports, one for each way and round, and of bench.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Clone, Debug, Default)]
#[command(after_help = Exit::help())]
pub(crate) struct FuzzArgs {
    /// Targets: the folders of loader/fuzz/corpus. Default: all.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Go on for at least so many minutes with each target.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) minutes: u32,
    /// Inputs that are made up for each target. Default: 20000, with --nightly any number.
    #[arg(long, value_name = "N")]
    pub(crate) executions: Option<u64>,
    /// What inputs are made up from: another number, other inputs.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "nightly")]
    pub(crate) seed: u64,
    /// Run one target with this input alone, such as one that it failed on.
    #[arg(long, value_name = "FILE", requires = "targets", conflicts_with = "nightly")]
    pub(crate) input: Option<PathBuf>,
    /// Let cargo-fuzz and a nightly toolchain do it, which go by coverage.
    #[arg(long)]
    pub(crate) nightly: bool,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}
