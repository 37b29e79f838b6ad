//! Scripts run by the host's own sh, with a shell script in QEMU's place.

use super::*;
use guest_protocol::{
    Arch, ExitKind, Found, HexBytes, KernelFacts, LoadOrder, LoadReport, Message, Place, Plant, Planted,
    ReadResult, Report, Side, Vmcore, VmcoreReport,
};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

const NONCE: &[u8] = b"0123";

/// A folder with a script, orders, and a QEMU that is what `machine` says: it finds the pipes as $channel and $monitor.
struct Stage(tempfile::TempDir);

impl Stage {
    fn new(machine: &str) -> Self {
        let silence = Duration::from_secs(20);
        Self::of(Purpose::Repro { reader: None, value_bytes: 4, silence }, machine)
    }

    fn of(purpose: Purpose, machine: &str) -> Self {
        let stage = Self(tempfile::Builder::new().prefix("it's a ").tempdir().unwrap());
        let folder = stage.0.path();
        let own = purpose.name();
        let qemu = format!("channel={own}/channel monitor={own}/monitor\n: > {own}/console.log\n{machine}");
        std::fs::write(folder.join("machine"), qemu).unwrap();
        std::fs::write(folder.join("one part"), "1").unwrap();
        std::fs::write(folder.join("part"), "2").unwrap();
        let order = Order::Load(LoadOrder {
            plants: vec![Plant { id: 0, bytes: HexBytes(NONCE.to_vec()), place: Place::Anywhere }],
            log_line: "x".into(),
            argv: vec!["/bin/kexec-load".into()],
            timeout_seconds: 1,
            arm_unloaded: false,
        });
        std::fs::write(folder.join("orders.jsonl"), json(&order) + "\n").unwrap();
        let script = Script {
            purpose: &purpose,
            qemu: Path::new("/bin/sh"),
            kernel: Path::new("machine"),
            parts: &["one part".into(), "part".into()],
            args: &["machine".into(), "-append".into(), "a b='c' $HOME".into()],
            args_of_rig: Some(&["-S\nexit 9".into()]),
            trigger: "nmi",
        };
        std::fs::write(folder.join("script.sh"), script.text()).unwrap();
        stage
    }

    /// Runs it from elsewhere.
    fn run(&self, args: &[&str], limit: &str) -> (Option<i32>, String) {
        let mut command = Command::new("sh");
        command.arg(self.path("script.sh")).args(args).current_dir("/").env("LIMIT", limit);
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        for left in ["repro/pid", "repro/channel.in", "shell/initramfs"] {
            assert!(!self.path(left).exists(), "{left}: {said}");
        }
        (status.code(), said)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A line of shell that lets an agent say this.
fn says(kernel: Side, message: Message) -> String {
    let line = serde_json::to_string(&Report { seq: 0, kernel, message }).unwrap();
    format!("printf '%s\\n' '{}' > $channel.out\n", line.replace('\'', r"'\''"))
}

/// A line of shell that takes an order, into a file. It waits without the pipe by which the script sees QEMU's end.
fn takes(file: &str) -> String {
    format!("timeout 20 head -n 1 < $channel.in > {file} 3>&-\n")
}

fn facts() -> KernelFacts {
    KernelFacts {
        release: "5.10".into(),
        version: "#1".into(),
        machine: "x86_64".into(),
        userspace: Arch::I386,
        cmdline: String::new(),
        cpus: 1,
        crash_regions: Vec::new(),
        system_ram: Vec::new(),
        kernel_code: None,
        crash_loaded: None,
    }
}

fn loaded(status: u8, stderr: &str) -> String {
    let report = LoadReport {
        exit: ExitKind::Exited { status },
        stdout: String::new(),
        stderr: stderr.into(),
        crash_loaded: status == 0,
        milliseconds: 1,
    };
    says(Side::First, Message::Loaded(report))
}

/// Up to the trigger, and the capture kernel's agent up.
fn to_up() -> String {
    [
        says(Side::First, Message::Ready(facts())),
        takes("load"),
        loaded(0, r#"prints "type":"armed", and \"message\":{\"type\":\"done\""#),
        says(
            Side::First,
            Message::Armed {
                planted: vec![Planted { id: 0, address: 4096 }, Planted { id: 1, address: 8192 }],
            },
        ),
        "timeout 20 head -n 1 < $monitor.in > trigger 3>&-\n".into(),
        "printf '\\n' > $channel.out\n".into(),
        says(Side::Capture, Message::Up(facts())),
    ]
    .concat()
}

fn vmcore(found: Found) -> String {
    let core = Vmcore {
        class_bits: 64,
        machine: 62,
        size: 1,
        prstatus: 1,
        osrelease: None,
        crashtime: None,
        loads: Vec::new(),
        reads: vec![ReadResult { address: 4096, found }],
        mappings: Err(String::new()),
        uts_release: Err(String::new()),
        log: Err(String::new()),
    };
    says(Side::Capture, Message::Vmcore(VmcoreReport::Present(core))) + &says(Side::Capture, Message::Done)
}

/// Bug: orders that the agent does not take, given before it asks or not at all; a trigger before *armed*; command lines and paths
/// that fall apart in the shell.
#[test]
fn a_capture_is_walked_to_its_end() {
    let found = vmcore(Found::Bytes(HexBytes(NONCE.to_vec())));
    let stage = Stage::new(&format!("echo \"$1|$2\" > args\n{}{}{found}", to_up(), takes("read")));
    let began = Instant::now();
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(0), "{said}");
    assert!(began.elapsed() < Duration::from_secs(15), "it waits for a silence that was over: {said}");
    assert!(
        said.ends_with("repro: captured; 1 of 1 planted values were read through /proc/vmcore\n"),
        "{said}"
    );
    let text = |name: &str| std::fs::read_to_string(stage.path(name)).unwrap();
    assert_eq!(text("args"), "-append|a b='c' $HOME\n");
    assert_eq!(text("load"), text("orders.jsonl"));
    assert_eq!(text("trigger"), "nmi\n");
    let read = |address| guest_protocol::Read { address, length: 4 };
    let order = Order::Read { reads: vec![read(4096), read(8192)], reader: None };
    assert_eq!(text("read").trim_end(), json(&order));
}

/// Bug: other bytes than those that were planted count as a capture.
#[test]
fn what_was_not_read_is_no_capture() {
    let stage = Stage::new(&(to_up() + &takes("read") + &vmcore(Found::NotCovered)));
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("0 of 1 planted values"), "{said}");
}

/// Bug: a refusal ends without its reason, or leaves the guest running.
#[test]
fn a_refusal_is_told_and_powers_off() {
    let machine = [
        says(Side::First, Message::Ready(facts())),
        takes("load"),
        loaded(1, "debug\nregion \"0x1\\2\" is\u{1b} too high\n"),
        takes("order"),
    ];
    let stage = Stage::new(&machine.concat());
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(1), "{said}");
    let told = "nothing was loaded, the loader exited status 1: region \"0x1\\2\" is? too high\n";
    assert!(said.ends_with(told), "{said}");
    let order = std::fs::read_to_string(stage.path("order")).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&order).unwrap(), Order::PowerOff);
}

/// Bug: a hang runs for ever; the registers of a hung machine are not looked at; the console's last words are lost.
#[test]
fn a_silent_guest_is_ended() {
    let machine = "printf 'boot\\r\\nDestination address too large' > repro/console.log\ntimeout 20 head -n 2 < $monitor.in > asked 3>&-\n";
    let stage = Stage::new(&(to_up().replace(&says(Side::Capture, Message::Up(facts())), machine)));
    let (status, said) = stage.run(&[], "1");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the console's last line: Destination address too large\n"), "{said}");
    assert!(said.contains("no agent of a capture kernel followed; not a word for 1 s"), "{said}");
    assert_eq!(std::fs::read_to_string(stage.path("asked")).unwrap(), "info registers -a\nquit\n");
}

/// Bug: by hand, the kernel is panicked or the guest ended before its user could look.
#[test]
fn by_hand_nothing_is_triggered() {
    let machine = [
        says(Side::First, Message::Ready(facts())),
        takes("load"),
        loaded(0, ""),
        says(Side::First, Message::Armed { planted: Vec::new() }),
        "sleep 2\ndd bs=1 count=1 iflag=nonblock < $monitor.in 2> /dev/null > trigger || :\n".into(),
    ];
    let stage = Stage::new(&machine.concat());
    let (status, said) = stage.run(&["--by-hand"], "1");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("to panic the kernel: Ctrl-A c, then: nmi"), "{said}");
    assert_eq!(std::fs::read(stage.path("trigger")).unwrap(), b"");
}

/// Bug: a QEMU that refuses its arguments, or is not there, looks like a guest that failed; or the script waits for its pipes.
#[test]
fn what_could_not_be_tried_says_so() {
    let stage = Stage::new("exit 7");
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("QEMU ended with status 7"), "{said}");
    std::fs::remove_file(stage.path("machine")).unwrap();
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("the first kernel machine cannot be read"), "{said}");
}

/// Bug: a shell in the capture kernel that nobody panics into; or one that is ended for silence, when its user thinks.
#[test]
fn a_shell_is_led_to_and_left_alone() {
    let machine = [
        says(Side::First, Message::Ready(facts())),
        takes("load"),
        loaded(0, ""),
        says(Side::First, Message::Armed { planted: Vec::new() }),
        "timeout 20 head -n 1 < $monitor.in > trigger 3>&-\nsleep 2\n".into(),
    ];
    let stage = Stage::of(Purpose::Shell, &machine.concat());
    let (status, said) = stage.run(&[], "1");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(stage.path("trigger")).unwrap(), "nmi\n");
}

/// Bug: a capture kernel that was refused looks like a shell that somebody left.
#[test]
fn a_shell_that_cannot_be_led_to_says_why() {
    let machine =
        [says(Side::First, Message::Ready(facts())), takes("load"), loaded(1, "too high\n"), takes("order")];
    let (status, said) = Stage::of(Purpose::Shell, &machine.concat()).run(&[], "1");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("there will be no capture kernel: too high\n"), "{said}");
}

/// Bug: a QEMU that is stopped, or that does not take commands, keeps the script for ever.
#[test]
fn a_deaf_qemu_is_killed() {
    let stage = Stage::new("exec sleep 60");
    let began = Instant::now();
    let (status, said) = stage.run(&[], "1");
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("QEMU ended with status 137; until then: the agent of the first kernel never said"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(50), "{said}");
}
