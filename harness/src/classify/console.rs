//! What kernels say on the console, as far as an outcome rests on it: the markers, with the sources of their words.

use std::borrow::Cow;

/// Starts the line with which a kernel says that it panics (kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing";

/// Starts the last line of a panic that nothing took over (kernel/panic.c).
const END_OF_PANIC: &str = "---[ end Kernel panic";

/// The first words of a kernel: its decompressor's early console and progress (arch/x86/boot/compressed/misc.c), and the
/// banner of the kernel proper (init/version.c).
const KERNEL_STARTS: [&str; 3] = ["early console in ", "Decompressing Linux", "Linux version "];

/// With these words an i386 kernel's decompressor refuses its place (arch/x86/boot/compressed/misc.c).
const DESTINATION_TOO_LARGE: &str = "Destination address too large";

/// The NMI was taken for a hiccup (arch/x86/kernel/nmi.c): `unknown_nmi_panic` was not in force.
const DAZED: &str = "Dazed and confused";

/// How a fault in kernel code begins (arch/x86/mm/fault.c): by name, and by the older word for an unknown address.
const FAULTS: [&str; 3] =
    ["BUG: unable to handle", "BUG: kernel NULL pointer dereference", "#PF: supervisor write access"];

/// The page-fault error code of a supervisor's write to a page that is not present (arch/x86/mm/fault.c).
const FAULT_CODE: &str = "error_code(0x0002)";

/// What a purgatory says when the loaded image is not the one whose digest it carries: kexec-tools' words
/// (purgatory/purgatory.c) and those of this repository's loader.
const PURGATORY_STOPS: [&str; 2] = ["sha256 digests do not match", "purgatory: "];

/// What a capture kernel says about a vmcore that it does not offer (fs/proc/vmcore.c).
const NO_VMCORE: [&str; 2] = ["Core image elf header", "Kdump: vmcore not initialized"];

/// Whether a kernel has begun to speak in these console bytes. Given the bytes since the trigger, that kernel is the capture
/// kernel (or, after a reset, the first one again).
pub fn kernel_started(console: &[u8]) -> bool {
    Text::new(console).kernel_start().is_some()
}

/// Console bytes as text. Bytes that are no UTF-8, and NULs, are what a serial line looks like when a kernel dies.
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(String::from_utf8_lossy(bytes))
    }

    /// Splits at the first words of a kernel: the text before them, and from them on.
    pub(super) fn split_at_kernel_start(&self) -> (Text<'_>, Option<Text<'_>>) {
        match self.kernel_start() {
            None => (Text(Cow::Borrowed(&self.0)), None),
            Some(at) => {
                let (before, from) = self.0.split_at(at);
                (Text(Cow::Borrowed(before)), Some(Text(Cow::Borrowed(from))))
            }
        }
    }

    fn kernel_start(&self) -> Option<usize> {
        KERNEL_STARTS.iter().filter_map(|words| self.0.find(words)).min()
    }

    /// The first panic line.
    pub(super) fn panic_line(&self) -> Option<&str> {
        // The end marker quotes the panic's reason, so it holds the same words.
        self.lines().find(|line| line.contains(PANIC) && !line.contains(END_OF_PANIC))
    }

    /// The last "end Kernel panic" line.
    pub(super) fn end_of_panic(&self) -> Option<&str> {
        self.lines().rfind(|line| line.contains(END_OF_PANIC))
    }

    /// Whether a fault was reported after the first panic line: the panic path itself faulted.
    ///
    /// Both its name and its error code are asked for: a warning in the panic path is not yet this fault.
    pub(super) fn faulted_after_panic(&self) -> bool {
        let Some(panic) = self.0.find(PANIC) else {
            return false;
        };
        let after = &self.0[panic..];
        after.contains(FAULT_CODE) && FAULTS.iter().any(|words| after.contains(words))
    }

    pub(super) fn destination_too_large(&self) -> bool {
        self.0.contains(DESTINATION_TOO_LARGE)
    }

    pub(super) fn dazed(&self) -> Option<&str> {
        self.lines().find(|line| line.contains(DAZED))
    }

    pub(super) fn purgatory_stop(&self) -> Option<&str> {
        self.lines().find(|line| PURGATORY_STOPS.iter().any(|words| line.contains(words)))
    }

    pub(super) fn no_vmcore(&self) -> Option<&str> {
        NO_VMCORE.iter().find_map(|words| self.lines().find(|line| line.contains(words)))
    }

    pub(super) fn last_line(&self) -> Option<&str> {
        self.lines().next_back()
    }

    /// Lines that say something, trimmed of line ends, NULs and blanks.
    fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .split('\n')
            .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '\0'))
            .filter(|line| !line.is_empty())
    }
}
