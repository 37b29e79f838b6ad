//! A cell's guest for a person: the same machine, kernels, command lines and payload, and a busybox in place of the agent, in the
//! first kernel or, behind a panic as the rig makes it, in the capture kernel.
//!
//! A further `rdinit=` on the command line leads to the shell (the kernel takes the last one), so the agent knows nothing of it.

use crate::accel::Accel;
use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::cmdline::{first_cmdline, loader_argv};
use crate::first_image::{Route, route, with_initrd_below};
use crate::guest::Deadlines;
use crate::payload::{Payload, firmware, places};
use crate::phase::Phase;
use crate::qemu::{MachineSpec, Purpose, Script, Start, Wiring, qemu_args, quoted};
use guest_protocol::{Circumstances, LoadOrder, Order};
use images::initramfs::{Initramfs, InitramfsError};
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// PID 1.
const INIT: &str = include_str!("shell/init.sh");
/// Its path in the guest.
const INIT_PATH: &str = "/shell/init";
/// Where the capture kernel's initramfs with a shell lies in the first kernel.
const CAPTURE_INITRD: &str = "/shell/capture.initrd";
/// The gdb stub's socket, as the script sees it: relative, since a socket's path has 107 bytes at most (unix(7)).
pub const GDB_SOCKET: &str = "shell/gdb";

/// The kernel that a shell runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// The first one, with nothing loaded. A capture kernel that is loaded by hand has a shell too.
    First,
    /// The capture kernel, after the rig's own load and panic.
    Capture,
}

/// QEMU's debugger stub, on a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gdb {
    /// None.
    Off,
    /// A debugger may attach at any time.
    On,
    /// The machine waits for one before its first instruction.
    Wait,
}

/// A guest to look around in.
#[derive(Clone, Copy, Debug)]
pub struct Shell<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// What it needs.
    pub artifacts: &'a Artifacts,
    /// QEMU.
    pub qemu: &'a Path,
    /// The accelerator.
    pub accel: Accel,
    /// Which kernel.
    pub kernel: In,
    /// A static busybox for the first kernel's userspace.
    pub busybox: &'a [u8],
    /// One for the capture kernel's.
    pub capture_busybox: &'a [u8],
    /// What the shell is to run in place of a conversation; the guest ends after it.
    pub command: Option<&'a str>,
    /// The debugger stub.
    pub gdb: Gdb,
}

/// Why a guest cannot be made up.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// Its files do not fit together.
    #[error("{0}")]
    Payload(String),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<InitramfsError> for ShellError {
    fn from(error: InitramfsError) -> Self {
        Self::Payload(error.to_string())
    }
}

impl Shell<'_> {
    /// Writes all that the guest needs into `folder`, which is there, and gives the script that runs it on a terminal.
    ///
    /// # Errors
    /// [`ShellError`].
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ShellError> {
        let payload_error = |error: crate::payload::PayloadError| ShellError::Payload(error.to_string());
        let cell = led_to_shell(self.cell, self.kernel);
        let mut places = places(&cell, self.artifacts).map_err(payload_error)?;
        places.initrd = CAPTURE_INITRD.to_owned();
        let argv = loader_argv(&cell, &places);

        let mut payload = Payload::default();
        payload.parts = payload.missing(&cell, self.artifacts).map_err(payload_error)?;
        let mut initramfs = payload.initramfs();
        initramfs.extend(self.userland(&argv)?);
        let parts = [PathBuf::from("initramfs.cpio")];
        write(&folder.join(&parts[0]), &initramfs)?;

        let kernel = self.kernel_file(&cell, initramfs.len(), folder)?;
        write(&folder.join("orders.jsonl"), &orders(argv, cell.circumstances))?;
        let firmware = firmware(&cell, self.artifacts).map_err(payload_error)?;
        let firmware = firmware.map(|file| absolute(&file.image)).transpose()?;
        let purpose = self.purpose();
        let own = Path::new(purpose.name());
        let mut args = qemu_args(&MachineSpec {
            platform: &cell.platform,
            accel: self.accel,
            firmware: firmware.as_deref(),
            kernel: &kernel,
            initrd: Some(&own.join("initramfs")),
            cmdline: &first_cmdline(&cell),
            wiring: Wiring::ByHand { folder: own },
            counted: false,
            start: Start::PowerOn,
        });
        args.extend(gdb_args(self.gdb));
        let script = Script {
            purpose: &purpose,
            qemu: self.qemu,
            kernel: &kernel,
            parts: &parts,
            args: &args,
            args_of_rig: None,
            trigger: cell.trigger,
        };
        let path = folder.join("shell.sh");
        write(&path, &script.text())?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755))
            .map_err(|source| ShellError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    fn purpose(&self) -> Purpose {
        let deadlines = Deadlines::default();
        match (self.command, self.gdb) {
            (None, _) => Purpose::Shell,
            // A machine that a debugger has stopped is silent.
            (Some(_), Gdb::On | Gdb::Wait) => Purpose::Command { limit: None },
            // Nobody says how long the command takes; it gets the time of the agent in its place.
            (Some(_), Gdb::Off) => Purpose::Command {
                limit: Some(deadlines.longest_silence() + deadlines.of(Phase::Reading).wall),
            },
        }
    }

    /// What the guest's initramfs has beside the cell's: the capture kernel's initramfs with a shell, and where it is wanted a
    /// shell.
    fn userland(&self, argv: &[String]) -> Result<Vec<u8>, ShellError> {
        let command = |kernel| self.command.filter(|_| self.kernel == kernel);
        let mut capture = Initramfs::new();
        put_shell(
            &mut capture,
            self.capture_busybox,
            "capture#",
            &welcome_to_capture(self.cell),
            command(In::Capture),
        )?;
        let capture = capture.finish();
        let mut image = Initramfs::new();
        image.file(CAPTURE_INITRD, 0o644, &capture)?;
        if self.kernel == In::First {
            put_shell(&mut image, self.busybox, "first#", &welcome_to_first(self.cell), command(In::First))?;
            image.file("/shell/bin/load", 0o755, &load_script(argv))?;
        }
        Ok(image.finish())
    }

    /// The first kernel's image, always the bzImage: whoever looks around sees its decompressor too.
    fn kernel_file(&self, cell: &Cell, initramfs: usize, folder: &Path) -> Result<PathBuf, ShellError> {
        let image = self.artifacts.kernel(&cell.first).ok_or_else(|| {
            ShellError::Payload(format!("no kernel {} among the resolved artifacts", cell.first.name))
        })?;
        match route(cell, &image.bytes, initramfs, false).map_err(ShellError::Payload)? {
            Route::BzImageInitrdBelow(last) => {
                write(&folder.join("kernel.bzimage"), &with_initrd_below(&image.bytes, last))?;
                Ok("kernel.bzimage".into())
            }
            Route::BzImage | Route::Pvh => absolute(&image.file.bzimage),
        }
    }
}

/// A path for the script, which runs somewhere else.
fn absolute(path: &Path) -> Result<PathBuf, ShellError> {
    std::path::absolute(path)
        .map_err(|error| ShellError::Payload(format!("cannot find {}: {error}", path.display())))
}

/// The cell with a shell as PID 1: of the capture kernel always, of the first one where that is wanted.
fn led_to_shell(cell: &Cell, kernel: In) -> Cell {
    let word = format!("rdinit={INIT_PATH}");
    let mut cell = cell.clone();
    if kernel == In::First {
        cell.first_cmdline.push(word.clone());
    }
    cell.capture_cmdline.push(word);
    cell
}

fn put_shell(
    image: &mut Initramfs,
    busybox: &[u8],
    prompt: &str,
    welcome: &str,
    command: Option<&str>,
) -> Result<(), InitramfsError> {
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/shell/bin"] {
        image.dir(folder, 0o755)?;
    }
    // Character device 5, 1 (Linux Documentation/admin-guide/devices.txt): PID 1's standard streams.
    image.char_device("/dev/console", 0o600, 5, 1)?;
    image.file("/shell/busybox", 0o755, busybox)?;
    image.file(INIT_PATH, 0o755, INIT.as_bytes())?;
    image.file("/shell/prompt", 0o644, format!("{prompt}\n").as_bytes())?;
    image.file("/shell/welcome", 0o644, welcome.as_bytes())?;
    if let Some(command) = command {
        image.file("/shell/command", 0o644, format!("{command}\n").as_bytes())?;
    }
    Ok(())
}

/// A program of the guest's that loads as the rig does.
fn load_script(argv: &[String]) -> Vec<u8> {
    let mut script = b"#!/shell/busybox sh\nexec".to_vec();
    for word in argv {
        script.push(b' ');
        script.extend(quoted(OsStr::new(word)));
    }
    script.push(b'\n');
    script
}

fn welcome_to_first(cell: &Cell) -> String {
    let without = match cell.circumstances {
        Circumstances::None => String::new(),
        met => format!(" The cell's circumstances ({}) are for you to arrange.", met.name()),
    };
    format!(
        "\nThe first kernel of {}. Nothing is loaded.{without}\n  \
         load                             loads as the rig does (cat /shell/bin/load)\n  \
         echo c > /proc/sysrq-trigger     panics the kernel; so does {} in the monitor (Ctrl-A c)\n  \
         grep Crash /proc/iomem           the region; cat /sys/kernel/kexec_crash_loaded: whether something is in it\n\
         The capture kernel then has a shell too. `exit` powers off, Ctrl-A x ends QEMU at any time.\n\n",
        cell.id,
        cell.trigger.monitor_command()
    )
}

fn welcome_to_capture(cell: &Cell) -> String {
    format!(
        "\nThe capture kernel of {}.\n  \
         /proc/vmcore                     the first kernel's memory, where this kernel could make sense of it\n  \
         grep elfcorehdr /proc/cmdline    what the loader added\n\
         `exit` powers off, Ctrl-A x ends QEMU at any time.\n\n",
        cell.id
    )
}

/// The order that the agent of the first kernel is given where the shell is in the capture kernel. Nothing is planted: nobody
/// compares.
fn orders(argv: Vec<String>, circumstances: Circumstances) -> Vec<u8> {
    let timeout = Deadlines::default().of(Phase::Loading).wall.as_secs();
    let order = Order::Load(LoadOrder {
        plants: Vec::new(),
        log_line: "kdump-rig: a person looks around".into(),
        argv,
        timeout_seconds: u32::try_from(timeout).unwrap_or(u32::MAX),
        circumstances,
        arm_unloaded: false,
        sysrq: false,
    });
    // Orders always serialise.
    let mut line = serde_json::to_vec(&order).unwrap_or_default();
    line.push(b'\n');
    line
}

fn gdb_args(gdb: Gdb) -> Vec<OsString> {
    let stub = [
        "-chardev".to_owned(),
        format!("socket,id=gdb,path={GDB_SOCKET},server=on,wait=off"),
        "-gdb".to_owned(),
        "chardev:gdb".to_owned(),
    ];
    let words: Vec<String> = match gdb {
        Gdb::Off => Vec::new(),
        Gdb::On => stub.into(),
        Gdb::Wait => stub.into_iter().chain(["-S".to_owned()]).collect(),
    };
    words.into_iter().map(OsString::from).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ShellError> {
    std::fs::write(path, bytes).map_err(|source| ShellError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::capture_cmdline;
    use crate::qemu::STATUS_LINE;
    use crate::testing;

    /// Bug: init and script do not mean the same line, so that no command ever comes to an end.
    #[test]
    fn init_says_the_line_that_the_script_reads() {
        assert!(INIT.contains(&format!("printf '\\n{STATUS_LINE} %s\\n' \"$status\"\n")), "{INIT}");
    }

    /// Bug: the agent comes up where a shell is wanted, or a shell in the first kernel that has to load and arm by itself.
    #[test]
    fn the_last_rdinit_is_the_shells() {
        let last =
            |cmdline: &str| cmdline.split(' ').rfind(|word| word.starts_with("rdinit=")).map(str::to_owned);
        let cell = testing::cell();
        for (kernel, in_first) in [(In::First, "rdinit=/shell/init"), (In::Capture, "rdinit=/init")] {
            let cell = led_to_shell(&cell, kernel);
            assert_eq!(last(&first_cmdline(&cell)).as_deref(), Some(in_first));
            assert_eq!(last(&capture_cmdline(&cell)).as_deref(), Some("rdinit=/shell/init"));
        }
    }

    /// Bug: the load by hand is another than the rig's, for a word of its command line fell apart.
    #[test]
    fn loading_by_hand_is_loading_as_the_rig_does() {
        let argv = ["/bin/echo", "--command-line=a b='c' $HOME", "x"].map(str::to_owned);
        let script = String::from_utf8(load_script(&argv)).unwrap();
        let (_, command) = script.split_once('\n').unwrap();
        let said = std::process::Command::new("sh").arg("-c").arg(command).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "--command-line=a b='c' $HOME x\n");
    }

    /// Bug: the debugger's port is open to the network, or a machine that is not to wait does.
    #[test]
    fn the_debugger_stub_is_a_unix_socket() {
        assert_eq!(gdb_args(Gdb::Off), [""; 0]);
        let on = ["-chardev", "socket,id=gdb,path=shell/gdb,server=on,wait=off", "-gdb", "chardev:gdb"];
        assert_eq!(gdb_args(Gdb::On), on);
        assert_eq!(gdb_args(Gdb::Wait).last().unwrap(), "-S");
    }
}
