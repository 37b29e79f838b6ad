//! Errors of kexec_load by number, by name, and in the words of C libraries: loaders print any of the three.

/// Number on x86 (asm-generic/errno-base.h and errno.h), name, and the texts of glibc's and musl's strerror.
const ERRORS: [(i32, &str, &[&str]); 14] = [
    (1, "EPERM", &["Operation not permitted"]),
    (2, "ENOENT", &["No such file or directory"]),
    (7, "E2BIG", &["Argument list too long"]),
    (8, "ENOEXEC", &["Exec format error"]),
    (11, "EAGAIN", &["Resource temporarily unavailable"]),
    (12, "ENOMEM", &["Cannot allocate memory", "Out of memory"]),
    (13, "EACCES", &["Permission denied"]),
    (14, "EFAULT", &["Bad address"]),
    (16, "EBUSY", &["Device or resource busy", "Resource busy"]),
    (22, "EINVAL", &["Invalid argument"]),
    (34, "ERANGE", &["Numerical result out of range", "Result not representable"]),
    (38, "ENOSYS", &["Function not implemented"]),
    (75, "EOVERFLOW", &["Value too large for defined data type", "Value too large for data type"]),
    (99, "EADDRNOTAVAIL", &["Cannot assign requested address", "Address not available"]),
];

/// The name of an error number, where it is one that a load can meet.
pub fn name(errno: i32) -> Option<&'static str> {
    ERRORS.iter().find(|(number, _, _)| *number == errno).map(|(_, name, _)| *name)
}

/// The error with which the kernel refused a load, as told by the loader: a line in which `kexec_load` (or
/// `kexec_file_load`) is followed, behind a colon, by an error's name or text.
///
/// Only what stands right behind the colon counts, so that a loader which *explains* that the kernel would refuse something
/// is not taken for one that was refused by it.
pub(super) fn of_kexec_load(said: &str) -> Option<i32> {
    said.lines().flat_map(behind_calls).find_map(|behind| {
        let (between, error) = behind.split_once(':')?;
        if !matches!(between.trim(), "" | "failed" | "()" | "() failed") {
            return None;
        }
        at_start(error.trim_start())
    })
}

/// What stands behind each name of a call in a line. `kernel.kexec_load_disabled` has one in it as well.
fn behind_calls(line: &str) -> impl Iterator<Item = &str> {
    ["kexec_load", "kexec_file_load"]
        .into_iter()
        .flat_map(move |call| line.match_indices(call).map(move |(at, _)| &line[at + call.len()..]))
}

fn at_start(text: &str) -> Option<i32> {
    let word = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
    ERRORS
        .iter()
        .find(|(_, name, texts)| *name == word || texts.iter().any(|known| text.starts_with(known)))
        .map(|(number, _, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_error_is_read_in_every_spelling() {
        // A spelling that is missed turns "refused by the kernel" into "refused by the loader".
        for (said, errno) in [
            ("kexec_load failed: Cannot allocate memory\nentry       = 0x7bfff740 flags = 0x1", 12),
            ("kexec-load: kexec_load: ENOMEM (no room for control pages)", 12),
            ("noise\nkexec_load failed: Cannot assign requested address", 99),
            ("kexec_file_load failed: Operation not permitted", 1),
            ("kexec_load: EINVAL", 22),
            ("kexec_file_load: EPERM (1): not permitted: kernel.kexec_load_disabled is 1", 1),
        ] {
            assert_eq!(of_kexec_load(said), Some(errno), "{said}");
        }
    }

    #[test]
    fn a_loaders_own_refusal_is_not_taken_for_the_kernels() {
        for said in [
            "crash region 0x7b000000-0x8affffff lies above 0x37ffffff, the highest address an i386 capture kernel can run at",
            "kexec_load would answer: EADDRNOTAVAIL",
            "kexec_load: EINVALID",
            "Could not find a free area of memory of 0x8000 bytes...\nlocate_hole failed",
            "",
        ] {
            assert_eq!(of_kexec_load(said), None, "{said}");
        }
    }
}
