//! What goes wrong, done by the guest that is played.

use super::{Deed, Guest, Moment, REPEATED};
use anyhow::Context;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Whether the guest does what it would do at this moment.
#[derive(PartialEq)]
pub(super) enum Then {
    GoOn,
    Nothing,
}

/// Takes the fault for this guest, unless another has had it: it comes once, however many guests the cell has, and however close together
/// they come to its moment.
pub(super) fn claim(reached: &Path) -> anyhow::Result<bool> {
    let path = reached.with_extension("claimed");
    match File::create_new(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot create {}", path.display()))),
    }
}

impl Guest {
    /// The moment has come: if the fault belongs to it, it happens now.
    pub(super) fn at(&mut self, moment: Moment) -> anyhow::Result<Then> {
        let Some((_, deed)) = self.fault.filter(|(at, _)| *at == moment) else { return Ok(Then::GoOn) };
        if !claim(&self.reached)? {
            return Ok(Then::GoOn);
        }
        let reached = |path: &Path| {
            std::fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))
        };
        // What stops this process must be told before; what takes its time, after.
        match deed {
            Deed::Die => {
                reached(&self.reached)?;
                kill_process(getpid(), Signal::KILL)?;
            }
            Deed::Freeze => {
                reached(&self.reached)?;
                kill_process(getpid(), Signal::STOP)?;
            }
            Deed::RefuseArguments | Deed::Wait => {
                reached(&self.reached)?;
                return Ok(Then::Nothing);
            }
            Deed::Dawdle => std::thread::sleep(Duration::from_millis(500)),
            Deed::Pause => {
                reached(&self.reached)?;
                while self.reached.exists() {
                    // Another process's file gives no event; a guest is in no hurry.
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(Then::GoOn);
            }
            Deed::StandStill(status) => {
                self.stands = Some(status);
                self.say(&json!({"event": "STOP"}))?;
                reached(&self.reached)?;
                return Ok(Then::Nothing);
            }
            Deed::CloseQmp => self.qmp.shutdown(std::net::Shutdown::Both)?,
            Deed::SayOnQmp(lines) => {
                for line in lines {
                    self.qmp.write_all(format!("{line}\r\n").as_bytes())?;
                }
            }
            Deed::NoReply => self.replies = false,
            Deed::FloodOfEvents(count) => {
                let line = format!(
                    "{}\r\n",
                    json!({"event": "RTC_CHANGE", "data": {"offset": 1, "qom-path": "x".repeat(100)}})
                );
                let many = line.repeat(1000);
                for _ in 0..count.div_ceil(1000) {
                    self.qmp.write_all(many.as_bytes())?;
                }
            }
            Deed::FloodOfConsole(mib) => {
                let many = REPEATED.repeat((1 << 20) / REPEATED.len());
                for _ in 0..mib {
                    self.print(&many)?;
                }
            }
            Deed::EndlessConsole => {
                let mut console = self.console.try_clone()?;
                let many = REPEATED.repeat(1000);
                // Beside QMP, as in QEMU, until the rig ends this process.
                std::thread::spawn(move || while console.write_all(&many).is_ok() {});
                reached(&self.reached)?;
                return Ok(Then::Nothing);
            }
            Deed::FloodOfChannel(mib) => {
                let line = format!("{{\"seq\": no message at all {}\n", "x".repeat(2000));
                let many = line.repeat((1 << 20) / line.len()).into_bytes();
                for _ in 0..mib {
                    self.write_channel(&many)?;
                }
            }
            Deed::SayOnConsole(bytes) => self.print(bytes)?,
            Deed::LastOnConsole(bytes) => {
                self.print(bytes)?;
                reached(&self.reached)?;
                return Ok(Then::Nothing);
            }
            Deed::MuteConsole => self.mute = true,
            Deed::SayOnChannel(bytes) => self.write_channel(bytes)?,
            Deed::LastOnChannel(bytes) => {
                self.write_channel(bytes)?;
                reached(&self.reached)?;
                return Ok(Then::Nothing);
            }
            Deed::HalfMessage | Deed::SayTwice => self.next_message = Some(deed),
            Deed::ForeignVerdict => {
                let foreign = self.recorded.reports.get(4).map(|report| report.what.clone());
                self.send(&foreign.context("the recording has no such message")?)?;
                self.extra += 1;
            }
            Deed::FillDisk => fill(&self.report_folder)?,
        }
        reached(&self.reached)?;
        Ok(Then::GoOn)
    }
}

/// Most that is written to fill a disk. The campaign's has room for less; any other is not to be filled.
const MAX_FILLER: usize = 64 << 20;

/// Writes a file into the folder until the disk has no room for one more byte.
fn fill(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("filler");
    let mut file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut piece = vec![0; 1 << 20];
    let mut written = 0;
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => return Err(anyhow::Error::new(error).context("cannot fill the disk")),
        }
        if written > MAX_FILLER {
            std::fs::remove_file(&path)?;
            anyhow::bail!("{} is on no disk that the campaign made", folder.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a fault that comes to two guests which are at its moment at the same time, or to none.
    #[test]
    fn a_fault_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let reached = folder.path().join("reached");
        let claims: Vec<bool> = std::thread::scope(|scope| {
            let guests: Vec<_> = (0..8).map(|_| scope.spawn(|| claim(&reached).unwrap())).collect();
            guests.into_iter().map(|guest| guest.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
        assert!(!reached.exists());
    }
}
