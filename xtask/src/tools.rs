//! Host tools: which are needed, which are missing, what installs them. The plan is pure; [`provide`] carries it out.

use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::output;
use crate::process::{self, RunError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::process::Command;

/// A program that the host must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Its name in PATH.
    pub(crate) program: &'static str,
    /// What it is needed for, to fit "{program}, which {purpose}".
    pub(crate) purpose: &'static str,
    /// The Debian packages that bring it, all that it needs included.
    pub(crate) packages: &'static [&'static str],
}

/// Runs the guests.
pub(crate) const QEMU: Tool = Tool {
    program: "qemu-system-x86_64",
    purpose: "runs the guests",
    // Its firmware, seabios, is a dependency of the package.
    packages: &["qemu-system-x86"],
};

/// Links. No 32-bit libraries are needed: what runs in guests links against none.
pub(crate) const CC: Tool = Tool {
    program: "cc",
    purpose: "links the programs that run in guests",
    // gcc only recommends the C library's start-up files.
    packages: &["gcc", "libc6-dev"],
};

/// Lists the workspace's files.
pub(crate) const GIT: Tool = Tool {
    program: "git",
    purpose: "lists the workspace's files, of which mutants are built in a copy, and has the histories that `bisect` goes through",
    packages: &["git"],
};

/// Verifies the archive's signatures.
pub(crate) const GPGV: Tool = Tool {
    program: "gpgv",
    purpose: "verifies the package archive's index where a locked version is gone",
    packages: &["gpgv", "debian-archive-keyring"],
};

/// Gives work to a Slurm cluster. `scancel`, `squeue` and `sinfo` are in the same package.
pub(crate) const SBATCH: Tool =
    Tool { program: "sbatch", purpose: "gives parts to a Slurm cluster", packages: &["slurm-client"] };

/// The daemons of a Slurm cluster, for a check against a real one.
pub(crate) const SLURM: [Tool; 4] = [
    Tool { program: "munged", purpose: "lets Slurm's daemons trust each other", packages: &["munge"] },
    Tool { program: "slurmctld", purpose: "is Slurm's controller", packages: &["slurmctld"] },
    Tool { program: "slurmd", purpose: "is Slurm on a node", packages: &["slurmd"] },
    SBATCH,
];

/// What can install packages here, and whether this user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installer {
    /// apt-get, as root.
    Apt,
    /// apt-get, through `sudo -n`, which works without a question.
    SudoApt,
    /// apt-get is there, but neither root nor sudo without a password.
    ForbiddenApt,
    /// No apt-get: not a Debian.
    Unknown,
}

/// The tools of `needed` that `is_there` does not know, in their order.
pub(crate) fn missing(needed: &[Tool], is_there: impl Fn(&str) -> bool) -> Vec<&Tool> {
    needed.iter().filter(|tool| !is_there(tool.program)).collect()
}

/// The packages of these tools, each once.
fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().flat_map(|tool| tool.packages).copied().collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// What tells the user about missing tools: each of them, and the command that installs all.
pub(crate) fn complaint(tools: &[&Tool], installer: Installer, may_install: bool) -> String {
    let mut text = match tools.len() {
        1 => "a host tool is missing:".to_owned(),
        count => format!("{count} host tools are missing:"),
    };
    for tool in tools {
        text.push_str(&format!("\n  {}, which {}", tool.program, tool.purpose));
    }
    let command = format!("apt-get install --no-install-recommends {}", packages(tools).join(" "));
    text.push_str(&match (installer, may_install) {
        (Installer::Apt, _) => format!("\ninstall with: {command}"),
        (Installer::SudoApt, _) => format!("\ninstall with: sudo {command}"),
        (Installer::ForbiddenApt, false) => format!("\ninstall as root with: {command}"),
        (Installer::ForbiddenApt, true) => {
            format!("\n--install needs root, or a sudo that asks no password; as root, run: {command}")
        }
        (Installer::Unknown, false) => format!("\non Debian: {command}"),
        (Installer::Unknown, true) => {
            format!("\n--install knows Debian's apt-get only, and there is none here; on Debian: {command}")
        }
    });
    if !may_install && matches!(installer, Installer::Apt | Installer::SudoApt) {
        text.push_str("\nor let this command do it: add --install");
    }
    text
}

/// The commands that install packages, in their order; `None` where this user cannot install.
pub(crate) fn install_commands(
    packages: &[&str],
    installer: Installer,
    lists_are_fresh: bool,
) -> Option<Vec<Vec<String>>> {
    let prefix: &[&str] = match installer {
        Installer::Apt => &["env"],
        Installer::SudoApt => &["sudo", "-n", "env"],
        Installer::ForbiddenApt | Installer::Unknown => return None,
    };
    // No question may ever be asked; another apt that holds the lock is waited for.
    let apt = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"];
    let command = |words: &[&str]| {
        prefix.iter().chain(&apt).chain(words).map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    let mut commands = vec![command(&install)];
    if !lists_are_fresh {
        commands.insert(0, command(&["update"]));
    }
    Some(commands)
}

/// Makes sure that all of `needed` is there: says what is missing, or with `install` installs it.
///
/// # Errors
/// [`Failure::Input`] with the complaint; nothing was run then.
pub(crate) async fn provide(needed: &[Tool], install: bool, interrupts: &Interrupts) -> Result<(), Failure> {
    let lacking = missing(needed, |program| find(program).is_some());
    if lacking.is_empty() {
        return Ok(());
    }
    let installer = detect_installer(interrupts).await?;
    let wanted = packages(&lacking);
    let refuse = |installer| Err(Failure::Input(anyhow::anyhow!(complaint(&lacking, installer, install))));
    if !install {
        return refuse(installer);
    }
    let fresh = lists_are_fresh(Path::new("/var/lib/apt/lists"), SystemTime::now());
    let Some(commands) = install_commands(&wanted, installer, fresh) else {
        return refuse(installer);
    };
    output::note(format_args!("Installing {}", wanted.join(", ")));
    if let Err(error) = run_all(&commands, interrupts).await {
        // Lists that look fresh may still name versions that the mirror has dropped.
        let retry = install_commands(&wanted, installer, false).filter(|_| fresh);
        match (error, retry) {
            (RunError::Interrupted, _) => return Err(Failure::Interrupted),
            (_, Some(commands)) => run_all(&commands, interrupts).await.map_err(not_installed)?,
            (error, None) => return Err(not_installed(error)),
        }
    }
    match missing(needed, |program| find(program).is_some()).as_slice() {
        [] => Ok(()),
        still => Err(Failure::Input(anyhow::anyhow!(
            "installed {}, and yet: {}",
            wanted.join(", "),
            complaint(still, installer, true)
        ))),
    }
}

fn not_installed(error: RunError) -> Failure {
    match error {
        RunError::Interrupted => Failure::Interrupted,
        error => Failure::Input(anyhow::Error::new(error).context("cannot install host tools")),
    }
}

async fn run_all(commands: &[Vec<String>], interrupts: &Interrupts) -> Result<(), RunError> {
    for words in commands {
        let mut command = Command::new(&words[0]);
        // apt's chatter is not this program's result.
        command.args(&words[1..]).stdout(std::io::stderr());
        process::run(&mut command, None, interrupts).await?;
    }
    Ok(())
}

/// How old apt's lists may be before they are fetched again.
const LISTS_AGE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether apt has indexes that were fetched lately.
fn lists_are_fresh(lists: &Path, now: SystemTime) -> bool {
    let Ok(entries) = std::fs::read_dir(lists) else { return false };
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("_Packages")).any(|_| {
        // The files keep the archive's times; the folder's own time is that of the last update.
        std::fs::metadata(lists)
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age < LISTS_AGE_LIMIT))
    })
}

async fn detect_installer(interrupts: &Interrupts) -> Result<Installer, Failure> {
    if find("apt-get").is_none() {
        return Ok(Installer::Unknown);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(Installer::Apt);
    }
    if find("sudo").is_none() {
        return Ok(Installer::ForbiddenApt);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stderr(std::process::Stdio::null());
    match process::run(&mut sudo, Some(Duration::from_secs(10)), interrupts).await {
        Ok(()) => Ok(Installer::SudoApt),
        Err(RunError::Interrupted) => Err(Failure::Interrupted),
        Err(_) => Ok(Installer::ForbiddenApt),
    }
}

/// Where a program is, by PATH and the two folders of system programs that an ordinary user's PATH may lack.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate))
}

/// Whether this is a file that somebody may execute.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    // Any of the three execute bits (S_IXUSR | S_IXGRP | S_IXOTH).
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A component of the Rust toolchain, told by the cargo subcommand that it brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    /// The subcommand, such as `fmt`.
    pub(crate) subcommand: &'static str,
    /// rustup's name for it, such as `rustfmt`.
    pub(crate) name: &'static str,
}

/// Makes sure that the toolchain has these components; with `install` asks rustup for what is missing.
///
/// # Errors
/// [`Failure::Input`], which names the command.
pub(crate) async fn provide_components(
    needed: &[Component],
    install: bool,
    interrupts: &Interrupts,
) -> Result<(), Failure> {
    let mut lacking = Vec::new();
    for component in needed {
        let mut probe = Command::new(cargo());
        probe.args([component.subcommand, "--version"]);
        probe.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        match process::run(&mut probe, Some(Duration::from_secs(60)), interrupts).await {
            Ok(()) => {}
            Err(RunError::Interrupted) => return Err(Failure::Interrupted),
            Err(_) => lacking.push(component.name),
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let command = format!("rustup component add {}", lacking.join(" "));
    if !install || find("rustup").is_none() {
        return Err(Failure::Input(anyhow::anyhow!(
            "the Rust toolchain lacks {}; install with: {command}{}",
            lacking.join(" and "),
            if install { "" } else { " (or add --install)" }
        )));
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add"]).args(&lacking);
    match process::run(&mut add, Some(RUSTUP_LIMIT), interrupts).await {
        Err(RunError::Interrupted) => Err(Failure::Interrupted),
        ended => ended.or_input(),
    }
}

/// How long rustup may take for a download. Without a network it may hang instead of failing.
pub(crate) const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// The cargo that runs this program, so that children use the same toolchain.
pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests;
