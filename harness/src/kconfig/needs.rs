//! What each of a cell's two kernels must have been built with, and what of it is missing. Pure.
//!
//! No `RD_…` is among it: the rig's initramfs images are not compressed.

use super::find::Found;
use super::{Config, Setting};
use crate::artifacts::capture_userspace;
use crate::cell::{Cell, CellId, Firmware, Kernel};
use crate::outcome::Expectation;
use guest_protocol::{Arch, Circumstances, Side};

/// From this version on, /sys/kernel/kexec_crash_loaded and the reservation of crash memory are those of CRASH_DUMP, no longer of KEXEC
/// (85fcde402db1 "kexec: split crashkernel reservation code out from crash_core.c", 02aff8480533 "crash: split crash dumping code out
/// from kexec_core.c").
const CRASH_DUMP_IN_FIRST_SINCE: (u32, u32) = (6, 9);
/// The console, and the messages of the rig.
const PORTS: u32 = 2;

/// What an option must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// Built in: the rig's initramfs has no modules.
    BuiltIn,
    /// One of the two built in.
    EitherBuiltIn(&'static str),
    /// A number of at least this.
    AtLeast(u32),
    /// Not set.
    Off,
}

/// An option that a kernel needs in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    /// Without `CONFIG_`.
    option: &'static str,
    must: Must,
    what_for: &'static str,
}

const fn built_in(option: &'static str, what_for: &'static str) -> Need {
    Need { option, must: Must::BuiltIn, what_for }
}

/// What a kernel lacks for some cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The kernel.
    pub kernel: Kernel,
    /// As which of the two.
    pub side: Side,
    /// What is missing, with `CONFIG_`, and what it is needed for.
    pub what: String,
    /// Where its configuration was found.
    pub origin: String,
    /// The cells that need it, at least one.
    pub cells: Vec<CellId>,
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, side, what, origin, cells } = self;
        write!(f, "as the {} kernel {what}; so says {origin}; ", side.name())?;
        match cells.as_slice() {
            [] => write!(f, "no cell needs it"),
            [one] => write!(f, "the cell {one} needs it"),
            [first, more @ ..] => write!(f, "the cell {first} and {} more need it", more.len()),
        }?;
        write!(f, "; take another kernel than {} there, or other cells with --filter", kernel.name)
    }
}

/// What the kernels of these cells lack, as far as their configurations are known: each option once for each kernel and side.
pub fn shortfalls<'a>(cells: &[Cell], config: impl Fn(&Kernel) -> Option<&'a Found>) -> Vec<Shortfall> {
    let mut all: Vec<Shortfall> = Vec::new();
    for cell in cells {
        for (kernel, side) in [(&cell.first, Side::First), (&cell.capture, Side::Capture)] {
            let Some(found) = config(kernel) else { continue };
            for what in missing(cell, side, &found.config) {
                let same = |known: &&mut Shortfall| {
                    (&known.kernel, known.side, &known.what) == (kernel, side, &what)
                };
                match all.iter_mut().find(same) {
                    Some(known) => known.cells.push(cell.id.clone()),
                    None => all.push(Shortfall {
                        kernel: kernel.clone(),
                        side,
                        what,
                        origin: found.origin.clone(),
                        cells: vec![cell.id.clone()],
                    }),
                }
            }
        }
    }
    all
}

fn missing(cell: &Cell, side: Side, config: &Config) -> Vec<String> {
    let needs = match side {
        Side::First => of_first(cell, config.version()),
        Side::Capture => of_capture(cell),
    };
    needs.iter().filter_map(|need| lack(need, config)).collect()
}

/// What is wrong with an option, in words; none where nothing is.
fn lack(need: &Need, config: &Config) -> Option<String> {
    let Need { option, must, what_for } = need;
    let found = match config.setting(option) {
        Setting::BuiltIn => "is set".to_owned(),
        Setting::Module => "is a module, and the rig's initramfs has none".to_owned(),
        Setting::Off => "is not set".to_owned(),
        Setting::Value(value) => format!("is {value}"),
    };
    match must {
        Must::BuiltIn => (config.setting(option) != Setting::BuiltIn)
            .then(|| format!("lacks CONFIG_{option}=y, which {found}: {what_for}")),
        Must::EitherBuiltIn(other) => {
            [option, other].iter().all(|option| config.setting(option) != Setting::BuiltIn).then(|| {
                format!("lacks CONFIG_{option}=y and CONFIG_{other}=y, of which one must be: {what_for}")
            })
        }
        Must::AtLeast(least) => {
            let enough = match config.setting(option) {
                Setting::Value(value) => value.parse().is_ok_and(|value: u32| value >= *least),
                Setting::BuiltIn | Setting::Module | Setting::Off => false,
            };
            (!enough).then(|| format!("lacks CONFIG_{option} of {least} or more, which {found}: {what_for}"))
        }
        Must::Off => (config.setting(option) != Setting::Off)
            .then(|| format!("must be built without CONFIG_{option}, which {found}: {what_for}")),
    }
}

fn of_first(cell: &Cell, version: Option<(u32, u32)>) -> Vec<Need> {
    let mut needs = of_both(cell.first.arch, cell.userspace, &cell.first_cmdline);
    let of_file = built_in("KEXEC_FILE", "the loader is told to load by kexec_file_load(2)");
    let by_file = match call(cell) {
        Call::Load => {
            needs.push(built_in("KEXEC", "the loader loads by kexec_load(2)"));
            false
        }
        Call::File => {
            needs.push(of_file);
            true
        }
        Call::Either => {
            let must = Must::EitherBuiltIn("KEXEC");
            needs.push(Need { must, what_for: "the loader loads by one of the two calls", ..of_file });
            false
        }
    };
    if version.is_none_or(|version| version >= CRASH_DUMP_IN_FIRST_SINCE) {
        needs.push(built_in("CRASH_DUMP", "crashkernel= reserves by it, from Linux 6.9 on"));
    }
    if !by_file {
        needs.push(built_in("PROC_KCORE", "loaders read the kernel's own addresses from /proc/kcore"));
    }
    needs.push(built_in("PROC_PAGE_MONITOR", "the agent finds what it plants by /proc/self/pagemap"));
    needs.push(built_in("ADVISE_SYSCALLS", "the agent keeps what it plants from its children by madvise(2)"));
    match cell.platform.firmware {
        Firmware::Bios => {}
        Firmware::Uefi => needs.push(built_in("EFI_STUB", "UEFI starts the kernel by its EFI stub")),
    }
    match cell.circumstances {
        // A second load takes what the first one takes.
        Circumstances::None
        | Circumstances::PerLinux32
        | Circumstances::Reload
        | Circumstances::ReloadFails => {}
        Circumstances::WithoutCapSysBoot => {
            needs.push(built_in("MULTIUSER", "the loader is to be without a capability"));
        }
        Circumstances::KexecLoadDisabled | Circumstances::LoadLimitUsedUp => {
            needs.push(built_in("PROC_SYSCTL", "loading is to be forbidden by a file in /proc/sys/kernel"));
        }
        Circumstances::Lockdown => needs.extend([
            built_in("SECURITY_LOCKDOWN_LSM", "the kernel is to be locked down"),
            built_in("SECURITYFS", "the kernel is to be locked down by a file in /sys/kernel/security"),
        ]),
        Circumstances::No64BitCode => {
            needs.push(built_in("SECCOMP_FILTER", "the loader is to run under a seccomp filter"));
        }
    }
    needs
}

/// A capture kernel that is not to come up may be any.
fn of_capture(cell: &Cell) -> Vec<Need> {
    if !matches!(cell.expected, Expectation::Captured { .. }) {
        return Vec::new();
    }
    let mut needs = of_both(cell.capture.arch, capture_userspace(cell), &cell.capture_cmdline);
    needs.extend([
        built_in("CRASH_DUMP", "it learns by elfcorehdr= where the crashed kernel's memory is described"),
        built_in("PROC_VMCORE", "the crashed kernel's memory is read by /proc/vmcore"),
        built_in("RELOCATABLE", "it runs in the crash region, not where it was linked for"),
    ]);
    needs
}

fn of_both(kernel: Arch, userspace: Arch, cmdline: &[String]) -> Vec<Need> {
    let ports = "console and messages go over two 16550 ports";
    let mut needs = vec![
        built_in("SERIAL_8250_CONSOLE", ports),
        Need { option: "SERIAL_8250_RUNTIME_UARTS", must: Must::AtLeast(PORTS), what_for: ports },
        built_in("BLK_DEV_INITRD", "the agent comes in an initramfs"),
        built_in("BINFMT_ELF", "the agent is an ELF program"),
        built_in("PROC_FS", "the agent reads /proc"),
        built_in("SYSFS", "the agent reads /sys"),
        built_in("DEVTMPFS", "the agent finds its port in /dev"),
    ];
    match (userspace, kernel) {
        (Arch::I386, Arch::X86_64) => {
            needs.push(built_in("IA32_EMULATION", "the userspace is i386"));
            // Documentation/admin-guide/kernel-parameters.txt, `ia32_emulation=`.
            let switched_on = cmdline.iter().any(|word| {
                word.strip_prefix("ia32_emulation=")
                    .is_some_and(|value| matches!(value, "1" | "on" | "y" | "true"))
            });
            if !switched_on {
                needs.push(Need {
                    option: "IA32_EMULATION_DEFAULT_DISABLED",
                    must: Must::Off,
                    what_for: "the userspace is i386, and ia32_emulation=1 is not on the command line",
                });
            }
        }
        (Arch::I386, Arch::I386) | (Arch::X86_64, _) => {}
    }
    needs
}

/// The system call by which a loader loads.
enum Call {
    Load,
    File,
    Either,
}

/// By the options that the loaders share (kexec(8)); the last one decides.
fn call(cell: &Cell) -> Call {
    let named = cell.loader_args.iter().rev().find_map(|arg| match arg.as_str() {
        "-c" | "--kexec-syscall" => Some(Call::Load),
        "-s" | "--kexec-file-syscall" => Some(Call::File),
        "-a" | "--kexec-syscall-auto" => Some(Call::Either),
        _ => None,
    });
    named.unwrap_or(Call::Load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ExpectedRefuser;
    use crate::testing;

    /// All that any cell needs of an x86_64 kernel.
    const ALL: [&str; 21] = [
        "X86",
        "X86_64",
        "KEXEC",
        "KEXEC_FILE",
        "CRASH_DUMP",
        "PROC_VMCORE",
        "RELOCATABLE",
        "SERIAL_8250_CONSOLE",
        "BLK_DEV_INITRD",
        "BINFMT_ELF",
        "PROC_FS",
        "SYSFS",
        "DEVTMPFS",
        "PROC_KCORE",
        "PROC_PAGE_MONITOR",
        "ADVISE_SYSCALLS",
        "IA32_EMULATION",
        "MULTIUSER",
        "PROC_SYSCTL",
        "SECCOMP_FILTER",
        "EFI_STUB",
    ];

    fn text(without: &[&str]) -> String {
        let set = ALL.iter().filter(|option| !without.contains(option));
        let set: String = set.map(|option| format!("CONFIG_{option}=y\n")).collect();
        format!("# Linux/x86 6.12.1 Kernel Configuration\n{set}CONFIG_SERIAL_8250_RUNTIME_UARTS=4\n")
    }

    fn found(text: &str) -> Found {
        Found { origin: "/boot/config".into(), config: Config::parse(text).unwrap() }
    }

    fn cell() -> Cell {
        let mut cell = testing::cell();
        (cell.userspace, cell.first.arch, cell.capture.arch) = (Arch::I386, Arch::X86_64, Arch::X86_64);
        cell
    }

    /// Which options are missed, as the first and as the capture kernel.
    fn missed(cell: &Cell, text: &str) -> [Vec<String>; 2] {
        let config = Config::parse(text).unwrap();
        [Side::First, Side::Capture].map(|side| {
            let words = missing(cell, side, &config);
            let options = words.iter().map(|words| {
                words.split("CONFIG_").nth(1).unwrap().split(['=', ',', ' ']).next().unwrap().to_owned()
            });
            options.collect()
        })
    }

    /// Bug: an option is not missed, or for the wrong one of the two kernels.
    #[test]
    fn each_option_is_missed_for_the_kernel_that_needs_it() {
        assert_eq!(missed(&cell(), &text(&[])), [vec![], vec![] as Vec<String>]);
        for (option, first, capture) in [
            ("KEXEC", true, false),
            ("CRASH_DUMP", true, true),
            ("PROC_VMCORE", false, true),
            ("RELOCATABLE", false, true),
            ("SERIAL_8250_CONSOLE", true, true),
            ("BLK_DEV_INITRD", true, true),
            ("DEVTMPFS", true, true),
            ("PROC_KCORE", true, false),
            ("PROC_PAGE_MONITOR", true, false),
            ("ADVISE_SYSCALLS", true, false),
            ("IA32_EMULATION", true, true),
            ("KEXEC_FILE", false, false),
            ("SECCOMP_FILTER", false, false),
            ("EFI_STUB", false, false),
        ] {
            let expected =
                [first, capture].map(|missed| if missed { vec![option.to_owned()] } else { vec![] });
            assert_eq!(missed(&cell(), &text(&[option])), expected, "{option}");
        }
    }

    /// Bug: an option is demanded of cells that do without it, which keeps good kernels from being tried.
    #[test]
    fn what_a_cell_does_without_is_not_demanded() {
        let none = [Vec::<String>::new(), Vec::new()];
        let native = Cell { userspace: Arch::X86_64, ..cell() };
        assert_eq!(missed(&native, &text(&["IA32_EMULATION"])), none);
        let old = text(&["CRASH_DUMP"]).replace("6.12.1", "5.10.223");
        assert_eq!(missed(&cell(), &old)[0], none[0], "a first kernel of before 6.9");
        let refused =
            Expectation::Refused { by: ExpectedRefuser::Loader, message: vec!["relocatable".into()] };
        assert_eq!(missed(&Cell { expected: refused, ..cell() }, &text(&["RELOCATABLE"])), none);
        let by_file = Cell { loader_args: vec!["-s".into()], ..cell() };
        assert_eq!(missed(&by_file, &text(&["KEXEC", "PROC_KCORE"])), none);
        assert_eq!(missed(&by_file, &text(&["KEXEC_FILE"]))[0], ["KEXEC_FILE"]);
        let either = Cell { loader_args: vec!["-a".into()], ..cell() };
        assert_eq!(missed(&either, &text(&["KEXEC_FILE"])), none);
        assert_eq!(missed(&either, &text(&["KEXEC_FILE", "KEXEC"]))[0], ["KEXEC_FILE"]);
    }

    /// Bug: what only some circumstances or firmware take is found out by the agent, minutes later.
    #[test]
    fn circumstances_and_firmware_have_needs_of_their_own() {
        let of = |circumstances| Cell { circumstances, ..cell() };
        for (circumstances, without, expected) in [
            (Circumstances::No64BitCode, "SECCOMP_FILTER", vec!["SECCOMP_FILTER"]),
            (Circumstances::KexecLoadDisabled, "PROC_SYSCTL", vec!["PROC_SYSCTL"]),
            (Circumstances::WithoutCapSysBoot, "MULTIUSER", vec!["MULTIUSER"]),
            (Circumstances::Lockdown, "", vec!["SECURITY_LOCKDOWN_LSM", "SECURITYFS"]),
            (Circumstances::Reload, "MULTIUSER", vec![]),
            (Circumstances::Reload, "KEXEC", vec!["KEXEC"]),
        ] {
            assert_eq!(
                missed(&of(circumstances), &text(&[without]))[0],
                expected,
                "{}",
                circumstances.name()
            );
        }
        let mut uefi = cell();
        uefi.platform.firmware = Firmware::Uefi;
        assert_eq!(missed(&uefi, &text(&["EFI_STUB"])), [vec!["EFI_STUB".to_owned()], vec![]]);
    }

    /// Bug: a module, one port only or a switched-off emulation is taken for what the rig needs.
    #[test]
    fn built_in_and_switched_on_is_what_counts() {
        let module = text(&["BINFMT_ELF"]) + "CONFIG_BINFMT_ELF=m\n";
        assert_eq!(missed(&cell(), &module)[0], ["BINFMT_ELF"]);
        let one_port = text(&[]).replace("UARTS=4", "UARTS=1");
        assert_eq!(missed(&cell(), &one_port)[1], ["SERIAL_8250_RUNTIME_UARTS"]);
        let off = text(&[]) + "CONFIG_IA32_EMULATION_DEFAULT_DISABLED=y\n";
        let switched_on = Cell { capture_cmdline: vec!["ia32_emulation=1".into()], ..cell() };
        let missed = missed(&switched_on, &off);
        assert_eq!(missed, [vec!["IA32_EMULATION_DEFAULT_DISABLED".to_owned()], vec![]]);
    }

    /// Bug: a hundred cells of one kernel make a hundred errors, or the error does not name kernel, role, option and cell.
    #[test]
    fn one_error_a_kernel_and_option() {
        let other = Cell { id: CellId("other".into()), ..cell() };
        let mut known = cell();
        known.capture.name = "of another name".into();
        let found = found(&text(&["KEXEC"]));
        let all = shortfalls(&[known.clone(), other, known.clone()], |kernel| {
            (kernel.name == known.first.name).then_some(&found)
        });
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            one.to_string(),
            format!(
                "as the first kernel lacks CONFIG_KEXEC=y, which is not set: the loader loads by kexec_load(2); so says /boot/config; \
                 the cell {} and 2 more need it; take another kernel than {} there, or other cells with --filter",
                known.id, known.first.name
            )
        );
    }
}
