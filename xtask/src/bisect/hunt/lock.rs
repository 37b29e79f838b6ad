//! What keeps two hunts out of one work tree and its builds.

use crate::exit::{Failure, OrFail};
use anyhow::{Context, anyhow};
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::File;
use std::path::Path;

/// A lock that is held until it is dropped or, where the hunt is killed before that, until the builds that it started have ended.
pub(super) struct Lock(File);

impl Lock {
    /// # Errors
    /// [`Failure::Input`]: somebody has it. The file cannot be opened.
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        take(path).map(Self)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // By its name and not by closing the file: what a build leaves running for the next, such as a server of compilers, has that open.
        let _ = self.0.unlock();
    }
}

fn take(path: &Path) -> Result<File, Failure> {
    let file = File::create(path).with_context(|| format!("cannot open {}", path.display())).or_rig()?;
    file.try_lock()
        .map_err(|error| {
            anyhow!(
                "another hunt goes on in this repository, or a build that outlived one ({error}): wait for it, or end it; \
                 `fuser -v {}` names it",
                path.display()
            )
        })
        .or_input()?;
    // Whoever is started has it as well: a build that outlives a killed hunt writes in the tree that the next one would check out.
    fcntl_setfd(&file, FdFlags::empty())
        .with_context(|| format!("cannot hand {} on to builds", path.display()))
        .or_rig()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    /// Ends when its input does.
    fn build() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn end(mut build: Child) {
        drop(build.stdin.take());
        build.wait().unwrap();
    }

    /// Bug: the next hunt checks out another commit in a tree in which a build of a killed one is still at work.
    #[test]
    fn a_build_that_outlives_its_hunt_keeps_the_next_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = take(&path).unwrap();
        let build = build();
        // As when the hunt is killed.
        drop(file);
        assert!(matches!(take(&path), Err(Failure::Input(why)) if why.to_string().contains("outlived")));
        end(build);
        // Programs that other tests started meanwhile have it as well, for as long as they run.
        let began = Instant::now();
        while take(&path).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody is left that could have it");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bug: a server that a build started keeps every later hunt out.
    #[test]
    fn what_a_build_leaves_running_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::take(&path).unwrap();
        let server = build();
        assert!(Lock::take(&path).is_err());
        drop(lock);
        assert!(Lock::take(&path).is_ok());
        end(server);
    }
}
