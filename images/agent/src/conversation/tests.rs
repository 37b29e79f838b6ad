//! Whole conversations against a scripted guest.

use super::*;
use crate::failure::Errno;
use guest_protocol::{Arch, Circumstances, HexBytes, Place};
use std::collections::VecDeque;
use std::vec;

/// A guest whose every answer is set beforehand, and which notes what was asked of it, in order.
struct Scripted {
    lines: VecDeque<Vec<u8>>,
    said: Vec<Message>,
    asked: Vec<&'static str>,
    /// What the program was bound by, each time.
    bounds: Vec<Option<Bound>>,
    settings: Vec<Setting>,
    covered: Option<String>,
    crash_loaded: Option<bool>,
    unknown_nmi_panic: Option<bool>,
    plant_fails: bool,
    /// Files and calls that the kernel does not have.
    without: &'static [&'static str],
    environment: &'static [u8],
    has_symbol: Option<bool>,
    vmcore: Result<Option<Vec<u8>>, Errno>,
}

impl Scripted {
    fn new(orders: &[Order]) -> Self {
        let lines = orders.iter().map(|order| serde_json::to_vec(order).unwrap()).collect();
        Self {
            lines,
            said: Vec::new(),
            asked: Vec::new(),
            bounds: Vec::new(),
            settings: Vec::new(),
            covered: None,
            crash_loaded: Some(true),
            unknown_nmi_panic: Some(true),
            plant_fails: false,
            without: &[],
            environment: b"HOME=/\0",
            has_symbol: Some(true),
            vmcore: Ok(None),
        }
    }

    /// The conversation; the script ends it with a power-off if it has not ended before.
    fn talk(mut self, side: Side) -> Self {
        self.lines.push_back(br#"{"type":"power-off"}"#.to_vec());
        converse(&mut self, side);
        self
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.said
            .iter()
            .map(|message| match message {
                Message::Ready(_) => "ready",
                Message::Loaded(_) => "loaded",
                Message::Armed { .. } => "armed",
                Message::Up(_) => "up",
                Message::Vmcore(_) => "vmcore",
                Message::Told(_) => "told",
                Message::Reader(_) => "reader",
                Message::Done => "done",
                Message::Lacks { .. } => "lacks",
                Message::Trouble { .. } => "trouble",
            })
            .collect()
    }

    fn trouble(&self) -> &str {
        self.said
            .iter()
            .find_map(|message| match message {
                Message::Trouble { what } => Some(what.as_str()),
                _ => None,
            })
            .expect("there is trouble")
    }
}

struct Bytes(Vec<u8>);
impl ReadAt for Bytes {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Guest for Scripted {
    type Page = u32;
    type Core = Bytes;

    fn report(&mut self, message: Message) {
        self.said.push(message);
    }
    fn next_line(&mut self) -> Vec<u8> {
        self.lines.pop_front().expect("the conversation ends with the script")
    }
    fn facts(&mut self) -> Result<KernelFacts, Failure> {
        Ok(KernelFacts {
            release: "6.1.0".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            userspace: Arch::I386,
            cmdline: "unknown_nmi_panic=1".into(),
            cpus: 1,
            crash_regions: vec![],
            system_ram: vec![],
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: self.crash_loaded,
        })
    }
    fn has_file(&mut self, path: &str) -> bool {
        !self.without.contains(&path)
    }
    fn has_kexec_load(&mut self) -> bool {
        !self.without.contains(&"kexec_load")
    }
    fn environment(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.environment.to_vec())
    }
    fn has_symbol(&mut self, _: &str) -> Result<Option<bool>, Failure> {
        Ok(self.has_symbol)
    }
    fn plant(&mut self, plant: &Plant) -> Result<u32, Failure> {
        self.asked.push("plant");
        if self.plant_fails { Err(Failure::new("no page above 4 GiB")) } else { Ok(plant.id) }
    }
    fn locate(&mut self, page: &u32) -> Result<Planted, Failure> {
        self.asked.push("locate");
        Ok(Planted { id: *page, address: 0x1000 })
    }
    fn log(&mut self, _: &str) -> Result<(), Failure> {
        self.asked.push("log");
        Ok(())
    }
    fn panic(&mut self, _: u32) -> Failure {
        self.asked.push("panic");
        Failure::new("the kernel goes on")
    }
    fn set(&mut self, setting: &Setting) -> Result<(), Failure> {
        self.asked.push("set");
        self.settings.push(*setting);
        Ok(())
    }
    fn memory_map(&mut self) -> Result<String, Failure> {
        Ok("  20000000-2fffffff : Crash kernel\n".into())
    }
    fn cover_memory_map(&mut self, text: &str) -> Result<(), Failure> {
        self.asked.push("cover");
        self.covered = Some(text.into());
        Ok(())
    }
    fn run(&mut self, _: &[String], _: u32, bound: Option<Bound>) -> Result<Run, Failure> {
        self.asked.push("run");
        self.bounds.push(bound);
        Ok(Run {
            exit: ExitKind::Exited { status: 0 },
            stdout: "".into(),
            stderr: "".into(),
            time: RunTime { wall_ns: 5_000_000, user_us: 1, system_us: 2 },
        })
    }
    fn crash_loaded(&mut self) -> Result<Option<bool>, Failure> {
        self.asked.push("crash_loaded");
        Ok(self.crash_loaded)
    }
    fn unknown_nmi_panic(&mut self) -> Result<Option<bool>, Failure> {
        Ok(self.unknown_nmi_panic)
    }
    fn told(&mut self) -> Result<Told, Failure> {
        Ok(Told::default())
    }
    fn vmcore(&mut self) -> Result<Option<(Bytes, u64)>, Failure> {
        match self.vmcore.clone() {
            Ok(core) => Ok(core.map(|bytes| (Bytes(bytes.clone()), bytes.len() as u64))),
            Err(errno) => Err(Failure::errno("open /proc/vmcore", errno)),
        }
    }
}

fn load_order() -> LoadOrder {
    LoadOrder {
        plants: vec![Plant { id: 3, bytes: HexBytes(vec![1, 2]), place: Place::Anywhere }],
        log_line: "rig 01".into(),
        argv: vec!["/loader".into()],
        timeout_seconds: 1,
        circumstances: Circumstances::None,
        arm_unloaded: false,
        sysrq: false,
    }
}

/// Catches circumstances that come after the loader or not at all, and bounds of one that reach another.
#[test]
fn circumstances_are_there_before_the_loader() {
    let of = |circumstances| {
        let order = LoadOrder { circumstances, ..load_order() };
        Scripted::new(&[Order::Load(order)]).talk(Side::First)
    };
    for circumstances in Circumstances::ALL {
        let guest = of(circumstances);
        let bound = match circumstances {
            Circumstances::PerLinux32 => Some(Bound::PerLinux32),
            Circumstances::WithoutCapSysBoot => Some(Bound::NoCapSysBoot),
            Circumstances::No64BitCode => Some(Bound::NoNativeCalls),
            _ => None,
        };
        assert_eq!(guest.bounds[0], bound, "{circumstances:?}");
        let is_setting = matches!(
            circumstances,
            Circumstances::KexecLoadDisabled | Circumstances::LoadLimitUsedUp | Circumstances::Lockdown
        );
        assert_eq!(guest.settings.len(), usize::from(is_setting), "{circumstances:?}");
        let before = if is_setting { "set" } else { "plant" };
        let run = guest.asked.iter().position(|asked| *asked == "run").unwrap();
        assert_eq!(guest.asked[run - 1], before, "{circumstances:?}");
    }
}

/// Catches a reload that is a single load, or one that sees another region than the kernel's.
#[test]
fn a_reload_is_a_second_load_of_the_same() {
    let order = Order::Load(LoadOrder { circumstances: Circumstances::Reload, ..load_order() });
    let guest = Scripted::new(&[order]).talk(Side::First);
    assert_eq!(guest.asked, ["plant", "run", "crash_loaded", "run", "crash_loaded", "log", "locate"]);
    assert_eq!(guest.covered, None);
    assert!(matches!(&guest.said[1], Message::Loaded(report) if report.loaded_before == Some(true)));
}

/// Catches a second load that sees the true region, and one that follows on a load which left nothing.
#[test]
fn a_reload_that_is_to_fail_sees_another_region() {
    let order = || Order::Load(LoadOrder { circumstances: Circumstances::ReloadFails, ..load_order() });
    let guest = Scripted::new(&[order()]).talk(Side::First);
    assert_eq!(
        guest.asked,
        ["plant", "run", "crash_loaded", "cover", "run", "crash_loaded", "log", "locate"]
    );
    assert_eq!(guest.covered.as_deref(), Some("  21000000-30ffffff : Crash kernel\n"));
    let before = |guest: &Scripted| match &guest.said[1] {
        Message::Loaded(report) => report.loaded_before,
        other => panic!("{other:?}"),
    };
    assert_eq!(before(&guest), Some(true));
    let mut guest = Scripted::new(&[order()]);
    guest.crash_loaded = Some(false);
    let guest = guest.talk(Side::First);
    assert_eq!(guest.asked, ["plant", "run", "crash_loaded", "crash_loaded"]);
    assert_eq!(guest.kinds(), ["ready", "loaded"]);
    assert_eq!(before(&guest), Some(false));
}

/// Catches a loader that runs before the nonces are planted, addresses that are taken before it ran, a log without the rig's
/// line, and *armed* before *loaded*.
#[test]
fn the_load_goes_in_order() {
    let guest = Scripted::new(&[Order::Load(load_order())]).talk(Side::First);
    assert_eq!(guest.kinds(), ["ready", "loaded", "armed"]);
    assert_eq!(guest.asked, ["plant", "run", "crash_loaded", "log", "locate"]);
    assert_eq!(guest.said[2], Message::Armed { planted: vec![Planted { id: 3, address: 0x1000 }] });
}

/// Catches *armed* without anything loaded, unless it was ordered so.
#[test]
fn nothing_loaded_is_not_armed_unless_ordered() {
    for (arm_unloaded, expected) in
        [(false, vec!["ready", "loaded"]), (true, vec!["ready", "loaded", "armed"])]
    {
        let order = LoadOrder { arm_unloaded, ..load_order() };
        let mut guest = Scripted::new(&[Order::Load(order)]);
        guest.crash_loaded = Some(false);
        let guest = guest.talk(Side::First);
        assert_eq!(guest.kinds(), expected);
        assert!(matches!(&guest.said[1], Message::Loaded(report) if !report.crash_loaded));
    }
}

/// Catches a trigger that would do nothing, reported as armed.
#[test]
fn a_lost_nmi_setting_is_trouble() {
    let mut guest = Scripted::new(&[Order::Load(load_order())]);
    guest.unknown_nmi_panic = Some(false);
    let guest = guest.talk(Side::First);
    assert_eq!(guest.kinds(), ["ready", "loaded", "trouble"]);
    assert!(guest.trouble().contains("unknown_nmi_panic is 0"));
}

/// Catches a loader that runs although a nonce could not be placed, and a second load in a used guest.
#[test]
fn a_failed_plant_ends_the_load() {
    let mut guest = Scripted::new(&[Order::Load(load_order()), Order::Load(load_order())]);
    guest.plant_fails = true;
    let guest = guest.talk(Side::First);
    assert_eq!(guest.kinds(), ["ready", "trouble", "trouble"]);
    assert_eq!(guest.asked, ["plant"]);
}

/// Catches orders with empty or oversized parts that reach the system calls.
#[test]
fn impossible_orders_are_trouble() {
    let plant = |size| vec![Plant { id: 9, bytes: HexBytes(vec![0; size]), place: Place::Anywhere }];
    let cases = [
        (LoadOrder { argv: vec![], ..load_order() }, "no program"),
        (LoadOrder { log_line: "".into(), ..load_order() }, "line for the log"),
        (LoadOrder { log_line: "a".repeat(201), ..load_order() }, "line for the log"),
        (LoadOrder { log_line: "two\nlines".into(), ..load_order() }, "line for the log"),
        (LoadOrder { plants: plant(0), ..load_order() }, "nonce 9 has 0 bytes"),
        (LoadOrder { plants: plant(4097), ..load_order() }, "nonce 9 has 4097 bytes"),
    ];
    for (order, why) in cases {
        let guest = Scripted::new(&[Order::Load(order)]).talk(Side::First);
        assert_eq!(guest.kinds(), ["ready", "trouble"]);
        assert!(guest.trouble().contains(why), "{}", guest.trouble());
        assert!(guest.asked.is_empty());
    }
}

/// Catches noise that is answered or taken for an order, a damaged order that nobody answers, and an order of the other
/// side that is obeyed.
#[test]
fn noise_is_passed_over_and_foreign_orders_are_not() {
    let mut guest = Scripted::new(&[Order::Read { reads: vec![], reader: None }]);
    guest.lines.push_front(b"SeaBIOS (version 1.16)".to_vec());
    guest.lines.push_front(b"{\"type\":".to_vec());
    let guest = guest.talk(Side::First);
    assert_eq!(guest.kinds(), ["ready", "trouble", "trouble"]);
    let guest = Scripted::new(&[Order::Load(load_order())]).talk(Side::Capture);
    assert_eq!(guest.kinds(), ["up", "trouble"]);
}

/// Catches a missing vmcore told as trouble, an unreadable one told as missing, and a failed open told as either.
#[test]
fn the_three_states_of_a_vmcore() {
    let read = Order::Read { reads: vec![Read { address: 0, length: 1 }], reader: None };
    let talk = |vmcore| {
        let mut guest = Scripted::new(core::slice::from_ref(&read));
        guest.vmcore = vmcore;
        guest.talk(Side::Capture)
    };
    let absent = talk(Ok(None));
    assert_eq!(absent.kinds(), ["up", "vmcore", "told", "done"]);
    assert_eq!(absent.said[1], Message::Vmcore(VmcoreReport::Absent));
    let broken = talk(Ok(Some(b"not an ELF file at all".to_vec())));
    assert_eq!(broken.kinds(), ["up", "vmcore", "told", "done"]);
    assert!(
        matches!(&broken.said[1], Message::Vmcore(VmcoreReport::Unreadable { why }) if why.contains("magic"))
    );
    let failed = talk(Err(Errno(5)));
    assert_eq!(failed.kinds(), ["up", "trouble"]);
    assert_eq!(failed.trouble(), "open /proc/vmcore: EIO (5)");
}

/// Catches a read whose answer would not fit into a line, and the end of the conversation without an answer.
#[test]
fn too_long_a_read_is_trouble() {
    let read = Order::Read { reads: vec![Read { address: 0x1000, length: 4097 }], reader: None };
    let guest = Scripted::new(&[read]).talk(Side::Capture);
    assert_eq!(guest.kinds(), ["up", "trouble"]);
    assert!(guest.trouble().contains("4097 bytes at 0x1000"));
}

/// Catches a reader that runs before the agent's own look (it may take all the time there is), without a vmcore, or unasked.
#[test]
fn the_reader_runs_last_and_where_there_is_a_vmcore() {
    let talk = |vmcore: Option<Vec<u8>>, argv: Option<Vec<String>>| {
        let reader = argv.map(|argv| ReaderOrder { argv, timeout_seconds: 1 });
        let mut guest = Scripted::new(&[Order::Read { reads: vec![], reader }]);
        guest.vmcore = Ok(vmcore);
        guest.talk(Side::Capture)
    };
    let core = || Some(b"a core".to_vec());
    let reader = || Some(vec!["/sbin/reader".into()]);
    assert_eq!(talk(core(), reader()).kinds(), ["up", "vmcore", "told", "reader", "done"]);
    assert_eq!(talk(core(), None).kinds(), ["up", "vmcore", "told", "done"]);
    assert_eq!(talk(None, reader()).kinds(), ["up", "vmcore", "told", "done"]);
    assert!(talk(core(), Some(vec![])).trouble().contains("without a program"));
}

/// Bug: a kernel without what the rig needs goes on to *ready*, to the loader or to a report on its vmcore, and the loader is judged.
#[test]
fn a_kernel_that_lacks_something_says_so_and_no_more() {
    let option = |guest: &Scripted| match guest.said.last() {
        Some(Message::Lacks { option, .. }) => option.clone(),
        other => panic!("{other:?}"),
    };
    let mut guest = Scripted::new(&[]);
    guest.crash_loaded = None;
    let guest = guest.talk(Side::First);
    assert_eq!(
        (guest.kinds(), option(&guest)),
        (vec!["lacks"], "CONFIG_KEXEC or CONFIG_CRASH_DUMP".to_string())
    );
    for (without, lacking) in [("kexec_load", "CONFIG_KEXEC"), ("/proc/kcore", "CONFIG_PROC_KCORE")] {
        let mut guest = Scripted::new(&[Order::Load(load_order())]);
        guest.without = if without == "kexec_load" { &["kexec_load"] } else { &["/proc/kcore"] };
        let guest = guest.talk(Side::First);
        assert_eq!((guest.kinds(), option(&guest)), (vec!["ready", "lacks"], lacking.to_string()));
        assert!(!guest.asked.contains(&"run"), "{:?}", guest.asked);
    }
    let read = || Order::Read { reads: vec![], reader: None };
    let mut guest = Scripted::new(&[read()]);
    guest.environment = b"HOME=/\0elfcorehdr=0x1000\0";
    let guest = guest.talk(Side::Capture);
    assert_eq!((guest.kinds(), option(&guest)), (vec!["up", "lacks"], "CONFIG_CRASH_DUMP".to_string()));
    let mut guest = Scripted::new(&[read()]);
    guest.has_symbol = Some(false);
    assert_eq!(option(&guest.talk(Side::Capture)), "CONFIG_PROC_VMCORE");
}

/// Bug: the rig's order to panic is taken before anything is armed, which would be a panic without a crash image; or is not taken at all.
#[test]
fn only_an_armed_kernel_is_panicked() {
    let panic = Order::Panic { cpu: 1 };
    let early = Scripted::new(core::slice::from_ref(&panic)).talk(Side::First);
    assert!(early.trouble().contains("not armed") && !early.asked.contains(&"panic"));
    let armed = Scripted::new(&[Order::Load(load_order()), panic.clone()]).talk(Side::First);
    assert!(armed.asked.ends_with(&["panic"]), "{:?}", armed.asked);
    let capture = Scripted::new(&[panic]).talk(Side::Capture);
    assert!(capture.trouble().contains("the capture kernel"));
}

/// Bug: keyboard and console are left with what a distribution allows, and their triggers do nothing.
#[test]
fn sysrq_is_let_loose_where_it_is_ordered() {
    for sysrq in [false, true] {
        let guest = Scripted::new(&[Order::Load(LoadOrder { sysrq, ..load_order() })]).talk(Side::First);
        let is_set = |setting: &Setting| (setting.path, setting.value) == ("/proc/sys/kernel/sysrq", "1");
        assert_eq!(guest.settings.iter().any(is_set), sysrq);
    }
}
