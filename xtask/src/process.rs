//! Runs one child process to its end: in a process group of its own, with an optional deadline, ended on interruption.

use crate::exit::Failure;
use crate::interrupt::Interrupts;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

/// This program's own file, also after cargo has put another in its place (proc(5)): what is read here is what runs. Not to be started by
/// others: to them it is they.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// How long a group may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How a child ended that did not simply succeed.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not be started.
    NotStarted { command: String, source: std::io::Error },
    /// It ended with another status than 0, or by a signal.
    Failed { command: String, status: ExitStatus },
    /// It was still running at its deadline and was ended.
    TimedOut { command: String, limit: Duration },
    /// It was ended because the user wants the run to end.
    Interrupted,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted { command, source } => write!(f, "cannot start `{command}`: {source}"),
            Self::Failed { command, status } => write!(f, "`{command}` failed: {status}"),
            Self::TimedOut { command, limit } => {
                write!(f, "`{command}` had not ended after {} s and was ended", limit.as_secs())
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for RunError {}

impl RunError {
    /// What it means where the child judges the code, as a compiler or a test does.
    pub(crate) fn into_check(self) -> Failure {
        match self {
            Self::Failed { .. } => Failure::Check(self.into()),
            Self::NotStarted { .. } => Failure::Input(self.into()),
            Self::TimedOut { .. } => Failure::Rig(self.into()),
            Self::Interrupted => Failure::Interrupted,
        }
    }
}

/// Runs `command` with no standard input until it has ended, or `limit` has passed, or the user interrupts.
///
/// # Errors
/// Anything but an exit with status 0. In no case is the child or its group left behind.
pub(crate) async fn run(
    command: &mut Command,
    limit: Option<Duration>,
    interrupts: &Interrupts,
) -> Result<(), RunError> {
    to_end(command, limit, interrupts).await.map(|_| ())
}

/// As [`run`], and gives what it wrote to its standard output.
///
/// # Errors
/// As those of [`run`].
pub(crate) async fn output(
    command: &mut Command,
    limit: Duration,
    interrupts: &Interrupts,
) -> Result<Vec<u8>, RunError> {
    to_end(command.stdout(Stdio::piped()), Some(limit), interrupts).await
}

async fn to_end(
    command: &mut Command,
    limit: Option<Duration>,
    interrupts: &Interrupts,
) -> Result<Vec<u8>, RunError> {
    let shown = show(command.as_std());
    let mut child = match command.stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(source) => return Err(RunError::NotStarted { command: shown, source }),
    };
    let mut interrupts = interrupts.clone();
    let pipe = child.stdout.take();
    let read = async {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).await?;
        }
        Ok(bytes)
    };
    let expired = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = async { tokio::try_join!(child.wait(), read) } => match ended {
            Ok((status, bytes)) if status.success() => Ok(bytes),
            Ok((status, _)) => Err(RunError::Failed { command: shown, status }),
            Err(source) => Err(RunError::NotStarted { command: shown, source }),
        },
        () = expired => {
            end_group(&mut child).await;
            Err(RunError::TimedOut { command: shown, limit: limit.unwrap_or_default() })
        }
        () = interrupts.wait() => {
            end_group(&mut child).await;
            Err(RunError::Interrupted)
        }
    }
}

/// Ends the child's whole group and reaps the child.
async fn end_group(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(group) = group {
            // Fails only where nothing of the group is left.
            let _ = kill_process_group(group, signal);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_ok() && signal == Signal::TERM {
            // The leader ended in time; whoever of its group ignored the signal does not get to stay either.
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            return;
        }
    }
}

/// The command as one would type it, without its environment.
pub(crate) fn show(command: &std::process::Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Catches a failure that passes for success, or a message that does not name the command.
    #[tokio::test]
    async fn a_failing_command_is_named_with_its_status() {
        let (_sender, receiver) = watch::channel(false);
        let interrupts = Interrupts::from_channel(receiver);
        run(&mut shell("exit 0"), None, &interrupts).await.unwrap();
        let error = run(&mut shell("exit 3"), None, &interrupts).await.unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed: exit status: 3");
        let error = run(&mut Command::new("/nonexistent/tool"), None, &interrupts).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start `/nonexistent/tool`: "), "{error}");
    }

    /// Catches output that is cut off, and a program that is waited for for ever because its output is.
    #[tokio::test]
    async fn output_has_a_deadline_too() {
        let (_sender, receiver) = watch::channel(false);
        let interrupts = Interrupts::from_channel(receiver);
        let long = output(&mut shell("head -c 300000 /dev/zero"), GRACE, &interrupts).await.unwrap();
        assert_eq!(long.len(), 300_000);
        let limit = Duration::from_millis(10);
        let error = output(&mut shell("echo a; sleep 1000"), limit, &interrupts).await.unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }

    /// Catches a compiler that is not there being taken for code that does not compile.
    #[test]
    fn only_a_failed_child_is_the_codes_fault() {
        use std::os::unix::process::ExitStatusExt;
        let status = |error: RunError| error.into_check().exit().status();
        let command = || "cargo".to_owned();
        assert_eq!(status(RunError::Failed { command: command(), status: ExitStatus::from_raw(256) }), 1);
        let source = std::io::ErrorKind::NotFound.into();
        assert_eq!(status(RunError::NotStarted { command: command(), source }), 2);
        assert_eq!(status(RunError::TimedOut { command: command(), limit: GRACE }), 3);
        assert_eq!(status(RunError::Interrupted), 130);
    }

    /// Catches a deadline that ends the child but leaves its own children running (an installer that hangs).
    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let (_sender, receiver) = watch::channel(false);
        let interrupts = Interrupts::from_channel(receiver);
        let folder = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", folder.display());
        // On a loaded host the shell may not get to its first line in a second.
        for seconds in [1, 4, 16] {
            let limit = Some(Duration::from_secs(seconds));
            let error = run(&mut shell(&script), limit, &interrupts).await.unwrap_err();
            assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
            if folder.exists() {
                break;
            }
        }
        let grandchild = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        // A killed orphan stays as a zombie until its new parent reaps it; what counts is that it does not run, once a loaded host
        // has let it die.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim()));
        let ended = || state().map_or(true, |stat| stat.contains(") Z "));
        let begun = std::time::Instant::now();
        while !ended() && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(ended(), "{:?}", state());
    }

    /// Catches an interruption that waits for the child's own end.
    #[tokio::test]
    async fn an_interruption_ends_the_child() {
        let (sender, receiver) = watch::channel(false);
        let interrupts = Interrupts::from_channel(receiver);
        sender.send_replace(true);
        let error = run(&mut shell("sleep 1000"), None, &interrupts).await.unwrap_err();
        assert!(matches!(error, RunError::Interrupted), "{error}");
    }
}
