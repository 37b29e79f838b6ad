//! A mirror that fails: an HTTP server on this host, which serves the packages of the cache, each in its own way.

use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::list::FalseMirror;
use crate::faults::observe;
use crate::faults::stage::{Cells, Stage};
use anyhow::Context;
use images::Lock;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A small artifact, of two packages.
const ARTIFACT: &str = "kexec-tools@2.0.25/i386";

/// What a rig says that finds another one at work on what it needs.
const WAITS: &str = "waiting for another run";

/// How a mirror answers.
#[derive(Clone)]
enum Mirror {
    /// With one half, and the other when this is set.
    HeldBack(Arc<OnceLock<()>>),
    False(FalseMirror),
}

/// Serves until the process ends; gives the mirror's URL, and how many packages it was asked for.
fn serve(mirror: Mirror, cache: &Path) -> anyhow::Result<(String, Arc<AtomicUsize>)> {
    let lock = Lock::built_in()?;
    let mut files = BTreeMap::new();
    for name in lock.names() {
        for deb in lock.debs(&name)? {
            files.insert(format!("/{}", deb.path), cache.join(format!("debs/{}.deb", deb.sha256)));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (files, counter) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
    let asked = counter.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mirror, files, asked) = (mirror.clone(), files.clone(), asked.clone());
            std::thread::spawn(move || {
                // A client that goes away in the middle is none of the server's business.
                let _ = answer(stream, &mirror, &files, &asked);
            });
        }
    });
    Ok((url, counter))
}

fn answer(
    mut stream: TcpStream,
    mirror: &Mirror,
    files: &BTreeMap<String, PathBuf>,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let path = request
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .replace("%2B", "+")
        .replace("%2b", "+")
        .replace("%7E", "~");
    let Some(mut body) = files.get(&path).and_then(|file| std::fs::read(file).ok()) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    let half = body.len() / 2;
    let asked_before = asked.fetch_add(1, Ordering::Relaxed);
    match mirror {
        Mirror::HeldBack(gate) => {
            stream.write_all(&body[..half])?;
            gate.wait();
            stream.write_all(&body[half..])
        }
        Mirror::False(FalseMirror::Stalls) if asked_before == 0 => {
            stream.write_all(&body[..half])?;
            // Until the client gives up.
            lines.next();
            Ok(())
        }
        Mirror::False(FalseMirror::Stalls) => stream.write_all(&body),
        Mirror::False(FalseMirror::Cuts) => stream.write_all(&body[..half]),
        Mirror::False(FalseMirror::Lies) => {
            body.iter_mut().for_each(|byte| *byte ^= 0xff);
            stream.write_all(&body)
        }
    }
}

/// Fetches an artifact from a mirror that fails, into an empty cache.
pub(super) async fn inject(stage: &Stage<'_>, fault: FalseMirror) -> Result<Observed, NotInjected> {
    let (url, _) = serve(Mirror::False(fault), &stage.shop.cache).before_fault()?;
    let home = stage.folder.join("cache");
    let mut fetch = stage.rig(&["images", "fetch", ARTIFACT, "--mirror", &url]);
    fetch.env("XDG_CACHE_HOME", &home);
    let mut observed = stage.observe(fetch, &stage.report()).await?;
    // A sound cache has whole packages or none, and nothing half done.
    let debs = debs(&home);
    observed.broken.extend(
        debs.iter().filter(|name| !name.ends_with(".deb")).map(|name| format!("{name} is left in the cache")),
    );
    if fault == FalseMirror::Stalls {
        let mut verify = stage.rig(&["images", "verify", ARTIFACT, "--offline"]);
        verify.env("XDG_CACHE_HOME", &home);
        let verified = stage.start(verify, "verify.log")?.wait().await;
        let is_sound = verified.code() == Some(0);
        observed.must(is_sound, format!("the cache is not sound: {}", verified.said.trim()));
    } else {
        observed.must(debs.is_empty(), format!("what the mirror sent is in the cache: {}", debs.join(", ")));
    }
    Ok(observed)
}

/// The names of the packages in a cache.
fn debs(home: &Path) -> Vec<String> {
    let debs = std::fs::read_dir(home.join("kdump-rig/v1/debs")).into_iter().flatten().flatten();
    debs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Starts two rigs on one empty cache: both must come to their cells. One fetches, and the mirror holds back what it fetches until the
/// other waits for it, or asks for it as well, which it must not.
pub(super) async fn two_rigs(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let gate = Arc::new(OnceLock::new());
    let (url, asked) = serve(Mirror::HeldBack(gate.clone()), &stage.shop.cache).before_fault()?;
    let (qemu, home) = (stage.stand_in(false)?, stage.folder.join("cache"));
    let reports = [stage.report(), stage.folder.join("other-report")];
    let start = |report: &Path, log: &str| {
        let mut command = stage.e2e(Cells::StandIn, &qemu, report, &["-j", "1", "--mirror", &url]);
        command.env("XDG_CACHE_HOME", &home);
        stage.start(command, log)
    };
    let (mut one, other) = (start(&reports[0], "said.log")?, start(&reports[1], "other.log")?);
    let waits = |log| {
        let said = std::fs::read_to_string(stage.folder.join(log));
        said.is_ok_and(|said| said.contains(WAITS))
    };
    let twice = || asked.load(Ordering::Relaxed) > 1;
    let overlap =
        one.until("the other rig's wait", || waits("said.log") || waits("other.log") || twice()).await;
    // If there is none, they are to end all the same.
    let _ = gate.set(());
    let (one, other) = tokio::join!(one.wait(), other.wait());
    // Only now: what one of them has in the common temporary folder while it runs is not left behind.
    let mut observed = stage.look(one, &reports[0]).await;
    observe::report(&reports[1], &mut observed);
    observed.must(other.code() == Some(0), format!("the other rig ended with {:?}", other.code()));
    observed.broken.extend(other.trouble);
    observed.said.push_str(&other.said);
    // Theirs is one and the same; without that nothing was shared.
    let (debs, asked) = (debs(&home).len(), asked.load(Ordering::Relaxed));
    observed.must(debs == 1, format!("the cache has {debs} packages, and one was needed"));
    observed.must(asked <= 1, format!("the package was asked for {asked} times, and once was enough"));
    match overlap {
        Ok(()) => Ok(observed),
        Err(error) => observed.provided(false, format!("the rigs did not overlap: {error:#}")),
    }
}
