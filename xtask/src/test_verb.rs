//! `cargo xtask test`: everything that CI checks, one step after the other: the code, the suite `smoke` end to end, what people do with
//! its report (judging again, the script of a cell, a shell), shared boots, a few mutants and a few faults, steps of a
//! bisection, and parts on a Slurm.
//!
//! A step that fails does not keep the others from running: one CI run tells everything that is wrong.

use crate::cli::{
    AccelArg, E2eArgs, FaultsArgs, GuestsArgs, JudgeArgs, JudgeFormat, ListFormat, MutantsArgs, ShellArgs,
    SlurmCheckArgs, TestArgs,
};
use crate::exit::{Exit, Failure};
use crate::process::{self, RunError};
use crate::setup::{self, Needs};
use crate::tools::{self, Component};
use crate::{
    Host, bench, bisect, build, e2e, faults, fuzz_verb, judge_verb, loader_verb, mutants, output, shell_verb,
    slurm_check, store,
};
use harness::report::SCRIPT_FILE;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Components of the Rust toolchain that the steps need.
const COMPONENTS: [Component; 2] =
    [Component { subcommand: "fmt", name: "rustfmt" }, Component { subcommand: "clippy", name: "clippy" }];

/// The suite that CI runs.
const SUITE: &str = "smoke";

/// The cell of the suite whose script and shell are tried: captured above 896 MiB, from i386 userspace.
const CAPTURED: &str = "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g";

/// The longest that a script of the rig's may take. It ends a silent guest by itself, and takes a minute: this is for one that
/// fails in that.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How a step ended.
struct Done {
    name: &'static str,
    took: Duration,
    ended: Exit,
}

pub(crate) async fn run(args: &TestArgs, host: &Host) -> Result<Exit, Failure> {
    let e2e_args = smoke(args, host.repo.test_report());
    // First of all: on a host that lacks something, nothing is run.
    let mut tools = e2e::needed_tools(&e2e_args)?;
    tools.push(tools::GIT);
    tools.extend(tools::SLURM);
    let needs = Needs { tools, components: &COMPONENTS };
    let i686 = setup::provide(&needs, args.host, &store::open(&args.store)?, &host.interrupts).await?;

    let mut done = Vec::new();
    let steps: [(&'static str, &[&str]); 3] = [
        ("formatting", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ("unit, property and doc tests", &["test", "--locked", "--workspace"]),
    ];
    for (name, arguments) in steps {
        done.push(step(name, cargo(arguments, host)).await?);
    }
    done.push(
        step("lints of the programs for guests", build::lint(&host.repo, &i686, &host.interrupts)).await?,
    );
    done.push(
        step("the loader: its size, odd files, the same bytes elsewhere", loader_verb::check(&i686, host))
            .await?,
    );
    done.push(step("fuzzing: the corpus and some inputs", fuzz_verb::check(host)).await?);
    done.push(step("end to end: smoke", e2e::run(&e2e_args, host)).await?);
    let judged = async { judge_verb::run(&judge_args(host.repo.test_report()), host) };
    done.push(step("its saved evidence comes to the same again", judged).await?);
    let again = host.repo.test_report().join(CAPTURED).join(SCRIPT_FILE);
    done.push(step("a cell's script runs it again", sh(again, host)).await?);
    let shell = async {
        let script = shell_verb::prepare(&shell_args(args), host).await?;
        sh(script, host).await
    };
    done.push(step("a shell in a capture kernel", shell).await?);
    let sample = boots_sample(&e2e_args);
    done.push(step("shared boots agree with fresh ones", bench::boots(&sample, host)).await?);
    let mutants_args = slice(args, host.repo.test_mutants_report());
    done.push(step("mutants: a few of them", mutants::run(&mutants_args, host)).await?);
    let faults_args = faults_slice(args, host.repo.test_faults_report());
    done.push(step("faults: a few of them", faults::run(&faults_args, host)).await?);
    let bisected = bisect::check(args.host, &args.store, host);
    done.push(step("steps of a bisection, from an installed folder", bisected).await?);
    let slurm = SlurmCheckArgs { host: args.host, store: args.store.clone() };
    done.push(step("parts on a Slurm, one of them killed", slurm_check::run(&slurm, host)).await?);
    report(&done);
    Ok(worst(done.iter().map(|step| step.ended)))
}

/// Runs one step under a heading. An interruption ends the whole; every other failure is told and kept.
async fn step(
    name: &'static str,
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Done, Failure> {
    output::line(format_args!("==> {name}"));
    let began = Instant::now();
    let ended = match work.await {
        Ok(Exit::Interrupted) | Err(Failure::Interrupted) => return Err(Failure::Interrupted),
        Ok(exit) => exit,
        Err(failure) => {
            output::note(format_args!("error: {failure}"));
            failure.exit()
        }
    };
    Ok(Done { name, took: began.elapsed(), ended })
}

/// Runs a script that the rig has written, by nothing but `sh`.
async fn sh(script: PathBuf, host: &Host) -> Result<Exit, Failure> {
    let mut command = Command::new("sh");
    command.arg(script);
    let ended = process::run(&mut command, Some(SCRIPT_LIMIT), &host.interrupts).await;
    ended.map(|()| Exit::AsExpected).map_err(RunError::into_check)
}

async fn cargo(arguments: &[&str], host: &Host) -> Result<Exit, Failure> {
    let mut command = Command::new(tools::cargo());
    command.args(arguments).current_dir(host.repo.root());
    build::forget_this_package(&mut command);
    let ended = process::run(&mut command, None, &host.interrupts).await;
    ended.map(|()| Exit::AsExpected).map_err(RunError::into_check)
}

fn report(done: &[Done]) {
    output::line("");
    for step in done {
        let word = match step.ended {
            Exit::AsExpected => "ok",
            Exit::NotAsExpected => "FAILED",
            Exit::BadInput | Exit::RigFailed | Exit::CannotTest | Exit::Stop => "ERROR",
            Exit::Interrupted => "interrupted",
        };
        output::line(format_args!("{word:>12} [{:>8.1}s] {}", step.took.as_secs_f64(), step.name));
    }
}

/// The status of the whole: what is wrong with the code outweighs what is wrong with the host.
fn worst(steps: impl Iterator<Item = Exit>) -> Exit {
    const fn weight(exit: Exit) -> u8 {
        match exit {
            Exit::AsExpected => 0,
            Exit::RigFailed => 1,
            Exit::BadInput | Exit::CannotTest | Exit::Stop => 2,
            Exit::NotAsExpected => 3,
            Exit::Interrupted => 4,
        }
    }
    let worst = steps.max_by_key(|exit| weight(*exit)).unwrap_or(Exit::AsExpected);
    match worst {
        // "Nothing was run" would be untrue by now.
        Exit::BadInput => Exit::RigFailed,
        other => other,
    }
}

/// The end-to-end run of CI, as its own command line would give it.
fn smoke(args: &TestArgs, report: PathBuf) -> E2eArgs {
    let suites = vec![SUITE.to_owned()];
    E2eArgs { report: Some(report), ..E2eArgs::of_suites(suites, args.host, args.store.clone()) }
}

/// The report of that run, judged again.
fn judge_args(report: PathBuf) -> JudgeArgs {
    JudgeArgs { report: Some(report), suite: Vec::new(), format: JudgeFormat::Text }
}

/// A shell that ends by itself: it must find the vmcore.
fn shell_args(args: &TestArgs) -> ShellArgs {
    ShellArgs {
        id: CAPTURED.to_owned(),
        suites: vec![SUITE.to_owned()],
        capture: true,
        command: Some("test -s /proc/vmcore".to_owned()),
        gdb: false,
        wait: false,
        loader: Vec::new(),
        kernel: Vec::new(),
        accel: AccelArg::Auto,
        qemu: None,
        host: args.host,
        store: args.store.clone(),
    }
}

/// The mutants of CI, likewise.
fn slice(args: &TestArgs, report: PathBuf) -> MutantsArgs {
    MutantsArgs {
        names: Vec::new(),
        slice: true,
        list: false,
        format: ListFormat::Text,
        guests: GuestsArgs::default(),
        report: Some(report),
        host: args.host,
        store: args.store.clone(),
    }
}

/// The faults of CI, likewise.
fn faults_slice(args: &TestArgs, report: PathBuf) -> FaultsArgs {
    FaultsArgs {
        names: Vec::new(),
        slice: true,
        list: false,
        format: ListFormat::Text,
        jobs: FaultsArgs::JOBS,
        report: Some(report),
        qemu: None,
        host: args.host,
        store: args.store.clone(),
    }
}

/// The sample of `smoke` that is run with fresh boots as well: one boot, and each kind of outcome once.
fn boots_sample(smoke: &E2eArgs) -> E2eArgs {
    let filter = "first=5.10-amd64 & userspace=i386 & reservation=256M@1968M";
    E2eArgs { filter: Some(filter.into()), report: None, ..smoke.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Verb};
    use clap::Parser;

    /// Catches a failed check that a later success hides, and a broken host that looks like a broken loader.
    #[test]
    fn the_worst_step_decides() {
        use Exit::{AsExpected, BadInput, NotAsExpected, RigFailed};
        for (steps, expected) in [
            (vec![AsExpected, AsExpected], AsExpected),
            (vec![AsExpected, NotAsExpected, AsExpected], NotAsExpected),
            (vec![RigFailed, NotAsExpected], NotAsExpected),
            (vec![AsExpected, RigFailed], RigFailed),
            (vec![BadInput, AsExpected], RigFailed),
        ] {
            assert_eq!(worst(steps.iter().copied()), expected, "{steps:?}");
        }
    }

    /// Catches a CI run whose options drift away from those that a person gets by default.
    #[test]
    fn runs_are_what_the_command_line_would_give() {
        let parse = |words: &[&str]| CommandLine::try_parse_from(words).unwrap().verb;
        let (Verb::Test(test), Verb::E2e(e2e), Verb::Mutants(mutants), Verb::Faults(faults)) = (
            parse(&["xtask", "test", "--install"]),
            parse(&["xtask", "e2e", "smoke", "--install", "--report", "r"]),
            parse(&["xtask", "mutants", "--slice", "--install", "--report", "r"]),
            parse(&["xtask", "faults", "--slice", "--install", "--report", "r"]),
        ) else {
            panic!("other verbs");
        };
        assert_eq!(format!("{:?}", smoke(&test, "r".into())), format!("{e2e:?}"));
        assert_eq!(format!("{:?}", slice(&test, "r".into())), format!("{mutants:?}"));
        assert_eq!(format!("{:?}", faults_slice(&test, "r".into())), format!("{faults:?}"));
    }
}
