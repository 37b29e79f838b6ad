//! The command line as typed: what clap parses, and nothing that needs the disk, the network or another crate.
//!
//! Turning it into something that can run is the verbs' work.

mod bisect;
mod checks;
mod common;
mod history;
mod reports;
mod spread;
mod values;

pub(crate) use bisect::{
    BisectAction, CompareArgs, ComparedArg, HuntArgs, HuntSide, InstallArgs, JudgingArgs, LogArgs, Over,
    RecipeArgs, ReplayArgs, StepArgs,
};
pub(crate) use checks::{
    BenchLoaderArgs, BenchMatrixArgs, FaultsArgs, FuzzArgs, MutantsArgs, SoakArgs, StandInArgs, TestArgs,
};
pub(crate) use common::{GuestsArgs, HostArgs, StoreArgs};
pub(crate) use history::{
    ChangesArgs, ChangesFormat, FailOn, HistoryAction, HistoryArgs, HistoryFolder, SinceArg,
};
pub(crate) use reports::{CompareLoadersArgs, JudgeArgs, ReportArgs};
pub(crate) use spread::{DurationsArgs, Engine, MergeArgs, NightlyArgs, SlurmCheckArgs};
pub(crate) use values::{
    AccelArg, CoverageArg, DoctorFormat, I686Arg, JudgeFormat, KernelArg, KernelArgs, KernelSide, ListFormat,
    LoaderArg, Patience, ShellArg, TableFormat, WayArg,
};

use crate::exit::Exit;
use clap::{Args, Parser, Subcommand};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

/// Crash-kernel loader for i386 and x86_64 userspace, and the rig that proves it on real kernels.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", after_help = Exit::help(), max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run cells in emulated machines and compare what comes of them with what is expected.
    E2e(Box<E2eArgs>),
    /// Run all that CI checks: formatting, lints, tests, the suite `smoke` end to end and what people do with its report, a few
    /// mutants and a few faults, steps of a bisection.
    Test(TestArgs),
    /// Show what the loaders of a report came to in the same cells, and where they differ.
    ///
    /// Exits with 1 where this repository's loader fared worse than another, or failed in a way that it never should.
    CompareLoaders(CompareLoadersArgs),
    /// Write the pages of a report: report.html for people, junit.xml for CI systems.
    ///
    /// Runs write both into their report when they end; this is for earlier reports and for runs that were killed. With --since,
    /// --format, --night or --fail-on it tells what changed since earlier nights instead.
    Report(Box<ReportArgs>),
    /// Recorded nights: add, list, show, prune.
    History(HistoryArgs),
    /// Derive every outcome and verdict of a report again from its saved evidence, and show what would be different now.
    ///
    /// Exits with 1 where something would be, and with 3 where nothing would be, but some evidence cannot be
    /// read, or is gone.
    Judge(JudgeArgs),
    /// Measure, and print ratios.
    Bench {
        #[command(subcommand)]
        action: BenchAction,
    },
    /// Put deliberate bugs into loader and agent, and see whether the rig catches each.
    Mutants(MutantsArgs),
    /// Put faults into what the rig stands on (QEMU, QMP, consoles, agents, disk, cache, signals), and see whether it survives each.
    Faults(FaultsArgs),
    /// Run cells again and again beside other work that keeps the CPUs busy, and see whether any verdict is wrong or unstable.
    Soak(Box<SoakArgs>),
    /// Feed the loader's parsers and its plan with any bytes at all: corpus, changed and random inputs.
    ///
    /// Exits with 1 where one makes it panic, overflow, hang, hold too much memory, or break a promise; it tells how to run that again.
    Fuzz(FuzzArgs),
    /// QEMU as the rig's faults have it.
    #[command(hide = true)]
    QemuStandIn(StandInArgs),
    /// Build `kexec-load` for i386 and x86_64 userspace.
    BuildLoader(BuildLoaderArgs),
    /// Kernels and reference loaders: list, fetch, verify, re-pin.
    Images(ImagesArgs),
    /// Open a shell in a cell's first kernel, or after a panic in its capture kernel.
    ///
    /// The guest is the cell's own: machine, kernels, command lines, region, loader and capture kernel. A static busybox comes in
    /// place of the agent. Leave it by `exit`, or Ctrl-A x.
    Shell(Box<ShellArgs>),
    /// Say whether this host can run the rig, how fast, and what is missing.
    ///
    /// Starts some guests for a few seconds; changes nothing. Exits with 2 where something is missing.
    Doctor(DoctorArgs),
    /// Print a script that lets a shell complete `cargo xtask` and `xtask`.
    ///
    /// Write it to a file once, and have the shell source that: bash in .bashrc, zsh in .zshrc behind compinit, fish in
    /// config.fish.
    Completions(CompletionsArgs),
    /// Record how long the cells of these reports took: what runs are ordered and parted by.
    Durations(DurationsArgs),
    /// Merge the reports of all parts of a run into one, and exit as a single run of it all would have.
    ///
    /// Exits with 3 where a part or a cell is missing, is there twice, or was run by other means than the others; it names them.
    Merge(MergeArgs),
    /// Run a suite as the nightly does: on this host, or in parts on the nodes of a Slurm cluster, with one report in the end.
    Nightly(NightlyArgs),
    /// Run some cells in parts on a Slurm of its own on this host, kill one of its tasks, and hold the merged report against that of a
    /// plain run.
    SlurmCheck(SlurmCheckArgs),
    /// Find the commit, kernel or loader release that broke a cell.
    Bisect {
        #[command(subcommand)]
        action: BisectAction,
    },
    /// Run the same cells with two loaders or two kernels, in turns, and show where they part.
    Compare(Box<CompareArgs>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchAction {
    /// Run the same cells with fresh and with shared boots: the ratio of their times, and whether they agree.
    Boots(Box<E2eArgs>),
    /// Run cells, and say what the rig costs beside its guests: CPU time, memory, and the time from a guest's last message to its
    /// verdict.
    Overhead(Box<E2eArgs>),
    /// Measure loaders beside each other in the same guests: the time of a load, and from the panic to the capture kernel's first
    /// instruction.
    ///
    /// Guests start from one saved boot and run one at a time, the loaders in turns. Ratios are of this repository's loader to the
    /// fastest of the others, round by round.
    Loader(BenchLoaderArgs),
    /// Run the same cells as a plain loop around QEMU does, with fresh boots, and with all that the rig has: cells an hour of each, and
    /// where the rig's time goes.
    ///
    /// The loop has one guest at a time, each from power-on by its bzImage, and waits for the silence of one that hangs. The ways
    /// take turns. They must come to the same outcomes, else the exit status is 1.
    Matrix(Box<BenchMatrixArgs>),
}

#[derive(Args, Clone, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct E2eArgs {
    /// Suites of scenarios/ by name, or YAML files by path.
    #[arg(value_name = "SUITE|FILE.yaml", default_value = "seed")]
    pub(crate) suites: Vec<String>,
    /// List the cells; run nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Format of the list.
    #[arg(long, value_enum, default_value_t, requires = "list")]
    pub(crate) format: ListFormat,
    /// Take only the cells that this expression over their axes selects.
    ///
    /// For example: 'userspace=i386 & reservation=at & !loader=in-tree'
    #[arg(short = 'E', long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Take only the cells that were not as expected in the last report.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Take only the cells of part M of N. Each cell is in one part, together with those that share its boot.
    #[arg(long, value_name = "M/N")]
    pub(crate) partition: Option<String>,
    /// How many combinations generated blocks make: `pairwise`, with every pair of values and every group of `every`, or `full`.
    /// Default: as the suite says.
    #[arg(long, value_enum)]
    pub(crate) coverage: Option<CoverageArg>,
    /// Loader in place of the suite's: in-tree, kexec-tools@VERSION, or the path of a program. Repeatable.
    #[arg(long, value_name = "LOADER")]
    pub(crate) loader: Vec<LoaderArg>,
    /// Local bzImage in place of the suite's kernels of its architecture: first=PATH, capture=PATH, or both.
    ///
    /// What it was built with is read from the image (CONFIG_IKCONFIG), or config-VERSION or .config beside it, and what it lacks for the
    /// cells is told before anything boots.
    #[arg(long, value_name = "SIDE=PATH[,SIDE=PATH]")]
    pub(crate) kernel: Vec<KernelArgs>,
    #[command(flatten)]
    pub(crate) guests: GuestsArgs,
    /// Further attempts for a cell that is not as expected. Each is reported; passing later is `flaky`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// Run each cell this often.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) repeat: NonZeroU32,
    /// Boot every cell by itself from power-on and by its bzImage. Else cells with the same first kernel, userspace, machine and
    /// reservation start from one saved boot (with TCG, where it is faster).
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Start no further cell after the first that is not as expected.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Do not run a cell once more, verbosely, whose guest hung or was reset unexpectedly.
    ///
    /// The further run is evidence alone (in a folder with .verbose behind its name): kernels say more, and QEMU traces its CPUs.
    /// With --fail-fast there is none.
    #[arg(long)]
    pub(crate) no_verbose_run: bool,
    /// Dump the memory of each guest that does not end as expected into its evidence: a flattened kdump file of some dozen
    /// MiB, as crash(8) reads it.
    #[arg(long)]
    pub(crate) dump: bool,
    /// Folder of the report. One that is there already is kept as DIR.old.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Continue the report that is there: do not run again what has a result in it, errors aside.
    ///
    /// Begins a report where there is none. One of other cells, arguments or versions is refused.
    #[arg(long, conflicts_with_all = ["failed", "list"])]
    pub(crate) resume: bool,
    /// Multiply every deadline by this, for a host that is slower than they allow for.
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    pub(crate) patience: Patience,
    /// Folder with the guests' programs (guest-agent.ARCH, kexec-load.ARCH), in place of building them.
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Add the run to the history of nights, which `report --since` compares with.
    #[arg(long, conflicts_with_all = ["failed", "list"])]
    pub(crate) record: bool,
    /// Folder of the history. Default: target/e2e/history.
    #[arg(long, value_name = "DIR", requires = "record")]
    pub(crate) history: Option<PathBuf>,
}

impl E2eArgs {
    /// What the command line gives where it names nothing but suites.
    pub(crate) fn of_suites(suites: Vec<String>, host: HostArgs, store: StoreArgs) -> Self {
        Self {
            suites,
            list: false,
            format: ListFormat::Text,
            filter: None,
            partition: None,
            coverage: None,
            failed: false,
            loader: Vec::new(),
            kernel: Vec::new(),
            guests: GuestsArgs::default(),
            retries: 0,
            repeat: NonZeroU32::MIN,
            fresh: false,
            fail_fast: false,
            no_verbose_run: false,
            dump: false,
            report: None,
            resume: false,
            patience: Patience::default(),
            programs: None,
            host,
            store,
            record: false,
            history: None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ShellArgs {
    /// The cell's id, as tables and `e2e --list` show it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Suites of scenarios/ by name, or YAML files by path, that the cell is looked for in.
    #[arg(value_name = "SUITE|FILE.yaml", default_value = "seed")]
    pub(crate) suites: Vec<String>,
    /// Load and panic as the rig does, and open the shell in the capture kernel.
    #[arg(long)]
    pub(crate) capture: bool,
    /// Run this in the guest's shell and power off, in place of a conversation.
    ///
    /// Ends with the command's status; with 1 also where the guest did not bring it to its end, with 2 where it could not be
    /// tried. A guest that says nothing for long is ended; LIMIT=SECONDS in the environment is another patience.
    #[arg(long, value_name = "TEXT")]
    pub(crate) command: Option<String>,
    /// Let a debugger attach, on a unix socket.
    #[arg(long)]
    pub(crate) gdb: bool,
    /// Stop the machine before its first instruction, until a debugger lets it go on.
    #[arg(long, requires = "gdb")]
    pub(crate) wait: bool,
    /// Loader in place of the suite's, as of `e2e`.
    #[arg(long, value_name = "LOADER")]
    pub(crate) loader: Vec<LoaderArg>,
    /// Local bzImage in place of the suite's kernels, as of `e2e`.
    #[arg(long, value_name = "SIDE=PATH[,SIDE=PATH]")]
    pub(crate) kernel: Vec<KernelArgs>,
    /// Acceleration: kvm, which is not probed for, or tcg. auto is tcg here, which runs everywhere; people are slower.
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) accel: AccelArg,
    /// QEMU to use. Default: qemu-system-x86_64 in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: ShellArg,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct BuildLoaderArgs {
    /// Folder that gets kexec-load.i386, kexec-load.x86_64, the man page and SHA256SUMS. Default: target/loader.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print what their bytes are: sections, code by crate and source file, the largest symbols.
    ///
    /// Exits with 1 where the program for i386 has more bytes than it may have.
    #[arg(long)]
    pub(crate) size: bool,
    /// Point the built programs at files that are no kernels and no initrds: pipes, devices, files that change while they are read.
    ///
    /// Exits with 1 where one is not refused by its name.
    #[arg(long)]
    pub(crate) check_files: bool,
    /// Build once more from a copy of the work tree in another folder, with another home of cargo's, and compare.
    ///
    /// Exits with 1 where a byte differs, and says where.
    #[arg(long)]
    pub(crate) check_reproducible: bool,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct ImagesArgs {
    #[command(subcommand)]
    pub(crate) action: ImagesAction,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum ImagesAction {
    /// Show every locked artifact and whether it is in the cache.
    List,
    /// Fetch what is not in the cache yet.
    Fetch {
        /// Artifacts by the names that `list` shows. Default: all that this host can need.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Hash what is in the cache again; take away what is not sound, so that its next use fetches it.
    Verify {
        /// Artifacts by the names that `list` shows. Default: all.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Write the archive's current versions into the lock file.
    #[command(visible_alias = "update")]
    Repin {
        /// Artifacts by the names that `list` shows. Default: all.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Take a kernel package of the archive into the lock file, so that scenarios can name it.
    Add {
        /// The package, such as linux-image-amd64, or one kernel's, such as linux-image-6.12.107+deb13-amd64.
        #[arg(value_name = "linux-image-...[=VERSION]")]
        package: String,
        /// Its name in scenarios, such as 6.12-amd64. Default: its series and flavour.
        ///
        /// With a word in place of the series, such as sid-amd64, `repin` takes the newest kernel of the suite, whatever its series.
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
        /// The suite to look in, such as sid. Default: the host's own, then sid and Debian's releases, until one has the package.
        #[arg(long)]
        suite: Option<String>,
    },
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct DoctorArgs {
    /// QEMU to look at. Default: qemu-system-x86_64 in PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    /// Guests that are to run at the same time. Default: as many as CPUs.
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Format of what is found.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DoctorFormat,
}

#[cfg(test)]
mod tests;
