//! Asks QEMU for its version: the first thing of a run, so that a missing QEMU is told before anything else.

use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Oldest QEMU that knows all that the rig passes: `reserve=` of memory backends came with 6.1, `-action` with 6.0.
const OLDEST: (u32, u32) = (6, 1);

/// `qemu --version` prints and ends; a wrapper that waits for something is no QEMU.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why QEMU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QemuVersionError {
    /// It cannot be started.
    #[error("cannot run {program:?} --version: {why}; install qemu-system-x86 or name one with --qemu PATH")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// It says something else than a version.
    #[error(
        "{program:?} --version printed {found:?}, which is no version of QEMU; name another with --qemu PATH"
    )]
    NotQemu {
        /// The program.
        program: String,
        /// Its first line.
        found: String,
    },
    /// It lacks options that the rig needs.
    #[error("{program:?} is version {found}; the rig needs {}.{} or later", OLDEST.0, OLDEST.1)]
    TooOld {
        /// The program.
        program: String,
        /// Its version.
        found: String,
    },
}

/// The version text of a QEMU, such as `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
pub async fn qemu_version(qemu: &Path) -> Result<String, QemuVersionError> {
    let program = qemu.display().to_string();
    let not_started = |why: String| QemuVersionError::NotStarted { program: program.clone(), why };
    let mut command = Command::new(qemu);
    command.arg("--version").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(not_started(error.to_string())),
        Err(_) => return Err(not_started(format!("it did not end within {} s", PATIENCE.as_secs()))),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or("").trim();
    match parse(line) {
        None => Err(QemuVersionError::NotQemu { program, found: line.to_owned() }),
        Some((found, numbers)) if numbers < OLDEST => {
            Err(QemuVersionError::TooOld { program, found: found.to_owned() })
        }
        Some((found, _)) => Ok(found.to_owned()),
    }
}

/// Text and first two numbers of a version line.
fn parse(line: &str) -> Option<(&str, (u32, u32))> {
    let text = line.strip_prefix("QEMU emulator version ")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((text, (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: 10.0 is compared as text and counts as older than 6.1; a stranger's output counts as a version.
    #[test]
    fn version_lines() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
        assert_eq!(parse(debian), Some(("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", (7, 2))));
        assert!(parse("QEMU emulator version 10.0.2").is_some_and(|(_, numbers)| numbers > OLDEST));
        assert_eq!(parse("echo 8.32"), None);
        assert_eq!(parse(""), None);
    }
}
