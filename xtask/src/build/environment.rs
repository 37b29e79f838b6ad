//! The environment of a cargo that builds for guests: the user's wishes for his own builds must not reach it.
//!
//! This program runs under `cargo run`, and its user may have RUSTFLAGS, a wrapper or another linker in mind for programs
//! with a libc. The programs for guests have none, and their flags come from their own build scripts.

use std::ffi::OsStr;
use tokio::process::Command;

/// Variables that go, by their whole name.
const CLEARED: &[&str] = &[
    // Flags, in every spelling that cargo knows; CARGO_ENCODED_RUSTFLAGS is set instead, see below.
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    // Another target or place: both are named on the command line.
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    // clippy-driver and its like, set by the cargo above.
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
];

/// What `cargo run` tells about the package `xtask`, by how the names begin.
const THIS_PACKAGE_PREFIXES: &[&str] = &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// Whether a variable is about the package `xtask`.
fn is_about_this_package(name: &str) -> bool {
    name == "OUT_DIR" || THIS_PACKAGE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable must not reach the cargo that builds for guests.
fn is_cleared(name: &str) -> bool {
    CLEARED.contains(&name)
        || is_about_this_package(name)
        // Settings of the profile that is documented in Cargo.toml.
        || name.starts_with("CARGO_PROFILE_")
        // CARGO_TARGET_<TRIPLE>_RUSTFLAGS, _RUNNER, _LINKER. The linker stays: a host whose cc has another name needs it.
        || (name.starts_with("CARGO_TARGET_") && !name.ends_with("_LINKER"))
}

/// Takes away from `command` what would change the build, out of the environment that it would inherit, and sets the compiler's flags to
/// these alone (`flags::encode`).
pub(super) fn isolate<'a>(command: &mut Command, inherited: impl Iterator<Item = &'a OsStr>, flags: &OsStr) {
    for name in inherited.filter(|name| name.to_str().is_some_and(is_cleared)) {
        command.env_remove(name);
    }
    // Set, even if empty: then the configuration files' flags do not count (cargo reference, `build.rustflags`).
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
}

/// Takes away what `cargo run` told this program about its own package.
///
/// Build scripts that ask to be run again when such a variable changes would else rebuild their crates at each change between
/// a person's cargo and this program's.
pub(crate) fn forget_this_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_this_package) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches user settings that break programs without a libc, and the removal of what a host needs.
    #[test]
    fn only_what_would_change_the_build_is_cleared() {
        for name in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUNNER",
            "CARGO_PROFILE_GUEST_LTO",
            "CARGO_MANIFEST_DIR",
            "RUSTC_WORKSPACE_WRAPPER",
            "OUT_DIR",
        ] {
            assert!(is_cleared(name), "{name}");
        }
        for name in [
            "PATH",
            "CARGO",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "RUSTC_WRAPPER",
            "CARGO_NET_OFFLINE",
            "CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER",
            "HTTPS_PROXY",
        ] {
            assert!(!is_cleared(name), "{name}");
        }
    }

    /// Catches flags of a configuration file that come back when the variable is only removed.
    #[test]
    fn flags_are_those_that_were_asked_for() {
        let mut command = Command::new("cargo");
        isolate(&mut command, [OsStr::new("RUSTFLAGS")].into_iter(), OsStr::new(""));
        let set: Vec<_> = command.as_std().get_envs().collect();
        assert_eq!(
            set,
            [(OsStr::new("CARGO_ENCODED_RUSTFLAGS"), Some(OsStr::new(""))), (OsStr::new("RUSTFLAGS"), None)]
        );
    }
}
