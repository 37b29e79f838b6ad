//! Whether an accelerator runs a kernel at all, and how soon: a boot up to the banner of the kernel proper.
//!
//! Everything short of it has been seen to mislead: that /dev/kvm opens, that a machine can be created, that firmware runs,
//! that the kernel's decompressor begins. It speaks before it decompresses, and there a KVM that hardly runs gets stuck.

use super::{GuestPlan, Stopped};
use crate::evidence::GuestEnd;
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::time::Duration;

/// Starts the guest and waits for its kernel's banner on the console, for at most `limit`. The guest is ended.
/// Gives the time that it took, or what was seen in its place.
pub async fn time_to_banner(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    mut stop: Stop,
    limit: Duration,
) -> Result<Duration, String> {
    let cause = |end: Option<GuestEnd>| match end {
        Some(GuestEnd::Trouble { what }) => what,
        other => format!("the guest ended early ({other:?})"),
    };
    let stopped = match Stopped::start(&plan, &scratch, &mut stop).await {
        Ok(stopped) => stopped,
        Err(reaped) => return Err(cause(reaped.evidence.end)),
    };
    let mut running = match stopped.cont(plan.origin, &mut |_| {}).await {
        Ok(running) => running,
        Err(reaped) => return Err(cause(reaped.evidence.end)),
    };
    let spoke = tokio::time::timeout(limit, running.banner()).await;
    let reaped = running.reap(GuestEnd::Concluded).await;
    if let Some(leaked) = reaped.leaked {
        return Err(leaked);
    }
    match spoke {
        Ok(Some(after)) => Ok(after),
        Ok(None) => Err(format!("QEMU ended before the kernel spoke: {}", reaped.stderr.trim())),
        Err(_) => Err(format!("a kernel did not get to its banner within {} s", limit.as_secs())),
    }
}
