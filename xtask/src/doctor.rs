//! `cargo xtask doctor`: whether this host can run the rig, how fast, and what is missing. Looks only; changes nothing.
//!
//! What is found is sorted by pure functions ([`host`], [`speed`]); this file reads and asks.

mod check;
mod host;
mod speed;

use crate::cli::{DoctorArgs, DoctorFormat};
use crate::exit::{Exit, Failure, OrFail};
use crate::tools::{self, CC, GIT, GPGV, QEMU, Tool};
use crate::{Host, build, output};
use check::{Check, Findings};
use harness::accel::AccelChoice;
use harness::patience::host_tells_waits;
use harness::probe::{Missed, look};
use harness::qemu::qemu_version;
use harness::runner::available_mib;
use harness::scratch::Scratch;
use harness::stop;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::process::Command;

pub(crate) async fn run(args: &DoctorArgs, host: &Host) -> Result<Exit, Failure> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(cpus, NonZeroUsize::get);
    let qemu = match &args.qemu {
        Some(path) if tools::is_program(path) => Some(path.clone()),
        Some(name) => name.to_str().and_then(tools::find),
        None => tools::find(QEMU.program),
    };
    let (qemu_check, qemu) = emulator(qemu, args.qemu.as_deref()).await;
    let mut checks = vec![qemu_check];
    for tool in [CC, GPGV] {
        checks.push(match tools::find(tool.program) {
            Some(path) => program(&tool, &path).await,
            None => lacking(&tool),
        });
    }
    checks.push(match tools::find(GIT.program) {
        Some(path) => program(&GIT, &path).await,
        None => Check::note(
            GIT.program,
            format!("not found; it {}", GIT.purpose),
            "only `mutants` and `bisect` need it",
        ),
    });
    checks.extend(toolchain().await);
    // Loads the CPUs: what is told of the load must be of before.
    checks.push(host::load(&read("/proc/loadavg"), cpus));
    let figures = match &qemu {
        Some(qemu) => {
            let (said, figures) = speed(qemu, jobs, host).await?;
            checks.extend(said);
            Some(figures)
        }
        None => None,
    };
    checks.extend(resources(jobs, host));
    let findings = Findings::new(checks, figures);
    output::line(match args.format {
        DoctorFormat::Text => findings.text(),
        DoctorFormat::Json => findings.json().or_rig()?,
    });
    Ok(if findings.is_usable() { Exit::AsExpected } else { Exit::BadInput })
}

/// QEMU, with the program to probe with where it is one that the rig takes. `asked` is what `--qemu` names.
async fn emulator(qemu: Option<PathBuf>, asked: Option<&Path>) -> (Check, Option<PathBuf>) {
    let Some(path) = qemu else {
        let Some(asked) = asked else { return (lacking(&QEMU), None) };
        let found = format!("--qemu {}: no such program", asked.display());
        return (Check::missing(QEMU.program, found, "name another, or leave --qemu out"), None);
    };
    match qemu_version(&path).await {
        Ok(version) => (Check::ok(QEMU.program, format!("{} ({version})", path.display())), Some(path)),
        Err(error) => {
            let check = Check::missing(
                QEMU.program,
                error.to_string(),
                "name another with --qemu PATH, or install it",
            );
            (check, None)
        }
    }
}

fn lacking(tool: &Tool) -> Check {
    let advice = format!("Debian: apt-get install --no-install-recommends {}", tool.packages.join(" "));
    Check::missing(tool.program, format!("not found; it {}", tool.purpose), advice)
}

async fn program(tool: &Tool, path: &Path) -> Check {
    let version = first_line(path.as_os_str(), "--version").await;
    let version = version.as_deref().unwrap_or("tells no version");
    Check::ok(tool.program, format!("{} ({version})", path.display()))
}

async fn toolchain() -> [Check; 2] {
    let rustc = match first_line(OsStr::new("rustc"), "--version").await {
        Some(version) => Check::ok("rustc", version),
        None => Check::missing("rustc", "not in PATH", "install Rust, stable, 1.89 or newer, by rustup"),
    };
    let i686 = match build::in_use_has_i686().await {
        true => Check::ok("i686 core library", "the Rust toolchain has it"),
        false => Check::note(
            "i686 core library",
            "not in the Rust toolchain",
            "`rustup target add i686-unknown-linux-gnu`, or run with --install or --i686 debian",
        ),
    };
    [rustc, i686]
}

/// Runs the probe under both accelerators.
async fn speed(qemu: &Path, jobs: usize, host: &Host) -> Result<(Vec<Check>, speed::Figures), Failure> {
    let scratch = Scratch::untidied().or_rig()?;
    let (stopper, stop) = stop::stop();
    let mut interrupts = host.interrupts.clone();
    let bridge = tokio::spawn(async move {
        interrupts.wait().await;
        stopper.request();
    });
    let probed = look(AccelChoice::Auto, qemu, jobs, &scratch, &stop).await;
    bridge.abort();
    match probed {
        Ok(probed) => Ok(speed::checks(&probed, jobs)),
        Err(Missed::Interrupted) => Err(Failure::Interrupted),
        Err(error) => Err(Failure::Rig(error.into())),
    }
}

/// Memory, disks, limits, clock.
fn resources(jobs: usize, host: &Host) -> Vec<Check> {
    let disk = |check: &str, folder: &Path, need, way_out: &str| {
        host::disk(check, folder, free_mib(folder), need, way_out)
    };
    let mut checks = vec![host::memory(available_mib(), jobs)];
    checks.push(match images::default_cache_folder() {
        Some(cache) => {
            disk("cache", &cache, cache_need(&cache), "make room, or set XDG_CACHE_HOME to another place")
        }
        None => Check::missing("cache", "neither XDG_CACHE_HOME nor HOME is set", "set one of them"),
    });
    let reports = host.repo.default_report();
    checks.push(disk(
        "reports",
        &reports,
        host::REPORTS_MIB,
        "make room, or name another place with --report DIR",
    ));
    let temporary = std::env::temp_dir();
    checks.push(disk(
        "temporary files",
        &temporary,
        host::temporary_mib(jobs),
        "make room, set TMPDIR to another place, or run fewer guests: -j N",
    ));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    checks.push(host::files(limit.current, jobs));
    checks.extend(host::overcommit(&read("/proc/sys/vm/overcommit_memory")));
    checks.push(host::waits(host_tells_waits()));
    let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|meta| meta.modified()).ok();
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    checks.push(host::clock(SystemTime::now(), built, Some(source.as_str()).filter(|text| !text.is_empty())));
    checks
}

/// What the cache still needs: once a run has filled it, no more than a package that replaces a locked one.
fn cache_need(cache: &Path) -> u64 {
    if cache.is_dir() { host::PACKAGE_MIB } else { host::CACHE_MIB }
}

/// Space that this user may still fill where `folder` is, or will be made, in MiB.
fn free_mib(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let of = rustix::fs::statvfs(there).ok()?;
    Some(of.f_bavail.saturating_mul(of.f_frsize) >> 20)
}

/// A small file of the kernel's; empty where it is not there.
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

async fn first_line(program: &OsStr, argument: &str) -> Option<String> {
    let answer =
        Command::new(program).arg(argument).stdin(std::process::Stdio::null()).output().await.ok()?;
    String::from_utf8_lossy(&answer.stdout).lines().next().map(str::to_owned)
}
