//! `cargo xtask test`: everything that CI checks, one step after the other, the suite `smoke` end to end as the last.
//!
//! A step that fails does not keep the others from running: one CI run tells everything that is wrong.

use crate::build;
use crate::cli::{AccelArg, E2eArgs, ListFormat, TestArgs};
use crate::exit::{Exit, Failure};
use crate::process::{self, RunError};
use crate::setup::{self, Needs};
use crate::tools::{self, Component};
use crate::{Host, e2e, output, store};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Components of the Rust toolchain that the steps need.
const COMPONENTS: [Component; 2] =
    [Component { subcommand: "fmt", name: "rustfmt" }, Component { subcommand: "clippy", name: "clippy" }];

/// The suite that CI runs.
const SUITE: &str = "smoke";

/// How a step ended.
struct Done {
    name: &'static str,
    took: Duration,
    ended: Exit,
}

pub(crate) async fn run(args: &TestArgs, host: &Host) -> Result<Exit, Failure> {
    let e2e_args = smoke(args, host.repo.test_report());
    // First of all: on a host that lacks something, nothing is run.
    let needs = Needs { tools: e2e::needed_tools(&e2e_args)?, components: &COMPONENTS };
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
    done.push(step("end to end: smoke", e2e::run(&e2e_args, host)).await?);
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
            Exit::BadInput | Exit::RigFailed => "ERROR",
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
            Exit::BadInput => 2,
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
    E2eArgs {
        suites: vec![SUITE.to_owned()],
        list: false,
        format: ListFormat::Text,
        filter: None,
        partition: None,
        failed: false,
        loader: Vec::new(),
        kernel: Vec::new(),
        jobs: None,
        accel: AccelArg::Auto,
        retries: 0,
        repeat: NonZeroU32::MIN,
        fresh: false,
        fail_fast: false,
        report: Some(report),
        resume: false,
        qemu: None,
        host: args.host,
        store: args.store.clone(),
    }
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
    fn smoke_is_what_the_command_line_would_give() {
        let parse = |words: &[&str]| CommandLine::try_parse_from(words).unwrap().verb;
        let (Verb::Test(test), Verb::E2e(e2e)) = (
            parse(&["xtask", "test", "--install"]),
            parse(&["xtask", "e2e", "smoke", "--install", "--report", "r"]),
        ) else {
            panic!("other verbs");
        };
        assert_eq!(format!("{:?}", smoke(&test, "r".into())), format!("{e2e:?}"));
    }
}
