//! Loading by kexec_file_load(2): the kernel reads the files, verifies them, and plans.

use super::files::WholeFile;
use super::{call, complain, facts, firmware, native};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kexec_load::bzimage::BzImage;
use kexec_load::cmdline;
use kexec_load::denied::WayOut;
use kexec_load::kexec::{self, Call, FileLoader};
use kexec_load::rule::Arch;
use syscalls::Errno;

/// A call that did not do what it was to do.
pub(crate) struct NotLoaded {
    /// Why.
    pub(crate) why: String,
    /// Whether kexec_load may do better.
    pub(crate) falls_back: bool,
}

impl NotLoaded {
    /// The call was not made, for it cannot be had, or not for this image. Nothing has changed.
    fn impossible(why: &str) -> Self {
        Self { why: format!("{}: {why}", Call::FileLoad), falls_back: true }
    }

    /// What is wrong is wrong for any call.
    fn hopeless(why: String) -> Self {
        Self { why, falls_back: false }
    }

    /// The call failed.
    fn failed(failed: call::Failed) -> Self {
        Self { falls_back: kexec::falls_back(failed.errno), why: failed.why }
    }
}

/// Loads these files, with this command line. `image` is what is known of the kernel; what this program cannot make out is left to the
/// running kernel, which may be newer.
pub(crate) fn load(
    kernel: &WholeFile,
    image: Option<&BzImage<'_>>,
    initrd: Option<&WholeFile>,
    line: &[u8],
    debug: bool,
) -> Result<(), NotLoaded> {
    let running = facts::running_arch().map_err(NotLoaded::hopeless)?;
    // The kernel drops what was loaded before it looks at the image: what it will not take must not get so far.
    cmdline::check(line).map_err(|why| NotLoaded::hopeless(why.to_string()))?;
    available(running)?;
    if let Some(image) = image {
        let kernel =
            FileLoader { running, five_levels: facts::five_levels(), efi_32bit: firmware::is_efi_32bit() };
        kexec::fit_for_file_load(&kernel, image).map_err(NotLoaded::impossible)?;
        cmdline::check_for_file_load(line, image.cmdline_size)
            .map_err(|why| NotLoaded::impossible(&why.to_string()))?;
    }
    let initrd = initrd.map(WholeFile::file);
    let flags = kexec::FILE_ON_CRASH | if initrd.is_some() { 0 } else { kexec::FILE_NO_INITRAMFS };
    if debug {
        complain(&format!(
            "{}: flags {flags:#x}, command line: {}",
            Call::FileLoad,
            String::from_utf8_lossy(line)
        ));
    }
    let line: Vec<u8> = line.iter().copied().chain([0]).collect();
    make(running, &|| call::kexec_file_load(Some(kernel.file()), initrd, &line, flags))
}

/// Drops what is loaded.
pub(crate) fn unload(running: Arch) -> Result<(), NotLoaded> {
    available(running)?;
    make(running, &|| call::kexec_file_load(None, None, &[], kexec::FILE_ON_CRASH | kexec::FILE_UNLOAD))
}

/// Makes the call.
fn make(running: Arch, it: &dyn Fn() -> Result<(), Errno>) -> Result<(), NotLoaded> {
    let way_out = WayOut::beside(Call::FileLoad, running, false);
    call::make(Call::FileLoad, way_out, it).map_err(NotLoaded::failed)
}

/// Whether this program can make the call on this kernel.
fn available(running: Arch) -> Result<(), NotLoaded> {
    if running == Arch::I386 {
        return Err(NotLoaded::impossible(kexec::NO_FILE_LOAD));
    }
    native::possible().map_err(|why| {
        NotLoaded::impossible(&format!("32-bit programs make it as 64-bit ones do, and {why}"))
    })
}
