//! Runs the bodies on stable Rust: over the corpus, then over random and changed inputs, for so many executions or so long. It has no
//! coverage to go by; in return it needs nothing, and counts memory.

mod memory;

use clap::Parser;
use loader_fuzz::{ALL, Body, mutate};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest that one input may take. All but a hang take less than a thousandth of it.
const LIMIT: Duration = Duration::from_secs(20);

/// Run the fuzzers' bodies over their corpus and over inputs that are made up.
#[derive(Parser)]
struct Arguments {
    /// Targets. Default: all.
    targets: Vec<String>,
    /// Inputs that are made up for each target.
    #[arg(long, default_value_t = 20_000)]
    executions: u64,
    /// Go on for at least so many seconds for each target.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// What inputs are made up from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this input alone.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Folder with a folder of inputs for each target.
    #[arg(long)]
    corpus: PathBuf,
    /// Folder for inputs that a body failed on.
    #[arg(long)]
    failures: PathBuf,
}

/// The input that runs, for whoever watches over its time.
static RUNNING: Mutex<Option<(&'static str, Vec<u8>, Instant)>> = Mutex::new(None);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let named = |name| ALL.iter().find(|body| body.name == name).ok_or(name);
    let chosen: Result<Vec<&Body>, _> = match arguments.targets.as_slice() {
        [] => Ok(ALL.iter().collect()),
        targets => targets.iter().map(String::as_str).map(named).collect(),
    };
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(unknown) => {
            let names: Vec<_> = ALL.iter().map(|body| body.name).collect();
            eprintln!("there is no target {unknown}; they are {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    println!("inputs of seed {}", arguments.seed);
    let failures = arguments.failures.clone();
    std::thread::spawn(move || watch(&failures));
    let failed = chosen.iter().filter(|body| !fuzz(body, &arguments)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the program where an input takes too long: nothing else ends a hang.
fn watch(failures: &Path) {
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((name, input, _)) = running.as_ref().filter(|(_, _, since)| since.elapsed() > LIMIT) {
            eprintln!(
                "{name}: an input takes more than {} s; {}",
                LIMIT.as_secs(),
                keep(failures, name, input)
            );
            std::process::exit(1);
        }
    }
}

/// Runs one target; whether all was well.
fn fuzz(body: &Body, arguments: &Arguments) -> bool {
    let corpus = match &arguments.input {
        Some(path) => fs::read(path).map(|input| vec![input]),
        None => corpus(&arguments.corpus.join(body.name)),
    };
    let corpus = match corpus {
        Ok(corpus) => corpus,
        Err(error) => {
            eprintln!("{}: its inputs cannot be read: {error}", body.name);
            return false;
        }
    };
    let began = Instant::now();
    let (mut executions, mut most) = (0u64, 0);
    let mut run = |input: &[u8]| {
        executions += 1;
        one(body, input).map(|held| most = most.max(held)).map_err(|why| {
            let kept = keep(&arguments.failures, body.name, input);
            eprintln!("{}: {why}; {kept}", body.name);
        })
    };
    let mut random = mutate::Random(arguments.seed);
    let mut made = 0;
    let all = corpus.iter().try_for_each(|input| run(input)).and_then(|()| {
        let enough =
            |made: u64| made >= arguments.executions && began.elapsed().as_secs() >= arguments.seconds;
        while arguments.input.is_none() && !enough(made) {
            made += 1;
            run(&mutate::input(body, &corpus, &mut random))?;
        }
        Ok(())
    });
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:>14} {executions} executions in {seconds:.1} s, {} of them its corpus; at most {} KiB held",
        body.name,
        corpus.len(),
        most >> 10
    );
    all.is_ok()
}

/// Runs one input, and tells the bytes that were held at the most, or what is wrong.
fn one(body: &Body, input: &[u8]) -> Result<usize, String> {
    let set = |running| *RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = running;
    set(Some((body.name, input.to_vec(), Instant::now())));
    let (ended, held) = memory::most_of(|| catch_unwind(|| (body.run)(input)));
    set(None);
    // The panic has said what it is.
    ended.map_err(|_| "panicked".to_owned())?;
    let (each, beside) = body.memory;
    let may = each * input.len() + beside;
    if held > may {
        return Err(format!("{} bytes of input made it hold {held} bytes, more than {may}", input.len()));
    }
    Ok(held)
}

/// Writes an input where it can be found again, and tells where.
fn keep(folder: &Path, name: &str, input: &[u8]) -> String {
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let path = folder.join(format!("{name}-{sum:016x}"));
    match fs::create_dir_all(folder).and_then(|()| fs::write(&path, input)) {
        Ok(()) => format!("again with: cargo xtask fuzz {name} --input {}", path.display()),
        Err(error) => format!("the input cannot be written to {}: {error}", path.display()),
    }
}

/// The inputs of a folder, by their files' names.
fn corpus(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}
