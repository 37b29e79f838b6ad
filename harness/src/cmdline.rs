//! The command lines of both kernels and the loader's arguments: pure functions of the cell.

use crate::cell::{Cell, Loader, Reader, Reservation, Tamper};
use guest_protocol::{SIDE_PARAMETER, Side};

/// The agent in both initramfs images.
pub const AGENT_PATH: &str = "/init";

/// Where the files of a cell's load lie in the first kernel's initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The words that start the loader: its path, or a dynamic linker, its options and then the path.
    pub program: Vec<String>,
    /// The capture kernel's image.
    pub kernel: String,
    /// The capture kernel's initramfs.
    pub initrd: String,
}

/// A reader of the vmcore in the capture kernel's initramfs.
pub const READER_PATH: &str = "/bin/vmcore-reader";
/// What the capture kernel offers it.
const VMCORE_PATH: &str = "/proc/vmcore";

/// Words that both kernels need to speak on the first port, early as well, and to run the agent.
///
/// `earlyprintk` makes the decompressor speak too ("Destination address too large" is only seen there).
const COMMON: &str = "console=ttyS0,115200 earlyprintk=ttyS0,115200";

/// Boots are emulated, and the crypto library's self-tests take half of an i386 kernel's time, and a sixth of an x86_64 one's. They say nothing
/// of a load. A cell with `cryptomgr.notests=0` behind it has them.
const NO_SELF_TESTS: &str = "cryptomgr.notests";

/// The first kernel's command line.
pub fn first_cmdline(cell: &Cell) -> String {
    let side = format!("{SIDE_PARAMETER}={}", Side::First.name());
    let mut words: Vec<String> = vec![COMMON.into(), format!("rdinit={AGENT_PATH}"), side];
    words.push(format!("crashkernel={}", cell.reservation));
    words.push(NO_SELF_TESTS.into());
    // On a starved host the timer's interrupts come late, and the kernel's check of them ("IO-APIC + timer doesn't work") panics a
    // kernel with which nothing is wrong. The capture kernel keeps it as well: a jump may leave the timer's routing broken.
    words.push("no_timer_check".into());
    // The trigger is an NMI that nobody claims: the kernel must panic on it, and the watchdog must not claim it.
    words.extend(["unknown_nmi_panic=1".into(), "nmi_watchdog=0".into()]);
    match cell.reservation {
        // KASLR may put the first kernel into a fixed region, which then is not reserved, now and then.
        Reservation::At { .. } => words.push("nokaslr".into()),
        Reservation::Auto { .. } | Reservation::High { .. } => {}
    }
    words.extend(cell.first_cmdline.iter().cloned());
    words.join(" ")
}

/// The capture kernel's command line, as the loader is given it (it appends its own words, such as `elfcorehdr=`).
///
/// `reset_devices nr_cpus=1` is what distributions pass. No `unknown_nmi_panic`: a second NMI must not kill this kernel.
/// KASLR stays on, as users have it.
pub fn capture_cmdline(cell: &Cell) -> String {
    let side = format!("{SIDE_PARAMETER}={}", Side::Capture.name());
    let mut words: Vec<String> = vec![COMMON.into(), format!("rdinit={AGENT_PATH}"), side];
    words.extend(["reset_devices".into(), "nr_cpus=1".into(), NO_SELF_TESTS.into()]);
    words.extend(cell.capture_cmdline.iter().cloned());
    words.join(" ")
}

/// The capture kernel's command line as it was before its self-tests were left out: reports of that time are judged again as well.
pub(crate) fn earlier_capture_cmdline(cell: &Cell) -> String {
    capture_cmdline(cell).replacen(&format!(" {NO_SELF_TESTS}"), "", 1)
}

/// The loader's argument vector, the words that start it included.
pub fn loader_argv(cell: &Cell, places: &Places) -> Vec<String> {
    let debug = match cell.loader {
        Loader::InTree => true,
        // kexec-tools' --debug prints hundreds of lines, which would drown the refusal's message; but a rig that changes what was
        // loaded must know where that is, and what a loader is to have said of its success it says with this option alone.
        Loader::KexecTools(_) | Loader::Path(_) => {
            cell.tamper != Tamper::None || cell.expected.asks_what_was_said()
        }
    };
    loader_argv_saying(cell, places, debug)
}

/// The same, with or without `--debug`, by which a loader says where it puts what.
pub fn loader_argv_saying(cell: &Cell, places: &Places, debug: bool) -> Vec<String> {
    let mut argv = places.program.clone();
    argv.push("--load-panic".into());
    if debug {
        argv.push("--debug".into());
    }
    argv.push(format!("--initrd={}", places.initrd));
    argv.push(format!("--command-line={}", capture_cmdline(cell)));
    argv.extend(cell.loader_args.iter().cloned());
    argv.push(places.kernel.clone());
    argv
}

/// The reader's argument vector; none in a cell without one.
pub fn reader_argv(cell: &Cell) -> Option<Vec<String>> {
    match cell.reader.as_ref()? {
        Reader::VmcoreDmesg(_) => Some(vec![READER_PATH.to_owned(), VMCORE_PATH.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Expectation, ExpectedTold, ExpectedVmcore};
    use crate::testing;

    /// Bug: a forced offset without `nokaslr` is sporadically not reserved; `nokaslr` elsewhere tests what nobody runs.
    #[test]
    fn nokaslr_exactly_for_fixed_offsets() {
        let fixed = testing::cell();
        assert_eq!(
            first_cmdline(&fixed),
            "console=ttyS0,115200 earlyprintk=ttyS0,115200 rdinit=/init kdump_rig=first crashkernel=256M@1968M \
             cryptomgr.notests no_timer_check unknown_nmi_panic=1 nmi_watchdog=0 nokaslr"
        );
        for reservation in
            [Reservation::Auto { size: testing::mib(256) }, Reservation::High { size: testing::mib(256) }]
        {
            let cell = Cell { reservation, ..testing::cell() };
            assert!(!first_cmdline(&cell).contains("nokaslr"), "{reservation}");
        }
    }

    /// Bug: the capture kernel panics at a stray NMI, boots as the first side, or loses the scenario's words.
    #[test]
    fn the_capture_kernels_words() {
        let cell = Cell { capture_cmdline: vec!["nokaslr".into()], ..testing::cell() };
        assert_eq!(
            capture_cmdline(&cell),
            "console=ttyS0,115200 earlyprintk=ttyS0,115200 rdinit=/init kdump_rig=capture reset_devices nr_cpus=1 \
             cryptomgr.notests nokaslr"
        );
    }

    /// Bug: an option that kexec-tools does not know (or `--debug`'s flood) makes every reference cell fail.
    #[test]
    fn both_loaders_get_the_same_load() {
        let ours = Cell { loader_args: vec!["--ignore-address-limits".into()], ..testing::cell() };
        let command_line = format!("--command-line={}", capture_cmdline(&ours));
        let places = Places {
            program: vec!["/bin/kexec-load".into()],
            kernel: "/boot/capture.bzimage".into(),
            initrd: "/boot/capture.initrd".into(),
        };
        let expected = [
            "/bin/kexec-load",
            "--load-panic",
            "--debug",
            "--initrd=/boot/capture.initrd",
            &command_line,
            "--ignore-address-limits",
            "/boot/capture.bzimage",
        ];
        assert_eq!(loader_argv(&ours, &places), expected);
        let theirs = Cell { loader: Loader::KexecTools("2.0.25".into()), ..testing::cell() };
        assert!(!loader_argv(&theirs, &places).contains(&"--debug".to_owned()));
        let tampered = Cell { tamper: Tamper::Kernel, ..theirs };
        assert!(loader_argv(&tampered, &places).contains(&"--debug".to_owned()));
        let expected = Expectation::Captured {
            vmcore: ExpectedVmcore::Verified,
            told: ExpectedTold::default(),
            message: vec!["loaded by kexec_file_load".into()],
        };
        let mutant = Cell { loader: Loader::Path("/tmp/mutant".into()), expected, ..testing::cell() };
        assert!(loader_argv(&mutant, &places).contains(&"--debug".to_owned()), "it would say nothing");
    }
}
