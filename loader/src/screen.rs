//! The screen that the capture kernel is told of: `screen_info` in boot_params (include/uapi/linux/screen_info.h).
//!
//! The running kernel's boot_params say where firmware left the screen. A text screen is still where it was. A framebuffer is, as long as a
//! driver of firmware's framebuffer has it; a driver of the card itself has moved it, and what the capture kernel's console then writes to
//! the old address may come down anywhere in the card's memory or its registers.

/// Offset of `screen_info` in boot_params.
pub const AT: usize = 0;
/// Its size in bytes.
pub const SIZE: usize = 0x40;

/// `ext_mem_k`, 2 bytes: memory above 1 MiB as a BIOS counts it, and no longer the capture kernel's.
const EXT_MEM_K: usize = 0x02;
/// `orig_video_isVGA`, 1 byte: what kind of screen it is.
const KIND: usize = 0x0f;
/// The first of the fields that describe a framebuffer (`lfb_width`); all that follows is about it too.
const FRAMEBUFFER: usize = 0x12;

/// VIDEO_TYPE_VLFB: a framebuffer that a VESA BIOS set up.
const VESA: u8 = 0x23;
/// VIDEO_TYPE_EFI: a framebuffer that UEFI set up.
const EFI: u8 = 0x70;

/// Names of the drivers of firmware's framebuffer: `fix.id` of efifb, vesafb and simplefb (drivers/video/fbdev), and of DRM's for the same
/// (drivers/gpu/drm/sysfb, their names with "drmfb" behind).
const FIRMWARES: [&[u8]; 6] =
    [b"EFI VGA", b"VESA VGA", b"simple", b"simpledrmdrmfb", b"efidrmdrmfb", b"vesadrmdrmfb"];

/// `screen_info` for the capture kernel, of a running kernel with these boot_params and framebuffers; none if boot_params are unknown.
///
/// In place of a framebuffer that has moved there is one of UEFI without lines: text consoles keep off (drivers/video/console/vgacon.c,
/// `vgacon_startup`), where no kind at all with the columns of a BIOS would set them going, and efifb does not take it
/// (drivers/video/fbdev/efifb.c, `efifb_probe`).
pub fn told(boot_params: &[u8], framebuffers: Framebuffers<'_>) -> Option<[u8; SIZE]> {
    let mut screen: [u8; SIZE] = boot_params.get(AT..AT + SIZE)?.try_into().ok()?;
    screen[EXT_MEM_K..EXT_MEM_K + 2].fill(0);
    if matches!(screen[KIND], VESA | EFI) && !framebuffers.are_firmwares() {
        screen[FRAMEBUFFER..].fill(0);
        screen[KIND] = EFI;
    }
    Some(screen)
}

/// What is known of the running kernel's framebuffers.
#[derive(Clone, Copy, Debug)]
pub enum Framebuffers<'a> {
    /// The user answers for it that they are where firmware left them (`--reuse-video-type`).
    Vouched,
    /// The text of /proc/fb, empty if there is none.
    Listed(&'a [u8]),
}

impl Framebuffers<'_> {
    /// Whether firmware's framebuffer is still there: a line such as `0 EFI VGA` names a driver of it.
    fn are_firmwares(self) -> bool {
        let Self::Listed(list) = self else { return true };
        list.split(|&byte| byte == b'\n').any(|line| {
            let name = line.trim_ascii().splitn(2, |&byte| byte == b' ').nth(1);
            name.is_some_and(|name| FIRMWARES.contains(&name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_params(kind: u8) -> [u8; 4096] {
        let mut params = [0x11; 4096];
        params[KIND] = kind;
        params
    }

    /// Catches a framebuffer handed on where a driver has moved it, or where nobody knows, and one that is withheld while firmware's driver
    /// shows that it is still there.
    #[test]
    fn a_framebuffer_is_told_while_it_is_firmwares() {
        for kind in [VESA, EFI] {
            for still in [&b"0 EFI VGA\n"[..], b"0 VESA VGA\n", b"0 i915drmfb\n1 simpledrmdrmfb\n"] {
                let screen = told(&boot_params(kind), Framebuffers::Listed(still)).unwrap();
                assert_eq!((screen[KIND], screen[0x18], screen[0x3f]), (kind, 0x11, 0x11), "{still:?}");
            }
            let screen = told(&boot_params(kind), Framebuffers::Vouched).unwrap();
            assert_eq!((screen[KIND], screen[0x18]), (kind, 0x11), "--reuse-video-type");
            for moved in [&b""[..], b"0 i915drmfb\n", b"EFI VGA\n", b"0 EFI VGA 2\n"] {
                let screen = told(&boot_params(kind), Framebuffers::Listed(moved)).unwrap();
                assert_eq!((screen[KIND], screen[0x11]), (EFI, 0x11), "{moved:?}");
                assert!(screen[0x12..].iter().all(|&byte| byte == 0), "{moved:?}");
            }
        }
    }

    /// Catches a text screen that is lost, and the running kernel's count of memory handed on with it.
    #[test]
    fn a_text_screen_stays() {
        let screen = told(&boot_params(1), Framebuffers::Listed(b"0 i915drmfb\n")).unwrap();
        assert_eq!(screen[..6], [0x11, 0x11, 0, 0, 0x11, 0x11]);
        assert_eq!(screen[KIND..], boot_params(1)[KIND..SIZE]);
        assert_eq!(told(&[0; SIZE - 1], Framebuffers::Vouched), None);
    }
}
