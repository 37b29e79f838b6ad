//! `cargo xtask faults`: faults in all that the rig stands on, one at a time, to see that it survives each: that the faulted cell (or the
//! run) ends as it should, the cell beside it as if nothing were, nothing is lost or left behind, and the exit status tells.
//!
//! Each fault is tried on the rig as a process of its own, in a temporary folder of its own. Most need no guest: a stand-in for QEMU
//! plays a recorded one. Those with real guests come one after the other, at the end.

mod inject;
mod judge;
mod list;
mod observe;
mod stage;
pub(crate) mod stand_in;
mod table;

use crate::build::{self, Program};
use crate::cli::{E2eArgs, FaultsArgs, GuestsArgs, ListFormat};
use crate::e2e::ready::{self, GuestFiles};
use crate::exit::{Exit, Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::process::OWN_PROGRAM;
use crate::setup::{self, Needs};
use crate::store;
use crate::table::paint::Paint;
use crate::tools::{self, QEMU};
use crate::{Host, e2e, output};
use anyhow::Context;
use guest_protocol::Arch;
use judge::{BeforeFault, Finding, Observed};
use list::{Fault, Injection};
use serde::Serialize;
use stage::{Shop, Stage};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

pub(crate) async fn run(args: &FaultsArgs, host: &Host) -> Result<Exit, Failure> {
    let faults = list::select(&args.names, args.slice).or_input()?;
    if args.list {
        faults.iter().for_each(|fault| output::line(listed(fault, args.format)));
        return Ok(Exit::AsExpected);
    }
    let shop = Arc::new(provide(args, host).await?);
    let paint = Paint::new(host.style.colour);
    let began = Instant::now();
    output::line(format_args!(
        "{} {} faults; report in {}",
        paint.head("Trying"),
        faults.len(),
        shop.report.display()
    ));
    table::head(paint).iter().for_each(output::line);
    let (quick, real): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| !fault.injection.needs_guests());
    let mut tried = Vec::new();
    let mut interrupted = false;
    for (faults, jobs) in [(quick, args.jobs.get()), (real, 1)] {
        if !interrupted {
            interrupted = all(faults, jobs, &shop, paint, host, &mut tried).await?;
        }
    }
    // In the order of the list, whatever came when.
    tried.sort_by_key(|tried: &Tried| faults.iter().position(|fault| fault.name == tried.fault.name));
    write_report(&shop.report, &tried).or_rig()?;
    let seconds = began.elapsed().as_secs_f64();
    table::summary(&tried, faults.len(), &shop.report, seconds, paint).iter().for_each(output::line);
    Ok(judge::exit(tried.iter().map(|tried| &tried.finding), interrupted))
}

/// A fault in the list that the user asks for.
fn listed(fault: &Fault, format: ListFormat) -> String {
    match format {
        ListFormat::Text => format!("{}: {}", fault.name, fault.what),
        ListFormat::Json => serde_json::json!({
            "name": fault.name,
            "what": fault.what,
            "slice": fault.slice,
            "expected": table::expected(&fault.expected),
        })
        .to_string(),
    }
}

/// Provides what every fault needs: tools, artifacts in the cache, the guests' programs in a folder.
async fn provide(args: &FaultsArgs, host: &Host) -> Result<Shop, Failure> {
    let run = |suites| E2eArgs {
        guests: GuestsArgs { qemu: args.qemu.clone(), ..GuestsArgs::default() },
        ..E2eArgs::of_suites(suites, args.host, args.store.clone())
    };
    let e2e_args = run(Vec::new());
    let mut cells = Vec::new();
    for suite in stage::SUITES.map(|suite| host.repo.root().join(suite).display().to_string()) {
        cells.extend(e2e::plan::make(&run(vec![suite]), &host.repo)?.cells);
    }
    let needs = Needs { tools: e2e::needed_tools(&e2e_args)?, components: &[] };
    let store = store::open(&args.store)?;
    let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
    ready::prefetch(&cells, &store, host).await?;
    let built = build::build(&host.repo, &[Program::Agent, Program::Loader], &i686, &host.interrupts).await?;

    let report = args.report.clone().unwrap_or_else(|| host.repo.default_faults_report());
    let report = std::path::absolute(&report).or_input()?;
    begin_report(&report).or_input()?;
    let programs = report.join("programs");
    std::fs::create_dir_all(&programs)
        .with_context(|| format!("cannot make {}", programs.display()))
        .or_rig()?;
    for program in [Program::Agent, Program::Loader] {
        for arch in [Arch::I386, Arch::X86_64] {
            let to = programs.join(GuestFiles::file_name(program, arch));
            let from = built.path(program, arch).context("a program was not built").or_rig()?;
            std::fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display())).or_rig()?;
        }
    }
    let qemu = args.qemu.clone().unwrap_or_else(|| QEMU.program.into());
    let qemu = match qemu.to_str().and_then(tools::find) {
        Some(found) => found,
        None => std::path::absolute(&qemu).or_input()?,
    };
    // A copy: cargo may put another in place of the one that runs.
    let xtask = programs.join("xtask");
    std::fs::copy(OWN_PROGRAM, &xtask)
        .with_context(|| format!("cannot write {}", xtask.display()))
        .or_rig()?;
    let cache = store.inner().cache_folder().to_owned();
    Ok(Shop { xtask, root: host.repo.root().to_owned(), programs, qemu, cache, report })
}

/// Name of the campaign's results.
const RESULTS: &str = "faults.jsonl";

/// Makes room for a new report. A folder that is none is left alone.
///
/// # Errors
/// The folder is somebody else's, or cannot be made.
fn begin_report(folder: &Path) -> anyhow::Result<()> {
    let is_free = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !is_free {
        anyhow::ensure!(
            folder.join(RESULTS).is_file(),
            "{} exists and is no earlier report of faults (it has no {RESULTS}); name another folder with --report DIR, or remove it",
            folder.display()
        );
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let results = folder.join(RESULTS);
    std::fs::write(&results, "").with_context(|| format!("cannot write {}", results.display()))
}

/// A fault that was tried.
#[derive(Serialize)]
struct Tried {
    #[serde(flatten)]
    fault: FaultRecord,
    #[serde(flatten)]
    finding: Finding,
    observed: Option<Observed>,
    seconds: f64,
    /// Its folder, relative to the report.
    evidence: PathBuf,
}

/// What the results say of a fault itself.
#[derive(Serialize)]
struct FaultRecord {
    name: &'static str,
    what: &'static str,
    expected: String,
}

/// Tries these faults, some at a time, and shows each as it ends; whether the user interrupted it.
async fn all(
    faults: Vec<&'static Fault>,
    jobs: usize,
    shop: &Arc<Shop>,
    paint: Paint,
    host: &Host,
    tried: &mut Vec<Tried>,
) -> Result<bool, Failure> {
    let mut waiting = VecDeque::from(faults);
    let mut running = JoinSet::new();
    let mut interrupts = host.interrupts.clone();
    let mut interrupted = false;
    loop {
        while !interrupted
            && running.len() < jobs
            && let Some(fault) = waiting.pop_front()
        {
            let (shop, interrupts) = (shop.clone(), interrupts.clone());
            running.spawn(async move { one(fault, &shop, interrupts).await });
        }
        tokio::select! {
            ended = running.join_next() => match ended {
                None => return Ok(interrupted),
                Some(ended) => {
                    if let Some(one) = ended.context("the task of a fault died").or_rig()? {
                        table::row(&one, paint).iter().for_each(output::line);
                        tried.push(one);
                    }
                }
            },
            // Each fault that is being tried sees it as well, and ends.
            () = interrupts.wait(), if !interrupted => interrupted = true,
        }
    }
}

/// Tries one fault; none: the user interrupted it.
async fn one(fault: &'static Fault, shop: &Shop, mut interrupts: Interrupts) -> Option<Tried> {
    let began = Instant::now();
    let came = match Stage::new(shop, fault).before_fault() {
        Err(not) => Err(not),
        Ok(stage) => tokio::select! {
            came = inject::inject(&stage) => came,
            () = interrupts.wait() => {
                // The injection is dropped, and its rigs with all their processes are killed. This looks whether they are.
                for left in observe::processes_left(stage.temp()).await {
                    output::note(format_args!("{} was interrupted and left {left}, which was killed", fault.name));
                }
                return None;
            }
        },
    };
    let finding = judge::finding(&fault.expected, came.as_ref());
    let observed = came.map(Some).unwrap_or_else(|not| not.observed.map(|observed| *observed));
    let record =
        FaultRecord { name: fault.name, what: fault.what, expected: table::expected(&fault.expected) };
    Some(Tried {
        fault: record,
        finding,
        observed,
        seconds: began.elapsed().as_secs_f64(),
        evidence: fault.name.into(),
    })
}

fn write_report(folder: &Path, tried: &[Tried]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for one in tried {
        lines.push_str(&serde_json::to_string(one)?);
        lines.push('\n');
    }
    let path = folder.join(RESULTS);
    std::fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))
}

impl Injection {
    /// Whether real guests run, which need the CPUs for themselves.
    const fn needs_guests(self) -> bool {
        match self {
            Self::Qemu(list::FalseQemu::WithoutMemory)
            | Self::RealQemu(_)
            | Self::Loader(_)
            | Self::SavedState(_)
            | Self::KilledAndResumed => true,
            Self::Guest(..)
            | Self::Again(..)
            | Self::NoTemporaryFolder
            | Self::SmallDisk(..)
            | Self::Qemu(_)
            | Self::Cache(_)
            | Self::Mirror(_)
            | Self::UnwritableReport
            | Self::Clock
            | Self::Signal(_)
            | Self::OneCache
            | Self::OneReport
            | Self::ManyJobs => false,
        }
    }
}
