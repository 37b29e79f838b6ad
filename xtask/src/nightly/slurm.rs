//! Slurm by its own commands: a job array, and waiting for its end.
//!
//! Waiting is left to `sbatch --wait`: it needs neither accounting (sacct does) nor a port for call-backs, follows Slurm's own idea of when an
//! array has ended, and outlasts a controller that is restarted. It asks the controller every 2 to 32 s. Beside it, the queue is asked every
//! [`LOOK`], so that people learn why a part waits.

use super::stage::Stage;
use crate::exit::{Failure, OrFail};
use crate::{Host, output};
use anyhow::{Context, anyhow};
use harness::partition::PartOfPlan;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What a job is called in the queue.
const JOB_NAME: &str = "kdump-rig";

/// How often the queue is looked at for people.
const LOOK: Duration = Duration::from_secs(30);

/// How often an array is asked for that `sbatch --wait` has left before its end.
const ASK: Duration = Duration::from_secs(10);

/// How long Slurm may give no answer before a night is given up: a controller that is restarted, or moves to another host, takes minutes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The longest that a command may take that only asks or tells the controller. Slurm's own timeout of a message is 10 s, and it tries
/// several times.
const ANSWER: Duration = Duration::from_secs(120);

/// A Slurm cluster as a user of it sees it.
#[derive(Clone, Debug)]
pub(crate) struct Slurm {
    /// Environment of its commands, beside this program's own.
    environment: Vec<(OsString, OsString)>,
}

impl Slurm {
    /// The one that this host is set up for.
    pub(crate) fn of_this_host() -> Self {
        Self { environment: Vec::new() }
    }

    /// The one of this configuration.
    pub(crate) fn configured_by(file: &std::path::Path) -> Self {
        Self { environment: vec![("SLURM_CONF".into(), file.into())] }
    }

    /// One whose commands are those in this folder.
    #[cfg(test)]
    pub(super) fn with_programs_in(folder: &std::path::Path) -> Self {
        Self { environment: vec![("PATH".into(), folder.into())] }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command that asks or tells something, and gives what it said.
    ///
    /// # Errors
    /// [`Failure::Rig`] with what it said of its trouble. An interruption does not end it: it may be the one that cleans up.
    pub(crate) async fn ask(&self, program: &str, words: &[&str]) -> Result<String, Failure> {
        let shown = format!("{program} {}", words.join(" "));
        let asked = tokio::time::timeout(ANSWER, self.command(program).args(words).output()).await;
        let output = asked
            .map_err(|_| anyhow!("`{shown}` had no answer for {} s; is the controller up?", ANSWER.as_secs()))
            .or_rig()?
            .with_context(|| format!("cannot run `{shown}`"))
            .or_rig()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::Rig(anyhow!("`{shown}` failed ({}): {}", output.status, why.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The nodes that take work, sorted.
    ///
    /// # Errors
    /// As [`Self::ask`] has them.
    pub(crate) async fn nodes(&self) -> Result<Vec<String>, Failure> {
        let told = self.ask("sinfo", &["-h", "-N", "-t", "idle,mixed,allocated", "-o", "%N"]).await?;
        let nodes: BTreeSet<_> = told.split_whitespace().map(str::to_owned).collect();
        Ok(nodes.into_iter().collect())
    }

    /// Runs these parts as an array, and waits for its end; what became of each is in its report. An interruption cancels it.
    ///
    /// # Errors
    /// [`Failure::Rig`]: it was not taken, or Slurm cannot be asked any more. [`Failure::Interrupted`].
    pub(super) async fn run(
        &self,
        stage: &Stage,
        parts: &[PartOfPlan],
        keep_away: &[String],
        further: &[String],
        host: &Host,
    ) -> Result<(), Failure> {
        let words = words(stage, parts, keep_away, further);
        let mut command = self.command("sbatch");
        command.args(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("cannot start sbatch").or_rig()?;
        let job = self.job_of(&mut child, &words, host).await?;
        stage.note_job(Some(&job));
        output::line(format_args!("Slurm job {job}: {} parts; `scancel {job}` ends it", parts.len()));
        let mut interrupts = host.interrupts.clone();
        let ended = tokio::select! {
            ended = self.until_ended(&mut child, &job) => ended,
            never = self.tell_of(&job) => match never {},
            () = interrupts.wait() => Err(Failure::Interrupted),
        };
        if ended.is_ok() {
            stage.note_job(None);
        } else {
            // Whatever the reason: nobody waits for it any more.
            match self.ask("scancel", &[&job]).await {
                Ok(_) => output::note(format_args!("Slurm job {job} is cancelled")),
                Err(why) => output::note(format_args!("Slurm job {job} may still run: {why}")),
            }
        }
        ended
    }

    /// The id of the job that sbatch has submitted.
    async fn job_of(&self, child: &mut Child, words: &[String], host: &Host) -> Result<String, Failure> {
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Failure::Rig(anyhow!("sbatch has no output")));
        };
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let command = format!("sbatch {}", words.join(" "));
        // Until it is known, an interruption has nothing to cancel: it waits for the answer, which has a limit.
        let read = tokio::time::timeout(ANSWER, reader.read_line(&mut line)).await;
        if let Ok(Ok(_)) = read
            && let Some(job) = job_id(&line)
        {
            // Read on to their ends, so that sbatch is never kept waiting.
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
            return Ok(job);
        }
        let _ = child.start_kill();
        let mut why = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut why).await;
        let why = String::from_utf8_lossy(&why);
        let told = match read {
            Err(_) => unknown_job(&command, why.trim()),
            Ok(_) => format!("`{command}` did not submit: {}{}", line.trim(), why.trim()),
        };
        let mut interrupts = host.interrupts.clone();
        tokio::select! {
            biased;
            () = interrupts.wait() => {
                // The interruption takes the error's place, and a job that may be there must not stay unseen.
                output::note(told);
                Err(Failure::Interrupted)
            }
            () = std::future::ready(()) => Err(Failure::Rig(anyhow!(told))),
        }
    }

    /// Waits until no task of the job is left. sbatch gives up on a job that the controller has forgotten; then the queue is asked.
    async fn until_ended(&self, child: &mut Child, job: &str) -> Result<(), Failure> {
        child.wait().await.context("cannot wait for sbatch").or_rig()?;
        self.until_gone(job, ASK, PATIENCE).await
    }

    /// Asks the queue every so often until no task of the job is in it.
    ///
    /// # Errors
    /// [`Failure::Rig`]: it gave no answer for longer than there is patience.
    async fn until_gone(&self, job: &str, every: Duration, patience: Duration) -> Result<(), Failure> {
        let mut silent_since = None;
        loop {
            match self.is_queued(job).await {
                Ok(false) => return Ok(()),
                Ok(true) => silent_since = None,
                Err(why) => {
                    let silent = silent_since.get_or_insert_with(|| {
                        let minutes = patience.as_secs() / 60;
                        output::note(format_args!("{why}; Slurm is asked again, for {minutes} min at most"));
                        Instant::now()
                    });
                    if silent.elapsed() >= patience {
                        return Err(why);
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Whether a task of the job waits, runs or ends just now.
    pub(super) async fn is_queued(&self, job: &str) -> Result<bool, Failure> {
        match self.ask("squeue", &["-h", "-j", job]).await {
            Ok(tasks) => Ok(!tasks.trim().is_empty()),
            Err(Failure::Rig(why)) if why.to_string().contains("Invalid job id") => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Tells what the tasks do whenever that has changed.
    async fn tell_of(&self, job: &str) -> std::convert::Infallible {
        let mut before = BTreeSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            // What cannot be asked now is asked again.
            let Ok(text) = self.ask("squeue", &["-h", "-j", job, "-o", "%K %T %N %r"]).await else {
                continue;
            };
            let now: BTreeSet<String> = text.lines().map(told_task).collect();
            now.difference(&before).for_each(|task| output::line(format_args!("  {task}")));
            before = now;
        }
    }
}

/// What people need to know of a job that may be there or not.
fn unknown_job(command: &str, why: &str) -> String {
    let seconds = ANSWER.as_secs();
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    format!(
        "`{command}` gave no job id for {seconds} s{why}; it may have submitted a job all the same: `squeue --me -n {JOB_NAME}` shows it, \
         and `scancel ID` ends it"
    )
}

/// A line of squeue for people: `%K %T %N %r`. The node is missing while a task waits.
fn told_task(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [part, state, node, ..] if *state == "RUNNING" => format!("part {part}: running on {node}"),
        [part, state, reason @ ..] => format!("part {part}: {} ({})", state.to_lowercase(), reason.join(" ")),
        _ => line.trim().to_owned(),
    }
}

/// The id in what `sbatch --parsable` says: `ID` or `ID;CLUSTER`.
fn job_id(line: &str) -> Option<String> {
    let id = line.trim().split(';').next()?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| id.to_owned())
}

/// The arguments of sbatch. What the user adds comes before the script and behind ours, so that it has the last word.
fn words(stage: &Stage, parts: &[PartOfPlan], keep_away: &[String], further: &[String]) -> Vec<String> {
    let array: Vec<_> = parts.iter().map(|part| part.partition.part().to_string()).collect();
    let mut words = vec![
        "--parsable".to_owned(),
        "--wait".to_owned(),
        format!("--array={}", array.join(",")),
        format!("--job-name={JOB_NAME}"),
        // Lost tasks are this program's to run again: once, and only what has no result yet.
        "--no-requeue".to_owned(),
        "--open-mode=append".to_owned(),
        format!("--output={}/logs/%a.log", stage.folder().display()),
    ];
    if !keep_away.is_empty() {
        words.push(format!("--exclude={}", keep_away.join(",")));
    }
    words.extend(further.iter().cloned());
    words.push(stage.task().display().to_string());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a warning that is taken for a job, and a cluster's name that becomes part of the id and cancels nothing.
    #[test]
    fn the_job_is_told_from_other_words() {
        assert_eq!(job_id("17\n").as_deref(), Some("17"));
        assert_eq!(job_id("17;rig\n").as_deref(), Some("17"));
        for none in ["", "\n", "sbatch: error: x\n", "Submitted batch job 17\n"] {
            assert_eq!(job_id(none), None, "{none:?}");
        }
    }

    /// Has `squeue` of this folder be another program, at once.
    fn squeue(folder: &std::path::Path, program: &str) {
        let new = folder.join("new");
        std::os::unix::fs::symlink(program, &new).unwrap();
        std::fs::rename(new, folder.join("squeue")).unwrap();
    }

    /// Bug: a night of hours is cancelled because the controller was restarted when its last task ended; or it waits for a Slurm that is gone
    /// for ever.
    #[tokio::test]
    async fn a_slurm_that_gives_no_answer_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let slurm = Slurm::with_programs_in(folder.path());
        let every = Duration::from_millis(5);
        squeue(folder.path(), "/bin/false");
        let comes_back = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            squeue(folder.path(), "/bin/true");
        };
        let (ended, ()) = tokio::join!(slurm.until_gone("17", every, Duration::from_secs(60)), comes_back);
        ended.unwrap();
        squeue(folder.path(), "/bin/false");
        let why = slurm.until_gone("17", every, Duration::from_millis(50)).await.unwrap_err();
        assert!(why.to_string().contains("squeue -h -j 17"), "{why}");
    }

    /// Bug: a job that was submitted after all runs on, and nobody is told how to find it.
    #[test]
    fn a_job_without_an_id_can_be_found() {
        let told = unknown_job("sbatch --parsable task.sh", "sbatch: error: timed out");
        assert!(
            told.contains("`squeue --me -n kdump-rig`") && told.contains("(sbatch: error: timed out)"),
            "{told}"
        );
    }

    /// Catches a part that waits for ever and nobody is told why.
    #[test]
    fn why_a_part_waits_is_told() {
        assert_eq!(told_task("2 RUNNING rig1 None"), "part 2: running on rig1");
        assert_eq!(
            told_task("3 PENDING  (Nodes required are DOWN)"),
            "part 3: pending ((Nodes required are DOWN))"
        );
    }
}
