//! Tests of the purgatory: what it is told, and its digests and its verification as it will run them, in both modes.

use super::arena::{Arena, Mode};
use super::*;
use crate::addr::Span;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::digest::Digest;
use crate::options::OnMismatch;
use crate::segment::SegmentKind;
use crate::serial::Serial;
use crate::verification::Check;
use core::num::NonZeroU16;
use sha2::{Digest as _, Sha256};
use std::string::String;

unsafe extern "C" {
    static kexec_load_sha256_64: [u8; 0];
    static kexec_load_sha256_32: [u8; 0];
    static kexec_load_verify_64: [u8; 0];
    static kexec_load_verify_32: [u8; 0];
}

const AT: PhysAddr = PhysAddr(0x8aff_d000);

fn handover(running: Arch, entry: Entry) -> Handover {
    Handover {
        running,
        entry,
        kernel: PhysAddr(0x7b00_0000),
        boot_params: PhysAddr(0x8aff_9000),
        backup: None,
    }
}

fn unverified() -> Verification {
    Verification { checks: None, serial: None, greets: false, on_mismatch: OnMismatch::Halt }
}

/// Catches an entry of the wrong mode, a code segment that does not fit the exit, and an exit at the wrong offset.
#[test]
fn every_pair_gets_its_entry_and_exit() {
    use Entry::{Bits32, Bits64};
    let entry32 = offset_of_label(&raw const kexec_load_purgatory_entry32);
    let cases = [
        (Arch::X86_64, Bits64, 0, data::CODE_64, 0x7b00_0200, 64),
        (Arch::X86_64, Bits32, 0, data::CODE_32, 0x7b00_0000, 32),
        (Arch::I386, Bits32, entry32, data::CODE_32, 0x7b00_0000, 32),
    ];
    for (running, entry, start, code_segment, jump, bits) in cases {
        let (bytes, begin) = build(AT, &handover(running, entry), &unverified()).unwrap();
        let at = code().len();
        assert_eq!(begin.0, AT.0 + start as u64);
        assert_eq!(u64_at(&bytes, at + 16), Some(code_segment));
        assert_eq!(u64_at(&bytes, at + data::KERNEL_ENTRY), Some(jump));
        assert_eq!(u64_at(&bytes, at + data::BOOT_PARAMS), Some(0x8aff_9000));
        assert_eq!(u32_at(&bytes, at + data::EXIT_BITS), Some(bits));
        assert_eq!(u16_at(&bytes, at + data::GDT_POINTER), Some(39));
        assert_eq!(u64_at(&bytes, at + data::GDT_POINTER + 2), Some(AT.0 + at as u64));
    }
}

/// Catches a copy, a port, a speed or a reset that the purgatory is not told of, and one that it makes up.
#[test]
fn what_was_asked_for_is_told() {
    let plain = build(AT, &handover(Arch::X86_64, Entry::Bits64), &unverified()).unwrap().0;
    let source = Span::new(PhysAddr(0x1000), PhysAddr(0x9_fbff)).unwrap();
    let with = Handover {
        backup: Some(Saved { source, target: PhysAddr(0x8af0_0000) }),
        ..handover(Arch::X86_64, Entry::Bits64)
    };
    let serial = Serial { port: NonZeroU16::new(0x2f8).unwrap(), divisor: NonZeroU16::new(12) };
    let asked = Verification {
        checks: Some(Vec::new()),
        serial: Some(serial),
        greets: true,
        on_mismatch: OnMismatch::Reset,
    };
    let asked = build(AT, &with, &asked).unwrap().0;
    let at = code().len();
    for (bytes, long) in [(&plain, [0, 0, 0]), (&asked, [0x1000, 0x8af0_0000, 0x9_ec00])] {
        let offsets = [data::BACKUP_FROM, data::BACKUP_TO, data::BACKUP_SIZE];
        assert_eq!(offsets.map(|offset| u64_at(bytes, at + offset).unwrap()), long);
    }
    for (bytes, short) in [(&plain, [0, 0, 0]), (&asked, [0x2f8, 12, data::RESET])] {
        let offsets = [data::SERIAL_PORT, data::SERIAL_DIVISOR, data::ON_MISMATCH];
        assert_eq!(offsets.map(|offset| u32_at(bytes, at + offset).unwrap()), short);
    }
    assert_eq!(plain[at + data::GREETING], 0);
    assert!(asked[at + data::GREETING..].starts_with(b"\r\nkexec-load: verified 0 bytes\r\n\0"));
    assert_eq!(u32_at(&plain, at + data::CHECKS_SIZE), Some(0), "--no-checks");
    assert_eq!(u32_at(&asked, at + data::CHECKS_SIZE), Some(24), "the purgatory itself");
}

/// Catches code that is entered by another instruction than its first, and a stack that overlaps what was loaded.
#[test]
fn the_purgatory_fits_its_room() {
    assert_eq!(code()[..2], [0xfa, 0xfc], "cli, cld");
    let entry32 = offset_of_label(&raw const kexec_load_purgatory_entry32);
    assert_eq!(code()[entry32..][..2], [0xfa, 0xfc], "cli, cld");
    let checks = SegmentKind::ALL[1..].iter().map(|&segment| Check {
        segment,
        memory: Span::new(PhysAddr(u64::MAX - 1), PhysAddr(u64::MAX)).unwrap(),
        digest: Digest([0; 8]),
    });
    let all = Verification { checks: Some(checks.collect()), greets: true, ..unverified() };
    let bytes = build(AT, &handover(Arch::X86_64, Entry::Bits64), &all).unwrap().0;
    let word = |offset| u64_at(&bytes, code().len() + offset).unwrap();
    let [stack, tables] = [word(data::STACK), word(data::TABLES)];
    assert!(AT.0 + (bytes.len() + STACK_SIZE) as u64 <= stack, "{:#x} {stack:#x}", bytes.len());
    assert_eq!(stack, AT.0 + size(Arch::X86_64) as u64);
    assert!(stack <= tables && tables % PAGE == 0);
    assert_eq!(tables + 6 * PAGE, AT.0 + size(Arch::I386) as u64);
}

#[test]
fn an_address_that_wraps_gives_none() {
    assert_eq!(build(PhysAddr(u64::MAX - 10), &handover(Arch::X86_64, Entry::Bits64), &unverified()), None);
}

/// Random bytes, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    core::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

/// Lengths around every border of the padding, some larger ones, and one of many blocks.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([4095, 4096, 4097, 65_537, 999_999, 5 << 20, (5 << 20) + 63])
}

fn words(digest: &[u8]) -> [u32; 8] {
    core::array::from_fn(|i| u32::from_be_bytes(digest[4 * i..4 * i + 4].try_into().unwrap()))
}

/// Catches a wrong round, schedule or padding in the code of this program's mode, and words in the wrong order.
#[test]
fn digests_are_those_of_sha2() {
    let noise = noise(6 << 20);
    for length in lengths() {
        let message = &noise[length % 61..][..length];
        assert_eq!(Digest::of(message).0, words(&Sha256::digest(message)), "{length} bytes");
    }
    assert_eq!(
        std::format!("{}", Digest::of(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "FIPS 180-4's own example"
    );
}

/// The same for either mode's code, copied to another place: catches an address that is not relative, and a register that the caller
/// wants back, too.
#[test]
fn digests_are_those_of_sha2_in_both_modes() {
    let noise = noise(6 << 20);
    let mut arena = Arena::new();
    let at = arena.address(0);
    arena.put(at, code());
    let digest_at = arena.address(0x1_0000);
    for (mode, function) in [
        (Mode::Bits64, offset_of_label(&raw const kexec_load_sha256_64)),
        (Mode::Bits32, offset_of_label(&raw const kexec_load_sha256_32)),
    ] {
        for length in lengths() {
            let message = &noise[length % 61..][..length];
            let message_at = arena.address(0x2_0000 + length % 7);
            arena.put(message_at, message);
            // SAFETY: such functions lie there; the digest and the message are the arena's.
            unsafe { arena.call(mode, at + function, [digest_at, message_at, length]) };
            let found = arena.bytes_at(digest_at, 32);
            let found: [u32; 8] = core::array::from_fn(|i| u32_at(found, 4 * i).unwrap());
            assert_eq!(found, words(&Sha256::digest(message)), "{mode:?}, {length} bytes");
        }
    }
}

/// A purgatory and two segments in memory, as a panic finds them.
struct Loaded {
    arena: Arena,
    purgatory: usize,
    length: usize,
    kernel: usize,
    initrd: usize,
}

impl Loaded {
    fn new() -> Self {
        let mut arena = Arena::new();
        let [purgatory, kernel, initrd] = [0, 0x2_0000, 0x5_0000].map(|offset| arena.address(offset));
        let check = |segment, at: usize, bytes: &[u8]| Check {
            segment,
            memory: Span::sized(PhysAddr(at as u64), bytes.len() as u64).unwrap(),
            digest: Digest::of(bytes),
        };
        let (kernel_bytes, initrd_bytes) = (&noise(0x2_0011), &noise(0x1234)[1..]);
        arena.put(kernel, kernel_bytes);
        arena.put(initrd, initrd_bytes);
        let checks = std::vec![
            check(SegmentKind::Kernel, kernel, kernel_bytes),
            check(SegmentKind::Initrd, initrd, initrd_bytes),
        ];
        let verification = Verification { checks: Some(checks), ..unverified() };
        let place = PhysAddr(purgatory as u64);
        let (bytes, _) = build(place, &handover(Arch::X86_64, Entry::Bits64), &verification).unwrap();
        arena.put(purgatory, &bytes);
        Self { arena, purgatory, length: bytes.len(), kernel, initrd }
    }

    /// What the verification says: the text, or nothing.
    fn verify(&mut self, mode: Mode) -> Option<String> {
        let function = match mode {
            Mode::Bits64 => offset_of_label(&raw const kexec_load_verify_64),
            Mode::Bits32 => offset_of_label(&raw const kexec_load_verify_32),
        };
        let data = self.purgatory + code().len();
        // SAFETY: such functions lie there; the data name memory of the arena alone.
        let text = unsafe { self.arena.call(mode, self.purgatory + function, [data, 0, 0]) };
        (text != 0).then(|| {
            let bytes = self.arena.bytes_at(text, 200);
            let end = bytes.iter().position(|&byte| byte == 0).unwrap();
            String::from_utf8(bytes[..end].to_vec()).unwrap()
        })
    }

    /// The segment and the range that the verification names after the byte at this address was changed. It is changed back.
    fn after_flip(&mut self, mode: Mode, address: usize) -> Option<String> {
        self.arena.bytes_at(address, 1)[0] ^= 0x10;
        let text = self.verify(mode);
        self.arena.bytes_at(address, 1)[0] ^= 0x10;
        let text = text?;
        let text = text.strip_prefix("\r\nkexec-load: SHA-256 of the ").unwrap();
        let end = " does not match what was loaded: the capture kernel is not started\r\n";
        Some(text.strip_suffix(end).unwrap().into())
    }
}

/// Catches a byte that nothing covers, a text of another segment, and a mismatch where nothing has changed.
#[test]
fn a_changed_byte_is_named_in_both_modes() {
    let mut loaded = Loaded::new();
    let (purgatory, kernel, initrd) = (loaded.purgatory, loaded.kernel, loaded.initrd);
    let code_end = purgatory + code().len();
    let digests = purgatory + loaded.length - 3 * 32;
    for mode in [Mode::Bits64, Mode::Bits32] {
        assert_eq!(loaded.verify(mode), None, "{mode:?}");
        let own = std::format!("purgatory at {purgatory:#x}-{:#x}", digests - 1);
        let of_kernel = std::format!("kernel at {kernel:#x}-{:#x}", kernel + 0x2_0010);
        let of_initrd = std::format!("initrd at {initrd:#x}-{:#x}", initrd + 0x1232);
        for (address, named) in [
            (kernel, &of_kernel),
            (kernel + 0x1_2345, &of_kernel),
            (kernel + 0x2_0010, &of_kernel),
            (initrd, &of_initrd),
            (initrd + 0x1232, &of_initrd),
            (purgatory, &own),
            (code_end + data::KERNEL_ENTRY, &own),
            (code_end + data::BOOT_PARAMS + 5, &own),
            (code_end + data::CHECKS_SIZE, &own),
            (code_end + data::CHECKS + data::CHECK_SIZE + data::CHECK_LENGTH, &own),
            (code_end + data::CHECKS + data::CHECK_SIZE + data::CHECK_LENGTH + 3, &own),
            (digests - 1, &own),
            (digests, &own),
            (digests + 32, &of_kernel),
            (digests + 95, &of_initrd),
        ] {
            assert_eq!(loaded.after_flip(mode, address).as_ref(), Some(named), "{mode:?}, {address:#x}");
        }
        // Of the first entry nothing may be believed, or the verification leaves its memory.
        for byte in (data::CHECK_ADDRESS..data::CHECK_TEXT).chain([18, 19, 22, 23]) {
            let address = code_end + data::CHECKS + byte;
            assert_eq!(loaded.after_flip(mode, address).as_ref(), Some(&own), "{mode:?}, byte {byte}");
        }
        // Beyond the bytes lie the zeros over which the capture kernel unpacks itself.
        assert_eq!(loaded.after_flip(mode, kernel + 0x2_0011), None);
        assert_eq!(loaded.verify(mode), None, "{mode:?}, all changed back");
    }
}
