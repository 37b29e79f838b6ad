//! Changes a running guest's memory from outside, through QEMU's gdb stub, as the cell has it.

use super::Running;
use crate::cell::LowMemory;
use crate::evidence::{LowPattern, Tampered};
use crate::gdb::{Attached, GdbError};
use crate::guest::GuestPlan;
use crate::guest::changes::{self, Bit};
use crate::guest::nonces;
use crate::triage::SegmentMap;
use guest_protocol::HexBytes;

impl Running {
    /// Does what the cell wants done to the memory of the first kernel before it panics, which is nothing for most. The machine
    /// stands still meanwhile.
    ///
    /// # Errors
    /// What the rig could not do.
    pub(super) async fn change_memory(&mut self, plan: &GuestPlan<'_>) -> Result<(), String> {
        let cell = plan.cell;
        let segments = SegmentMap::of(&self.record.evidence);
        let bit = changes::bit(cell.tamper, &segments, nonces::draw)?;
        let low = match cell.low_memory {
            LowMemory::Untouched => None,
            LowMemory::Planted => {
                let ram = self.facts.as_ref().map_or(&[][..], |facts| facts.system_ram.as_slice());
                let mut bytes = vec![0; changes::PAGE as usize];
                nonces::draw(&mut bytes);
                let address = changes::low_page(ram, nonces::draw)?;
                Some(LowPattern { address, bytes: HexBytes(bytes) })
            }
        };
        if bit.is_none() && low.is_none() {
            return Ok(());
        }
        let changed = self.change(plan, bit, low).await;
        changed.map_err(|error| format!("cannot change the guest's memory: {error}"))
    }

    async fn change(
        &mut self,
        plan: &GuestPlan<'_>,
        bit: Option<Bit>,
        low: Option<LowPattern>,
    ) -> Result<(), GdbError> {
        let mut gdb = Attached::attach(&self.qmp, &self.gdb_socket, plan.deadlines.command()).await?;
        if let Some(Bit { segment, loaded, address, mask }) = bit {
            let before = gdb.read(address, 1).await?;
            let after: Vec<u8> = before.iter().map(|byte| byte ^ mask).collect();
            gdb.write(address, &after).await?;
            self.record.notes.push(format!(
                "the rig changed the byte at {address:#x} of the loaded {segment} from {} to {}; repro.sh does not",
                HexBytes(before.clone()),
                HexBytes(after.clone())
            ));
            self.record.evidence.changes.tampered =
                Some(Tampered { segment, loaded, address, before: before[0], after: after[0] });
        }
        if let Some(pattern) = low {
            gdb.write(pattern.address, &pattern.bytes.0).await?;
            self.record.notes.push(format!(
                "the rig wrote a pattern to the page at {:#x}; repro.sh does not",
                pattern.address
            ));
            self.record.evidence.changes.low_pattern = Some(pattern);
        }
        gdb.detach(&self.qmp).await
    }
}
