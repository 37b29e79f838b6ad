//! Decides between KVM and TCG by running a kernel, never by what the host claims.

use crate::accel::{Accel, AccelChoice};
use crate::cell::Cell;
use crate::guest::{Deadlines, GuestPlan, Inquiry, Origin, time_to_banner};
use crate::scratch::Scratch;
use crate::stop::Stop;
use std::path::Path;
use std::time::Duration;

/// A kernel gets to its banner within a second under a working KVM. One that needs longer than this is slower than under TCG.
const LIMIT: Duration = Duration::from_secs(5);

/// Words of the probe's kernel: its banner must get to the console early. What would follow does not matter, the guest is ended.
const CMDLINE: &str = "console=ttyS0,115200 earlyprintk=ttyS0,115200";

/// The accelerator, with a sentence for people where it was a decision. `kernel` and `initramfs` are what is booted.
pub(super) async fn choose(
    choice: AccelChoice,
    cell: &Cell,
    qemu: &Path,
    kernel: &Path,
    initramfs: &Path,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<(Accel, Option<String>), String> {
    if choice == AccelChoice::Tcg {
        return Ok((Accel::Tcg, None));
    }
    let probed = match openable() {
        Ok(()) => {
            let guest =
                scratch.guest().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
            let console_log = guest.path("console.log");
            let plan = GuestPlan {
                cell,
                qemu,
                accel: Accel::Kvm,
                origin: Origin::PowerOn,
                kernel,
                initramfs,
                cmdline: CMDLINE,
                loader_argv: &[],
                deadlines: &Deadlines::default(),
                console_log: &console_log,
                inquiry: Inquiry::default(),
            };
            time_to_banner(plan, guest, stop.clone(), LIMIT).await
        }
        Err(why) => Err(why),
    };
    match (choice, probed) {
        (AccelChoice::Auto, Ok(after)) => {
            Ok((Accel::Kvm, Some(format!("KVM: a kernel spoke after {:.1} s", after.as_secs_f64()))))
        }
        (AccelChoice::Auto, Err(why)) => {
            Ok((Accel::Tcg, Some(format!("TCG, for KVM does not work here: {why}"))))
        }
        (_, Ok(_)) => Ok((Accel::Kvm, None)),
        (_, Err(why)) => Err(format!("KVM was asked for and does not work here: {why}; use --accel tcg")),
    }
}

fn openable() -> Result<(), String> {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| format!("cannot open /dev/kvm: {error}"))
}
