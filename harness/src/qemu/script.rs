//! The script in a cell's evidence folder that starts the same guest by hand, `repro.sh`: what is the cell's own, as variables
//! and functions of the shell, followed by files of the folder `script`, which are the same for every cell. Pure.

use crate::cell::Trigger;
use guest_protocol::{Order, ReaderOrder};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Starts a guest with its ports on pipes.
const GUEST: &str = include_str!("script/guest.sh");
/// Walks a cell.
const REPRO: &str = include_str!("script/repro.sh");
/// Leads to a person's shell.
const SHELL: &str = include_str!("script/shell.sh");

/// What a script is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To see a cell's end again.
    Repro {
        /// The reader that the capture kernel's agent is to run.
        reader: Option<ReaderOrder>,
        /// Length of each planted value, in bytes.
        value_bytes: usize,
        /// How long the agents may be silent before the script gives the guest up.
        silence: Duration,
    },
    /// For a person to look around.
    Shell,
    /// To run a command in the guest, in place of a person, and end with its status.
    Command {
        /// How long the guest may go without a word of its agents', and without an end, before the script gives it up. None:
        /// somebody with a debugger holds it.
        limit: Option<Duration>,
    },
}

/// How the line begins by which a guest's init says the status of the command that it ran.
pub(crate) const STATUS_LINE: &str = "kdump-rig: the command ended with status";

impl Purpose {
    /// Name of the script, with `.sh`, and of the folder that it works in, beside itself.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Repro { .. } => "repro",
            Self::Shell | Self::Command { .. } => "shell",
        }
    }
}

/// A guest that is started by hand.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// What for.
    pub purpose: &'a Purpose,
    /// QEMU.
    pub qemu: &'a Path,
    /// The first kernel's image, as the arguments name it.
    pub kernel: &'a Path,
    /// The archives that its initramfs is made of, in order.
    pub parts: &'a [PathBuf],
    /// QEMU's arguments, wired [by hand](super::Wiring::ByHand).
    pub args: &'a [OsString],
    /// Those that the rig gave, for a comment.
    pub args_of_rig: Option<&'a [OsString]>,
    /// What panics the first kernel.
    pub trigger: Trigger,
}

impl Script<'_> {
    /// The script's text.
    pub fn text(&self) -> Vec<u8> {
        let mut text =
            b"#!/bin/sh\n# Starts a guest of kdump-rig again, by itself: it needs a POSIX shell and QEMU.\n"
                .to_vec();
        if let Some(args) = self.args_of_rig {
            let mut command = Vec::new();
            push_command(&mut command, &quoted(self.qemu.as_os_str()), args, b" ");
            text.extend(b"# The rig's own command line, with its sockets:");
            // A path may hold a newline, which would end the comment.
            for line in command.split(|byte| *byte == b'\n') {
                text.extend(b"\n#   ");
                text.extend(line);
            }
            text.push(b'\n');
        }
        text.extend(b"set -eu\n\n");
        assign(&mut text, "name", self.purpose.name());
        assign(&mut text, "qemu", self.qemu);
        text.extend(b"qemu=${QEMU:-$qemu}\n");
        assign(&mut text, "kernel", self.kernel);
        assign(&mut text, "trigger", self.trigger.monitor_command());
        assign(&mut text, "typed", self.trigger.typed());
        let by_agent = match self.trigger {
            Trigger::SysrqTrigger => json(&Order::Panic { cpu: Trigger::SYSRQ_CPU }),
            Trigger::Nmi | Trigger::SysrqKey | Trigger::SerialBreak => String::new(),
        };
        assign(&mut text, "panic_order", by_agent);
        assign(&mut text, "power_off", json(&Order::PowerOff));
        text.extend(b"initramfs() {\n    cat");
        for part in self.parts {
            text.extend(b" \\\n        ");
            text.extend(quoted(part.as_os_str()));
        }
        text.extend(b"\n}\nrun_qemu() {\n    become ");
        push_command(&mut text, b"\"$qemu\"", self.args, b" \\\n        ");
        text.extend(b" \\\n        \"$@\"\n}\n");
        match self.purpose {
            Purpose::Repro { reader, value_bytes, silence } => {
                // The shell puts the reads in between, when an agent has said where the values lie.
                let read = json(&Order::Read { reads: Vec::new(), reader: reader.clone() });
                let (head, tail) = read.split_once("[]").unwrap_or((&read, ""));
                assign(&mut text, "read_head", format!("{head}["));
                assign(&mut text, "read_tail", format!("]{tail}"));
                assign(&mut text, "value_bytes", value_bytes.to_string());
                assign_limit(&mut text, Some(*silence));
                text.extend([GUEST, REPRO].concat().bytes());
            }
            Purpose::Shell | Purpose::Command { .. } => {
                let (command, limit) = match self.purpose {
                    Purpose::Command { limit } => ("yes", *limit),
                    _ => ("no", None),
                };
                assign(&mut text, "command", command);
                assign(&mut text, "status_line", STATUS_LINE);
                assign_limit(&mut text, limit);
                text.extend([GUEST, SHELL].concat().bytes());
            }
        }
        text
    }
}

/// An order as the agent takes it. Orders always serialise.
fn json(order: &Order) -> String {
    serde_json::to_string(order).unwrap_or_default()
}

fn assign(text: &mut Vec<u8>, name: &str, value: impl AsRef<OsStr>) {
    text.extend(name.bytes());
    text.push(b'=');
    text.extend(quoted(value.as_ref()));
    text.push(b'\n');
}

/// The seconds that the script waits for a word, which its user may change; nothing where it waits for a person.
fn assign_limit(text: &mut Vec<u8>, limit: Option<Duration>) {
    match limit {
        Some(limit) => {
            assign(text, "limit", limit.as_secs().to_string());
            text.extend(b"limit=${LIMIT:-$limit}\n");
        }
        None => text.extend(b"limit=\n"),
    }
}

fn push_command(text: &mut Vec<u8>, program: &[u8], args: &[OsString], before_option: &[u8]) {
    text.extend(program);
    for arg in args {
        let is_option = arg.as_bytes().starts_with(b"-");
        text.extend(if is_option { before_option } else { b" " });
        text.extend(quoted(arg));
    }
}

/// A word as a POSIX shell needs it: in single quotes, unless it holds only characters that mean nothing to a shell.
pub fn quoted(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=,:+@%".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    in_quotes(word)
}

/// A word for a POSIX shell, in single quotes in any case.
pub fn in_quotes(word: &OsStr) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests;
