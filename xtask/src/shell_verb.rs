//! `cargo xtask shell`: a cell's guest for a person to look around in.

use crate::cli::{AccelArg, E2eArgs, GuestsArgs, ShellArgs};
use crate::e2e::{plan, ready};
use crate::exit::{Exit, Failure, OrFail};
use crate::setup::{self, Needs};
use crate::store::{self, Shared};
use crate::{Host, e2e, output};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::accel::Accel;
use harness::artifacts::capture_userspace;
use harness::cell::Cell;
use harness::shell::{GDB_SOCKET, Gdb, In, Shell};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) async fn run(args: &ShellArgs, host: &Host) -> Result<Exit, Failure> {
    // A closed one is /dev/null by now: the standard library opens it.
    let nobody_types =
        std::fs::read_link("/proc/self/fd/0").is_ok_and(|stdin| stdin == Path::new("/dev/null"));
    if nobody_types && args.command.is_none() && !args.gdb {
        return Err(Failure::Input(anyhow!(
            "standard input is closed or /dev/null, and a shell that nobody types into never ends; --command TEXT runs a command \
             in the guest and ends with its status"
        )));
    }
    let script = prepare(args, host).await?;
    // The script has the terminal from here on, and signals go to it.
    let failed = Command::new("sh").arg(&script).exec();
    Err(Failure::Rig(anyhow::Error::new(failed).context(format!("cannot run sh {}", script.display()))))
}

/// Writes the script that opens the shell, with all that it needs, and says what comes.
pub(crate) async fn prepare(args: &ShellArgs, host: &Host) -> Result<PathBuf, Failure> {
    let e2e_args = e2e_args(args);
    let mut plan = plan::make(&e2e_args, &host.repo)?;
    plan.cells.retain(|cell| cell.id.0 == args.id);
    let Some(cell) = plan.cells.first() else {
        let suites = args.suites.join(" ");
        return Err(Failure::Input(anyhow!(
            "no cell {} among those of {suites}; `cargo xtask e2e {suites} --list` shows them",
            args.id
        )));
    };
    let needs = Needs { tools: e2e::needed_tools(&e2e_args)?, components: &[] };
    let store = store::open(&args.store)?;
    let i686 = setup::provide(&needs, args.host, &store, &host.interrupts).await?;
    let artifacts = ready::artifacts(&plan.cells, store.clone(), &i686, host).await?;
    let busybox = busybox(&store, cell.userspace, host).await?;
    let capture_busybox = busybox_for_capture(&store, cell, host).await?;
    let qemu = e2e::options(&e2e_args, host).qemu;
    let shell = Shell {
        cell,
        artifacts: &artifacts,
        qemu: &qemu,
        accel: match args.accel {
            AccelArg::Auto | AccelArg::Tcg => Accel::Tcg,
            AccelArg::Kvm => Accel::Kvm,
        },
        kernel: if args.capture { In::Capture } else { In::First },
        busybox: &busybox,
        capture_busybox: &capture_busybox,
        command: args.command.as_deref(),
        gdb: match (args.gdb, args.wait) {
            (false, _) => Gdb::Off,
            (true, false) => Gdb::On,
            (true, true) => Gdb::Wait,
        },
    };
    let folder = prepared(host.repo.shells().join(&args.id)).or_rig()?;
    let script = shell.write(&folder).or_rig()?;
    announce(&shell, &folder);
    Ok(script)
}

/// The arguments by which `e2e` would find the cell.
fn e2e_args(args: &ShellArgs) -> E2eArgs {
    E2eArgs {
        loader: args.loader.clone(),
        kernel: args.kernel.clone(),
        guests: GuestsArgs { qemu: args.qemu.clone(), ..GuestsArgs::default() },
        ..E2eArgs::of_suites(args.suites.clone(), args.host, args.store.clone())
    }
}

async fn busybox_for_capture(store: &Shared, cell: &Cell, host: &Host) -> Result<Vec<u8>, Failure> {
    busybox(store, capture_userspace(cell), host).await
}

async fn busybox(store: &Shared, arch: Arch, host: &Host) -> Result<Vec<u8>, Failure> {
    let shared = store.clone();
    let fetched = store::unless_interrupted(&host.interrupts, move || shared.inner().busybox(arch)).await?;
    let busybox = fetched.map_err(store::failure_of)?;
    busybox.notice.iter().for_each(output::note);
    let path = busybox.program;
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())).or_rig()
}

/// The guest's folder, for this user alone: whoever reaches a debugger's socket in it has the guest.
fn prepared(folder: PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot make {} private", folder.display()))?;
    Ok(folder)
}

/// Says what comes and how to leave it, before the guest has the terminal.
fn announce(shell: &Shell<'_>, folder: &Path) {
    let kernel = match shell.kernel {
        In::First => "first",
        In::Capture => "capture",
    };
    output::note(format_args!(
        "a shell in the {kernel} kernel of {}; Ctrl-A x ends it at any time",
        shell.cell.id
    ));
    output::note(format_args!("again, without cargo: sh {}", folder.join("shell.sh").display()));
    if shell.gdb != Gdb::Off {
        output::note(format_args!(
            "debugger: cd {} && gdb -ex 'target remote {GDB_SOCKET}'",
            folder.display()
        ));
    }
    if shell.gdb == Gdb::Wait {
        output::note("the machine waits before its first instruction: `continue` in gdb starts it");
    }
}
