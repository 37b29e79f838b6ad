//! A ring buffer made up in memory, of both word sizes, and whatever else may lie there.

use super::*;
use crate::elf::{Class, Core};
use crate::kernel_memory::tests::load;
use crate::read_at::tests::Bytes;
use proptest::prelude::*;
use std::string::ToString;

/// Virtual address of the file's first byte.
const BASE: u64 = 0xc000_0000;
const RING: u64 = 0x100;
const DESCRIPTORS: u64 = 0x400;
const INFOS: u64 = 0x600;
const DATA: u64 = 0x800;
const FILE: usize = 0xa00;
/// 8 records, 256 bytes of text.
const SMALL: (u32, u32) = (3, 8);

/// A log in the making.
struct Made {
    word: Word,
    /// Where the infos and the texts are, and how many of both there are.
    infos: u64,
    data: u64,
    bits: (u32, u32),
    bytes: Vec<u8>,
    next_id: u64,
    lpos: u64,
}

impl Made {
    fn new(word: Word) -> Self {
        Self::placed(word, SMALL, INFOS, DATA, FILE)
    }

    fn placed(word: Word, bits: (u32, u32), infos: u64, data: u64, file: usize) -> Self {
        let mut made = Self { word, infos, data, bits, bytes: vec![0; file], next_id: 0, lpos: 0 };
        let w = word.size() as u64;
        made.put(0, BASE + RING);
        made.put_u32(RING, bits.0);
        made.put(RING + w, BASE + DESCRIPTORS);
        made.put(RING + 2 * w, BASE + infos);
        made.put_u32(RING + 5 * w, bits.1);
        made.put(RING + 6 * w, BASE + data);
        made
    }

    fn put(&mut self, at: u64, value: u64) {
        let (at, size) = (at as usize, self.word.size());
        self.bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    fn put_u32(&mut self, at: u64, value: u32) {
        self.bytes[at as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }

    /// Adds a record with this state and gives the place of its descriptor.
    fn record(&mut self, text: &str, state: u64) -> u64 {
        let w = self.word.size() as u64;
        let id = self.next_id;
        let size = (w + text.len() as u64).next_multiple_of(w);
        let ring = 1 << self.bits.1;
        let mut start = self.lpos % ring;
        let mut next = self.lpos + size;
        if start + size > ring {
            // It does not fit before the end: it goes to the start, and the rest of the ring stays unused.
            next = self.lpos - start + ring + size;
            start = 0;
        }
        let index = id % (1 << self.bits.0);
        let descriptor = DESCRIPTORS + index * 3 * w;
        self.put(descriptor, state << (self.word.bits() - 2) | id);
        self.put(descriptor + w, self.lpos);
        self.put(descriptor + 2 * w, next);
        self.bytes[(self.infos + index * 24 + 16) as usize..][..2]
            .copy_from_slice(&(text.len() as u16).to_le_bytes());
        self.put(self.data + start, id);
        self.bytes[(self.data + start + w) as usize..][..text.len()].copy_from_slice(text.as_bytes());
        self.put(RING + 3 * w, id);
        self.put(RING + 4 * w, (id + 1).saturating_sub(1 << self.bits.0));
        (self.lpos, self.next_id) = (next, id + 1);
        descriptor
    }

    fn read(self) -> Result<FirstLog, Failure> {
        let info = info(self.word);
        read_bytes(self.bytes, self.word, &info)
    }
}

fn info(word: Word) -> String {
    let w = word.size();
    std::format!(
        "SYMBOL(prb)={BASE:x}\nOFFSET(atomic_long_t.counter)=0\nOFFSET(printk_ringbuffer.desc_ring)=0\n\
         OFFSET(printk_ringbuffer.text_data_ring)={}\nOFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)={}\n\
         OFFSET(prb_desc_ring.infos)={}\nOFFSET(prb_desc_ring.head_id)={}\nOFFSET(prb_desc_ring.tail_id)={}\n\
         OFFSET(prb_data_ring.size_bits)=0\nOFFSET(prb_data_ring.data)={w}\nSIZE(prb_desc)={}\nOFFSET(prb_desc.state_var)=0\n\
         OFFSET(prb_desc.text_blk_lpos)={w}\nOFFSET(prb_data_blk_lpos.begin)=0\nOFFSET(prb_data_blk_lpos.next)={w}\n\
         SIZE(printk_info)=24\nOFFSET(printk_info.text_len)=16\n",
        5 * w,
        w,
        2 * w,
        3 * w,
        4 * w,
        3 * w
    )
}

fn read_bytes(bytes: Vec<u8>, word: Word, info: &str) -> Result<FirstLog, Failure> {
    let core = Core { class: Class::Bits64, machine: 62, headers: vec![load(BASE, 0, bytes.len() as u64)] };
    let mut file = Bytes(bytes);
    read(&mut KernelMemory::new(&mut file, &core, word), VmcoreInfo::new(info.as_bytes()))
}

const WORDS: [Word; 2] = [Word::Bits32, Word::Bits64];

/// Catches a field at the place that it has with the other word size, and records in the wrong order.
#[test]
fn records_come_oldest_first() {
    for word in WORDS {
        let mut made = Made::new(word);
        made.record("Linux version 5.10", FINALIZED);
        made.record("Kernel panic - not syncing: NMI", COMMITTED);
        let log = made.read().unwrap();
        assert_eq!(log.records, 2);
        assert_eq!(log.tail, "Linux version 5.10\nKernel panic - not syncing: NMI");
    }
}

/// Catches a text that is cut, or read past the end of the ring, where the ring wraps; and records that were overwritten.
#[test]
fn the_rings_wrap() {
    for word in WORDS {
        let mut made = Made::new(word);
        for number in 0..21 {
            made.record(&std::format!("line {number} of these"), FINALIZED);
        }
        let log = made.read().unwrap();
        assert_eq!(log.records, 8);
        let lines: Vec<&str> = log.tail.lines().collect();
        let expected: Vec<String> = (13..21).map(|number| std::format!("line {number} of these")).collect();
        assert_eq!(lines, expected);
    }
}

/// Catches a half-written record, one that was made free, one whose text belongs to another by now, and one without text,
/// taken for a line of the log.
#[test]
fn what_is_no_whole_record_is_passed_over() {
    for word in WORDS {
        let w = word.size() as u64;
        let mut made = Made::new(word);
        made.record("kept", FINALIZED);
        made.record("reserved", 0);
        made.record("reusable", 3);
        let foreign = made.record("foreign", FINALIZED);
        made.put(foreign + w, 0);
        let empty = made.record("empty", FINALIZED);
        // What lies there looks like its span.
        made.put(empty + w, 0xc1);
        made.put(empty + 2 * w, 0xc1);
        made.put(DATA + 0xc1, 4);
        let backwards = made.record("backwards", FINALIZED);
        made.put(backwards + 2 * w, 0);
        assert_eq!(made.read().unwrap().tail, "kept");
    }
}

/// Catches a log that is reported without its end, or beyond the bound of a message.
#[test]
fn the_tail_is_bounded() {
    // Room for 1024 records and 64 KiB of text.
    let mut made = Made::placed(Word::Bits64, (10, 16), 0x1_0000, 0x2_0000, 0x3_0000);
    for number in 0..700 {
        made.record(&std::format!("{number:063}"), FINALIZED);
    }
    let log = made.read().unwrap();
    assert_eq!(log.records, 700);
    let lines: Vec<&str> = log.tail.lines().collect();
    assert_eq!(lines.len(), MAX_LOG_TAIL / 64);
    assert_eq!(lines.last().map(|line| line.parse()), Some(Ok(699)));
    assert_eq!(lines.first().map(|line| line.parse()), Some(Ok(700 - lines.len())));
}

/// Catches a text that goes on into another record's because its length is damaged.
#[test]
fn a_text_ends_with_its_span() {
    let mut made = Made::new(Word::Bits64);
    let descriptor = made.record("x", FINALIZED);
    made.bytes[(INFOS + 16) as usize..][..2].copy_from_slice(&u16::MAX.to_le_bytes());
    made.put(descriptor + 16, 64);
    assert_eq!(made.read().unwrap().tail.len(), 64 - 8);
}

/// Catches a reason that does not say what is wrong with the loader's headers or with the kernel.
#[test]
fn what_cannot_be_followed_is_named() {
    let why = |bytes: Vec<u8>, info: &str| read_bytes(bytes, Word::Bits64, info).unwrap_err().to_string();
    let good = info(Word::Bits64);
    assert!(why(vec![0; FILE], "OSRELEASE=5.4\n").contains("no SYMBOL(prb)"));
    let no_load = good.replace("SYMBOL(prb)=c0000000", "SYMBOL(prb)=ffffffff82000000");
    let text = why(vec![0; FILE], &no_load);
    assert!(text.contains("read prb: no PT_LOAD") && text.contains("0xffffffff82000000"), "{text}");
    let mut made = Made::new(Word::Bits64);
    made.put_u32(RING, 64);
    assert!(made.read().unwrap_err().to_string().contains("count_bits 64"));
    let mut made = Made::new(Word::Bits64);
    made.put(RING + 24, 9);
    assert!(made.read().unwrap_err().to_string().contains("10 records apart"));
    let small = good.replace("SIZE(prb_desc)=24", "SIZE(prb_desc)=8");
    let mut made = Made::new(Word::Bits64);
    made.record("x", FINALIZED);
    assert!(why(made.bytes, &small).contains("SIZE(prb_desc) is 8"));
}

proptest! {
    /// Catches a panic, an overflow, an endless loop, or an allocation of any size, in a ring of any bytes.
    #[test]
    fn any_bytes_end(
        changes in prop::collection::vec((0..FILE, any::<u8>()), 0..40),
        ring in prop::collection::vec(any::<u64>(), 0..6),
        wide: bool,
    ) {
        let mut made = Made::new(if wide { Word::Bits64 } else { Word::Bits32 });
        for number in 0..11 {
            made.record(&std::format!("line {number}"), FINALIZED);
        }
        for (index, value) in ring.into_iter().enumerate() {
            made.put(RING + 8 * index as u64, value);
        }
        for (at, value) in changes {
            made.bytes[at] = value;
        }
        if let Ok(log) = made.read() {
            prop_assert!(log.tail.len() <= 3 * MAX_LOG_TAIL);
        }
    }

    /// The same with a VMCOREINFO of any numbers.
    #[test]
    fn any_offsets_end(values in prop::collection::vec(0_u64..5000, 19)) {
        let mut made = Made::new(Word::Bits64);
        made.record("line", FINALIZED);
        let text: String = info(Word::Bits64)
            .lines()
            .zip(values)
            .map(|(line, value)| match line.split_once('=') {
                Some((key, _)) if value % 3 == 0 && !key.starts_with("SYMBOL") => std::format!("{key}={value}\n"),
                _ => std::format!("{line}\n"),
            })
            .collect();
        let _ = read_bytes(made.bytes, Word::Bits64, &text);
    }
}
