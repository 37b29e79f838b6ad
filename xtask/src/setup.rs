//! Makes the host ready for a verb, before anything is fetched or run: host tools, parts of the Rust toolchain, and a toolchain
//! that can build for i686.

use crate::build::{self, DebianRust, Toolchain};
use crate::cli::HostArgs;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::tools::{self, Component, Tool};

/// What a verb needs of the host.
#[derive(Clone, Debug)]
pub(crate) struct Needs<'a> {
    pub(crate) tools: Vec<Tool>,
    pub(crate) components: &'a [Component],
}

/// Says all that is missing at once, or with `--install` provides it. Returns the toolchain for the i386 programs.
///
/// # Errors
/// [`Failure::Input`]: each missing thing with the command that installs it. Nothing was run then.
pub(crate) async fn provide(
    needs: &Needs<'_>,
    host: HostArgs,
    debian: &impl DebianRust,
    interrupts: &Interrupts,
) -> Result<Toolchain, Failure> {
    let mut complaints = Vec::new();
    for provided in [
        tools::provide(&needs.tools, host.install, interrupts).await,
        tools::provide_components(needs.components, host.install, interrupts).await,
    ] {
        match provided {
            Ok(()) => {}
            Err(Failure::Input(complaint)) => complaints.push(format!("{complaint:#}")),
            Err(other) => return Err(other),
        }
    }
    complaints.extend(build::i686_complaint(host, debian).await);
    if !complaints.is_empty() {
        return Err(Failure::Input(anyhow::anyhow!(complaints.join("\n"))));
    }
    build::provide_i686(host, debian, interrupts).await
}
