//! The functions in which the CPUs of a guest stood, looked up in the kernels' images when the guest is gone.

use super::place;
use super::vmlinux::Vmlinux;
use crate::evidence::{Evidence, Symbol};
use guest_protocol::Side;
use std::sync::Arc;

/// The kernels in whose code a CPU stood: whose symbols are worth a look, which takes a second.
pub fn needs_symbols(evidence: &Evidence) -> bool {
    sides(evidence).iter().any(Option::is_some)
}

/// Looks up where the CPUs stood. `image` gives a kernel's image; it is asked only for kernels that ran there, and may have none.
pub fn resolve(evidence: &mut Evidence, mut image: impl FnMut(Side) -> Option<Arc<Vmlinux>>) {
    let sides = sides(evidence);
    let Some(examined) = &mut evidence.examined else { return };
    for (ip, side) in examined.ips.iter_mut().zip(sides) {
        let (Some(kernel), Some(code)) = (side, &ip.code) else { continue };
        let found = image(kernel).and_then(|image| image.locate(ip.address, code));
        ip.symbol =
            found.map(|found| Symbol { kernel, name: found.name, offset: found.offset, slide: found.slide });
    }
}

/// For each CPU the kernel that it stood in.
fn sides(evidence: &Evidence) -> Vec<Option<Side>> {
    let Some(examined) = &evidence.examined else { return Vec::new() };
    let cpus = examined.looks.last().map_or(&[][..], |look| &look.what);
    cpus.iter().zip(&examined.ips).map(|(cpu, ip)| place::kernel(evidence, cpu, ip)).collect()
}
