//! What /proc/vmcore is worth: the planted bytes, the notes, VMCOREINFO, the addresses in its headers, the first kernel's log, and
//! the place of the kernel that offers it.

use super::console::Text;
use super::first::machine_arch;
use super::given::{self, ELFCOREHDR};
use super::panicked::outside_of_region;
use super::story::Story;
use super::{addresses, asked, coverage, log};
use crate::cell::Cell;
use crate::evidence::Evidence;
use crate::outcome::VmcoreState;
use guest_protocol::{Arch, Found, HexBytes, KernelFacts, Plant, Planted, Vmcore, VmcoreReport};

/// e_machine of i386 (ELF specification, EM_386).
const EM_386: u16 = 3;

/// e_machine of x86_64 (System V ABI for AMD64, EM_X86_64).
const EM_X86_64: u16 = 62;

/// Judges the report. The error is a rig error's text: the rig did not plant, or the agent did not read what it was told to.
pub(super) fn state(
    cell: &Cell,
    story: &Story<'_>,
    ready: &KernelFacts,
    up: &KernelFacts,
    evidence: &Evidence,
    report: &VmcoreReport,
    console: &Text,
) -> Result<VmcoreState, String> {
    let vmcore = match report {
        VmcoreReport::Absent if !up.cmdline.split_whitespace().any(|word| word.starts_with(ELFCOREHDR)) => {
            let why = format!("there is none, because the capture kernel's command line has no {ELFCOREHDR}");
            return Ok(VmcoreState::Wrong { why });
        }
        VmcoreReport::Absent => return Ok(absent(cell, ready, up, console)),
        VmcoreReport::Unreadable { why } => return Ok(VmcoreState::Wrong { why: why.clone() }),
        VmcoreReport::Present(vmcore) => vmcore,
    };
    if evidence.log_line.is_empty() {
        return Err(
            "nothing was ordered into the first kernel's log, so nothing of it can be verified".to_owned()
        );
    }
    let mut wrong = nonces(story.planted.unwrap_or(&[]), &evidence.plants, vmcore)?;
    wrong.extend(low_pattern(evidence, vmcore)?);
    wrong.extend(headers(cell, ready, up, vmcore));
    wrong.extend(asked::places(cell, evidence)?);
    wrong.extend(coverage::wrong(ready, &vmcore.loads));
    wrong.extend(addresses::wrong(ready, vmcore));
    wrong.extend(log::wrong(ready, cell.trigger, evidence, vmcore));
    if let Some(reader) = &cell.reader {
        wrong.extend(log::reader_wrong(reader, story.reader, cell.trigger, evidence));
    }
    wrong.extend(outside_of_region(ready, up));
    wrong.extend(coverage::foreign_ram(ready, up));
    wrong.extend(given::wrong(cell, ready, up));
    Ok(if wrong.is_empty() { VmcoreState::Verified } else { VmcoreState::Wrong { why: wrong.join("; ") } })
}

/// A capture kernel without /proc/vmcore: its own words must say why, and its memory must be its own all the same.
fn absent(cell: &Cell, ready: &KernelFacts, up: &KernelFacts, console: &Text) -> VmcoreState {
    let wrong = |why: String| VmcoreState::Wrong { why };
    if let Some(line) = console.no_core_header() {
        return wrong(format!("there is none, because {ELFCOREHDR} points to no core header: {line}"));
    }
    let mut foreign: Vec<String> = coverage::foreign_ram(ready, up).into_iter().collect();
    foreign.extend(given::wrong(cell, ready, up));
    if !foreign.is_empty() {
        return wrong(foreign.join("; "));
    }
    match console.no_vmcore() {
        Some(line) => VmcoreState::Absent { why: line.to_owned() },
        None => wrong("there is none, and the capture kernel's console does not say why".to_owned()),
    }
}

/// What is wrong with the planted bytes as they were read back.
fn nonces(planted: &[Planted], plants: &[Plant], vmcore: &Vmcore) -> Result<Vec<String>, String> {
    if plants.is_empty() {
        return Err("nothing was planted, so nothing can be verified".to_owned());
    }
    let mut wrong = Vec::new();
    for plant in plants {
        let id = plant.id;
        let mut places = planted.iter().filter(|planted| planted.id == id);
        let (Some(place), None) = (places.next(), places.next()) else {
            return Err(format!("the first kernel's agent does not report exactly one place of nonce {id}"));
        };
        wrong.extend(read_back(&format!("nonce {id}"), place.address, &plant.bytes, vmcore)?);
    }
    Ok(wrong)
}

/// What is wrong with the pattern below 640 KiB, where the rig wrote one.
fn low_pattern(evidence: &Evidence, vmcore: &Vmcore) -> Result<Option<String>, String> {
    match &evidence.changes.low_pattern {
        Some(pattern) => read_back("the pattern below 640 KiB", pattern.address, &pattern.bytes, vmcore),
        None => Ok(None),
    }
}

/// What is wrong with planted bytes as the capture kernel's agent read them.
fn read_back(
    what: &str,
    address: u64,
    planted: &HexBytes,
    vmcore: &Vmcore,
) -> Result<Option<String>, String> {
    let Some(read) = vmcore.reads.iter().find(|read| read.address == address) else {
        return Err(format!("the capture kernel's agent did not read {what} at {address:#x}"));
    };
    Ok(match &read.found {
        Found::Bytes(found) if found == planted => None,
        Found::Bytes(found) => Some(format!(
            "{what} at {address:#x} is {}, planted was {}",
            shortened(found),
            shortened(planted)
        )),
        Found::NotCovered => Some(format!("no PT_LOAD covers {what} at {address:#x}")),
        Found::Failed(errno) => {
            Some(format!("reading {what} at {address:#x} failed: {}", errno_words(*errno)))
        }
    })
}

/// What is wrong with the ELF header and the notes.
fn headers(cell: &Cell, ready: &KernelFacts, up: &KernelFacts, vmcore: &Vmcore) -> Vec<String> {
    let mut wrong = Vec::new();
    // An x86_64 capture kernel offers EM_X86_64 alone, whatever crashed. An i386 kernel's core is 64-bit ELF where its RAM ends
    // above 4 GiB.
    let (machine, classes): (u16, &[u8]) = match (machine_arch(&ready.machine), machine_arch(&up.machine)) {
        (Some(Arch::X86_64), _) | (_, Some(Arch::X86_64)) => (EM_X86_64, &[64]),
        (Some(Arch::I386) | None, _) => (EM_386, &[32, 64]),
    };
    if vmcore.machine != machine {
        wrong.push(format!("its ELF machine is {}, and should be {machine}", vmcore.machine));
    }
    if !classes.contains(&vmcore.class_bits) {
        wrong.push(format!("it is {}-bit ELF, and the first kernel is {}", vmcore.class_bits, ready.machine));
    }
    if let Some(asked) = asked::class_bits(cell).filter(|asked| *asked != vmcore.class_bits) {
        wrong.push(format!(
            "it is {}-bit ELF, and {} asks for {asked} bits",
            vmcore.class_bits,
            cell.loader_args.join(" ")
        ));
    }
    if vmcore.prstatus != ready.cpus {
        wrong.push(format!(
            "it has {} NT_PRSTATUS notes, and the first kernel had {} CPUs",
            vmcore.prstatus, ready.cpus
        ));
    }
    match &vmcore.osrelease {
        Some(release) if *release == ready.release => {}
        Some(release) => wrong.push(format!(
            "its VMCOREINFO is of kernel {release}, and the first kernel was {}",
            ready.release
        )),
        None => wrong.push("its VMCOREINFO has no OSRELEASE".to_owned()),
    }
    wrong
}

/// The first bytes of a nonce, in hexadecimal digits: enough to tell zeros, garbage and another nonce apart.
fn shortened(bytes: &HexBytes) -> String {
    const SHOWN: usize = 8;
    match bytes.0.get(..SHOWN) {
        Some(head) if bytes.0.len() > SHOWN => format!("{}…", HexBytes(head.to_vec())),
        Some(_) | None => bytes.to_string(),
    }
}

fn errno_words(errno: i32) -> String {
    super::errno::name(errno).map_or_else(|| format!("errno {errno}"), str::to_owned)
}
