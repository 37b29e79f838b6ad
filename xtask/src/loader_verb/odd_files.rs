//! Whether the built loader survives what people point it at: every file here is refused by name, in a moment, and with the status that is
//! documented. It runs on this host, which it changes nothing of: no file here gets as far as a system call that loads.

use super::publish::file_name;
use crate::build::{GuestPrograms, Program};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, output};
use anyhow::{Context, anyhow, bail};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The longest that a refusal may take. It is for a loader that hangs: a loaded host gets by with a tenth.
const LIMIT: Duration = Duration::from_secs(60);
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
        if !runs(&program).await.map_err(Failure::Check)? {
            output::line(format_args!(
                "this host does not run programs for {arch}: files are not tried with them"
            ));
            continue;
        }
        for case in &cases {
            for (option, says) in ["", "--initrd"].into_iter().zip(case.says) {
                let Some(says) = says else { continue };
                let tried = tokio::select! {
                    tried = try_one(&program, &kernel, case, option, says) => tried,
                    () = interrupted(host) => return Err(Failure::Interrupted),
                };
                let shown = format!("{} {option} {}", file_name(arch), case.file.display());
                tried.with_context(|| shown).map_err(Failure::Check)?;
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
async fn runs(program: &Path) -> anyhow::Result<bool> {
    match Command::new(program).arg("--version").stdin(Stdio::null()).output().await {
        Ok(ended) if ended.status.success() => Ok(true),
        Ok(ended) => Err(anyhow!("{} --version: {}", program.display(), ended.status)),
        Err(error) if error.raw_os_error().is_some_and(|errno| NOT_OURS.contains(&errno)) => Ok(false),
        Err(error) => Err(error).context(program.display().to_string()),
    }
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

/// Points the program at one file: as its kernel, or with an option at another one.
async fn try_one(program: &Path, kernel: &Path, case: &Case, option: &str, says: &str) -> anyhow::Result<()> {
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
        let (ended, changed) = tokio::join!(child.wait_with_output(), change(id, case));
        changed.and(ended.map_err(Into::into))
    });
    let ended = ended.await.map_err(|_| anyhow!("no answer in {} s", LIMIT.as_secs()))??;
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

/// Changes the file once the process has read some of it.
async fn change(id: u32, case: &Case) -> anyhow::Result<()> {
    let path = &case.file;
    let act: fn(&File) -> std::io::Result<()> = match case.meanwhile {
        Meanwhile::Nothing => return Ok(()),
        Meanwhile::Truncate => |file| file.set_len(4096),
        Meanwhile::Write => |file| file.write_all_at(&[1], 0),
    };
    let file = OpenOptions::new().write(true).open(path)?;
    while !is_reading(id) {
        // It may have ended without: then what it says tells.
        if !Path::new(&format!("/proc/{id}/fd")).exists() {
            return Ok(());
        }
        // Nothing tells of another process's reads; they are watched as closely as this one may.
        tokio::task::yield_now().await;
    }
    Ok(act(&file)?)
}

/// Whether a process has read so much of a long file that it is in the midst of it (proc(5), `statm`). The file's position would not tell: it
/// moves when a read has ended, and one may read all.
fn is_reading(id: u32) -> bool {
    /// Pages that are in memory, far more than the loader has without a file, and far fewer than the file.
    const SOME: u64 = 1024;
    let statm = std::fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|resident| resident.parse().ok())
        .is_some_and(|pages: u64| pages > SOME)
}
