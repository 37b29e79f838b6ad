//! What the loader's bytes are: its sections, the sources that its code comes from, its largest symbols. Pure: programs' bytes in, a
//! report out.

use crate::build;
use anyhow::{Context, bail};
use gimli::{EndianSlice, LittleEndian};
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Most that the loader for i386 may have, in bytes. Its users keep it in flash of a few megabytes.
pub(crate) const MOST_I386: u64 = 128 * 1024;

/// Entries of each list of the report.
const SHOWN: usize = 30;

/// Characters that are shown of a name: symbols of generic code can have hundreds.
const WIDTH: usize = 120;

/// Something, and how many bytes it has.
type Share = (String, u64);

/// Where the bytes of a program are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// What it is called.
    name: String,
    /// Size of the file.
    file: u64,
    /// What it may have at most, if there is a limit.
    most: Option<u64>,
    /// Sections that take room in the file, in its order.
    sections: Vec<Share>,
    /// Code by source file, the largest first. Code that was inlined counts for the file that it stands in.
    sources: Vec<Share>,
    /// Symbols, the largest first. Code that was inlined counts for its caller; those of a name are one.
    symbols: Vec<Share>,
}

impl Sizes {
    /// Takes a program apart, with the help of the same program with its symbols and lines.
    ///
    /// # Errors
    /// Where either is no ELF file, or the two are not the same code: the report would be on another program than the one that is shipped.
    pub(crate) fn measure(
        name: String,
        program: &[u8],
        with_symbols: &[u8],
        most: Option<u64>,
    ) -> anyhow::Result<Self> {
        let shipped = object::File::parse(program).with_context(|| format!("{name}: not an ELF file"))?;
        let symbols = object::File::parse(with_symbols)
            .with_context(|| format!("{name} with symbols: not an ELF file"))?;
        let code = text(&shipped).with_context(|| name.clone())?;
        if code != text(&symbols).with_context(|| name.clone())? {
            bail!("{name} with symbols is not the same code: a flag of that build must not change any");
        }
        let section = |section: object::Section<'_, '_>| {
            let (_, size) = section.file_range()?;
            Some((section.name().unwrap_or_default().to_owned(), size))
        };
        Ok(Self {
            file: program.len() as u64,
            most,
            sections: shipped.sections().filter_map(section).filter(|(_, size)| *size > 0).collect(),
            sources: sources(&symbols, code.0).with_context(|| format!("{name}: its table of lines"))?,
            symbols: largest_first(
                symbols
                    .symbols()
                    .filter(|symbol| symbol.size() > 0)
                    .map(|symbol| (demangled(symbol.name().unwrap_or_default()), symbol.size())),
            ),
            name,
        })
    }

    /// Whether the file is no larger than it may be.
    pub(crate) fn fits(&self) -> bool {
        self.most.is_none_or(|most| self.file <= most)
    }

    /// The size and the limit, in one line.
    pub(crate) fn summary(&self) -> String {
        let Self { name, file, .. } = self;
        match self.most {
            Some(most) if self.fits() => {
                format!("{name}: {file} bytes, {} less than it may have ({most})", most - file)
            }
            Some(most) => format!("{name}: {file} bytes, {} MORE than it may have ({most})", file - most),
            None => format!("{name}: {file} bytes"),
        }
    }

    /// Code by crate, the largest first.
    fn crates(&self) -> Vec<Share> {
        largest_first(self.sources.iter().map(|(file, size)| {
            let end = file.find("/src/").unwrap_or(file.len());
            (file[..end].to_owned(), *size)
        }))
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        let sections: u64 = self.sections.iter().map(|(_, size)| size).sum();
        let rest = ("headers and padding".to_owned(), self.file.saturating_sub(sections));
        let sections: Vec<Share> = self.sections.iter().cloned().chain([rest]).collect();
        for (title, shares) in [
            ("sections", &sections),
            ("code by crate", &self.crates()),
            ("code by source file, inlined code where it was written", &self.sources),
            ("symbols, inlined code as its caller's", &self.symbols),
        ] {
            write!(f, "\n  {title}")?;
            for (what, size) in shares.iter().take(SHOWN) {
                write!(f, "\n    {size:>6}  {what:.WIDTH$}")?;
            }
            let rest: u64 = shares.iter().skip(SHOWN).map(|(_, size)| size).sum();
            if rest > 0 {
                write!(f, "\n    {rest:>6}  {} more", shares.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// The code of a program: its place and its bytes.
fn text<'a>(file: &object::File<'a>) -> anyhow::Result<(Range<u64>, &'a [u8])> {
    let text = file.section_by_name(".text").context("it has no section .text")?;
    Ok((text.address()..text.address() + text.size(), text.data()?))
}

/// Sums up what has the same name; the largest first, then by name.
fn largest_first(shares: impl Iterator<Item = Share>) -> Vec<Share> {
    let mut sums = BTreeMap::new();
    for (name, size) in shares {
        *sums.entry(name).or_insert(0) += size;
    }
    let mut sums: Vec<Share> = sums.into_iter().collect();
    sums.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    sums
}

/// A symbol's name without the hash of its crate.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The code of a program by source file, as its DWARF line tables have it.
fn sources(file: &object::File<'_>, text: Range<u64>) -> anyhow::Result<Vec<Share>> {
    let section = |id: gimli::SectionId| -> Result<_, object::Error> {
        let data = file.section_by_name(id.name()).map_or(Ok(&[][..]), |section| section.data())?;
        Ok(EndianSlice::new(data, LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(section)?;
    let mut shares = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else { continue };
        let mut names = BTreeMap::new();
        let mut rows = program.rows();
        // Where the code of a row begins, and in which file it was written. It ends where the next row begins.
        let mut open: Option<(u64, u64)> = None;
        while let Some((header, row)) = rows.next_row()? {
            if let Some((start, index)) = open {
                // What the linker left out is at address 0.
                if text.contains(&start) && row.address() > start {
                    let name = match names.get(&index) {
                        Some(name) => name,
                        None => {
                            let name = header.file(index).map(|file| path(&dwarf, &unit, header, file));
                            names.entry(index).or_insert(name.transpose()?.unwrap_or_default())
                        }
                    };
                    shares.push((name.clone(), row.address() - start));
                }
            }
            open = (!row.end_sequence()).then(|| (row.address(), row.file_index()));
        }
    }
    let told: u64 = shares.iter().map(|(_, size)| size).sum();
    let untold = (text.end - text.start).saturating_sub(told);
    Ok(largest_first(shares.into_iter().chain([("(no line)".to_owned(), untold)])))
}

/// A file of a line table: from its crate's folder on.
fn path<'a>(
    dwarf: &gimli::Dwarf<EndianSlice<'a, LittleEndian>>,
    unit: &gimli::Unit<EndianSlice<'a, LittleEndian>>,
    header: &gimli::LineProgramHeader<EndianSlice<'a, LittleEndian>>,
    file: &gimli::FileEntry<EndianSlice<'a, LittleEndian>>,
) -> gimli::Result<String> {
    let name = dwarf.attr_string(unit, file.path_name())?.to_string_lossy();
    let folder = match file.directory(header) {
        Some(folder) => dwarf.attr_string(unit, folder)?.to_string_lossy(),
        None => "".into(),
    };
    let compiled_in = unit.comp_dir.map(|folder| folder.to_string_lossy()).unwrap_or_default();
    Ok(short(&Path::new(&*compiled_in).join(&*folder).join(&*name).to_string_lossy()))
}

/// A source's path from its crate's folder on. The standard library's lie below `library/` of the compiler's, wherever those were.
fn short(path: &str) -> String {
    let path = path.split_once("/library/").map_or(path, |(_, rest)| rest);
    let path = path.strip_prefix(build::PACKAGES).unwrap_or(path);
    path.strip_prefix(build::WORKSPACE).unwrap_or(path).trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(file: u64) -> Sizes {
        let share = |name: &str, size| (name.to_owned(), size);
        Sizes {
            name: "kexec-load.i386".into(),
            file,
            most: Some(MOST_I386),
            sections: vec![share(".text", 100_000)],
            sources: vec![
                share("loader/src/plan.rs", 60),
                share("core/src/a.rs", 50),
                share("core/src/b.rs", 40),
            ],
            symbols: (0..40).map(|i| share(&format!("f{i}"), 100 - i)).collect(),
        }
    }

    /// Catches a limit that is one byte off, and a report that keeps quiet about it or about what it does not show.
    #[test]
    fn the_limit_is_the_last_size_that_fits() {
        assert!(sizes(MOST_I386).fits());
        let over = sizes(MOST_I386 + 1);
        assert!(!over.fits());
        let text = over.to_string();
        assert!(
            text.starts_with("kexec-load.i386: 131073 bytes, 1 MORE than it may have (131072)\n"),
            "{text}"
        );
        assert!(text.contains("\n     31073  headers and padding\n"), "{text}");
        assert!(text.contains("\n        90  core\n        60  loader\n"), "{text}");
        assert!(text.ends_with("more") && text.contains("  10 more"), "{text}");
    }

    /// Catches a report on this very program that misses most of its code, and one on another program than the one that is shipped.
    #[test]
    fn a_program_is_taken_apart() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let sizes = Sizes::measure("this".into(), &program, &program, None).unwrap();
        let told: u64 = sizes.sources.iter().map(|(_, size)| size).sum();
        let code = sizes.sections.iter().find(|(name, _)| name == ".text").unwrap().1;
        assert_eq!(told, code);
        assert!(sizes.sources.iter().any(|(name, _)| name.ends_with("xtask/src/loader_verb/size.rs")));
        assert!(sizes.symbols.iter().any(|(name, _)| name.contains("a_program_is_taken_apart")));
        let mut other = program.clone();
        let text =
            object::File::parse(&*program).unwrap().section_by_name(".text").unwrap().file_range().unwrap();
        other[text.0 as usize] ^= 1;
        let error = Sizes::measure("this".into(), &program, &other, None).unwrap_err();
        assert!(error.to_string().contains("not the same code"), "{error}");
    }

    /// Catches code of one crate that is counted under several names.
    #[test]
    fn sources_are_named_by_their_crates() {
        assert_eq!(short("/rustc/0123/library/core/src/fmt/mod.rs"), "core/src/fmt/mod.rs");
        assert_eq!(short("/kdump-rig/loader/src/plan.rs"), "loader/src/plan.rs");
        assert_eq!(short("/packages/rustix-1.1.6/src/lib.rs"), "rustix-1.1.6/src/lib.rs");
    }
}
