//! A Slurm cluster on this host: munged, slurmctld and a slurmd for each node, with configuration, key, ports and spool of their own in a
//! temporary folder, on loopback. It needs no system manager and touches nothing of a Slurm that the host may be part of.

use crate::exit::{Failure, OrFail};
use crate::nightly::Slurm;
use crate::tools;
use anyhow::{Context, anyhow};
use harness::process::Process;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a daemon may take until it answers, on a busy host.
const START: Duration = Duration::from_secs(90);

/// How often it is asked. None of them tells anybody when it is ready.
const ASK: Duration = Duration::from_millis(200);

/// How long a daemon may take to end before it is killed, and its tasks' processes behind it.
const GRACE: Duration = Duration::from_secs(15);

/// A cluster that runs.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: tempfile::TempDir,
    /// In the order of their start.
    daemons: Vec<(String, Process)>,
    slurm: Slurm,
}

impl Cluster {
    /// Starts one with these nodes, and waits until they take work.
    ///
    /// # Errors
    /// [`Failure::Rig`]: a daemon does not come up, with what it said. None is left then.
    pub(super) async fn start(nodes: &[&str]) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("kdump-rig-slurm-").tempdir().or_rig()?;
        let slurm = Slurm::configured_by(&folder.path().join("slurm.conf"));
        let mut cluster = Self { folder, daemons: Vec::new(), slurm };
        match cluster.begin(nodes).await {
            Ok(()) => Ok(cluster),
            Err(why) => {
                // Why it did not come up matters more than how it ended.
                let _ = cluster.end().await;
                Err(why)
            }
        }
    }

    pub(super) fn slurm(&self) -> &Slurm {
        &self.slurm
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    async fn begin(&mut self, nodes: &[&str]) -> Result<(), Failure> {
        let folder = self.folder.path().to_owned();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("cannot read this host's name")
            .or_rig()?;
        let host = host.trim().split('.').next().unwrap_or("localhost").to_owned();
        let ports = free_ports(nodes.len() + 1).context("no free ports on loopback").or_rig()?;
        let text = configuration(&folder, &host, &user(), nodes, &ports);
        prepare(&folder, &text).with_context(|| format!("cannot prepare {}", folder.display())).or_rig()?;

        let in_munge =
            |option: &str, name: &str| format!("--{option}={}", folder.join("munge").join(name).display());
        let munged = [
            "--foreground".to_owned(),
            // A temporary folder is not a place that munged trusts; nobody but this user can look into it.
            "--force".to_owned(),
            "--num-threads=1".to_owned(),
            in_munge("key-file", "key"),
            in_munge("socket", "socket"),
            in_munge("pid-file", "pid"),
            in_munge("log-file", "log"),
            in_munge("seed-file", "seed"),
        ];
        self.spawn("munged", "munged", &munged).await?;
        let socket = in_munge("socket", "socket");
        self.until("munged", || async {
            Slurm::of_this_host().ask("munge", &["--no-input", &socket]).await.map(drop)
        })
        .await?;
        let conf = self.conf().display().to_string();
        self.spawn("slurmctld", "slurmctld", &["-D".to_owned(), "-f".to_owned(), conf.clone()]).await?;
        let slurm = self.slurm.clone();
        self.until("slurmctld", || async {
            match slurm.ask("scontrol", &["ping"]).await?.contains("is UP") {
                true => Ok(()),
                false => Err(Failure::Rig(anyhow!("it does not answer"))),
            }
        })
        .await?;
        for node in nodes {
            let words = ["-D", "-N", node, "-f", &conf].map(str::to_owned);
            self.spawn(&format!("slurmd of {node}"), "slurmd", &words).await?;
        }
        let wanted = nodes.len();
        self.until("slurmd", || async {
            match slurm.nodes().await?.len() {
                up if up == wanted => Ok(()),
                up => Err(Failure::Rig(anyhow!("{up} of {wanted} nodes are up"))),
            }
        })
        .await
    }

    async fn spawn(&mut self, name: &str, program: &str, words: &[String]) -> Result<(), Failure> {
        let path = tools::find(program).ok_or_else(|| Failure::Input(anyhow!("there is no {program}")))?;
        // Tasks inherit it, which is also what they are known by in the end.
        let mut variable = OsString::from("SLURM_CONF=");
        variable.push(self.conf());
        let mut all = vec![variable, path.into_os_string()];
        all.extend(words.iter().map(OsString::from));
        let daemon = Process::spawn(Path::new("/usr/bin/env"), &all, None).await.or_rig()?;
        self.daemons.push((name.to_owned(), daemon));
        Ok(())
    }

    /// Asks until the answer is a good one.
    async fn until<F: Future<Output = Result<(), Failure>>>(
        &mut self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let Err(why) = ask().await else { return Ok(()) };
            for (name, daemon) in &mut self.daemons {
                let ended = tokio::time::timeout(Duration::ZERO, daemon.wait()).await;
                if let Ok(status) = ended {
                    let status = status.or_rig()?;
                    return Err(Failure::Rig(anyhow!(
                        "{name} ended ({status}): {}",
                        last_lines(&daemon.stderr())
                    )));
                }
            }
            if began.elapsed() > START {
                let said: Vec<_> = self
                    .daemons
                    .iter()
                    .map(|(name, daemon)| format!("{name}: {}", last_lines(&daemon.stderr())))
                    .collect();
                return Err(Failure::Rig(anyhow!(
                    "{what} does not come up in {} s: {why}\n{}",
                    START.as_secs(),
                    said.join("\n")
                )));
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Ends all of it, and looks for what is left.
    ///
    /// # Errors
    /// [`Failure::Rig`]: processes were left, which are killed then.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        // The nodes first, then the controller, then munged, by which they talk.
        while let Some((name, mut daemon)) = self.daemons.pop() {
            daemon.end(GRACE).await.with_context(|| format!("cannot end {name}")).or_rig()?;
        }
        let conf = self.conf();
        let began = Instant::now();
        // A task's keeper sees its task end and then ends itself.
        while !left(&conf).is_empty() && began.elapsed() < GRACE {
            tokio::time::sleep(ASK).await;
        }
        let left = left(&conf);
        if left.is_empty() {
            return Ok(());
        }
        for (pid, _) in &left {
            if let Some(pid) = rustix::process::Pid::from_raw(*pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let names: Vec<_> = left.iter().map(|(pid, name)| format!("{name} ({pid})")).collect();
        Err(Failure::Rig(anyhow!("left behind by Slurm, and killed: {}", names.join(", "))))
    }
}

/// Processes of the cluster with this configuration: only they have it in their environment.
fn left(conf: &Path) -> Vec<(i32, String)> {
    let mark = [b"SLURM_CONF=", conf.as_os_str().as_encoded_bytes()].concat();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_cluster = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|variable| variable == mark).then_some(())?;
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        Some((pid, name.trim().to_owned()))
    };
    entries.filter_map(of_cluster).collect()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// So many ports that nobody listens on now.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    // All at once, so that none is given twice.
    let listeners =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The name of the user that this program runs as, as Slurm wants it.
fn user() -> String {
    let own = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id == own).then(|| name.to_owned())
    });
    named.unwrap_or(own)
}

fn prepare(folder: &Path, configuration: &str) -> std::io::Result<()> {
    for name in ["munge", "state"] {
        std::fs::create_dir(folder.join(name))?;
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o700))?;
    }
    let mut random = std::fs::File::open("/dev/urandom")?;
    let mut key = [0; 128];
    std::io::Read::read_exact(&mut random, &mut key)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(folder.join("munge/key"))?;
    std::io::Write::write_all(&mut file, &key)?;
    std::fs::write(folder.join("slurm.conf"), configuration)?;
    // No plug-in that is used here needs control groups, but slurmd does not start without a word on them; this one needs none mounted.
    std::fs::write(folder.join("cgroup.conf"), "CgroupPlugin=cgroup/v1\n")
}

/// `slurm.conf`: `ports` has the controller's and one for each node.
fn configuration(folder: &Path, host: &str, user: &str, nodes: &[&str], ports: &[u16]) -> String {
    let folder = folder.display();
    let controller = ports.first().copied().unwrap_or(0);
    let mut text = format!(
        "ClusterName=rig\n\
         SlurmctldHost={host}(127.0.0.1)\n\
         SlurmctldPort={controller}\n\
         AuthType=auth/munge\n\
         AuthInfo=socket={folder}/munge/socket\n\
         CredType=cred/munge\n\
         SlurmUser={user}\n\
         SlurmdUser={user}\n\
         StateSaveLocation={folder}/state\n\
         SlurmdSpoolDir={folder}/spool.%n\n\
         SlurmctldPidFile={folder}/slurmctld.pid\n\
         SlurmdPidFile={folder}/slurmd.%n.pid\n\
         ProctrackType=proctrack/linuxproc\n\
         TaskPlugin=task/none\n\
         SwitchType=switch/none\n\
         MpiDefault=none\n\
         ReturnToService=2\n\
         SelectType=select/cons_tres\n\
         SelectTypeParameters=CR_CPU\n\
         SchedulerType=sched/builtin\n\
         JobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\n\
         # Half of it is the longest that `sbatch --wait` sleeps between two looks.\n\
         MinJobAge=12\n\
         SlurmdParameters=config_overrides\n"
    );
    for (node, port) in nodes.iter().zip(ports.iter().skip(1)) {
        text.push_str(&format!(
            "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN\n"
        ));
    }
    text.push_str("PartitionName=rig Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches two daemons on one port, and a daemon that writes where a Slurm of the host's does.
    #[test]
    fn everything_is_the_clusters_own() {
        let ports = free_ports(3).unwrap();
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2], "{ports:?}");
        let text = configuration(Path::new("/tmp/x"), "h", "me", &["a", "b"], &ports);
        assert!(
            text.contains(&format!("NodeName=b NodeHostname=h NodeAddr=127.0.0.1 Port={} ", ports[2])),
            "{text}"
        );
        for key in ["StateSaveLocation", "SlurmdSpoolDir", "SlurmctldPidFile", "SlurmdPidFile"] {
            assert!(text.contains(&format!("\n{key}=/tmp/x/")), "{key}: {text}");
        }
    }

    /// Catches a leak that is not seen, and a kill of processes that are somebody else's.
    #[test]
    fn what_is_left_is_known_by_its_configuration() {
        let conf = format!("/nonexistent/kdump-rig-{}", std::process::id());
        let start = |conf: &str| {
            let mut command = std::process::Command::new("sleep");
            command.arg("1000").env("SLURM_CONF", conf).spawn().unwrap()
        };
        let (mut ours, mut others) = (start(&conf), start(&format!("{conf}.other")));
        let pids: Vec<_> = left(Path::new(&conf)).into_iter().map(|(pid, _)| pid.unsigned_abs()).collect();
        for child in [&mut ours, &mut others] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(pids, [ours.id()]);
    }
}
