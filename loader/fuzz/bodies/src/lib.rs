//! What fuzzers do with the loader: one function for each thing that reads outside data. Each takes any bytes, and panics where the loader
//! breaks a promise; that the loader itself does not panic, overflow, hang or fill memory is the promise of all.
//!
//! The functions stand here once. `cargo-fuzz` (nightly, `loader/fuzz`) and the runner of this crate (stable, `cargo xtask fuzz`) call them.

mod core_header;
pub mod mutate;
mod plan;
mod source;
mod texts;

/// A target of the fuzzers.
#[derive(Clone, Copy)]
pub struct Body {
    /// Its name, and that of its folder of the corpus.
    pub name: &'static str,
    /// What it does with some bytes.
    pub run: fn(&[u8]),
    /// Bytes of memory that it may hold at any time, for each byte of its input and beside them.
    pub memory: (usize, usize),
    /// Words that inputs are made of, for those who make them up.
    pub words: &'static [&'static str],
}

/// All of them.
pub const ALL: [Body; 10] = [
    Body { name: "bzimage", run: texts::bzimage, memory: (8, 256 << 10), words: &["HdrS", "\u{7f}ELF"] },
    Body {
        name: "iomem",
        run: texts::iomem,
        // A line of five bytes can be a range of 24; tables grow by doubling, and the map of the capture kernel is made of them.
        memory: (64, 16 << 10),
        words: &[
            " : System RAM\n",
            " : Crash kernel\n",
            " : Reserved\n",
            " : ACPI Tables\n",
            "00000000",
            "ffffffffffffffff",
            "-",
            "  ",
        ],
    },
    Body { name: "kcore", run: texts::kcore, memory: (8, 16 << 10), words: &["\u{7f}ELF\u{2}\u{1}"] },
    Body {
        name: "arguments",
        run: texts::arguments,
        memory: (64, 16 << 10),
        words: &[
            "\0--load-panic",
            "\0-p",
            "\0--initrd=",
            "\0--append=",
            "\0--place=",
            "kernel=0x",
            "purgatory",
            ",",
            "\0--mem-min=",
            "\0--serial=",
            "\0--serial-baud=",
            "\0--backup=",
            "\0--type=",
            "\0--",
            "\0-",
            "=",
        ],
    },
    Body {
        name: "command-line",
        run: texts::command_line,
        memory: (16, 16 << 10),
        words: &[
            " crashkernel=",
            " elfcorehdr=",
            " memmap=",
            "\"",
            " console=ttyS",
            " acpi_rsdp=",
            " earlyprintk=serial,",
            " earlycon=uart8250,io,0x",
            " -- ",
        ],
    },
    Body {
        name: "sysfs",
        run: texts::sysfs,
        // A list of all CPUs that a kernel can have, grown by doubling.
        memory: (8, 128 << 10),
        words: &[
            "0-8191",
            ",",
            "0x",
            "Node 0, zone ",
            "DMA",
            "Normal\n",
            "spanned ",
            "start_pfn:",
            "\n",
            "18446744073709551615",
        ],
    },
    Body {
        name: "denied",
        run: texts::denied,
        memory: (8, 16 << 10),
        words: &[
            "CapEff:\t",
            "0000003fffffffff\n",
            "Seccomp:\t2\n",
            "[none] integrity",
            "[confidentiality]",
            "0\n",
            "1\n",
        ],
    },
    Body {
        name: "firmware",
        run: texts::firmware,
        memory: (64, 128 << 10),
        words: &["ACPI20=0x", "ACPI=0x", "SMBIOS=0x", "\n", "EL64"],
    },
    Body { name: "core-header", run: core_header::run, memory: (256, 256 << 10), words: &[] },
    Body { name: "plan", run: plan::run, memory: (1024, 4 << 20), words: &[] },
];

/// Runs a body by its name. Nothing is run where there is none of that name, which the fuzzers' own test sees.
pub fn run(name: &str, input: &[u8]) {
    ALL.iter().filter(|body| body.name == name).for_each(|body| (body.run)(input));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Catches a body that cargo-fuzz does not know, knows by another name, or has no inputs to begin with.
    #[test]
    fn every_body_is_a_target_with_a_corpus() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for Body { name, .. } in ALL {
            let path = format!("fuzz_targets/{}.rs", name.replace('-', "_"));
            assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{path}\"\n")), "{name}");
            let target = std::fs::read_to_string(folder.join(path)).unwrap();
            assert!(target.contains(&format!("loader_fuzz::run(\"{name}\", input)")), "{target}");
            assert!(std::fs::read_dir(folder.join("corpus").join(name)).unwrap().count() > 0, "{name}");
        }
    }
}
