//! A mirror on loopback that misbehaves on request, and the lock files and folders that the store's tests use.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use images::{Patience, ProgressMode, Sha256, Store, StoreOptions};

/// What the mirror does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// The whole file.
    Whole(Vec<u8>),
    /// A length for the whole file, then only that many bytes of it, then the end.
    Cut(Vec<u8>, usize),
    /// A length for the whole file, then only that many bytes of it, then nothing until the client goes away.
    Stall(Vec<u8>, usize),
    /// An error status.
    Status(u16),
}

type Handler = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// A running mirror; it ends when dropped.
pub(crate) struct Mirror {
    /// Archive root.
    pub(crate) url: String,
    address: std::net::SocketAddr,
    requests: Arc<Mutex<HashMap<String, usize>>>,
    stop: Arc<AtomicBool>,
}

impl Mirror {
    /// A mirror whose answer depends on the path and on how often it was asked for before.
    pub(crate) fn new(handler: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(HashMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (counts, stopped) = (requests.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, counts) = (handler.clone(), counts.clone());
                std::thread::spawn(move || answer(stream, &*handler, &counts));
            }
        });
        Self { url: format!("http://{address}"), address, requests, stop }
    }

    /// One that serves the test archive as it is.
    pub(crate) fn good() -> Self {
        Self::new(|path, _| archive(path))
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// How often anything was asked for.
    pub(crate) fn total(&self) -> usize {
        self.requests.lock().unwrap().values().sum()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the port.
        drop(TcpStream::connect(self.address));
    }
}

fn answer(mut stream: TcpStream, handler: &Handler, counts: &Mutex<HashMap<String, usize>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let before = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(path.clone()).or_insert(0);
        *count += 1;
        *count - 1
    };
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let (mut bytes, wait) = match handler(&path, before) {
        Reply::Whole(content) => ([head("200 OK", content.len()), content].concat(), false),
        Reply::Cut(content, at) => ([head("200 OK", content.len()), content[..at].to_vec()].concat(), false),
        Reply::Stall(content, at) => ([head("200 OK", content.len()), content[..at].to_vec()].concat(), true),
        Reply::Status(status) => (head(&format!("{status} Test"), 0), false),
    };
    // A client that went away is what some tests are about.
    let _ = stream.write_all(&bytes);
    if wait {
        bytes.resize(1, 0);
        let _ = reader.read(&mut bytes);
    }
}

/// Folder with the committed test archive and its keyring.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The test archive's answer for a path.
pub(crate) fn archive(path: &str) -> Reply {
    match std::fs::read(fixtures().join("archive").join(path)) {
        Ok(content) => Reply::Whole(content),
        Err(_) => Reply::Status(404),
    }
}

/// The package that the test archive has today.
pub(crate) const CURRENT: &str = "linux-image-6.1.0-51-amd64";
/// Its version.
pub(crate) const CURRENT_VERSION: &str = "6.1.180-1";
/// Its path.
pub(crate) const CURRENT_PATH: &str = "pool/main/linux-image-6.1.0-51-amd64_6.1.180-1_amd64.deb";
/// A path that a lock names and the archive has no more.
pub(crate) const DROPPED_PATH: &str = "pool/main/linux-image-6.1.0-50-amd64_6.1.176-1_amd64.deb";

/// Bytes of the package at [`CURRENT_PATH`].
pub(crate) fn current_deb() -> Vec<u8> {
    std::fs::read(fixtures().join("archive").join(CURRENT_PATH)).unwrap()
}

/// A cache, a lock file and a configuration without mirrors, in a folder of their own.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    /// With a lock whose kernel `6.1-amd64` is the archive's current one.
    pub(crate) fn with_current() -> Self {
        let deb = current_deb();
        Self::new(CURRENT, CURRENT_VERSION, CURRENT_PATH, deb.len(), Sha256::of(&deb))
    }

    /// With a lock whose kernel `6.1-amd64` the archive has dropped.
    pub(crate) fn with_dropped() -> Self {
        Self::new("linux-image-6.1.0-50-amd64", "6.1.176-1", DROPPED_PATH, 840, Sha256::of(b"dropped"))
    }

    fn new(package: &str, version: &str, path: &str, size: usize, sha256: Sha256) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deb = format!(
            r#"{{"package": "{package}", "version": "{version}", "suite": "bookworm", "arch": "amd64", "path": "{path}",
                 "size": {size}, "sha256": "{sha256}"}}"#
        );
        let lock = format!(
            r#"{{"kernels": [{{"series": "6.1", "flavour": "amd64", "deb": {deb}}}], "loaders": [],
                 "busybox": [],
                 "rust": {{"version": "1.85.0", "compiler": [{deb}], "libraries": []}},
                 "ovmf": {deb}}}"#
        );
        std::fs::write(dir.path().join("lock.json"), lock).unwrap();
        Self { dir }
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.dir.path().join("lock.json")
    }

    /// The cache's folder, with its layout's version.
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache/v1")
    }

    /// Options that know no mirror at all, are quick to give up, and say nothing.
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            cache: Some(self.dir.path().join("cache")),
            lock_file: Some(self.lock_file()),
            apt_dir: Some(self.dir.path().join("no-apt")),
            keyring: Some(fixtures().join("keyring.gpg")),
            patience: Patience {
                connect: Duration::from_secs(5),
                stall: Duration::from_millis(300),
                tries: 2,
                backoff: Duration::from_millis(1),
            },
            progress: ProgressMode::Hidden,
            ..StoreOptions::default()
        }
    }

    pub(crate) fn store(&self, mirror: &Mirror) -> Store {
        let mirrors = vec![mirror.url.parse().unwrap()];
        Store::open(StoreOptions { mirrors, ..self.options() }).unwrap()
    }

    /// A store that cannot ask anybody.
    pub(crate) fn offline(&self) -> Store {
        Store::open(StoreOptions { offline: true, ..self.options() }).unwrap()
    }

    /// Names in a folder of the cache.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.cache().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
