//! The arguments of QEMU for one guest: a pure function, so that golden tests hold it.

use crate::accel::Accel;
use crate::cell::Platform;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What QEMU calls the chardev of the first serial port.
pub const CONSOLE: &str = "console";

/// All that QEMU must be told of a guest.
#[derive(Clone, Copy, Debug)]
pub struct MachineSpec<'a> {
    /// Machine, CPU and memory.
    pub platform: &'a Platform,
    /// Accelerator.
    pub accel: Accel,
    /// The image of a firmware in place of QEMU's own.
    pub firmware: Option<&'a Path>,
    /// The kernel that boots, a bzImage.
    pub kernel: &'a Path,
    /// Its initramfs.
    pub initrd: Option<&'a Path>,
    /// Its command line.
    pub cmdline: &'a str,
    /// Where its ports lead.
    pub wiring: Wiring<'a>,
    /// Where the machine begins.
    pub start: Start<'a>,
    /// Whether its clocks run by the number of its instructions, a nanosecond each.
    pub counted: bool,
}

/// Where a machine begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// At power-on.
    PowerOn,
    /// At power-on, with its RAM in this file, for others to begin where it ends.
    ToBeSaved {
        /// The file.
        ram: &'a Path,
    },
    /// In a saved state, which QMP's `migrate-incoming` will name.
    Incoming {
        /// What was its RAM. The machine sees the file's bytes, and what it writes stays its own.
        ram: &'a Path,
    },
}

/// QEMU's own log of what its CPUs do.
#[derive(Clone, Copy, Debug)]
pub struct CpuLog<'a> {
    /// The pipe that it goes to.
    pub pipe: &'a Path,
    /// Whether it has exceptions and interrupts as well, which slows the guest down.
    pub trace: bool,
}

/// Where the guest's two serial ports and QMP lead.
#[derive(Clone, Copy, Debug)]
pub enum Wiring<'a> {
    /// To the rig, which listens on these sockets already: QEMU connects, so nothing has to poll for a socket to appear.
    /// The machine starts stopped.
    Rig {
        /// Socket of the first port, the console.
        console: &'a Path,
        /// File that QEMU itself writes the console to, so that it survives the rig.
        console_log: &'a Path,
        /// Socket of the second port, the message channel.
        channel: &'a Path,
        /// Socket of QMP.
        qmp: &'a Path,
        /// QEMU's log of its CPUs.
        cpu_log: CpuLog<'a>,
    },
    /// To a [`Script`](super::Script), and to a person at its terminal, who has the console and, at Ctrl-A c, a monitor. The
    /// machine runs at once.
    ByHand {
        /// Folder with named pipes for the second port (`channel.in`, `channel.out`) and for a monitor of the script's own
        /// (`monitor.in`, `monitor.out`). It gets `console.log` and `monitor.log`.
        folder: &'a Path,
    },
}

/// QEMU's arguments, without the program.
pub fn qemu_args(spec: &MachineSpec<'_>) -> Vec<OsString> {
    let platform = spec.platform;
    let mut args: Vec<OsString> = Vec::new();
    let mut push = |words: &[&str]| args.extend(words.iter().map(OsString::from));

    // Nothing that the host's configuration or QEMU's defaults would add: the two ports are all devices there are.
    push(&["-nodefaults", "-no-user-config", "-nic", "none", "-display", "none"]);
    // A reset ends QEMU and shows as an event; a kexec is no reset, so the capture kernel lives on. Without panic=none
    // QEMU would end a guest that tells pvpanic of its panic, and there would be no machine state to look at.
    push(&["-no-reboot", "-action", "panic=none"]);
    push(&["-accel", spec.accel.name()]);
    if spec.counted {
        // Not sleep=off: at a breakpoint it lets the clock jump to the guest's next timer.
        push(&["-icount", "shift=0"]);
    }
    let memory = format!("{}M", platform.memory.0);
    args.extend(["-object".into(), ram_backend(&memory, spec.start)]);
    let mut push = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    push(&["-machine", &format!("{},memory-backend=ram", platform.machine)]);
    // A feature that the emulator lacks would be taken off in silence, and the guest be another hardware than it stands for. What
    // a host's own CPU lacks under KVM is told by QEMU, and tried all the same.
    let cpu = match (&platform.hardware, spec.accel) {
        (Some(_), Accel::Tcg) => format!("{},enforce=on", platform.cpu),
        (Some(_), Accel::Kvm) | (None, _) => platform.cpu.clone(),
    };
    push(&["-m", &memory, "-cpu", &cpu, "-smp", &platform.cpus.to_string()]);
    if let Some(firmware) = spec.firmware {
        // Code and variables in one image, as a ROM: nothing of a guest's variables outlives it.
        args.extend(["-bios".into(), firmware.into()]);
    }
    let mut push = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    push(&["-append", spec.cmdline, "-kernel"]);
    args.push(spec.kernel.into());
    if let Some(initrd) = spec.initrd {
        args.extend(["-initrd".into(), initrd.into()]);
    }
    wire(&mut args, spec.wiring);
    match spec.start {
        Start::PowerOn | Start::ToBeSaved { .. } => {}
        Start::Incoming { .. } => args.extend(["-incoming".into(), "defer".into()]),
    }
    args
}

/// The guest's RAM. reserve=off: it is committed as the guest touches it, so that a guest may have more than the host.
fn ram_backend(size: &str, start: Start<'_>) -> OsString {
    let (kind, file) = match start {
        Start::PowerOn => ("memory-backend-ram", None),
        Start::ToBeSaved { ram } => ("memory-backend-file", Some((ram, "on"))),
        Start::Incoming { ram } => ("memory-backend-file", Some((ram, "off"))),
    };
    let mut backend = OsString::from(format!("{kind},id=ram,size={size},reserve=off"));
    if let Some((path, shared)) = file {
        backend.push(option_path(&format!(",share={shared},mem-path="), path));
    }
    backend
}

fn wire(args: &mut Vec<OsString>, wiring: Wiring<'_>) {
    // The order of -serial decides which port is which: ttyS0 is the console, ttyS1 the channel.
    match wiring {
        Wiring::Rig { console, console_log, channel, qmp, cpu_log } => {
            args.push("-S".into());
            // A machine that would be reset or powered off stops in place of it, and can be looked at as it was.
            args.extend(["-action".into(), "shutdown=pause".into()]);
            let events = if cpu_log.trace { "cpu_reset,int" } else { "cpu_reset" };
            args.extend(["-d".into(), events.into(), "-D".into(), cpu_log.pipe.into()]);
            let mut port = option_path(&format!("socket,id={CONSOLE},path="), console);
            port.push(option_path(",logfile=", console_log));
            args.extend(["-chardev".into(), port, "-serial".into(), "chardev:console".into()]);
            let port = option_path("socket,id=channel,path=", channel);
            args.extend(["-chardev".into(), port, "-serial".into(), "chardev:channel".into()]);
            let port = option_path("socket,id=qmp,path=", qmp);
            args.extend(["-chardev".into(), port, "-mon".into(), "chardev=qmp,mode=control".into()]);
        }
        Wiring::ByHand { folder } => {
            // Ctrl-C goes to the guest.
            let port =
                option_path("stdio,id=console,mux=on,signal=off,logfile=", &folder.join("console.log"));
            args.extend(["-chardev".into(), port, "-serial".into(), "chardev:console".into()]);
            args.extend(["-mon".into(), "chardev=console".into()]);
            let port = option_path("pipe,id=channel,path=", &folder.join("channel"));
            args.extend(["-chardev".into(), port, "-serial".into(), "chardev:channel".into()]);
            let mut port = option_path("pipe,id=monitor,path=", &folder.join("monitor"));
            port.push(option_path(",logfile=", &folder.join("monitor.log")));
            args.extend(["-chardev".into(), port, "-mon".into(), "chardev=monitor".into()]);
        }
    }
}

/// An option's value with a path in it. QEMU ends a value at a comma, and takes two for one.
pub(crate) fn option_path(prefix: &str, path: &Path) -> OsString {
    let mut bytes = prefix.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Firmware, FirstBoot, Hardware, Mib};
    use guest_protocol::CpuIdentity;
    use std::num::NonZeroU32;

    fn mib(size: u32) -> Mib {
        Mib(NonZeroU32::new(size).unwrap())
    }

    fn platform() -> Platform {
        Platform {
            name: "pc-4g".into(),
            machine: "pc,max-ram-below-4g=4G".into(),
            memory: mib(4096),
            cpu: "qemu64".into(),
            cpus: NonZeroU32::new(2).unwrap(),
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        }
    }

    fn text(args: Vec<OsString>) -> String {
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// Bug: an argument is lost or changed unnoticed (`-S`: events before QMP is attached are lost; `-no-reboot`: a reset
    /// looks like a capture; `shutdown=pause`: there is no machine to look at after a triple fault; the ports swapped: no message is ever seen).
    #[test]
    fn the_arguments_of_a_guest_of_the_rig() {
        let platform = platform();
        let spec = MachineSpec {
            platform: &platform,
            accel: Accel::Tcg,
            firmware: None,
            kernel: Path::new("/k/bzImage"),
            initrd: Some(Path::new("/r/initramfs.cpio")),
            cmdline: "console=ttyS0,115200 quiet",
            wiring: Wiring::Rig {
                console: Path::new("/t/console"),
                console_log: Path::new("/r/a,b/console.log"),
                channel: Path::new("/t/channel"),
                qmp: Path::new("/t/qmp"),
                cpu_log: CpuLog { pipe: Path::new("/t/cpu-log"), trace: false },
            },
            start: Start::PowerOn,
            counted: false,
        };
        let golden = "\
-nodefaults
-no-user-config
-nic
none
-display
none
-no-reboot
-action
panic=none
-accel
tcg
-object
memory-backend-ram,id=ram,size=4096M,reserve=off
-machine
pc,max-ram-below-4g=4G,memory-backend=ram
-m
4096M
-cpu
qemu64
-smp
2
-append
console=ttyS0,115200 quiet
-kernel
/k/bzImage
-initrd
/r/initramfs.cpio
-S
-action
shutdown=pause
-d
cpu_reset
-D
/t/cpu-log
-chardev
socket,id=console,path=/t/console,logfile=/r/a,,b/console.log
-serial
chardev:console
-chardev
socket,id=channel,path=/t/channel
-serial
chardev:channel
-chardev
socket,id=qmp,path=/t/qmp
-mon
chardev=qmp,mode=control";
        assert_eq!(text(qemu_args(&spec)), golden);
        // The machine is the one whose state was saved, and its RAM no longer the file that the others go by.
        let ram = Path::new("/proc/7/fd/9");
        let in_file = |share| {
            let backend = format!(
                "memory-backend-file,id=ram,size=4096M,reserve=off,share={share},mem-path=/proc/7/fd/9"
            );
            golden.replace("memory-backend-ram,id=ram,size=4096M,reserve=off", &backend)
        };
        let saved = text(qemu_args(&MachineSpec { start: Start::ToBeSaved { ram }, ..spec }));
        assert_eq!(saved, in_file("on"));
        let restored = text(qemu_args(&MachineSpec { start: Start::Incoming { ram }, ..spec }));
        assert_eq!(restored, format!("{}\n-incoming\ndefer", in_file("off")));
        let counted = text(qemu_args(&MachineSpec { counted: true, ..spec }));
        assert_eq!(counted, golden.replacen("\ntcg\n", "\ntcg\n-icount\nshift=0\n", 1));
    }

    /// Bug: a feature that the emulator lacks is taken off in silence, and a guest is another hardware than it stands for.
    #[test]
    fn hardware_is_what_it_is_or_does_not_start() {
        let identity = CpuIdentity { vendor: "GenuineIntel".into(), family: 6, model: 86, stepping: 3 };
        let hardware = Some(Hardware { name: "broadwell-de".into(), identity });
        let platform = Platform { hardware, ..platform() };
        let spec = |accel| MachineSpec {
            platform: &platform,
            accel,
            firmware: None,
            kernel: Path::new("k"),
            initrd: None,
            cmdline: "",
            wiring: Wiring::ByHand { folder: Path::new("f") },
            start: Start::PowerOn,
            counted: false,
        };
        assert!(text(qemu_args(&spec(Accel::Tcg))).contains("-cpu\nqemu64,enforce=on\n"));
        assert!(text(qemu_args(&spec(Accel::Kvm))).contains("-cpu\nqemu64\n"));
    }

    /// Bug: the script of a failed cell waits stopped, or needs the rig's sockets; or its machine starts with another firmware.
    #[test]
    fn by_hand_the_machine_runs_at_once_on_the_terminal() {
        let platform = platform();
        let spec = MachineSpec {
            platform: &platform,
            accel: Accel::Kvm,
            firmware: Some(Path::new("f/OVMF.fd")),
            kernel: Path::new("k"),
            initrd: None,
            cmdline: "",
            wiring: Wiring::ByHand { folder: Path::new("a,b") },
            start: Start::PowerOn,
            counted: false,
        };
        let args = text(qemu_args(&spec));
        let ports = "\
-chardev
stdio,id=console,mux=on,signal=off,logfile=a,,b/console.log
-serial
chardev:console
-mon
chardev=console
-chardev
pipe,id=channel,path=a,,b/channel
-serial
chardev:channel
-chardev
pipe,id=monitor,path=a,,b/monitor,logfile=a,,b/monitor.log
-mon
chardev=monitor";
        assert!(args.ends_with(ports), "{args}");
        assert!(args.contains("-bios\nf/OVMF.fd\n"), "{args}");
        assert!(!args.contains("-S\n") && !args.contains("-initrd"), "{args}");
    }
}
