//! The script in a cell's evidence folder that starts the same guest by hand. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Path of the message channel's pipes in the script, without `.in` and `.out`.
pub const SCRIPT_CHANNEL: &str = "channel";
/// Path of the initramfs that the script puts together.
pub const SCRIPT_INITRAMFS: &str = "initramfs.cpio";

/// What the script says and does before the command. QEMU opens both pipes for reading and writing, so that neither end of
/// file ends the port.
const HEADER: &str = "\
#!/bin/sh
# Starts the guest of this cell again, with its console on this terminal.
# The order to load goes to the agent at once (orders.jsonl); what the agent says goes to agent-by-hand.jsonl.
# When it has said \"armed\", panic the kernel: Ctrl-A c, then: nmi
# Registers at any time: Ctrl-A c, then: info registers -a
# End it: Ctrl-A x
set -eu
cd \"$(dirname \"$0\")\"
rm -f channel.in channel.out
mkfifo channel.in channel.out
# While descriptor 3 holds the pipe, the reader's opening never waits; the reader ends when QEMU and descriptor 3 are gone.
exec 3<> channel.out
cat < channel.out 3>&- > agent-by-hand.jsonl &
cat orders.jsonl 3>&- > channel.in & feeder=$!
trap 'exec 3>&-; kill $feeder 2> /dev/null || true; wait; rm -f channel.in channel.out initramfs.cpio' EXIT
# The initramfs: the archives that this guest was given.
";

/// A script that puts an initramfs together from `parts` and runs `qemu` with `by_hand`; a comment names what the rig ran.
pub fn run_script(qemu: &Path, parts: &[PathBuf], by_hand: &[OsString], by_rig: &[OsString]) -> Vec<u8> {
    let mut script = HEADER.as_bytes().to_vec();
    script.extend_from_slice(b"cat");
    for part in parts {
        script.push(b' ');
        script.extend_from_slice(&quoted(part.as_os_str()));
    }
    script.extend_from_slice(format!(" > {SCRIPT_INITRAMFS}\n").as_bytes());
    script.extend_from_slice(b"\n# The rig's own command line, with its sockets:\n#   ");
    push_command(&mut script, qemu, by_rig, b" ");
    script.push(b'\n');
    push_command(&mut script, qemu, by_hand, b" \\\n    ");
    script
}

fn push_command(script: &mut Vec<u8>, program: &Path, args: &[OsString], before_option: &[u8]) {
    script.extend_from_slice(&quoted(program.as_os_str()));
    for arg in args {
        let is_option = arg.as_bytes().starts_with(b"-");
        script.extend_from_slice(if is_option { before_option } else { b" " });
        script.extend_from_slice(&quoted(arg));
    }
    script.push(b'\n');
}

/// A word as the shell needs it: in single quotes, unless it holds only characters that mean nothing to a shell.
fn quoted(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=,:+@%".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            // A comment ends at a newline; nothing of ours has one, but a path may.
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a command line with spaces falls apart into several arguments when the script runs.
    #[test]
    fn arguments_survive_the_shell() {
        let args = ["-append", "a b='c' $HOME", "-m", "1M"].map(OsString::from);
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("one part");
        std::fs::write(&part, "").unwrap();
        let script = run_script(Path::new("/bin/echo"), &[part], &args, &[]);
        let path = folder.path().join("run.sh");
        std::fs::write(&path, script).unwrap();
        std::fs::write(folder.path().join("orders.jsonl"), "").unwrap();
        let out = std::process::Command::new("sh").arg(&path).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "-append a b='c' $HOME -m 1M\n");
    }
}
