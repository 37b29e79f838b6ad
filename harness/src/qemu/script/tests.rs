//! Scripts run by the host's own sh, with a shell script in QEMU's place.

mod shell;

use super::*;
use guest_protocol::{
    Arch, Circumstances, ExitKind, Found, HexBytes, KernelFacts, LoadOrder, LoadReport, Message, Place,
    Plant, Planted, ReadResult, Report, Side, Vmcore, VmcoreReport,
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
        let plant = Plant { id: 0, bytes: HexBytes(NONCE.to_vec()), place: Place::Anywhere };
        std::fs::write(folder.join("orders.jsonl"), orders(vec![plant])).unwrap();
        let script = Script {
            purpose: &purpose,
            qemu: Path::new("/bin/sh"),
            kernel: Path::new("machine"),
            parts: &["one part".into(), "part".into()],
            args: &["machine".into(), "-append".into(), "a b='c' $HOME".into()],
            args_of_rig: Some(&["-S\nexit 9".into()]),
            trigger: Trigger::Nmi,
        };
        std::fs::write(folder.join("script.sh"), script.text()).unwrap();
        stage
    }

    /// What runs it, from elsewhere.
    fn command(&self, limit: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg(self.path("script.sh")).current_dir("/").env("LIMIT", limit).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    fn run(&self, args: &[&str], limit: &str) -> (Option<i32>, String) {
        self.end_of(self.command(limit).args(args))
    }

    /// Runs this to its end; nothing is left of it.
    fn end_of(&self, command: &mut Command) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = command.output().unwrap();
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

/// The order to load.
fn orders(plants: Vec<Plant>) -> String {
    let order = Order::Load(LoadOrder {
        plants,
        log_line: "x".into(),
        argv: vec!["/bin/kexec-load".into()],
        timeout_seconds: 1,
        circumstances: Circumstances::None,
        arm_unloaded: false,
        sysrq: false,
    });
    json(&order) + "\n"
}

/// The process that a file names, once it is there.
fn process_in(file: &Path) -> String {
    eventually(|| std::fs::read_to_string(file).ok().filter(|text| text.contains('\n')))
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

/// What comes to be, on a loaded host in its time.
fn eventually<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = what() {
            return seen;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never came to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The letter by which /proc tells a process's state; none without such a process.
fn state_of(process: &str) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn signal(name: &str, process: &str) {
    let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, process]).status().unwrap();
    assert!(status.success(), "{name} to {process}");
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
        five_levels: None,
        cpu: None,
        firmware_ram: None,
        kernel_code: None,
        crash_loaded: None,
    }
}

fn loaded(status: u8, stderr: &str) -> String {
    let report = LoadReport {
        loaded_before: None,
        exit: ExitKind::Exited { status },
        stdout: String::new(),
        stderr: stderr.into(),
        crash_loaded: status == 0,
        milliseconds: 1,
        time: None,
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

/// Bug: where nothing was planted, nothing was found wrong.
#[test]
fn a_capture_without_values_shows_nothing() {
    let stage = Stage::new(&(to_up() + &takes("read") + &vmcore(Found::NotCovered)));
    std::fs::write(stage.path("orders.jsonl"), orders(Vec::new())).unwrap();
    let (status, said) = stage.run(&[], "20");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("0 of 0 planted values"), "{said}");
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

/// Bug: QEMU= with a path is looked for in the script's folder.
#[test]
fn another_qemu_is_seen_from_where_the_user_stands() {
    let stage = Stage::new("exit 7");
    for (qemu, sign) in
        [("bin/sh", "QEMU ended with status 7"), ("sh", "QEMU ended with status 7"), ("/no", "/no;")]
    {
        let (status, said) = stage.end_of(stage.command("20").env("QEMU", qemu));
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(sign), "{qemu}: {said}");
    }
}

/// Bug: a patience that is no number is none.
#[test]
fn a_limit_is_a_number() {
    let (status, said) = Stage::new("exit 0").run(&[], "5m");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("LIMIT is a number of seconds, and not 5m"), "{said}");
}

/// Bug: a stopped QEMU takes no TERM, and keeps a script, which then ignores every signal, for ever.
#[test]
fn a_stopped_qemu_does_not_keep_an_interrupted_script() {
    let stage = Stage::new("echo $$ > qemu\nkill -STOP $$\nexec sleep 60\n");
    let script = stage.command("60").stderr(Stdio::null()).spawn().unwrap();
    let mut script = KilledOnDrop(script);
    let qemu = process_in(&stage.path("qemu"));
    eventually(|| (state_of(&qemu)? == 'T').then_some(()));
    signal("TERM", &script.0.id().to_string());
    let began = Instant::now();
    let mut ended = None;
    while ended.is_none() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
        ended = script.0.try_wait().unwrap();
    }
    if ended.is_none() {
        // Nothing else would ever end it.
        signal("KILL", &qemu);
    }
    assert_eq!(ended.and_then(|ended| ended.code()), Some(143));
    assert_eq!(state_of(&qemu), None);
    assert!(!stage.path("repro/pid").exists());
}

/// A child of a test that may fail.
struct KilledOnDrop(std::process::Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bug: a script that is killed leaves its QEMU running.
#[test]
fn qemu_ends_with_a_killed_script() {
    if !Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return;
    }
    let stage = Stage::new("echo $$ > qemu\nexec sleep 60\n");
    let script = KilledOnDrop(stage.command("60").stderr(Stdio::null()).spawn().unwrap());
    let qemu = process_in(&stage.path("qemu"));
    drop(script);
    // A zombie is one until its new parent reaps it.
    eventually(|| matches!(state_of(&qemu), None | Some('Z')).then_some(()));
    // What it left does not keep the next one.
    std::fs::write(stage.path("machine"), "exit 7").unwrap();
    let (_, said) = stage.run(&[], "20");
    assert!(said.contains("QEMU ended with status 7"), "{said}");
}

/// Bug: two scripts share a folder's pipes; or a number that another process has by now blocks a script for good.
#[test]
fn one_script_at_a_time() {
    let stage = Stage::new("echo $$ > qemu\nexec sleep 60\n");
    let mut first = KilledOnDrop(stage.command("60").stderr(Stdio::null()).spawn().unwrap());
    process_in(&stage.path("qemu"));
    let Output { status, stderr, .. } = stage.command("20").output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{said}");
    let file = std::fs::canonicalize(stage.path("repro/pid")).unwrap();
    assert!(said.contains(&format!("remove {}\n", file.display())), "{said}");
    assert_eq!(first.0.try_wait().unwrap(), None);
    signal("TERM", &first.0.id().to_string());
    first.0.wait().unwrap();

    std::fs::write(stage.path("machine"), "exit 7").unwrap();
    let own = std::process::id();
    for stale in [format!("{own}\n"), format!("{own}\n1\n0c5e\n"), String::new(), "x\n".into()] {
        std::fs::write(stage.path("repro/pid"), &stale).unwrap();
        let (_, said) = stage.run(&[], "20");
        assert!(said.contains("QEMU ended with status 7"), "{stale:?}: {said}");
    }
}

/// Bug: a pasted command or a script's word that the shell takes apart; quotes where a table could do without.
#[test]
fn words_survive_the_shell() {
    for word in ["", "a b", "it's", "$HOME", "a\\b", "x\ny", "*", "~", "a;b", "-x", "id=a/b@1:2,3%+."] {
        for quoted in [quoted(OsStr::new(word)), in_quotes(OsStr::new(word))] {
            let script = [b"printf '%s|' ", quoted.as_slice()].concat();
            let output = Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{word}|"));
        }
    }
    assert_eq!(quoted(OsStr::new("a/b+c@1968M")), b"a/b+c@1968M");
    assert_eq!(in_quotes(OsStr::new("id=a")), b"'id=a'");
    assert_eq!(quoted(OsStr::new("it's")), br"'it'\''s'");
}
