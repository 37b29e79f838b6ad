//! A mirror that fails: an HTTP server on this host, which serves the packages of the cache, each in its own way.

use crate::faults::judge::Observed;
use crate::faults::list::FalseMirror;
use crate::faults::stage::{Cells, Stage};
use anyhow::{Context, ensure};
use images::Lock;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A small artifact, of two packages.
const ARTIFACT: &str = "kexec-tools@2.0.25/i386";

/// Serves until the process ends; gives the mirror's URL.
fn serve(fault: Option<FalseMirror>, cache: &Path) -> anyhow::Result<String> {
    let lock = Lock::built_in()?;
    let mut files = BTreeMap::new();
    for name in lock.names() {
        for deb in lock.debs(&name)? {
            files.insert(format!("/{}", deb.path), cache.join(format!("debs/{}.deb", deb.sha256)));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (files, asked) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (files, asked) = (files.clone(), asked.clone());
            std::thread::spawn(move || {
                // A client that goes away in the middle is none of the server's business.
                let _ = answer(stream, fault, &files, &asked);
            });
        }
    });
    Ok(url)
}

fn answer(
    mut stream: TcpStream,
    fault: Option<FalseMirror>,
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
    match fault {
        None => stream.write_all(&body),
        Some(FalseMirror::Stalls) if asked.fetch_add(1, Ordering::Relaxed) == 0 => {
            stream.write_all(&body[..half])?;
            // Until the client gives up.
            lines.next();
            Ok(())
        }
        Some(FalseMirror::Stalls) => stream.write_all(&body),
        Some(FalseMirror::Cuts) => stream.write_all(&body[..half]),
        Some(FalseMirror::Lies) => {
            body.iter_mut().for_each(|byte| *byte ^= 0xff);
            stream.write_all(&body)
        }
    }
}

/// Fetches an artifact from a mirror that fails, into an empty cache.
pub(super) async fn inject(stage: &Stage<'_>, fault: FalseMirror) -> anyhow::Result<Observed> {
    let url = serve(Some(fault), &stage.shop.cache)?;
    let home = stage.folder.join("cache");
    let mut fetch = stage.rig(&["images", "fetch", ARTIFACT, "--mirror", &url]);
    fetch.env("XDG_CACHE_HOME", &home);
    let mut observed = stage.observe(fetch, &stage.report()).await?;
    // A sound cache has whole packages or none, and nothing half done.
    let debs = std::fs::read_dir(home.join("kdump-rig/v1/debs")).into_iter().flatten().flatten();
    let debs: Vec<String> = debs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    observed.broken.extend(
        debs.iter().filter(|name| !name.ends_with(".deb")).map(|name| format!("{name} is left in the cache")),
    );
    if fault == FalseMirror::Stalls {
        let mut verify = stage.rig(&["images", "verify", ARTIFACT, "--offline"]);
        verify.env("XDG_CACHE_HOME", &home);
        let verified = stage.start(verify, "verify.log")?.wait().await?;
        if !verified.status.success() {
            observed.broken.push(format!("the cache is not sound: {}", verified.said.trim()));
        }
    } else if !debs.is_empty() {
        observed.broken.push(format!("what the mirror sent is in the cache: {}", debs.join(", ")));
    }
    Ok(observed)
}

/// Starts two rigs at the same time on one empty cache: both must come to their cells.
pub(super) async fn two_rigs(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let url = serve(None, &stage.shop.cache)?;
    let (qemu, home) = (stage.stand_in(false)?, stage.folder.join("cache"));
    let start = |report: &str| {
        let mut command =
            stage.e2e(Cells::StandIn, &qemu, &stage.folder.join(report), &["-j", "1", "--mirror", &url]);
        command.env("XDG_CACHE_HOME", &home);
        stage.start(command, &format!("{report}.log"))
    };
    let (one, other) = (start("report")?, start("other-report")?);
    let report = stage.report();
    let (observed, other) = tokio::join!(stage.finish(one, &report), other.wait());
    let (mut observed, other) = (observed?, other?);
    ensure!(home.join("kdump-rig/v1/debs").is_dir(), "the rigs did not use the empty cache");
    if !other.status.success() {
        observed.broken.push(format!("the other rig ended with {}", other.status));
    }
    observed.left = crate::faults::observe::left(stage.temp()).await;
    let debs = std::fs::read_dir(home.join("kdump-rig/v1/debs"))?.count();
    if debs != 1 {
        observed.broken.push(format!("the cache has {debs} packages, and one was needed"));
    }
    Ok(observed)
}
