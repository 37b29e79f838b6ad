//! The crashed kernel's log, out of its printk ring buffer (Linux 5.10 and later): kernel/printk/printk_ringbuffer.{h,c} for
//! the structures, VMCOREINFO for their places (Documentation/admin-guide/kdump/vmcoreinfo.rst).
//!
//! A ring of descriptors, numbered without end, each with an entry of `infos` beside it and the span of its text in a ring of
//! bytes. The newest record is read first, and from there backwards until enough is there. Nothing is believed: every count is
//! bounded, and a record that is half written, or overwritten, is passed over.

use crate::failure::Failure;
use crate::kernel_memory::KernelMemory;
use crate::read_at::ReadAt;
use crate::vmcoreinfo::{VmcoreInfo, Word};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use guest_protocol::{FirstLog, MAX_LOG_TAIL};

/// Most records that are looked at: those of a full tail have 8 bytes on average then, and real ones some 60.
const MAX_RECORDS: u64 = 4096;

/// Longest text of one record, `text_len` of `struct printk_info` being a u16. Longer spans are cut.
const MAX_TEXT: u64 = u16::MAX as u64;

/// Largest `count_bits` and `size_bits`: the buffer has at most 2 GiB (`LOG_BUF_LEN_MAX`, kernel/printk/printk.c).
const MAX_BITS: u32 = 31;

/// A descriptor's state is in the upper two bits of its `state_var`, its id in the others.
const STATE_BITS: u32 = 2;
/// `desc_committed`: written, and the writer may still append.
const COMMITTED: u64 = 1;
/// `desc_finalized`: written for good.
const FINALIZED: u64 = 2;

/// In `begin` and `next` of a span: there is no text (`FAILED_LPOS`, `NO_LPOS`, and from 6.13 on `EMPTY_LINE_LPOS`). Spans of
/// text are aligned to words.
const NO_TEXT: u64 = 1;

/// Reads the last part of the log.
///
/// # Errors
/// VMCOREINFO lacks something, an address cannot be followed through a p_vaddr, or what is there cannot be a ring buffer.
pub fn read<F: ReadAt>(memory: &mut KernelMemory<'_, F>, info: VmcoreInfo<'_>) -> Result<FirstLog, Failure> {
    let ring = Ring::find(memory, info)?;
    let records = ring.records()?;
    let mut texts: Vec<Vec<u8>> = Vec::new();
    let mut size = 0;
    for back in 0..records.min(MAX_RECORDS) {
        let id = ring.head_id.wrapping_sub(back) & ring.id_mask();
        let Some(text) = ring.text(memory, id)? else { continue };
        size += text.len() + 1;
        if size > MAX_LOG_TAIL {
            break;
        }
        texts.push(text);
    }
    texts.reverse();
    Ok(FirstLog { records, tail: String::from_utf8_lossy(&texts.join(&b'\n')).into_owned() })
}

/// Where everything is.
struct Ring {
    word: Word,
    count_bits: u32,
    descriptors: u64,
    infos: u64,
    head_id: u64,
    tail_id: u64,
    size_bits: u32,
    data: u64,
    desc_size: usize,
    state_at: usize,
    begin_at: usize,
    next_at: usize,
    info_size: usize,
    text_len_at: usize,
}

impl Ring {
    fn find<F: ReadAt>(memory: &mut KernelMemory<'_, F>, info: VmcoreInfo<'_>) -> Result<Self, Failure> {
        let prb = info.symbol("prb")?;
        let prb = memory.word(prb).map_err(|failure| Failure::new(format!("read prb: {failure}")))?;
        let counter = info.offset("atomic_long_t.counter")?;
        let at = |ring: &str, field: &str| -> Result<u64, Failure> {
            let (ring, field) = (info.offset(ring)?, info.offset(field)?);
            Ok(prb.wrapping_add((ring + field) as u64))
        };
        let descriptor = |field: &str| at("printk_ringbuffer.desc_ring", &format!("prb_desc_ring.{field}"));
        let data = |field: &str| at("printk_ringbuffer.text_data_ring", &format!("prb_data_ring.{field}"));
        let span = info.offset("prb_desc.text_blk_lpos")?;
        let ring = Self {
            word: memory.word_size(),
            count_bits: memory.u32(descriptor("count_bits")?)?,
            descriptors: memory.word(descriptor("descs")?)?,
            infos: memory.word(descriptor("infos")?)?,
            head_id: memory.word(descriptor("head_id")?.wrapping_add(counter as u64))?,
            tail_id: memory.word(descriptor("tail_id")?.wrapping_add(counter as u64))?,
            size_bits: memory.u32(data("size_bits")?)?,
            data: memory.word(data("data")?)?,
            desc_size: info.size("prb_desc")?,
            state_at: info.offset("prb_desc.state_var")? + counter,
            begin_at: span + info.offset("prb_data_blk_lpos.begin")?,
            next_at: span + info.offset("prb_data_blk_lpos.next")?,
            info_size: info.size("printk_info")?,
            text_len_at: info.offset("printk_info.text_len")?,
        };
        for (name, bits) in [("count_bits", ring.count_bits), ("size_bits", ring.size_bits)] {
            if !(1..=MAX_BITS).contains(&bits) {
                return Err(Failure::new(format!(
                    "the ring buffer at {prb:#x} has {name} {bits}, not 1 to {MAX_BITS}: there is none at that address"
                )));
            }
        }
        Ok(ring)
    }

    /// Ids wrap where the state begins.
    const fn id_mask(&self) -> u64 {
        u64::MAX >> (64 - self.word.bits() + STATE_BITS)
    }

    /// How many records there are, from the oldest (tail) to the newest (head).
    fn records(&self) -> Result<u64, Failure> {
        let records = (self.head_id.wrapping_sub(self.tail_id) & self.id_mask()) + 1;
        if records > 1 << self.count_bits {
            return Err(Failure::new(format!(
                "the ring buffer's head {:#x} and tail {:#x} are {records} records apart, and it has room for {}",
                self.head_id,
                self.tail_id,
                1_u64 << self.count_bits
            )));
        }
        Ok(records)
    }

    /// The text of a record. `None`: it has none, or it is not whole.
    fn text<F: ReadAt>(&self, memory: &mut KernelMemory<'_, F>, id: u64) -> Result<Option<Vec<u8>>, Failure> {
        let index = id & ((1 << self.count_bits) - 1);
        let mut descriptor = vec![0; self.desc_size];
        memory.read(element(self.descriptors, index, self.desc_size), &mut descriptor)?;
        let field = |at| {
            self.word.get(&descriptor, at).ok_or_else(|| {
                Failure::new(format!(
                    "VMCOREINFO's SIZE(prb_desc) is {}, too small for its fields",
                    self.desc_size
                ))
            })
        };
        let (state, begin, next) = (field(self.state_at)?, field(self.begin_at)?, field(self.next_at)?);
        let whole = matches!(state >> (self.word.bits() - STATE_BITS), COMMITTED | FINALIZED);
        if !whole || state & self.id_mask() != id {
            return Ok(None);
        }
        let Some((start, room)) = self.span(begin, next) else { return Ok(None) };
        // Each span begins with its record's id.
        let start = self.data.wrapping_add(start);
        if memory.word(start)? != id {
            return Ok(None);
        }
        let mut length = [0; 2];
        let info = element(self.infos, index, self.info_size).wrapping_add(self.text_len_at as u64);
        memory.read(info, &mut length)?;
        let room = room.saturating_sub(self.word.size() as u64).min(MAX_TEXT) as usize;
        let mut text = vec![0; usize::from(u16::from_le_bytes(length)).min(room)];
        memory.read(start.wrapping_add(self.word.size() as u64), &mut text)?;
        Ok(Some(text))
    }

    /// Where a span is in the ring of bytes, and how long. Positions count on over the ring's end; a span that would cross it
    /// is stored at the ring's start instead. `None`: no text, or no span of this ring.
    fn span(&self, begin: u64, next: u64) -> Option<(u64, u64)> {
        if begin & NO_TEXT != 0 || next & NO_TEXT != 0 {
            return None;
        }
        let size = 1_u64 << self.size_bits;
        let (start, end) = (begin & (size - 1), next & (size - 1));
        match (next >> self.size_bits).checked_sub(begin >> self.size_bits)? {
            0 => Some((start, end.checked_sub(start)?)),
            1 => Some((0, end)),
            _ => None,
        }
    }
}

/// The address of an element of an array.
const fn element(array: u64, index: u64, size: usize) -> u64 {
    array.wrapping_add(index.wrapping_mul(size as u64))
}

#[cfg(test)]
mod tests;
