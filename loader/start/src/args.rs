//! The arguments that the kernel leaves on the initial stack.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

/// The program's arguments, `argv[0]` included, and its environment. They live as long as the process.
pub struct Args {
    /// `argv`.
    pub args: Vec<&'static [u8]>,
    /// `environ`, each as `NAME=value`.
    pub environment: Vec<&'static [u8]>,
}

impl Args {
    /// Reads the initial stack: argc, argv, a null, environ, a null (System V ABI, "Process Initialization").
    ///
    /// # Safety
    /// `stack` must be the stack pointer that the kernel gave to `_start`.
    #[doc(hidden)]
    pub unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the ABI puts argc at the stack pointer, and the null-terminated argv behind it.
        let (argv, argc) = unsafe { (stack.add(1).cast::<*const c_char>(), *stack) };
        // SAFETY: environ follows argv's terminating null.
        let environ = unsafe { argv.add(argc + 1) };
        // SAFETY: both are null-terminated arrays of strings, which nobody changes.
        unsafe { Self { args: strings(argv), environment: strings(environ) } }
    }
}

/// Collects a null-terminated array of C strings.
///
/// # Safety
/// `array` must point to such an array which lives, unchanged, as long as the process.
unsafe fn strings(mut array: *const *const c_char) -> Vec<&'static [u8]> {
    let mut found = Vec::new();
    loop {
        // SAFETY: the null that ends the array has not been met yet.
        let string = unsafe { *array };
        if string.is_null() {
            return found;
        }
        // SAFETY: the array's entries are C strings.
        found.push(unsafe { CStr::from_ptr(string) }.to_bytes());
        // SAFETY: this entry was not the last.
        array = unsafe { array.add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches an argv whose null is taken for environ's end, and argc taken for a string.
    #[test]
    fn reads_both_arrays() {
        let stack: [usize; 7] = [
            2,
            c"prog".as_ptr() as usize,
            c"-p".as_ptr() as usize,
            0,
            c"A=1".as_ptr() as usize,
            c"B=".as_ptr() as usize,
            0,
        ];
        // SAFETY: the array has the form of an initial stack, and its strings are static.
        let args = unsafe { Args::from_stack(stack.as_ptr()) };
        assert_eq!(args.args, [b"prog".as_slice(), b"-p"]);
        assert_eq!(args.environment, [b"A=1".as_slice(), b"B="]);
    }
}
