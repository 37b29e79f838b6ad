//! `cargo xtask`: the command line of the rig. Thin: each verb is a few lines over `harness` and `images`.

mod bench;
mod build;
mod cli;
mod compare_verb;
mod completions;
mod doctor;
mod durations_verb;
mod e2e;
mod exit;
mod faults;
mod fuzz_verb;
mod images_verb;
mod interrupt;
mod judge_verb;
mod loader_verb;
mod merge_verb;
mod mutants;
mod nightly;
mod output;
mod process;
mod repo;
mod report_verb;
mod setup;
mod shell_verb;
mod slurm_check;
mod soak;
mod store;
mod table;
mod test_verb;
mod tools;
mod tree_copy;

use clap::Parser;
use cli::{CommandLine, Verb};
use exit::{Exit, Failure, OrFail};
use interrupt::Interrupts;
use output::Style;
use repo::Repo;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

/// What every verb gets.
struct Host {
    repo: Repo,
    style: Style,
    interrupts: Interrupts,
}

fn main() -> ExitCode {
    // Ends the program by itself on usage errors (status 2, as documented) and on --help.
    let command_line = CommandLine::parse();
    // The panic's own message has been printed by the time that it is caught; a bug of this program says nothing on a loader.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| run(command_line)));
    match ended {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            output::note(format_args!("error: {failure}"));
            failure.exit().into()
        }
        Err(_) => Exit::RigFailed.into(),
    }
}

fn run(command_line: CommandLine) -> Result<Exit, Failure> {
    // A QEMU knows nothing of this program's ways to be interrupted, and so must not what stands in for one.
    if let Verb::QemuStandIn(args) = &command_line.verb {
        return faults::stand_in::run(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().or_rig()?;
    let ended = runtime.block_on(async {
        let interrupts = Interrupts::listen().or_rig()?;
        let host = Host { repo: Repo::find(), style: Style::detect(), interrupts };
        match command_line.verb {
            Verb::E2e(args) => e2e::run(&args, &host).await,
            Verb::CompareLoaders(args) => compare_verb::run(&args, &host),
            Verb::Report(args) => report_verb::run(&args, &host),
            Verb::Judge(args) => judge_verb::run(&args, &host),
            Verb::Test(args) => test_verb::run(&args, &host).await,
            Verb::Bench { action } => bench::run(&action, &host).await,
            Verb::Mutants(args) => mutants::run(&args, &host).await,
            Verb::Faults(args) => faults::run(&args, &host).await,
            Verb::Soak(args) => soak::run(&args, &host).await,
            Verb::Fuzz(args) => fuzz_verb::run(&args, &host).await,
            Verb::QemuStandIn(args) => faults::stand_in::run(&args),
            Verb::BuildLoader(args) => loader_verb::run(&args, &host).await,
            Verb::Images(args) => images_verb::run(&args, &host).await,
            Verb::Shell(args) => shell_verb::run(&args, &host).await,
            Verb::Doctor(args) => doctor::run(&args, &host).await,
            Verb::Completions(args) => completions::run(args, &host),
            Verb::Durations(args) => durations_verb::run(&args, &host),
            Verb::Merge(args) => merge_verb::run(&args, &host),
            Verb::Nightly(args) => nightly::run(&args, &host).await,
            Verb::SlurmCheck(args) => slurm_check::run(&args, &host).await,
        }
    });
    // A fetch that an interruption left behind in its thread must not keep the program from ending.
    runtime.shutdown_background();
    ended
}
