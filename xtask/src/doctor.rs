//! `cargo xtask doctor`: what this host has and lacks. Looks only; changes nothing.

use crate::cli::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::tools::{self, CC, GPGV, QEMU};
use crate::{Host, build, output};
use std::ffi::OsStr;
use tokio::process::Command;

pub(crate) async fn run(args: &DoctorArgs, _host: &Host) -> Result<Exit, Failure> {
    let mut lacking = false;
    for tool in [QEMU, CC, GPGV] {
        let place = match (&args.qemu, tool == QEMU) {
            (Some(path), true) => Some(path.clone()).filter(|path| tools::is_program(path)),
            _ => tools::find(tool.program),
        };
        match place {
            Some(path) => {
                let version = first_line(path.as_os_str(), "--version").await;
                output::line(format_args!(
                    "ok       {}: {} ({})",
                    tool.program,
                    path.display(),
                    version.as_deref().unwrap_or("tells no version")
                ));
            }
            None => {
                lacking = true;
                output::line(format_args!(
                    "missing  {}, which {}; Debian: {}",
                    tool.program,
                    tool.purpose,
                    tool.packages.join(" ")
                ));
            }
        }
    }
    let rustc = first_line(OsStr::new("rustc"), "--version").await;
    output::line(format_args!("ok       rustc: {}", rustc.as_deref().unwrap_or("not in PATH")));
    if build::in_use_has_i686().await {
        output::line("ok       i686 core library: the Rust toolchain has it");
    } else {
        output::line(
            "note     i686 core library: not in the Rust toolchain; `rustup target add i686-unknown-linux-gnu`, \
             or --i686 debian",
        );
    }
    output::line(format_args!(
        "note     /dev/kvm: {}",
        match std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            Ok(_) =>
                "can be opened; whether guests run under it, only a probe at the start of a run shows".into(),
            Err(error) => format!("{error}; guests run under TCG"),
        }
    ));
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    output::line(format_args!("note     CPUs: {cpus}; memory available: {}", memory_available()));
    Ok(if lacking { Exit::BadInput } else { Exit::AsExpected })
}

async fn first_line(program: &OsStr, argument: &str) -> Option<String> {
    let answer =
        Command::new(program).arg(argument).stdin(std::process::Stdio::null()).output().await.ok()?;
    String::from_utf8_lossy(&answer.stdout).lines().next().map(str::to_owned)
}

/// `MemAvailable` of /proc/meminfo (proc(5)), in its own words.
fn memory_available() -> String {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}
