//! `cargo xtask e2e`: from a command line to a table of verdicts.
//!
//! Three layers, each of which can only fail for its own reasons: the arguments as typed ([`crate::cli`]), the cells that they
//! select (`plan`, no network, nothing built), and everything that those need to run (`ready`).

mod list;
pub(crate) mod local_kernel;
pub(crate) mod plan;
pub(crate) mod ready;

use crate::cli::{AccelArg, E2eArgs, KernelSide, LoaderArg};
use crate::exit::{Exit, Failure, OrFail};
use crate::setup::{self, Needs};
use crate::table::{self, Commands, Context, Table, shell_word};
use crate::tools::{self, CC, GPGV, QEMU, Tool};
use crate::{Host, history_verb, output, store};
use harness::accel::{Accel, AccelChoice};
use harness::artifacts::Artifacts;
use harness::cell::Cell;
use harness::cost::Cost;
use harness::durations::Durations;
use harness::guest::Deadlines;
use harness::report::{CellResult, ReportError};
use harness::runner::{self, Conclusion, Options, RunError, RunEvent, Summary};
use harness::scenario::{Coverage, SkippedCell};
use harness::stop;
use plan::Plan;
use ready::GuestFiles;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(crate) async fn run(args: &E2eArgs, host: &Host) -> Result<Exit, Failure> {
    let plan = plan::make(args, &host.repo)?;
    if args.list {
        list::print(&plan, args.format);
        return Ok(Exit::AsExpected);
    }
    let recorder = args.record.then(|| history_verb::recorder(args, &host.repo));
    if let Some(told) = list::left_out(&plan) {
        output::note(told);
    }
    let artifacts = provide(&plan, args, host).await?;
    let ran = run_cells(plan, artifacts, args, host).await?;
    history_verb::record_run(args, &plan::report_folder(args, &host.repo), recorder, ran.exit, &host.repo)
}

/// Provides all that the cells of a plan need.
///
/// # Errors
/// As [`setup::provide`] and [`ready::artifacts`] have them.
pub(crate) async fn provide(plan: &Plan, args: &E2eArgs, host: &Host) -> Result<Arc<Artifacts>, Failure> {
    let mut tools = needed_tools(args)?;
    let store = store::open(&args.store)?;
    if let Some(folder) = &args.programs {
        tools.retain(|tool| tool.program != CC.program);
        tools::provide(&tools, args.host.install, &host.interrupts).await?;
        ready::prefetch(&plan.cells, &store, host).await?;
        return ready::resolve(&plan.cells, store, GuestFiles::in_folder(folder), host).await;
    }
    let needs = Needs { tools, components: &[] };
    let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
    ready::artifacts(&plan.cells, store, &i686, host).await
}

/// Runs the selected cells twice, with every guest booted by itself and with shared boots, and gives both.
pub(crate) async fn run_both_ways(args: &E2eArgs, host: &Host) -> Result<[Ran; 2], Failure> {
    let plan = plan::make(args, &host.repo)?;
    let artifacts = provide(&plan, args, host).await?;
    let way = |fresh: bool| {
        let folder = args.report.clone().unwrap_or_else(|| host.repo.bench_reports());
        let report = Some(folder.join(if fresh { "fresh" } else { "shared" }));
        E2eArgs { fresh, report, ..args.clone() }
    };
    let fresh = run_cells(plan.clone(), artifacts.clone(), &way(true), host).await?;
    // What the first run has found out about KVM need not be found out again.
    let mut guests = args.guests.clone();
    guests.accel = match fresh.results.first().map(|result| result.accel) {
        Some(Accel::Kvm) => AccelArg::Kvm,
        Some(Accel::Tcg) => AccelArg::Tcg,
        None => guests.accel,
    };
    let shared = run_cells(plan, artifacts, &E2eArgs { guests, ..way(false) }, host).await?;
    Ok([fresh, shared])
}

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) results: Vec<CellResult>,
    /// What there was to say of boots that no cell could start from.
    pub(crate) not_shared: Vec<String>,
    /// From the first guest's start to the last one's end.
    pub(crate) took: Duration,
    pub(crate) cost: Cost,
}

/// The host tools that an end-to-end run with these arguments needs.
///
/// # Errors
/// [`Failure::Input`]: the user names a QEMU that is not there.
pub(crate) fn needed_tools(args: &E2eArgs) -> Result<Vec<Tool>, Failure> {
    let mut needed = vec![CC];
    match &args.guests.qemu {
        None => needed.insert(0, QEMU),
        Some(qemu) if tools::is_program(qemu) || qemu.to_str().and_then(tools::find).is_some() => {}
        Some(qemu) => {
            return Err(Failure::Input(anyhow::anyhow!("--qemu {}: no such program", qemu.display())));
        }
    }
    // Only an archive that has moved on asks for it, but then in the middle of a fetch.
    if !args.store.offline && args.store.artifacts.is_none() {
        needed.push(GPGV);
    }
    Ok(needed)
}

/// Runs the cells under the table, and turns what they came to into an exit status.
pub(crate) async fn run_cells(
    plan: Plan,
    artifacts: Arc<Artifacts>,
    args: &E2eArgs,
    host: &Host,
) -> Result<Ran, Failure> {
    run_cells_by(plan, artifacts, args, options(args, host), host).await
}

/// Runs the cells under the table by these options, which are more than the command line has.
pub(crate) async fn run_cells_by(
    plan: Plan,
    artifacts: Arc<Artifacts>,
    args: &E2eArgs,
    options: Options,
    host: &Host,
) -> Result<Ran, Failure> {
    let began = Instant::now();
    let context = Context {
        commands: Commands { again: again(args), cells: same_cells(args) },
        id_width: table::id_width(plan.cells.iter().map(|cell| cell.id.0.as_str())),
    };
    let mut table = Table::new(host.style, context);
    let skipped = plan.skipped.len();
    plan.skipped.iter().for_each(|skipped| table.show_skipped(skipped));
    let Plan { cells, skipped: not_run, part, .. } = plan;
    let options = Options { part, ..options };
    let show = |told| match told {
        Told::Event(event) => table.show(*event),
        Told::Asked => table.show_now(),
    };
    let ended = drive(cells, &not_run, artifacts, options, host, show).await;
    table.abandon();
    let summary = ended?;
    output::line(table::count_line(&summary, skipped));
    let (exit, took) = (exit_of(summary.conclusion()), began.elapsed());
    let (results, not_shared) = table.into_results();
    Ok(Ran { exit, results, not_shared, took, cost: summary.cost })
}

/// What a run hands to whoever shows it.
#[derive(Debug)]
pub(crate) enum Told {
    /// Something happened.
    Event(Box<RunEvent>),
    /// The user wants to know what every guest does now, by SIGUSR1.
    Asked,
}

/// Runs cells, and hands every event to `show`; `skipped` is written down. An interruption by the user ends the run, and the summary says so.
///
/// # Errors
/// The run could not be done at all, as [`failure_of`] sorts it.
pub(crate) async fn drive(
    cells: Vec<Cell>,
    skipped: &[SkippedCell],
    artifacts: Arc<Artifacts>,
    options: Options,
    host: &Host,
    mut show: impl FnMut(Told),
) -> Result<Summary, Failure> {
    let (stopper, stop) = stop::stop();
    let mut interrupts = host.interrupts.clone();
    let bridge = tokio::spawn(async move {
        interrupts.wait().await;
        stopper.request();
    });
    let (sender, mut events) = mpsc::unbounded_channel();
    let running = runner::run(cells, skipped, artifacts, options, sender, stop);
    let mut asked = signal(SignalKind::user_defined1()).or_rig()?;
    let showing = async {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => show(Told::Event(Box::new(event))),
                    None => return,
                },
                Some(()) = asked.recv() => show(Told::Asked),
            }
        }
    };
    let (ended, ()) = tokio::join!(running, showing);
    bridge.abort();
    ended.map_err(failure_of)
}

/// What a run that could not be done at all means to the caller.
pub(crate) fn failure_of(error: RunError) -> Failure {
    match error {
        // Asked for by the user, and not to be had here.
        RunError::Qemu(_)
        | RunError::Accel(_)
        | RunError::Report(
            ReportError::Foreign(_)
            | ReportError::Busy(_)
            | ReportError::Different { .. }
            | ReportError::Unreadable(_),
        ) => Failure::Input(error.into()),
        // A report that cannot be written is a full or broken disk.
        RunError::Report(ReportError::Io { .. }) | RunError::BrokeOff { .. } | RunError::Host(_) => {
            Failure::Rig(error.into())
        }
    }
}

pub(crate) const fn exit_of(conclusion: Conclusion) -> Exit {
    match conclusion {
        Conclusion::AsExpected => Exit::AsExpected,
        Conclusion::SomeFailed => Exit::NotAsExpected,
        Conclusion::RigFailed => Exit::RigFailed,
        Conclusion::Interrupted => Exit::Interrupted,
    }
}

pub(crate) fn options(args: &E2eArgs, host: &Host) -> Options {
    Options {
        jobs: args.guests.jobs,
        accel: match args.guests.accel {
            AccelArg::Auto => AccelChoice::Auto,
            AccelArg::Kvm => AccelChoice::Kvm,
            AccelArg::Tcg => AccelChoice::Tcg,
        },
        retries: args.retries,
        fresh: args.fresh,
        repeat: args.repeat,
        fail_fast: args.fail_fast,
        report: report_folder(args, host),
        resume: args.resume,
        qemu: args.guests.qemu.as_deref().map_or_else(|| QEMU.program.into(), seen_from_anywhere),
        verbose: !args.no_verbose_run,
        dump: args.dump,
        deadlines: Deadlines { factor: args.patience.0, ..Deadlines::default() },
        durations: durations(host),
        part: None,
    }
}

/// What cells took when they were last run. Without it the same cells run in another order, so that a file that is no such thing is
/// told and no reason to run nothing.
fn durations(host: &Host) -> Durations {
    Durations::read(&host.repo.durations()).unwrap_or_else(|error| {
        output::note(format_args!("the longest cells do not go first: {error}"));
        Durations::default()
    })
}

/// Where the report goes: shown relative to where the user is, if it lies below.
fn report_folder(args: &E2eArgs, host: &Host) -> PathBuf {
    let folder = plan::report_folder(args, &host.repo);
    let here = std::env::current_dir().unwrap_or_default();
    folder.strip_prefix(here).map(PathBuf::from).unwrap_or(folder)
}

/// The command that runs cells of this run again, without the filter that says which.
fn again(args: &E2eArgs) -> String {
    let mut words = vec!["cargo xtask e2e".to_owned(), same_cells(args)];
    if let Some(report) = &args.report {
        words.push(format!("--report {}", shell_word(&report.display().to_string())));
    }
    words.join(" ")
}

/// The words of a command line that give the same cells and QEMU to another verb as well.
fn same_cells(args: &E2eArgs) -> String {
    let mut words: Vec<_> = args.suites.iter().map(|suite| shell_word(suite)).collect();
    if let Some(coverage) = args.coverage {
        words.push(format!("--coverage {}", Coverage::from(coverage).name()));
    }
    for loader in &args.loader {
        let value = match loader {
            LoaderArg::InTree => "in-tree".to_owned(),
            LoaderArg::KexecTools(version) => format!("kexec-tools@{version}"),
            LoaderArg::Path(path) => path.display().to_string(),
        };
        words.push(format!("--loader {}", shell_word(&value)));
    }
    for kernel in args.kernel.iter().flat_map(|kernels| &kernels.0) {
        let side = match kernel.side {
            KernelSide::First => "first",
            KernelSide::Capture => "capture",
        };
        words.push(format!("--kernel {}", shell_word(&format!("{side}={}", kernel.path.display()))));
    }
    if let Some(qemu) = &args.guests.qemu {
        words.push(format!("--qemu {}", shell_word(&qemu.display().to_string())));
    }
    words.join(" ")
}

/// A program, for scripts that run it from another folder. A name alone is looked for in PATH.
fn seen_from_anywhere(program: &Path) -> PathBuf {
    match program.components().count() {
        0 | 1 => program.to_owned(),
        _ => std::path::absolute(program).unwrap_or_else(|_| program.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Verb};
    use clap::Parser;

    fn args(words: &str) -> E2eArgs {
        let words = ["xtask", "e2e"].into_iter().chain(words.split_whitespace());
        match CommandLine::try_parse_from(words).unwrap().verb {
            Verb::E2e(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    /// Catches a conclusion that ends with another's status.
    #[test]
    fn conclusions_have_their_statuses() {
        let statuses =
            [Conclusion::AsExpected, Conclusion::SomeFailed, Conclusion::RigFailed, Conclusion::Interrupted]
                .map(|conclusion| exit_of(conclusion).status());
        assert_eq!(statuses, [0, 1, 3, 130]);
        assert_eq!(failure_of(RunError::Accel("x".into())).exit().status(), 2);
        assert_eq!(failure_of(RunError::Host("x".into())).exit().status(), 3);
    }

    /// Catches a full disk in the middle of a run that claims that nothing was run, and a folder of somebody else's that is
    /// taken for a broken host.
    #[test]
    fn a_report_that_cannot_be_written_is_the_hosts_fault() {
        let status = |error: ReportError| failure_of(error.into()).exit().status();
        let source = std::io::ErrorKind::StorageFull.into();
        assert_eq!(status(ReportError::Io { what: "write", path: "r".into(), source }), 3);
        assert_eq!(status(ReportError::Foreign("r".into())), 2);
        assert_eq!(status(ReportError::Busy("r".into())), 2);
        assert_eq!(status(ReportError::Different { folder: "r".into(), what: "x".into() }), 2);
    }

    /// Catches a tool that is demanded although this run does not use it, which would keep people from running.
    #[test]
    fn only_tools_in_use_are_needed() {
        let names = |words: &str| {
            needed_tools(&args(words)).unwrap().iter().map(|tool| tool.program).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["qemu-system-x86_64", "cc", "gpgv"]);
        assert_eq!(names("--qemu /bin/sh --offline"), ["cc"]);
        assert_eq!(names("--artifacts /debs"), ["qemu-system-x86_64", "cc"]);
    }

    /// Catches a command to repeat a cell that runs another loader or kernel than the one that failed.
    #[test]
    fn the_command_to_repeat_keeps_what_is_under_test() {
        assert_eq!(again(&args("")), "cargo xtask e2e seed");
        assert_eq!(
            again(&args(
                "smoke my.yaml --loader in-tree --loader ./a --kernel first=/b -E x=y --retries 3 -j 2"
            )),
            "cargo xtask e2e smoke my.yaml --loader in-tree --loader ./a --kernel first=/b"
        );
    }
}
