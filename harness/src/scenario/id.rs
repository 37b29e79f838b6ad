//! Cell ids: readable, derived from what a cell is and never from its place in a file, and fit to be a folder's name.
//!
//! ```text
//! 5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g
//! first    . userspace . loader . capture . reservation . platform
//! ```
//!
//! Behind these six stand, in this order and only where they are not the default: the loader's further arguments, the circumstances
//! of the load, the trigger, the reader, what the rig changes (`tamper-…`, `low-memory-planted`), words for the first kernel's command
//! line (`first-…`), and for the capture kernel's (`capture-…`). The expectation and the suite are no part of it: the same trial keeps
//! its id when it is expected otherwise. Of very long words their digest stands there.

use crate::artifacts::digest;
use crate::cell::{Cell, CellId, Loader, LowMemory, Reader, Trigger};

/// Longest id, in bytes: file systems allow 255 for a name, and attempts and temporary files add a few.
pub(super) const MAX_LENGTH: usize = 200;

/// The id of a cell, from everything else in it.
pub(super) fn of(cell: &Cell) -> CellId {
    CellId(parts(cell).join("."))
}

/// What an id is joined of: first kernel, userspace, loader, capture kernel, reservation, platform, and what stands behind.
pub(super) fn parts(cell: &Cell) -> Vec<String> {
    let loader = match &cell.loader {
        Loader::InTree => "in-tree".to_owned(),
        Loader::KexecTools(version) => format!("kexec-tools-{version}"),
        Loader::Path(path) => match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "loader".to_owned(),
        },
    };
    let mut parts = vec![
        cell.first.name.clone(),
        cell.userspace.name().to_owned(),
        loader,
        cell.capture.name.clone(),
        cell.reservation.to_string().replace(',', "-"),
        cell.platform.name.clone(),
    ];
    if !cell.loader_args.is_empty() {
        let args: Vec<&str> = cell.loader_args.iter().map(|arg| arg.trim_start_matches('-')).collect();
        parts.push(args.join("+"));
    }
    parts.extend(further(cell));
    parts.iter().map(|part| file_name_safe(part)).collect()
}

/// What is not the default of a cell's further axes, in words of an id.
pub(crate) fn further(cell: &Cell) -> Vec<String> {
    let mut parts = Vec::new();
    if !cell.circumstances.is_none() {
        parts.push(cell.circumstances.name().to_owned());
    }
    match cell.trigger {
        Trigger::Nmi => {}
        other => parts.push(other.name().to_owned()),
    }
    match &cell.reader {
        None => {}
        Some(Reader::VmcoreDmesg(version)) => parts.push(format!("vmcore-dmesg-{version}")),
    }
    parts.extend(cell.tamper.segment().map(|segment| format!("tamper-{segment}")));
    match cell.low_memory {
        LowMemory::Untouched => {}
        LowMemory::Planted => parts.push("low-memory-planted".to_owned()),
    }
    for (side, words) in [("first", &cell.first_cmdline), ("capture", &cell.capture_cmdline)] {
        if !words.is_empty() {
            parts.push(format!("{side}-{}", short(&words.join("+"))));
        }
    }
    parts
}

/// Longest words for a command line that stand in an id as they are, in bytes.
const MOST_WORDS: usize = 80;
/// What is left of longer ones, in front of their digest.
const HEAD: usize = 16;

/// The words, or of many their beginning and their digest: a list of a hundred ranges would fill an id alone.
fn short(words: &str) -> String {
    if words.len() <= MOST_WORDS {
        return words.to_owned();
    }
    let head: String = words.chars().take(HEAD).collect();
    format!("{head}-{}", digest(words.as_bytes()))
}

/// Leaves what no shell, file system or filter takes for anything else.
fn file_name_safe(part: &str) -> String {
    part.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.@+".contains(c) { c } else { '_' }).collect()
}
