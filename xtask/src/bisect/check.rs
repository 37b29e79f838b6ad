//! What `cargo xtask test` tries of bisections: steps from an installed folder, with no network and no cache but its own, to each verdict
//! that git knows. The rest of it builds many revisions and takes many minutes: xtask/tests/bisect.rs.

use super::install;
use super::tester::programs_folder;
use crate::Host;
use crate::cli::{HostArgs, InstallArgs, StoreArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::output;
use crate::process::{self, RunError};
use anyhow::{Context, anyhow};
use std::time::Duration;
use tokio::process::Command;

/// A cell of `smoke` that the loader refuses: a second or two.
const CELL: &str = "5.10-amd64.i386.in-tree.5.10-686-pae.256M@1968M.pc-4g";
/// The longest that a step may take, many times what it needs.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Installs, and does a step to each verdict.
///
/// # Errors
/// [`Failure::Check`]: a step ended with another status than it should. Else as an installation has them.
pub(crate) async fn check(host_args: HostArgs, store: &StoreArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = host.repo.root().join("target/bisect/test");
    let args = InstallArgs {
        folder: folder.clone(),
        suite: vec!["smoke".to_owned()],
        host: host_args,
        store: store.clone(),
    };
    install::run(&args, host).await?;
    let temp = tempfile::tempdir().context("cannot make a temporary folder").or_rig()?;
    let loader = programs_folder(&folder).join("kexec-load.{arch}");
    for (expected, words) in [
        (0, &[] as &[&str]),
        // What was seen is not asked for again, so that a guest is bad as well.
        (1, &["--bad-is", "refused", "--again"]),
        (125, &["--build", "exit 1"]),
    ] {
        let mut step = Command::new(folder.join(install::LAUNCHER));
        step.args(["step", "--offline", "--checkout"]).arg(temp.path()).arg("--loader").arg(&loader);
        step.args(words).arg("--cache").arg(temp.path().join("bisect")).arg(CELL);
        step.env("XDG_CACHE_HOME", temp.path().join("empty"));
        let status = match process::run(&mut step, Some(LIMIT), &host.interrupts).await {
            Ok(()) => Some(0),
            Err(RunError::Failed { status, .. }) => status.code(),
            Err(error) => return Err(error.into_check()),
        };
        if status != Some(expected) {
            return Err(Failure::Check(anyhow!(
                "`{}` ended with {status:?}, not with {expected}",
                process::show(step.as_std())
            )));
        }
    }
    output::line("a step was good, one bad, and one could not be tested, as they should");
    Ok(Exit::AsExpected)
}
