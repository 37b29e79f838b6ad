//! Whether the built loader survives what people point it at: every file here is refused by name, in a moment, and with the status that is
//! documented. It runs on this host, which it changes nothing of: no file here gets as far as a system call that loads.

use super::publish::file_name;
use crate::build::{GuestPrograms, Program};
use crate::exit::{Exit, Failure, OrFail};
use crate::process::{self, RunError};
use crate::{Host, output};
use anyhow::{Context, anyhow, bail};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// The longest that a refusal may take. It is for a loader that hangs: a loaded host gets by with a tenth.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a file is tried that must change while it is read: on a busy host, this program may not get to it in time.
const TRIES: u32 = 10;
/// The loader's status for what is refused (`kexec-load --help`).
const REFUSED: i32 = 1;
/// ENOEXEC and ENOENT: what starting a program of another architecture comes to (execve(2)).
const NOT_OURS: [i32; 2] = [8, 2];

/// A size that no machine can load, and that most file systems can give to a file without blocks.
const SPARSE: u64 = 1 << 40;
/// A size that takes the loader a moment to read, so that something can happen meanwhile.
const LONG: u64 = 512 << 20;

/// What happens to a file once the loader has begun to read it.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    /// It is cut short.
    Truncate,
    /// A byte in front, which has been read, becomes another.
    Write,
}

/// One file.
struct Case {
    file: PathBuf,
    meanwhile: Meanwhile,
    /// What the loader must say of it, behind "FILE: ", as its kernel and as its initrd; none where the file is good enough to be one.
    says: [Option<&'static str>; 2],
    /// A shell's words in front of the loader, if its surroundings matter.
    within: Option<String>,
}

/// Points the loader at each file, as its kernel and as its initrd.
///
/// # Errors
/// [`Failure::Check`] with the first file that is not answered as it should be.
pub(super) async fn check(built: &GuestPrograms, host: &Host) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder").or_rig()?;
    let cases = cases(folder.path()).or_rig()?;
    let kernel = folder.path().join("kernel");
    std::fs::write(&kernel, small_kernel()).context("cannot write a kernel").or_rig()?;
    for (arch, program) in built.of(Program::Loader) {
        if !runs(&program, host).await? {
            output::line(format_args!(
                "this host does not run programs for {arch}: files are not tried with them"
            ));
            continue;
        }
        for case in &cases {
            for (option, says) in ["", "--initrd"].into_iter().zip(case.says) {
                let Some(says) = says else { continue };
                let tried = tokio::select! {
                    tried = try_until_in_time(&program, &kernel, case, option, says) => tried,
                    () = interrupted(host) => return Err(Failure::Interrupted),
                };
                let shown = || format!("{} {option} {}", file_name(arch), case.file.display());
                tried.map_err(|wrong| match wrong {
                    Wrong::Answer(error) => Failure::Check(error.context(shown())),
                    Wrong::Host(error) => Failure::Rig(error.context(shown())),
                })?;
            }
        }
        output::line(format_args!("{} answers {} odd files by name", file_name(arch), cases.len()));
    }
    Ok(Exit::AsExpected)
}

async fn interrupted(host: &Host) {
    host.interrupts.clone().wait().await;
}

/// Whether this host runs the program; what else is wrong with it is an error.
async fn runs(program: &Path, host: &Host) -> Result<bool, Failure> {
    let mut command = Command::new(program);
    match process::output(command.arg("--version"), LIMIT, &host.interrupts).await {
        Ok(_) => Ok(true),
        Err(RunError::NotStarted { source, .. })
            if source.raw_os_error().is_some_and(|errno| NOT_OURS.contains(&errno)) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into_check()),
    }
}

/// Why a trial did not come to the right answer.
#[derive(Debug)]
enum Wrong {
    /// The loader's answer is wrong, or there is none.
    Answer(anyhow::Error),
    /// Nothing is shown of the loader.
    Host(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

/// Points the program at one file, again where the file was changed too late for it to notice.
async fn try_until_in_time(
    program: &Path,
    kernel: &Path,
    case: &Case,
    option: &str,
    says: &str,
) -> Result<(), Wrong> {
    let mut last = anyhow!("it was not tried");
    for _ in 0..TRIES {
        match try_one(program, kernel, case, option, says).await? {
            // The right answer is one in time, also where the program ended before anybody could look again.
            (_, Ok(())) => return Ok(()),
            (true, Err(wrong)) => return Err(Wrong::Answer(wrong)),
            (false, Err(wrong)) => last = wrong,
        }
    }
    let busy = format!("{TRIES} times it was not seen in the midst of reading (a busy host?), the last time");
    Err(Wrong::Host(last.context(busy)))
}

/// The least that passes for a kernel, so that its initrd is looked at (boot.rst, "The Real-Mode Kernel Header").
fn small_kernel() -> Vec<u8> {
    const SETUP: usize = 5 * 512;
    let mut file = vec![0; SETUP + 4096];
    let fields: [(usize, &[u8]); 8] = [
        (0x1f1, &[4]),                      // setup_sects
        (0x1f5, &[1]),                      // syssize: 4096 bytes
        (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]), // boot_flag, jump
        (0x202, b"HdrS\x0f\x02"),           // header, version
        (0x211, &[1]),                      // loadflags: LOADED_HIGH
        (0x232, &[0x20, 0, 1, 0, 0x3f, 0]), // kernel_alignment: 2 MiB; relocatable_kernel; xloadflags
        (0x238, &[0xff, 0x07]),             // cmdline_size
        (0x262, &[0x10]),                   // init_size: 1 MiB
    ];
    for (offset, bytes) in fields {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// Makes the files.
fn cases(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let sized = |name: &str, size: u64| {
        let path = folder.join(name);
        File::create(&path)
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("cannot make {name}"))?;
        anyhow::Ok(path)
    };
    let (fifo, looped) = (folder.join("fifo"), folder.join("loop"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).context("cannot make a FIFO")?;
    symlink(&looped, &looped).context("cannot make a symbolic link")?;
    let one = |file: PathBuf, says| Case { file, meanwhile: Meanwhile::Nothing, says, within: None };
    let case = |file, says| one(file, [Some(says); 2]);
    let empty = [Some("0 bytes are too few"), Some("the initrd is empty")];
    let mut cases = vec![
        case(folder.join("nothing"), "no such file"),
        case(folder.join("nothing/below"), "no such file"),
        case(folder.join(OsStr::from_bytes(b"\xff\xfe")), "no such file"),
        case(folder.join("x".repeat(5000)), "errno 36"),
        case(looped, "errno 40"),
        case(fifo, "not a regular file"),
        case(folder.to_owned(), "not a regular file"),
        case("/dev/zero".into(), "not a regular file"),
        case("/proc/self/cwd".into(), "not a regular file"),
        // Reading it would wait for the kernel's next message.
        one("/proc/kmsg".into(), empty),
        one("/proc/iomem".into(), empty),
        // Announces a page, and has a few bytes.
        case("/sys/devices/system/cpu/present".into(), "of its 4096 bytes"),
        one(sized("empty", 0)?, empty),
        one(sized("a byte", 1)?, [Some("1 bytes are too few"), None]),
        one(sized("zeros", 4 << 20)?, [Some("not a bzImage"), None]),
        case(sized("sparse", SPARSE)?, "bytes are more than"),
        Case {
            meanwhile: Meanwhile::Truncate,
            ..case(sized("truncated", LONG)?, "it was cut short meanwhile")
        },
        Case { meanwhile: Meanwhile::Write, ..case(sized("written", LONG)?, "changed while it was read") },
        Case {
            // In KiB (POSIX, ulimit is of the shell): half of what the file has.
            within: Some(format!("ulimit -v {} && ", LONG >> 11)),
            ..case(sized("large", LONG)?, "bytes are more than there is memory for")
        },
    ];
    // The region's size is a file in a folder that this host may lack, and only a mount namespace may have another one.
    if std::process::Command::new("unshare")
        .args(IN_NAMESPACE)
        .arg("true")
        .status()
        .is_ok_and(|s| s.success())
    {
        cases.push(Case {
            within: Some(
                "mount -t tmpfs none /sys/kernel && echo 1048576 > /sys/kernel/kexec_crash_size && ".into(),
            ),
            ..case(
                sized("small", (1 << 20) + 1)?,
                "1048577 bytes are more than the crash region has (1048576)",
            )
        });
    } else {
        output::note(
            "this host lets nobody make a mount namespace: a file that is larger than the region is not tried",
        );
    }
    Ok(cases)
}

/// Arguments of unshare(1) for mounts that nobody else sees, with or without root.
const IN_NAMESPACE: [&str; 3] = ["--map-root-user", "--mount", "--"];

/// Points the program at one file: as its kernel, or with an option at another one. Whether it was still reading behind the change of the
/// file, and whether it answers as it should.
async fn try_one(
    program: &Path,
    kernel: &Path,
    case: &Case,
    option: &str,
    says: &str,
) -> Result<(bool, anyhow::Result<()>), Wrong> {
    let mut arguments = vec![OsStr::new("--load-panic"), OsStr::new("--dry-run")];
    if option.is_empty() {
        arguments.push(case.file.as_os_str());
    } else {
        arguments.extend([OsStr::new(option), case.file.as_os_str(), kernel.as_os_str()]);
    }
    let mut command = match &case.within {
        None => Command::new(program),
        Some(words) if words.starts_with("mount") => {
            let mut command = Command::new("unshare");
            command
                .args(IN_NAMESPACE)
                .args(["sh", "-c", &format!("{words} exec \"$0\" \"$@\"")])
                .arg(program);
            command
        }
        Some(words) => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{words} exec \"$0\" \"$@\"")]).arg(program);
            command
        }
    };
    if !matches!(case.meanwhile, Meanwhile::Nothing) {
        // As it was before the last trial.
        OpenOptions::new().write(true).open(&case.file)?.set_len(LONG)?;
    }
    command
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn().context("it does not start")?;
    let id = child.id().context("it has ended before it was waited for")?;
    let ended = tokio::time::timeout(LIMIT, async {
        tokio::try_join!(child.wait_with_output(), change(id, &case.file, case.meanwhile))
    });
    let mut ended = std::pin::pin!(ended);
    let (ended, in_time) = match ended.as_mut().await {
        Ok(ended) => ended?,
        // Still there: what it waits for is asked before it is ended.
        Err(_) => return Err(late(id)),
    };
    Ok((in_time, answered(&ended, case, says)))
}

/// No answer came: the loader's fault where it waits for something or has had its time, else the host's.
fn late(id: u32) -> Wrong {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    // The state behind the name in brackets (proc(5), `stat`), and the nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
    let sleeps = read("stat").rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
    let ran = read("schedstat").split_whitespace().next().and_then(|ns| ns.parse().ok());
    let ran = Duration::from_nanos(ran.unwrap_or(0));
    let error = anyhow!("no answer in {} s, of which it ran for {:.1} s", LIMIT.as_secs(), ran.as_secs_f64());
    if sleeps || ran >= LIMIT / 2 { Wrong::Answer(error) } else { Wrong::Host(error) }
}

/// Whether the program has answered as it should.
fn answered(ended: &Output, case: &Case, says: &str) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&ended.stderr);
    if let Some(signal) = ended.status.signal() {
        bail!("killed by signal {signal}; it said: {said}");
    }
    if ended.status.code() != Some(REFUSED) {
        bail!("{}, not {REFUSED}; it said: {said}", ended.status);
    }
    let begins = format!("kexec-load: {}: ", case.file.to_string_lossy());
    match said.strip_prefix(&begins) {
        Some(rest) if rest.contains(says) => Ok(()),
        _ => bail!("it said \"{}\", not \"{begins}… {} …\"", said.trim_end(), says),
    }
}

/// Changes the file once the process has read some of it. Whether it still had some to read then.
async fn change(id: u32, path: &Path, meanwhile: Meanwhile) -> std::io::Result<bool> {
    let act: fn(&File) -> std::io::Result<()> = match meanwhile {
        Meanwhile::Nothing => return Ok(true),
        Meanwhile::Truncate => |file| file.set_len(4096),
        Meanwhile::Write => |file| file.write_all_at(&[1], 0),
    };
    let file = OpenOptions::new().write(true).open(path)?;
    loop {
        match Progress::of(resident(id)) {
            Progress::Before => {}
            Progress::Amid => break,
            Progress::Over => return Ok(false),
        }
        // Nothing tells of another process's reads; they are watched as closely as this one may.
        tokio::task::yield_now().await;
    }
    act(&file)?;
    Ok(Progress::of(resident(id)) == Progress::Amid)
}

/// How far a process has got with a long file. The file's position would not tell: it moves when a read has ended, and one may read all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Before,
    /// Some is read, and some is not.
    Amid,
    /// Most is read, or the process has ended.
    Over,
}

impl Progress {
    /// By the pages that the process has in memory; none where it has none left.
    fn of(resident: Option<u64>) -> Self {
        /// Far more than the loader has without a file, and far fewer than the file.
        const SOME: u64 = 1024;
        /// So far from all of the file that neither a page's size nor a counter that lags matters.
        const MOST: u64 = LONG / 4096 / 4 * 3;
        match resident {
            Some(0..=SOME) => Self::Before,
            Some(pages) if pages < MOST => Self::Amid,
            _ => Self::Over,
        }
    }
}

/// The pages of a process that are in memory (proc(5), `statm`); none where it has ended.
fn resident(id: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
    let pages = statm.split_whitespace().nth(1)?.parse().ok()?;
    // A process that has ended and was not waited for has no memory left, one that lives has some.
    (pages > 0).then_some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a file that was changed too late, or never, being taken for one that the loader ought to have noticed.
    #[tokio::test]
    async fn a_change_behind_its_back_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Ends without having read anything.
        let mut child = Command::new("true").spawn().unwrap();
        let id = child.id().unwrap();
        assert!(!change(id, file.path(), Meanwhile::Write).await.unwrap());
        child.wait().await.unwrap();
        assert!(!change(id, file.path(), Meanwhile::Truncate).await.unwrap());
        assert_eq!(file.as_file().metadata().unwrap().len(), 0, "the file was changed all the same");
    }

    /// Catches a process that has read all but a few pages, whose next step is to look whether the file has changed.
    #[test]
    fn the_midst_is_far_from_both_ends() {
        let all = LONG / 4096;
        let seen = [Some(20), Some(all / 2), Some(all - 100), Some(all + 30), None].map(Progress::of);
        let [before, amid, over] = [Progress::Before, Progress::Amid, Progress::Over];
        assert_eq!(seen, [before, amid, over, over, over]);
    }

    /// Catches a loader that hangs and passes for one that the host does not let run, and the reverse.
    #[tokio::test]
    async fn a_hang_is_the_loaders_and_starvation_is_the_hosts() {
        let mut sleeps = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let id = sleeps.id().unwrap();
        let asleep = || std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap().contains("(sleep) S ");
        while !asleep() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(late(id), Wrong::Answer(_)));
        // Stopped, it is kept from running by others.
        let pid = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        while asleep() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(late(id), Wrong::Host(_)));
        sleeps.kill().await.unwrap();
    }
}
