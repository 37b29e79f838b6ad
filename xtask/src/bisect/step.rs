//! `bisect step`: one checkout, one verdict, one status.

use super::candidate::{Builder, NoCandidate, Recipe};
use super::confidence::accumulated;
use super::tester::{Finding, Given, Tested, Tester, Thoroughness, cache_folder, toolchain};
use super::{memory, select};
use crate::Host;
use crate::cli::StepArgs;
use crate::exit::{Exit, Failure, OrFail};
use crate::table::{one_line, plural};
use crate::{output, process, store};
use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

pub(crate) async fn run(args: &StepArgs, host: &Host) -> Result<Exit, Failure> {
    let recipe = Recipe::new(&args.recipe)?;
    let cells =
        select::cells(&args.judging.cells, &args.judging.suite, &recipe, args.host, &args.store, host)?;
    let checkout = checkout(args.checkout.as_deref(), host).await?;
    let store = store::open(&args.store)?;
    let i686 = toolchain(&recipe, &[], &args.judging, (args.host, &args.store), &store, host).await?;
    let given = Given {
        args: &args.judging,
        criteria: args.criteria(),
        host_args: args.host,
        store_args: &args.store,
        store,
        cells,
        i686: &i686,
        own_loader: matches!(recipe, Recipe::Kernels { .. }),
    };
    let tester = Tester::new(given, host).await?;
    let name = memory::digest_of(&serde_json::json!(checkout.to_string_lossy()));
    let builder = Builder {
        folder: cache_folder(args.judging.cache.as_deref())?.join("builds").join(&name[..12]),
        i686: &i686,
        interrupts: &host.interrupts,
    };
    let tested = match builder.build(&recipe, &checkout, &tester.archs()).await {
        Ok(candidate) => {
            let how = Thoroughness { least: 1, again: args.judging.again, exactly: false };
            tester.test(&candidate, how).await?
        }
        Err(NoCandidate::Untestable(why)) => Tested::untestable(why),
        Err(NoCandidate::Failed(failure)) => return Err(failure),
    };
    tell(&tested);
    if let Some(session) = Session::of(&checkout, &tester.folder, host).await? {
        session.add(&tested.finding)?;
        output::line(session.told()?);
    }
    Ok(match tested.finding {
        Finding::Good { .. } => Exit::AsExpected,
        Finding::Bad { .. } => Exit::NotAsExpected,
        Finding::Untestable { .. } => Exit::CannotTest,
    })
}

/// The checkout's folder: the one that is named, or the top of the one around.
async fn checkout(named: Option<&Path>, host: &Host) -> Result<PathBuf, Failure> {
    if let Some(folder) = named {
        if !folder.is_dir() {
            return Err(Failure::Input(anyhow!("--checkout {}: there is no such folder", folder.display())));
        }
        return std::path::absolute(folder).or_input();
    }
    let here = std::env::current_dir().context("there is no current folder").or_input()?;
    Ok(git(&here, &["rev-parse", "--show-toplevel"], host).await?.map_or(here, PathBuf::from))
}

/// What git says in this folder, without the line's end; none where it fails.
async fn git(folder: &Path, words: &[&str], host: &Host) -> Result<Option<String>, Failure> {
    let mut git = Command::new("git");
    git.args(words).current_dir(folder).stderr(std::process::Stdio::null());
    match process::output(&mut git, Duration::from_secs(60), &host.interrupts).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())),
        Err(process::RunError::Interrupted) => Err(Failure::Interrupted),
        Err(_) => Ok(None),
    }
}

/// The verdict, and what each cell showed.
fn tell(tested: &Tested) {
    for cell in &tested.cells {
        let counts = cell.counts;
        let words = cell.telling().map(|seen| one_line(&seen.words)).unwrap_or_default();
        output::line(format_args!("  {}: {} good, {} bad: {words}", cell.id, counts.good, counts.bad));
    }
    let runs = match tested.runs {
        0 => "nothing had to be run".to_owned(),
        runs => plural(runs as usize, "run"),
    };
    let seconds = tested.seconds;
    output::line(match &tested.finding {
        Finding::Good { error } => {
            format!("good, wrong with a probability of {error:.1e} ({runs}, {seconds:.0} s)")
        }
        Finding::Bad { error } => {
            format!("bad, wrong with a probability of {error:.1e} ({runs}, {seconds:.0} s)")
        }
        Finding::Untestable { why } => {
            format!("cannot be tested: {} ({runs}, {seconds:.0} s)", one_line(why))
        }
    });
}

/// The steps of one `git bisect`, so that the probabilities of all their errors can be told together.
struct Session {
    file: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct Step {
    error: Option<f64>,
}

impl Session {
    /// That of the bisection that is open in the checkout, if one is.
    async fn of(checkout: &Path, folder: &Path, host: &Host) -> Result<Option<Self>, Failure> {
        // Written by `git bisect start`, and by nothing else until `git bisect reset`.
        let words = ["rev-parse", "--path-format=absolute", "--git-path", "BISECT_START"];
        let Some(start) = git(checkout, &words, host).await? else { return Ok(None) };
        let Ok(began) = std::fs::metadata(&start).and_then(|meta| meta.modified()) else { return Ok(None) };
        let began = began.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        let name = memory::digest_of(&serde_json::json!([start, began]));
        Ok(Some(Self { file: folder.join("sessions").join(format!("{name}.jsonl")) }))
    }

    fn add(&self, finding: &Finding) -> Result<(), Failure> {
        let error = match finding {
            Finding::Good { error } | Finding::Bad { error } => Some(*error),
            Finding::Untestable { .. } => None,
        };
        let line = serde_json::to_string(&Step { error }).or_rig()?;
        memory::append_line(&self.file, &line).or_rig()
    }

    fn told(&self) -> Result<String, Failure> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))
            .or_rig()?;
        let errors: Vec<f64> =
            text.lines().filter_map(|line| serde_json::from_str::<Step>(line).ok()?.error).collect();
        let verdicts = errors.len();
        let all = accumulated(errors);
        Ok(format!(
            "verdicts of this bisection: {verdicts}; that any of them is wrong has a probability of {all:.1e}"
        ))
    }
}
