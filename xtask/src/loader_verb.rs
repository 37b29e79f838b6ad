//! `cargo xtask build-loader`: the loader for both architectures, put where people find it.

use crate::build::{self, Program};
use crate::cli::BuildLoaderArgs;
use crate::exit::{Exit, Failure, OrFail};
use crate::setup::{self, Needs};
use crate::tools::CC;
use crate::{Host, output, store};
use anyhow::Context;
use guest_protocol::Arch;

pub(crate) async fn run(args: &BuildLoaderArgs, host: &Host) -> Result<Exit, Failure> {
    let needs = Needs { tools: vec![CC], components: &[] };
    let store = store::open(&args.store)?;
    let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
    let built = build::build(&host.repo, &[Program::Loader], &i686, &host.interrupts).await?;
    let folder = args.out.clone().unwrap_or_else(|| host.repo.target().join("loader"));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
        .or_input()?;
    for arch in [Arch::I386, Arch::X86_64] {
        let Some(from) = built.path(Program::Loader, arch) else { continue };
        let to = folder.join(format!("kexec-load.{arch}"));
        let size = std::fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
            .or_input()?;
        output::line(format_args!("{} ({size} bytes)", to.display()));
    }
    Ok(Exit::AsExpected)
}
