//! Tests of the bzImage reader, and a builder of small images for other tests.

use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Builds the smallest file that passes for a bzImage, with the fields that tests vary.
#[derive(Clone)]
pub(crate) struct FakeImage {
    pub(crate) protocol: u16,
    pub(crate) xloadflags: u16,
    pub(crate) init_size: u32,
    pub(crate) pref_address: u64,
    pub(crate) alignment: u32,
    pub(crate) initrd_addr_max: u32,
    pub(crate) kernel_size: usize,
    pub(crate) release: &'static str,
}

impl FakeImage {
    /// Like a Debian x86_64 kernel, with sizes in the real range.
    pub(crate) fn x86_64() -> Self {
        Self {
            protocol: 0x020f,
            xloadflags: 0x3f,
            init_size: 0x0290_0000,
            pref_address: 0x100_0000,
            alignment: 0x20_0000,
            initrd_addr_max: 0x7fff_ffff,
            kernel_size: 64 * 1024,
            release: "6.1.0-18-amd64",
        }
    }

    /// Like a Debian i386 kernel.
    pub(crate) fn i386() -> Self {
        Self {
            xloadflags: 0,
            init_size: 0x01d5_0000,
            alignment: 0x100_0000,
            release: "6.1.0-18-686-pae",
            ..Self::x86_64()
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = vec![0u8; 5 * SECTOR + self.kernel_size];
        let mut put = |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[4]);
        put(0x1f4, &((self.kernel_size / 16) as u32).to_le_bytes());
        put(0x1fe, &BOOT_FLAG.to_le_bytes());
        put(0x200, &[0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.protocol.to_le_bytes());
        // Text of the setup code, behind the header.
        put(0x20e, &0x100u16.to_le_bytes());
        put(0x300, self.release.as_bytes());
        put(0x300 + self.release.len(), b" (somebody@somewhere) #1 SMP");
        put(0x211, &[LOADED_HIGH]);
        put(0x22c, &self.initrd_addr_max.to_le_bytes());
        put(0x230, &self.alignment.to_le_bytes());
        put(0x234, &[1]);
        put(0x236, &self.xloadflags.to_le_bytes());
        put(0x238, &2047u32.to_le_bytes());
        put(0x248, &0x100u32.to_le_bytes());
        put(0x24c, &0x200u32.to_le_bytes());
        put(0x258, &self.pref_address.to_le_bytes());
        put(0x260, &self.init_size.to_le_bytes());
        put(5 * SECTOR + 0x100, &[0x28, 0xb5, 0x2f, 0xfd]);
        file
    }
}

#[test]
fn reads_the_fields_that_matter() {
    let file = FakeImage::x86_64().build();
    let image = BzImage::parse(&file).unwrap();
    assert_eq!(image.entries, Entries::Both { above_4g: true, five_levels: true, efi_kexec: true });
    assert_eq!(image.init_size, 0x0290_0000);
    assert_eq!(image.pref_address, PhysAddr(0x100_0000));
    assert_eq!(image.initrd_addr_max, PhysAddr(0x7fff_ffff));
    assert_eq!(image.header.len(), 0x26c - 0x1f1, "up to the end that the jump names");
    assert_eq!(image.kernel.len(), 64 * 1024);
    assert_eq!(image.release, b"6.1.0-18-amd64");
    assert_eq!(BzImage::parse(&FakeImage::i386().build()).unwrap().entries, Entries::Only32);
}

/// Catches fields that are read although the protocol does not have them yet.
#[test]
fn old_protocols_lack_the_newer_fields() {
    let entries = |protocol| {
        let file = FakeImage { protocol, ..FakeImage::x86_64() }.build();
        BzImage::parse(&file).map(|image| image.entries)
    };
    assert_eq!(entries(0x020a), Ok(Entries::Only32), "xloadflags came with 2.12");
    assert!(matches!(entries(0x0209), Err(NotABzImage::Unsuitable(why)) if why.contains("protocol 2.09")));
}

/// Catches a file that is known to be broken and still shown to a kernel, which drops what was loaded before it looks; and one of a
/// newer kind that is kept from it.
#[test]
fn only_what_is_no_bzimage_may_be_newer() {
    let whole = FakeImage::x86_64().build();
    let changed = |offset: usize, byte: u8| {
        let mut file = whole.clone();
        file[offset] = byte;
        file
    };
    let old = FakeImage { protocol: 0x0209, ..FakeImage::x86_64() }.build();
    for (file, newer) in [
        (changed(0x202, b'Z'), true),
        (changed(0x1fe, 0), true),
        (whole[..1000].to_vec(), false),
        (whole[..whole.len() - 100].to_vec(), false),
        (changed(0x234, 0), false),
        (changed(0x230, 3), false),
        (old, false),
    ] {
        let why = BzImage::parse(&file).err().expect("each is broken in its own way");
        assert_eq!(why.may_be_newer(), newer, "{why:?}");
    }
}

/// The release is only told to people: a pointer to nowhere, or to no text, must not refuse the image.
#[test]
fn a_release_that_is_not_there_is_none() {
    for (offset, value) in [(0x20e, [0u8, 0]), (0x20e, [0xff, 0xff]), (0x300, [0, 0]), (0x300, [0xff, b'x'])]
    {
        let mut file = FakeImage { kernel_size: 4096, ..FakeImage::x86_64() }.build();
        file[offset..offset + 2].copy_from_slice(&value);
        assert_eq!(
            BzImage::parse(&file).map(|image| image.release.to_vec()),
            Ok(vec![]),
            "{offset:#x} {value:?}"
        );
    }
}

/// What a signature appends is no code; half a paragraph may be missing at the end, more may not.
#[test]
fn the_code_ends_where_syssize_says() {
    let mut file = FakeImage::x86_64().build();
    file.extend_from_slice(&[0xaa; 1000]);
    assert_eq!(BzImage::parse(&file).unwrap().kernel.len(), 64 * 1024);
    file.truncate(5 * SECTOR + 64 * 1024 - 15);
    assert!(BzImage::parse(&file).is_ok());
    file.truncate(5 * SECTOR + 64 * 1024 - 16);
    assert_eq!(
        BzImage::parse(&file).err(),
        Some(NotABzImage::Truncated { expected: 64 * 1024, found: 64 * 1024 - 16 })
    );
}

#[test]
fn every_damage_has_its_message() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 9] = [
        ("too few for a setup header", |file| file.truncate(1000)),
        ("no 0xaa55", |file| file[0x1fe] = 0),
        ("no 0xaa55", |file| file[0x205] = b's'),
        ("not relocatable", |file| file[0x234] = 0),
        ("zImage", |file| file[0x211] = 0),
        ("kernel_alignment", |file| file[0x230] = 3),
        ("payload_offset", |file| file[0x24b] = 1),
        ("no format that kernels are compressed with", |file| file[5 * SECTOR + 0x100] = 0),
        ("init_size", |file| file[0x260..0x264].fill(0)),
    ];
    for (text, damage) in cases {
        let mut file = FakeImage::x86_64().build();
        damage(&mut file);
        let error = BzImage::parse(&file).err().map(|e| alloc::string::ToString::to_string(&e));
        assert!(error.as_deref().is_some_and(|e| e.contains(text)), "{text}: {error:?}");
    }
}

proptest! {
    /// No bytes make the reader panic, and what it accepts keeps its promises.
    #[test]
    fn any_bytes_are_read_or_refused(mut file in prop::collection::vec(any::<u8>(), 1024..4096), magic in any::<bool>()) {
        if magic {
            file[0x1fe..0x200].copy_from_slice(&BOOT_FLAG.to_le_bytes());
            file[0x202..0x206].copy_from_slice(b"HdrS");
        }
        if let Ok(image) = BzImage::parse(&file) {
            prop_assert!(image.alignment.is_power_of_two() && image.alignment >= crate::addr::PAGE);
            prop_assert!(image.init_size >= image.kernel.len() as u64);
        }
    }

    /// The same for a real header with damage in it.
    #[test]
    fn damaged_headers_are_read_or_refused(offset in 0x1f1usize..0x270, value in any::<u8>()) {
        let mut file = FakeImage::x86_64().build();
        file[offset] = value;
        let _ = BzImage::parse(&file).map(|image| (image.init_size, image.header.len()));
    }
}
