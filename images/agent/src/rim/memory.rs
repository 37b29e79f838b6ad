//! Planting: nonces in locked pages of their own, whose physical addresses the kernel tells.

use super::{errno, files};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr;
use guest_agent::failure::{Errno, Failure};
use guest_agent::pagemap::{self, PAGE_SIZE};
use guest_agent::read_at::ReadAt;
use guest_agent::{iomem, meminfo};
use guest_protocol::{Place, Plant, Planted};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};

/// How much is mapped at once while a page in the right place is looked for, in bytes. Large, so that most of it comes as
/// huge pages: gigabytes of small ones would take minutes on an emulated CPU.
const CHUNK: usize = 32 << 20;

/// The part of MemAvailable that stays untouched, as a divisor: with an eighth left the guest does not run out of memory.
const RESERVE_DIVISOR: u64 = 8;

/// A planted page. It stays mapped as long as the process lives.
pub(crate) struct Page {
    id: u32,
    start: usize,
}

/// Puts a nonce into a page of its own that lies where it must.
pub(crate) fn plant(plant: &Plant) -> Result<Page, Failure> {
    let start = match plant.place {
        Place::Anywhere => map(PAGE_SIZE).inspect(|&page| touch(page, PAGE_SIZE)),
        Place::Above4G | Place::Below4G => hunt(plant.place),
    }
    .map_err(|failure| Failure::new(format!("plant nonce {}: {failure}", plant.id)))?;
    let failed =
        |tried: &str, error| Failure::errno(format!("{tried} the page of nonce {}", plant.id), errno(error));
    // SAFETY: the page at `start` is mapped, writable, and used by nobody else. The conversation has checked that the
    // nonce has at most one page.
    unsafe {
        ptr::copy_nonoverlapping(plant.bytes.0.as_ptr(), start as *mut u8, plant.bytes.0.len());
        mlock(start as *mut c_void, PAGE_SIZE).map_err(|error| failed("lock", error))?;
        // A child that shares the page could make the kernel copy it elsewhere.
        madvise(start as *mut c_void, PAGE_SIZE, Advice::LinuxDontFork)
            .map_err(|error| failed("keep children from", error))?;
    }
    Ok(Page { id: plant.id, start })
}

/// Where a planted page lies now.
pub(crate) fn locate(page: &Page) -> Result<Planted, Failure> {
    let mut entry = [0; pagemap::ENTRY_SIZE];
    read_pagemap(page.start, &mut entry)?;
    let address = pagemap::physical_address(u64::from_le_bytes(entry)).ok_or_else(|| {
        Failure::new(format!(
            "locate nonce {}: its page has left RAM, or the kernel hides where it is",
            page.id
        ))
    })?;
    Ok(Planted { id: page.id, address })
}

/// Maps chunk after chunk until a page lies where it must, and gives the rest back.
fn hunt(place: Place) -> Result<usize, Failure> {
    let ram = iomem::ranges(&files::read_text("/proc/iomem")?, iomem::SYSTEM_RAM);
    if !ram.iter().any(|range| pagemap::fits(place, range.start) || pagemap::fits(place, range.end)) {
        return Err(Failure::new(format!("{place:?}: /proc/iomem has no System RAM there")));
    }
    let available = meminfo::available(&files::read_text("/proc/meminfo")?)
        .ok_or_else(|| Failure::new("/proc/meminfo has no MemAvailable"))?;
    let budget = available - available / RESERVE_DIVISOR;
    let mut chunks = Vec::new();
    let found = loop {
        if (chunks.len() as u64 + 1) * CHUNK as u64 > budget {
            break Err(Failure::new(format!(
                "{place:?}: no such page in {} MiB of the {} MiB available",
                (chunks.len() * CHUNK) >> 20,
                available >> 20
            )));
        }
        match search_chunk(place) {
            Ok(Searched::Found { page, rest }) => {
                chunks.extend(rest);
                break Ok(page);
            }
            Ok(Searched::Nothing { chunk }) => chunks.push((chunk, CHUNK)),
            Err(failure) => break Err(failure),
        }
    };
    for (start, length) in chunks.into_iter().filter(|&(_, length)| length > 0) {
        // SAFETY: these ranges were mapped by `search_chunk`, and nothing lives in them.
        unsafe { munmap(start as *mut c_void, length) }
            .map_err(|error| Failure::errno(format!("unmap {length} bytes"), errno(error)))?;
    }
    found
}

/// A chunk after the search.
enum Searched {
    /// The page, and what lies before and behind it in the chunk, as start and length.
    Found { page: usize, rest: [(usize, usize); 2] },
    /// It has no page in the right place.
    Nothing { chunk: usize },
}

fn search_chunk(place: Place) -> Result<Searched, Failure> {
    let chunk = map(CHUNK)?;
    // SAFETY: the chunk was just mapped; the advice changes no contents. A kernel without huge pages refuses it, and the
    // search is only slower then.
    let _ = unsafe { madvise(chunk as *mut c_void, CHUNK, Advice::LinuxHugepage) };
    touch(chunk, CHUNK);
    let mut entries = vec![0; CHUNK / PAGE_SIZE * pagemap::ENTRY_SIZE];
    read_pagemap(chunk, &mut entries)?;
    Ok(match pagemap::first_fit(&entries, place) {
        Some((index, _)) => {
            let before = index * PAGE_SIZE;
            let page = chunk + before;
            Searched::Found { page, rest: [(chunk, before), (page + PAGE_SIZE, CHUNK - before - PAGE_SIZE)] }
        }
        None => Searched::Nothing { chunk },
    })
}

fn map(length: usize) -> Result<usize, Failure> {
    // SAFETY: a new anonymous mapping at a place of the kernel's choice touches no memory of ours.
    unsafe { mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }
        .map(|start| start as usize)
        .map_err(|error| Failure::errno(format!("map {length} bytes"), errno(error)))
}

/// Writes to every page, so that the kernel backs it with one of its own.
fn touch(start: usize, length: usize) {
    for page in (start..start + length).step_by(PAGE_SIZE) {
        // SAFETY: the range was just mapped, writable, and nothing lives in it.
        unsafe { (page as *mut u8).write_volatile(0) };
    }
}

/// Reads the entries of consecutive pages.
fn read_pagemap(start: usize, entries: &mut [u8]) -> Result<(), Failure> {
    let path = "/proc/self/pagemap";
    let Some((mut file, _)) = files::Offsets::open(path)? else {
        return Err(Failure::errno(format!("open {path}"), Errno::ENOENT));
    };
    file.fill_at(pagemap::entry_offset(start), entries)
        .map_err(|error| Failure::errno(format!("read {path} for {start:#x}"), error))
}
