//! Where `core` and `alloc` for i686 come from: the toolchain in use, or Debian's rustc 1.85 out of the artifact cache.

use crate::cli::{HostArgs, I686Arg};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::process::{self, RunError};
use crate::{output, tools};
use std::path::PathBuf;
use tokio::process::Command;

/// The target of the 32-bit guest programs.
pub(crate) const TARGET: &str = "i686-unknown-linux-gnu";

/// The toolchain that builds the 32-bit guest programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The one that built this program.
    InUse,
    /// An unpacked one.
    Unpacked {
        /// Short name for its build folder.
        name: &'static str,
        /// Its compiler.
        rustc: PathBuf,
        /// Where its shared libraries are, for LD_LIBRARY_PATH.
        libraries: Vec<PathBuf>,
    },
}

/// What the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    /// The toolchain in use has the target.
    in_use_has_it: bool,
    /// There is a rustup that could add it.
    rustup: bool,
    /// Debian's is in the cache.
    debian_cached: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    InUse,
    /// Ask rustup to add the target; where that fails, take Debian's if `or_debian`.
    Add {
        or_debian: bool,
    },
    /// Take Debian's, out of the cache or the archive.
    Debian,
    /// Say what is missing.
    Missing,
}

/// The rule. Without `--install` nothing is changed on the host, but what was asked for by name is fetched.
const fn choose(wish: I686Arg, install: bool, facts: Facts) -> Choice {
    match wish {
        I686Arg::Debian => Choice::Debian,
        I686Arg::Rustup | I686Arg::Auto if facts.in_use_has_it => Choice::InUse,
        I686Arg::Rustup if install && facts.rustup => Choice::Add { or_debian: false },
        I686Arg::Rustup => Choice::Missing,
        // Asking rustup again and again would cost its deadline at each run of a host where it cannot.
        I686Arg::Auto if facts.debian_cached => Choice::Debian,
        I686Arg::Auto if install && facts.rustup => Choice::Add { or_debian: true },
        I686Arg::Auto if install => Choice::Debian,
        I686Arg::Auto => Choice::Missing,
    }
}

/// Where Debian's toolchain comes from.
pub(crate) trait DebianRust {
    /// Whether it can be had without a fetch.
    fn is_cached(&self) -> bool;
    /// Fetches and unpacks it if need be.
    fn get(&self, interrupts: &Interrupts) -> impl Future<Output = Result<Toolchain, Failure>>;
}

async fn facts(debian: &impl DebianRust) -> Facts {
    Facts {
        in_use_has_it: in_use_has_target().await,
        rustup: tools::find("rustup").is_some(),
        debian_cached: debian.is_cached(),
    }
}

/// What to tell the user where there is no toolchain and none may be provided.
pub(crate) async fn complaint(host: HostArgs, debian: &impl DebianRust) -> Option<String> {
    match choose(host.i686, host.install, facts(debian).await) {
        Choice::Missing => Some(missing(host)),
        Choice::InUse | Choice::Add { .. } | Choice::Debian => None,
    }
}

/// Finds, or with `--install` provides, a toolchain that can build for i686.
///
/// # Errors
/// [`Failure::Input`] where none is there and none may be fetched; it says what to do.
pub(crate) async fn provide(
    host: HostArgs,
    debian: &impl DebianRust,
    interrupts: &Interrupts,
) -> Result<Toolchain, Failure> {
    match choose(host.i686, host.install, facts(debian).await) {
        Choice::InUse => Ok(Toolchain::InUse),
        Choice::Debian => debian.get(interrupts).await,
        Choice::Missing => Err(Failure::Input(anyhow::anyhow!(missing(host)))),
        Choice::Add { or_debian } => {
            let mut add = Command::new("rustup");
            add.args(["target", "add", TARGET]).stdout(std::io::stderr());
            match process::run(&mut add, Some(tools::RUSTUP_LIMIT), interrupts).await {
                Ok(()) if in_use_has_target().await => Ok(Toolchain::InUse),
                Err(RunError::Interrupted) => Err(Failure::Interrupted),
                Err(error) if or_debian => {
                    output::note(format_args!("{error}; taking Debian's rustc 1.85 instead"));
                    debian.get(interrupts).await
                }
                Ok(()) if or_debian => {
                    output::note(
                        "rustup added the target to another toolchain; taking Debian's rustc 1.85 instead",
                    );
                    debian.get(interrupts).await
                }
                Err(error) => Err(Failure::Input(error.into())),
                Ok(()) => Err(Failure::Input(anyhow::anyhow!(
                    "rustup added {TARGET}, but the rustc in use ({}) still lacks it; try --i686 debian",
                    rustc().to_string_lossy()
                ))),
            }
        }
    }
}

/// What tells the user that there is no toolchain for i686.
fn missing(host: HostArgs) -> String {
    let mut text =
        format!("the Rust toolchain has no core library for {TARGET}, which the i386 programs need");
    if host.i686 == I686Arg::Rustup && host.install {
        text.push_str("; there is no rustup to add it: install the target with your distribution's tools");
        return text;
    }
    text.push_str(&format!("\ninstall with: rustup target add {TARGET}"));
    if host.i686 == I686Arg::Auto {
        text.push_str("\nor take Debian's, out of its archive into the cache: --i686 debian");
    }
    text.push_str("\nor let this command do it: add --install");
    text
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Whether the compiler in use finds a core library for the target. Asks the compiler, so that it holds without rustup too.
pub(crate) async fn in_use_has_target() -> bool {
    let asked = Command::new(rustc())
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(std::process::Stdio::null())
        .output()
        .await;
    let Ok(answer) = asked else { return false };
    let Ok(folder) = String::from_utf8(answer.stdout) else { return false };
    std::fs::read_dir(folder.trim()).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = Facts { in_use_has_it: false, rustup: false, debian_cached: false };
    const RUSTUP: Facts = Facts { rustup: true, ..NOTHING };
    const TARGET_THERE: Facts = Facts { in_use_has_it: true, ..RUSTUP };
    const CACHED: Facts = Facts { debian_cached: true, ..RUSTUP };

    /// Catches a host that is changed without being asked, and a new machine that is not set up although asked.
    #[test]
    fn the_choice_by_wish_permission_and_facts() {
        use Choice::{Add, Debian, InUse, Missing};
        use I686Arg::{Auto, Rustup};
        for (wish, install, facts, expected) in [
            (Auto, false, TARGET_THERE, InUse),
            (Auto, true, TARGET_THERE, InUse),
            (Auto, false, NOTHING, Missing),
            (Auto, false, RUSTUP, Missing),
            (Auto, false, CACHED, Debian),
            (Auto, true, CACHED, Debian),
            (Auto, true, RUSTUP, Add { or_debian: true }),
            (Auto, true, NOTHING, Debian),
            (Rustup, false, TARGET_THERE, InUse),
            (Rustup, false, CACHED, Missing),
            (Rustup, true, CACHED, Add { or_debian: false }),
            (Rustup, true, NOTHING, Missing),
            (I686Arg::Debian, false, TARGET_THERE, Debian),
            (I686Arg::Debian, false, NOTHING, Debian),
        ] {
            assert_eq!(choose(wish, install, facts), expected, "{wish:?} {install} {facts:?}");
        }
    }

    /// Catches advice that does not help: --install where it was given already, rustup where there is none.
    #[test]
    fn the_complaint_says_what_helps() {
        let auto = missing(HostArgs { install: false, i686: I686Arg::Auto });
        assert_eq!(
            auto,
            "the Rust toolchain has no core library for i686-unknown-linux-gnu, which the i386 programs need\n\
             install with: rustup target add i686-unknown-linux-gnu\n\
             or take Debian's, out of its archive into the cache: --i686 debian\n\
             or let this command do it: add --install"
        );
        let no_rustup = missing(HostArgs { install: true, i686: I686Arg::Rustup });
        assert!(no_rustup.contains("there is no rustup") && !no_rustup.contains("--install"), "{no_rustup}");
    }
}
