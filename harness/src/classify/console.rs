//! What kernels say on the console, as far as an outcome rests on it: the markers, with the sources of their words.

/// Starts the line with which a kernel says that it panics (kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing";

/// Starts the last line of a panic that nothing took over (kernel/panic.c).
const END_OF_PANIC: &str = "---[ end Kernel panic";

/// The first words of a kernel's decompressor: its early console and its progress (arch/x86/boot/compressed/misc.c), what it says
/// of KASLR (kaslr.c), and what it gives up with (misc.c, error.c). Without an early console the last ones may be all that it says.
const DECOMPRESSOR: [&str; 5] = [
    "early console in ",
    "Decompressing Linux",
    "KASLR disabled: ",
    DESTINATION_TOO_LARGE,
    DECOMPRESSOR_STOPS,
];

/// The first words of the kernel proper (init/version.c).
const BANNER: &str = "Linux version ";

/// With these words an i386 kernel's decompressor refuses its place (arch/x86/boot/compressed/misc.c).
const DESTINATION_TOO_LARGE: &str = "Destination address too large";

/// Printed by a panic notifier (arch/x86/kernel/setup.c, `dump_kernel_offset`), which runs where the jump to a crash image has
/// already failed. Often the last words out of an NMI, since the end marker then stays in a buffer that nobody empties.
const NOTIFIER: &str = "Kernel Offset: ";

/// With this word on its command line a kernel runs the panic notifiers before it jumps (kernel/panic.c).
pub(super) const NOTIFIERS_FIRST: &str = "crash_kexec_post_notifiers";

/// The NMI was taken for a hiccup (arch/x86/kernel/nmi.c): `unknown_nmi_panic` was not in force.
const DAZED: &str = "Dazed and confused";

/// How a fault in kernel code begins (arch/x86/mm/fault.c): by name, and by the older word for an unknown address.
const FAULTS: [&str; 3] =
    ["BUG: unable to handle", "BUG: kernel NULL pointer dereference", "#PF: supervisor write access"];

/// The page-fault error code of a supervisor's write to a page that is not present (arch/x86/mm/fault.c).
const FAULT_CODE: &str = "error_code(0x0002)";

/// What a purgatory says when the loaded image is not the one whose digest it carries: kexec-tools' words
/// (purgatory/purgatory.c) and those of this repository's loader.
const PURGATORY_STOPS: [&str; 2] = ["sha256 digests do not match", "does not match what was loaded"];

/// What a capture kernel says about core headers that it found and does not accept: of a foreign machine, or with memory that
/// it cannot reach (fs/proc/vmcore.c).
const NO_VMCORE: [&str; 2] = ["Core image elf header is not sane", "Kdump: vmcore not initialized"];

/// What it says where `elfcorehdr=` points to no ELF header at all (fs/proc/vmcore.c): then the loader is wrong.
const NO_CORE_HEADER: &str = "Core image elf header not found";

/// Where an i386 kernel copies its control code, through a mapping that a control page outside of low memory does not have
/// (arch/x86/kernel/machine_kexec_32.c).
const CONTROL_CODE_COPY: &str = "machine_kexec";

/// A breakpoint that the kernel knows nothing of (arch/x86/kernel/traps.c, `exc_int3`).
const STRAY_BREAKPOINT: &str = "int3: 0000 [#";

/// The panic of a kernel that sees no interrupts of its timer in a few milliseconds (arch/x86/kernel/apic/io_apic.c, `check_timer`).
const NO_TIMER: &str = "IO-APIC + timer doesn't work";

/// With this a kernel says that it starts its first program (init/main.c).
const INIT_STARTS: &str = "as init process";

/// The last line of a decompressor that gives up (arch/x86/boot/compressed/error.c).
const DECOMPRESSOR_STOPS: &str = "-- System halted";

/// Before the name of the function that faulted (arch/x86/kernel/dumpstack.c): with i386, and with x86_64.
const FAULTING: [&str; 2] = ["EIP: ", "RIP: 0010:"];

/// Begins the line with which an i386 kernel says where its low memory ends, in hexadecimal without a prefix
/// (arch/x86/mm/init_32.c).
const LOW_RAM: &str = "  low ram: 0 - ";

/// Words on the console that show where a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Landmark {
    /// A kernel panics.
    Panic,
    /// A kernel's decompressor speaks.
    Decompressor,
    /// The kernel proper speaks.
    Banner,
}

impl Landmark {
    /// All of them, in the order in which a guest comes by them after the trigger.
    pub const ALL: [Self; 3] = [Self::Panic, Self::Decompressor, Self::Banner];

    /// The longest words that a landmark is known by, in bytes.
    pub const LONGEST: usize = DESTINATION_TOO_LARGE.len();

    /// Whether these console bytes have it. Since the trigger, a kernel that speaks is the capture kernel (or, after a reset, the
    /// first one again).
    pub fn is_in(self, console: &[u8]) -> bool {
        let holds = |words: &str| console.windows(words.len()).any(|bytes| bytes == words.as_bytes());
        match self {
            Self::Panic => holds(PANIC),
            Self::Decompressor => DECOMPRESSOR.into_iter().any(holds),
            Self::Banner => holds(BANNER),
        }
    }
}

/// What an i386 kernel says of its low memory; the first that speaks is the first kernel.
/// The first address beyond it.
pub(crate) fn low_memory_end(console: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(console);
    let (_, rest) = text.split_once(LOW_RAM)?;
    let digits: &str = rest.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    u64::from_str_radix(digits, 16).ok()
}

/// What a kernel says that has no handler for the agent's format (init/main.c, `kernel_init`; ENOEXEC).
const INIT_NOT_EXECUTABLE: &str = "Failed to execute /init (error -8)";

/// Console bytes as text. Bytes that are no UTF-8, and NULs, are what a serial line looks like when a kernel dies.
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Splits at the first words of a kernel: the text before them, and from them on.
    pub(super) fn split_at_kernel_start(&self) -> (Self, Option<Self>) {
        match self.kernel_start() {
            None => (Self(self.0.clone()), None),
            Some(at) => {
                let (before, from) = self.0.split_at(at);
                (Self(before.to_owned()), Some(Self(from.to_owned())))
            }
        }
    }

    fn kernel_start(&self) -> Option<usize> {
        DECOMPRESSOR.iter().chain([&BANNER]).filter_map(|words| self.0.find(words)).min()
    }

    /// The first panic line.
    pub(crate) fn panic_line(&self) -> Option<&str> {
        self.panic_lines().next()
    }

    /// The line after which a panic has nothing more to do, so that nothing will take over any more: the end marker; a second
    /// panic, from inside the first one's path, which does not try to jump again (kernel/panic.c: only the CPU's first panic
    /// owns the crash image); or what notifiers print, unless they run before the jump.
    pub(super) fn last_of_panic(&self, notifiers_first: bool) -> Option<&str> {
        let notifier = || {
            let mut after = self.lines().skip_while(|line| !line.contains(PANIC));
            if notifiers_first { None } else { after.find(|line| line.contains(NOTIFIER)) }
        };
        self.end_of_panic().or_else(|| self.panic_lines().nth(1)).or_else(notifier)
    }

    /// The last "end Kernel panic" line.
    pub(super) fn end_of_panic(&self) -> Option<&str> {
        self.lines().rfind(|line| line.contains(END_OF_PANIC))
    }

    /// Whether a fault was reported after the first panic line, in the code that prepares the jump.
    ///
    /// Its name, its error code and the place are asked for: any other fault in the panic path is another bug.
    pub(super) fn faulted_after_panic(&self) -> bool {
        self.after_panic().is_some_and(|after| {
            after.contains(FAULT_CODE)
                && after.contains(CONTROL_CODE_COPY)
                && FAULTS.iter().any(|words| after.contains(words))
        })
    }

    /// Whether a kernel has said that it panics, or that it has faulted.
    pub(super) fn tells_of_trouble(&self) -> bool {
        self.contains(PANIC) || FAULTS.iter().any(|words| self.contains(words))
    }

    /// A fault by a breakpoint that the kernel knows nothing of.
    pub(crate) fn stray_breakpoint(&self) -> Option<&str> {
        self.line_with(STRAY_BREAKPOINT)
    }

    /// Whether a kernel panicked because no interrupt of its timer came in time.
    pub(super) fn missed_its_timer(&self) -> bool {
        self.panic_lines().any(|line| line.contains(NO_TIMER))
    }

    /// The line with which a kernel says that it cannot run the agent's format of program.
    pub(super) fn init_not_executable(&self) -> Option<&str> {
        self.line_with(INIT_NOT_EXECUTABLE)
    }

    /// Whether the kernel proper has spoken.
    pub(super) fn has_banner(&self) -> bool {
        self.contains(BANNER)
    }

    pub(super) fn destination_too_large(&self) -> bool {
        self.contains(DESTINATION_TOO_LARGE)
    }

    pub(super) fn dazed(&self) -> Option<&str> {
        self.line_with(DAZED)
    }

    pub(super) fn purgatory_stop(&self) -> Option<&str> {
        PURGATORY_STOPS.iter().find_map(|words| self.line_with(words))
    }

    pub(super) fn no_core_header(&self) -> Option<&str> {
        self.line_with(NO_CORE_HEADER)
    }

    pub(super) fn no_vmcore(&self) -> Option<&str> {
        NO_VMCORE.iter().find_map(|words| self.line_with(words))
    }

    /// The last line that says something, an unfinished one too.
    pub(crate) fn last_line(&self) -> Option<&str> {
        self.lines().next_back()
    }

    /// Whether nothing was said at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.last_line().is_none()
    }

    /// Whether a kernel has started its init.
    pub(crate) fn ran_init(&self) -> bool {
        self.contains(INIT_STARTS)
    }

    /// Why a decompressor gave up: the line before the one that it ends with.
    pub(crate) fn decompressor_error(&self) -> Option<&str> {
        let mut lines = self.lines().rev();
        lines.find(|line| *line == DECOMPRESSOR_STOPS)?;
        lines.next()
    }

    /// The function in which a kernel faulted after its panic had begun, without offsets.
    pub(crate) fn faulting_function(&self) -> Option<&str> {
        // The panic itself may name a place as well: that of the code into which the NMI came.
        let panic = &self.0[self.0.find(PANIC)?..];
        let after = &panic[FAULTS.iter().filter_map(|words| panic.find(words)).min()?..];
        let place = FAULTING.iter().filter_map(|words| Some(after.split_once(words)?.1)).next()?;
        let name = place.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))).next()?;
        (!name.is_empty()).then_some(name)
    }

    /// The text from the first panic line on.
    fn after_panic(&self) -> Option<Self> {
        self.0.find(PANIC).map(|at| Self(self.0[at..].to_owned()))
    }

    fn contains(&self, words: &str) -> bool {
        self.0.contains(words)
    }

    fn line_with(&self, words: &str) -> Option<&str> {
        self.lines().find(|line| line.contains(words))
    }

    fn panic_lines(&self) -> impl Iterator<Item = &str> {
        // The end marker quotes the panic's reason, so it holds the same words.
        self.lines().filter(|line| line.contains(PANIC) && !line.contains(END_OF_PANIC))
    }

    /// Lines that say something, trimmed of line ends, NULs and blanks.
    fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .split('\n')
            .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '\0'))
            .filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_keeps_every_byte_on_its_side() {
        // A panic line that is cut by the capture kernel's first words stays the first kernel's.
        let text = Text::new(
            "é\0\0Kernel panic - not syncing: NMI[    0.000000] Linux version 6.1\r\nmore".as_bytes(),
        );
        let (before, from) = text.split_at_kernel_start();
        assert_eq!(before.0, "é\0\0Kernel panic - not syncing: NMI[    0.000000] ");
        assert!(
            from.is_some_and(|from| from.0 == "Linux version 6.1\r\nmore" && from.panic_line().is_none())
        );
    }

    #[test]
    fn the_last_words_of_a_panic_are_known_without_the_end_marker() {
        let panic = "Kernel panic - not syncing: NMI: Not continuing\r\n";
        let last = |text: String, notifiers_first| {
            Text::new(text.as_bytes()).last_of_panic(notifiers_first).map(str::to_owned)
        };
        assert_eq!(last(panic.to_owned(), false), None);
        let second = "Kernel panic - not syncing: Fatal exception in interrupt";
        assert_eq!(
            last(format!("{panic}{second}\r\nKernel Offset: disabled\r\n"), true).as_deref(),
            Some(second)
        );
        let notified = format!("Kernel Offset: early\r\n{panic}Kernel Offset: disabled\r\n");
        assert_eq!(last(notified.clone(), false).as_deref(), Some("Kernel Offset: disabled"));
        // Where notifiers run first, the jump may still follow.
        assert_eq!(last(notified, true), None);
    }
}
