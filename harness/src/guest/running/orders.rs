//! What a running guest is told: its agents' orders, and the panic.

use super::Running;
use crate::cell::Trigger;
use crate::cmdline::reader_argv;
use crate::evidence::Timed;
use crate::guest::{GuestPlan, nonces};
use crate::phase::Phase;
use crate::qemu::CONSOLE;
use guest_protocol::{LoadOrder, Order, Planted, Read, ReaderOrder};
use qapi::Command;
use qapi::qmp::{self, KeyValue, QKeyCode, QKeyCodeWrapper};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The deadline of a loader, or of a reader, ends before the phase's, so that the agent can still report it.
const PROGRAM_SHARE: f64 = 0.75;
/// The socket takes an order at once; a rig that waits longer has a QEMU that does not run.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

impl Running {
    pub(super) fn load_order(&mut self, plan: &GuestPlan<'_>) -> LoadOrder {
        let (ram, crash) = match &self.facts {
            Some(facts) => (facts.system_ram.as_slice(), facts.crash_regions.as_slice()),
            None => (&[][..], &[][..]),
        };
        let plants = nonces::plants(ram, crash, nonces::draw);
        self.record.evidence.plants.clone_from(&plants);
        let log_line = nonces::log_line(nonces::draw);
        self.record.evidence.log_line.clone_from(&log_line);
        let limit = plan.deadlines.of(Phase::Loading).wall.as_secs_f64() * PROGRAM_SHARE;
        LoadOrder {
            plants,
            log_line,
            argv: plan.loader_argv.to_vec(),
            timeout_seconds: limit.max(1.0) as u32,
            circumstances: plan.cell.circumstances,
            arm_unloaded: false,
            sysrq: plan.cell.trigger.needs_sysrq(),
        }
    }

    /// The reads that look for each nonce where it was last seen, and for the pattern below 640 KiB.
    pub(super) fn reads(&self, planted: &[Planted]) -> Vec<Read> {
        let plants = &self.record.evidence.plants;
        let length = |id| plants.iter().find(|plant| plant.id == id).map_or(0, |plant| plant.bytes.0.len());
        let read = |address, length| Read { address, length: u32::try_from(length).unwrap_or(u32::MAX) };
        let low = self.record.evidence.changes.low_pattern.iter();
        planted
            .iter()
            .map(|planted| read(planted.address, length(planted.id)))
            .chain(low.map(|pattern| read(pattern.address, pattern.bytes.0.len())))
            .collect()
    }

    pub(super) async fn order(&mut self, order: Order) -> Result<(), String> {
        let mut line =
            serde_json::to_vec(&order).map_err(|error| format!("cannot write an order: {error}"))?;
        line.push(b'\n');
        self.record.orders.push(Timed { ms: self.now_ms(), what: order });
        match tokio::time::timeout(ORDER_PATIENCE, self.order_port.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot send an order to the agent: {error}")),
            Err(_) => Err(format!("QEMU did not take an order within {} s", ORDER_PATIENCE.as_secs())),
        }
    }

    pub(super) async fn trigger(&mut self, trigger: Trigger) -> Result<(), String> {
        self.record.evidence.console_at_trigger = Some(self.record.evidence.console.len());
        self.record.evidence.triggered_ms = Some(self.now_ms());
        // The replies say nothing about the guest; what follows on console and channel does.
        match trigger {
            Trigger::Nmi => self.pull(qmp::inject_nmi {}).await,
            Trigger::SysrqKey => {
                let keys = [QKeyCode::alt, QKeyCode::sysrq, QKeyCode::c];
                let keys = keys.map(|data| KeyValue::qcode(QKeyCodeWrapper { data })).to_vec();
                self.pull(qmp::send_key { hold_time: None, keys }).await
            }
            Trigger::SerialBreak => {
                // Into the port's queue before the byte, which the kernel then reads behind it.
                self.pull(qmp::chardev_send_break { id: CONSOLE.into() }).await?;
                self.type_on_console(trigger.typed().as_bytes()).await
            }
            Trigger::SysrqTrigger => self.order(Order::Panic { cpu: Trigger::SYSRQ_CPU }).await,
        }
    }

    async fn pull<C: Command>(&self, command: C) -> Result<(), String> {
        self.qmp.execute(command).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn type_on_console(&mut self, bytes: &[u8]) -> Result<(), String> {
        match tokio::time::timeout(ORDER_PATIENCE, self.keyboard.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot type on the guest's console: {error}")),
            Err(_) => Err(format!(
                "QEMU did not take what was typed on the console within {} s",
                ORDER_PATIENCE.as_secs()
            )),
        }
    }
}

/// The order to run the cell's reader, where it has one.
pub(crate) fn reader_order(plan: &GuestPlan<'_>) -> Option<ReaderOrder> {
    let limit = plan.deadlines.of(Phase::Reading).wall.as_secs_f64() * PROGRAM_SHARE;
    reader_argv(plan.cell).map(|argv| ReaderOrder { argv, timeout_seconds: limit.max(1.0) as u32 })
}
