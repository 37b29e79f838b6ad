//! Whether an accelerator runs a kernel at all, and how soon: a boot up to the banner of the kernel proper.
//!
//! Everything short of it has been seen to mislead: that /dev/kvm opens, that a machine can be created, that firmware runs,
//! that the kernel's decompressor begins. It speaks before it decompresses, and there a KVM that hardly runs gets stuck.

use super::{GuestPlan, Stopped};
use crate::evidence::GuestEnd;
use crate::patience::{Limit, Looked, Patience};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::time::Duration;

/// Why a kernel was not seen to speak.
#[derive(Debug)]
pub enum NoBanner {
    /// It did not, in its time; or QEMU ended before. What was seen.
    Silent(String),
    /// A process is left.
    Leaked(String),
}

/// Starts the guest and waits for its kernel's banner on the console, for at most `limit`. The guest is ended.
/// Gives the time that it took, or what was seen in its place.
pub async fn time_to_banner(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    mut stop: Stop,
    limit: Limit,
) -> Result<Duration, NoBanner> {
    let started = match Stopped::start(&plan, &scratch, &mut stop).await {
        Ok(stopped) => stopped.cont(plan.origin, &mut |_| {}).await,
        Err(reaped) => Err(reaped),
    };
    let mut running = match started {
        Ok(running) => running,
        Err(reaped) => {
            let seen = match reaped.evidence.end {
                Some(GuestEnd::Trouble { what }) => what,
                other => format!("the guest ended early ({other:?})"),
            };
            return Err(reaped.leaked.map_or(NoBanner::Silent(seen), NoBanner::Leaked));
        }
    };
    let mut patience = Patience::begin(running.pid());
    let spoke = loop {
        tokio::select! {
            spoke = running.banner() => break Some(spoke),
            () = tokio::time::sleep_until(patience.until(limit)) => match patience.look(limit) {
                Looked::Moved => {}
                Looked::Spent | Looked::Starved => break None,
            }
        }
    };
    let reaped = running.reap(GuestEnd::Concluded).await;
    if let Some(leaked) = reaped.leaked {
        return Err(NoBanner::Leaked(leaked));
    }
    match spoke {
        Some(Some(after)) => Ok(after),
        Some(None) => {
            Err(NoBanner::Silent(format!("QEMU ended before the kernel spoke: {}", reaped.stderr.trim())))
        }
        None => Err(NoBanner::Silent(format!(
            "a kernel did not get to its banner within {:.0} s",
            patience.passed().as_secs_f64()
        ))),
    }
}
