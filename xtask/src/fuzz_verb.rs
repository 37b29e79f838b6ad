//! `cargo xtask fuzz`: the loader's parsers and its plan with any bytes at all. On stable the runner of `loader/fuzz/bodies`, which counts
//! memory and has all of a debug build's checks; with nightly cargo-fuzz, which goes by coverage.

use crate::cli::FuzzArgs;
use crate::exit::{Exit, Failure};
use crate::process::{self, RunError};
use crate::{Host, build, tools};
use std::ffi::OsString;
use std::time::Duration;
use tokio::process::Command;

/// Inputs that CI makes up for each target.
const IN_CI: u64 = 20_000;
/// Beside the minutes that were asked for, the longest that a run may take: to build, and for an input that hangs.
const SPARE: Duration = Duration::from_secs(30 * 60);

pub(crate) async fn run(args: &FuzzArgs, host: &Host) -> Result<Exit, Failure> {
    if args.nightly { by_coverage(args, host).await } else { on_stable(args, host).await }
}

/// What CI runs.
pub(crate) async fn check(host: &Host) -> Result<Exit, Failure> {
    on_stable(&FuzzArgs::default(), host).await
}

/// Runs the bodies by their own runner.
async fn on_stable(args: &FuzzArgs, host: &Host) -> Result<Exit, Failure> {
    let mut command = Command::new(tools::cargo());
    command.args(["run", "--quiet", "--locked", "--package", "loader-fuzz", "--profile", "fuzz", "--"]);
    command.args(&args.targets);
    command.args(["--executions".into(), args.executions.unwrap_or(IN_CI).to_string()]);
    command.args(["--seconds".into(), seconds(args).to_string(), "--seed".into(), args.seed.to_string()]);
    for (option, path) in [
        ("--corpus", host.repo.fuzz().join("corpus")),
        ("--failures", host.repo.target().join("fuzz-failures")),
    ] {
        command.arg(option).arg(path);
    }
    if let Some(input) = &args.input {
        command.arg("--input").arg(std::path::absolute(input).unwrap_or_else(|_| input.clone()));
    }
    command.current_dir(host.repo.root());
    let targets = if args.targets.is_empty() { names(host).len() } else { args.targets.len() };
    end(command, targets, args, host).await
}

/// Runs cargo-fuzz, target by target.
async fn by_coverage(args: &FuzzArgs, host: &Host) -> Result<Exit, Failure> {
    if tools::find("cargo-fuzz").is_none() {
        return Err(Failure::Input(anyhow::anyhow!(
            "there is no cargo-fuzz; install it with: cargo install cargo-fuzz (it needs a nightly toolchain and a C++ compiler). \
             Without --nightly, the same targets run on stable"
        )));
    }
    if args.targets.is_empty() {
        return Err(Failure::Input(anyhow::anyhow!(
            "--nightly runs the targets that are named: {}",
            names(host).join(", ")
        )));
    }
    for target in &args.targets {
        let mut command = Command::new("cargo");
        // Not the toolchain of this program.
        for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "CARGO"] {
            command.env_remove(name);
        }
        command.args(["+nightly", "fuzz", "run", target]);
        // What it finds goes into a folder of its own, and the corpus, which is committed, is only read.
        let found = host.repo.target().join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found).map_err(|error| {
            Failure::Input(anyhow::Error::new(error).context(format!("cannot make {}", found.display())))
        })?;
        command.arg(found).arg(host.repo.fuzz().join("corpus").join(target)).arg("--");
        command.arg(format!("-max_total_time={}", seconds(args).max(1)));
        command.args(args.executions.map(|runs| OsString::from(format!("-runs={runs}"))));
        command.current_dir(host.repo.root().join("loader"));
        end(command, 1, args, host).await?;
    }
    Ok(Exit::AsExpected)
}

/// Runs it to its end.
async fn end(mut command: Command, targets: usize, args: &FuzzArgs, host: &Host) -> Result<Exit, Failure> {
    build::forget_this_package(&mut command);
    let ended = process::run(&mut command, limit(args, targets), &host.interrupts).await;
    ended.map(|()| Exit::AsExpected).map_err(RunError::into_check)
}

/// The longest that it may take. None where it goes by a number of inputs: nobody knows how long these take, and an input that hangs
/// ends either runner by itself (`LIMIT` of `loader/fuzz/bodies`, libFuzzer's `-timeout`).
fn limit(args: &FuzzArgs, targets: usize) -> Option<Duration> {
    let targets = u32::try_from(targets).unwrap_or(u32::MAX);
    args.executions.is_none().then(|| SPARE + Duration::from_secs(seconds(args)).saturating_mul(targets))
}

fn seconds(args: &FuzzArgs) -> u64 {
    u64::from(args.minutes) * 60
}

/// The targets: the folders of the corpus.
fn names(host: &Host) -> Vec<String> {
    let folders = std::fs::read_dir(host.repo.fuzz().join("corpus")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a long run of many inputs that is ended in its midst, and one by the clock that may go on for ever.
    #[test]
    fn a_number_of_inputs_has_no_deadline() {
        let args = |minutes, executions| FuzzArgs { minutes, executions, ..FuzzArgs::default() };
        assert_eq!(limit(&args(0, Some(1_000_000_000)), 1), None);
        assert_eq!(limit(&args(10, None), 3), Some(SPARE + Duration::from_secs(3 * 600)));
        assert_eq!(limit(&args(0, None), 3), Some(SPARE));
    }
}
