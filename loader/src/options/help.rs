//! The text of `--help`.

/// The text of `--help`. Short: the manual page has the rest.
pub const HELP: &str = "\
kexec-load: load a capture kernel into the crash region of the running kernel

usage: kexec-load -p [--initrd=FILE] [--command-line=TEXT] BZIMAGE
       kexec-load -p -u | -S | --print-ckr-size | --help | --version

  -p, --load-panic         load BZIMAGE, to be started when this kernel panics
  -t, --type=TYPE          BZIMAGE is a bzImage, or a bzImage64
      --initrd=FILE        its initial ramdisk (also --ramdisk)
      --command-line=TEXT  its command line (also --append), behind elfcorehdr=
      --reuse-cmdline      begin with the running kernel's command line, without
                           crashkernel=, elfcorehdr=, memmap= and BOOT_IMAGE=
  -c, --kexec-syscall      load by kexec_load (the default)
  -s, --kexec-file-syscall load by kexec_file_load, where the kernel does the
                           work and verifies signatures
  -a, --kexec-syscall-auto the latter, and the former where that is not possible
  -u, --unload             with -p: drop what is loaded
  -S, --status             say whether a capture kernel is loaded
      --print-ckr-size     print the size of the crash region in bytes
  -d, --debug              say on standard error what is found and planned
      --dry-run            print the planned segments, and load nothing
  -i, --no-checks          do not verify the segments before the start
      --on-mismatch=WHAT   where they have changed: halt (the default), or reset
      --console-serial     say so on the serial port
      --serial=PORT        which is it: 0x3f8, or ttyS0 to ttyS3
      --serial-baud=RATE   its speed
      --mem-min=ADDRESS    load nothing below
      --mem-max=ADDRESS    load nothing beyond
      --entry-32bit        use the 32-bit entry of a 64-bit kernel
      --elf32-core-headers, --elf64-core-headers
                           the class of the dump's header
      --backup=WHEN        copy the low 640 KiB: auto (the default), always, never
      --hotplug            let the kernel keep the dump's header up to date
      --noefi              tell the capture kernel nothing of EFI
      --reuse-video-type   firmware's framebuffer is where it was, though a driver has it
      --compat-call        32-bit program: load by its own call alone, below 4 GiB
      --ignore-address-limits
                           load where an i386 kernel cannot run or cannot reach, or
                           where a kernel has too little memory: the machine then
                           HANGS after a panic. For proofs only
      --place=SEGMENT=ADDRESS[,SEGMENT=ADDRESS]...
                           put segments at these addresses (0x...), for proofs.
                           The limits hold still
  -h, --help               this text
  -v, --version            the version

Of kexec-tools' options these change nothing beside -p: -l, --load; -f, --force;
-x, --no-ifdown; -y, --no-sync; --args-linux; --no-cma.
These are refused: -e, --exec; --entry; --load-preserve-context;
--load-jump-back-helper; --load-live-update; --exec-live-update; --reuseinitrd;
--real-mode; --args-elf; --args-none; --module; --console-vga; --reset-vga;
--pass-memmap-cmdline; --dtb; --force-dtb.

status: 0 done; 1 refused or failed, and nothing was loaded; 2 wrong usage.
        --status: 1 if a capture kernel is loaded, 0 if not, 3 if that cannot be read.
";
