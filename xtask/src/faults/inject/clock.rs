//! A wall clock that jumps. The host's own is not touched: a library that is loaded before the rig's others answers for it.

use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::stage::{Cells, Stage};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Answers for the C library's `clock_gettime`: a year later and a year earlier in turns, for the wall clock alone.
const SHIM: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static unsigned int calls;
	long failed = syscall(SYS_clock_gettime, clock, now);

	if (!failed && clock == CLOCK_REALTIME)
		now->tv_sec += __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) & 1 ? 31536000 : -31536000;
	return failed;
}
";

/// Most of a year: a report that was begun so far from now was begun under the shim.
const FAR: Duration = Duration::from_secs(300 * 86_400);

/// Runs both cells under the shim, one of them with a guest that takes some time.
pub(super) async fn inject(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let (shim, report) = (compile(&stage.folder).before_fault()?, stage.report());
    let mut command = stage.e2e(Cells::StandIn, &stage.stand_in(true)?, &report, &["-j", "2", "--offline"]);
    command.env("LD_PRELOAD", &shim);
    let mut observed = stage.observe(command, &report).await?;
    let jumped = observed.take("how far its clock was from the right one", distance(&report));
    // What the rig should have written and did not says nothing of its clock.
    let jumped = jumped.is_none_or(|distance| distance > FAR.as_secs());
    observed.provided(jumped, "the rig's clock did not jump: it is not linked dynamically")
}

/// Makes the shim; gives its path.
fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SHIM).with_context(|| format!("cannot write {}", source.display()))?;
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source);
    ensure!(compiler.status().context("cannot start cc")?.success(), "cc does not take {}", source.display());
    Ok(shim)
}

/// How many seconds a run's start, as it wrote it down, is from now.
fn distance(report: &Path) -> anyhow::Result<u64> {
    let run = std::fs::read(report.join("run.json")).context("the run has no run.json")?;
    let run: serde_json::Value = serde_json::from_slice(&run).context("run.json")?;
    let started = run["started"].as_u64().context("run.json does not say when the run was started")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(now.abs_diff(started))
}
