//! Brings one URL into one temporary file, verified as it streams by. Knows nothing about packages or the cache.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::digest::{Hasher, Sha256};
use crate::error::Error;
use crate::progress::{Progress, Transfer};

/// When a transfer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To have a connection, TLS included.
    pub connect: Duration,
    /// Without a single byte, before or within the answer.
    pub stall: Duration,
    /// How often a transfer is tried that failed in a way which may pass.
    pub tries: u32,
    /// Before the second try; doubled before each further one.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            tries: 4,
            backoff: Duration::from_secs(1),
        }
    }
}

/// What the bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// These and no others.
    Exactly { size: u64, sha256: Sha256 },
    /// Any, but not more: what is verified by other means.
    AtMost(u64),
}

/// Marks temporary files, which a killed run leaves behind and nobody reads.
pub(crate) const PARTIAL_PREFIX: &str = ".partial-";

const WRONG_BYTES: &str = "the mirror serves something else; try another one with --mirror";

pub(crate) struct Downloader {
    /// By the proxies of the environment (`http_proxy` and the like).
    agent: ureq::Agent,
    /// For mirrors on this host, which a proxy elsewhere cannot reach.
    direct: ureq::Agent,
    patience: Patience,
}

/// A try that failed, and whether another one may do better.
enum Failure {
    Final(Error),
    Passing(String),
}

impl Downloader {
    pub(crate) fn new(patience: Patience) -> Self {
        let config = || {
            ureq::Agent::config_builder()
                .timeout_connect(Some(patience.connect))
                .timeout_recv_response(Some(patience.stall))
                .timeout_per_read(Some(patience.stall))
                .user_agent(concat!("kdump-rig/", env!("CARGO_PKG_VERSION")))
        };
        // ureq's default is to take proxies from the environment.
        let agent = ureq::Agent::new_with_config(config().build());
        let direct = ureq::Agent::new_with_config(config().proxy(None).build());
        Self { agent, direct, patience }
    }

    /// Fetches `url` into a temporary file in `folder`. The file is synced to disk, and the caller gives it its name.
    pub(crate) fn fetch(
        &self,
        url: &str,
        folder: &Path,
        expect: Expect,
        label: &str,
        progress: &Progress,
    ) -> Result<NamedTempFile, Error> {
        let size = match expect {
            Expect::Exactly { size, .. } => size,
            Expect::AtMost(_) => 0,
        };
        let transfer = progress.transfer(label, size);
        let mut backoff = self.patience.backoff;
        let mut tries = 1;
        loop {
            match self.attempt(url, folder, expect, &transfer) {
                Ok(file) => return Ok(file),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(reason)) if tries >= self.patience.tries => {
                    return Err(Error::Fetch { url: url.to_owned(), reason, tries });
                }
                Err(Failure::Passing(reason)) => {
                    progress.say(&format!("{url}: {reason}; trying again in {backoff:?}"));
                    // A backoff: an overloaded mirror sends no event when it is well again.
                    std::thread::sleep(backoff);
                    backoff *= 2;
                    tries += 1;
                    transfer.restart();
                }
            }
        }
    }

    fn attempt(
        &self,
        url: &str,
        folder: &Path,
        expect: Expect,
        transfer: &Transfer,
    ) -> Result<NamedTempFile, Failure> {
        let reader = self.open(url)?;
        let file = tempfile::Builder::new()
            .prefix(PARTIAL_PREFIX)
            .tempfile_in(folder)
            .map_err(Error::io("create a temporary file in", folder))
            .map_err(Failure::Final)?;
        receive(url, reader, file, expect, transfer)
    }

    fn open(&self, url: &str) -> Result<Box<dyn Read>, Failure> {
        if let Some(path) = url.strip_prefix("file:") {
            // Both `file:/path` and `file:///path` are in use.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(Failure::Final(not_there(url, "no such file")))
                }
                Err(error) => Err(Failure::Final(Error::io("open", Path::new(path))(error))),
            };
        }
        let agent = if is_loopback(url) { &self.direct } else { &self.agent };
        match agent.get(url).call() {
            Ok(response) => Ok(Box::new(response.into_body().into_reader())),
            // Gone for good, as opposed to forbidden, which some proxies say for what they cannot reach.
            Err(ureq::Error::StatusCode(status @ (404 | 410))) => {
                Err(Failure::Final(not_there(url, &format!("status {status}"))))
            }
            // Too many requests, and the server's own trouble.
            Err(ureq::Error::StatusCode(status @ (408 | 429 | 500..=599))) => {
                Err(Failure::Passing(format!("the mirror answers with status {status}")))
            }
            Err(ureq::Error::StatusCode(status)) => Err(Failure::Final(Error::Fetch {
                url: url.to_owned(),
                reason: format!("the mirror answers with status {status}"),
                tries: 1,
            })),
            Err(error) => Err(Failure::Passing(error.to_string())),
        }
    }
}

/// Whether the URL's host is this one.
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<ureq::http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn not_there(url: &str, status: &str) -> Error {
    Error::NotOnMirror { url: url.to_owned(), status: status.to_owned() }
}

/// Copies, counts and hashes until the end, or until there is more than there may be.
fn receive(
    url: &str,
    mut reader: impl Read,
    mut file: NamedTempFile,
    expect: Expect,
    transfer: &Transfer,
) -> Result<NamedTempFile, Failure> {
    let limit = match expect {
        Expect::Exactly { size, .. } | Expect::AtMost(size) => size,
    };
    let wrong_size =
        |found| Error::WrongSize { what: url.to_owned(), expected: limit, found, advice: WRONG_BYTES };
    let mut hasher = Hasher::new();
    let mut received = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Err(Failure::Passing(format!("broke off after {received} bytes: {error}"))),
        };
        received += n as u64;
        if received > limit {
            return Err(Failure::Final(wrong_size(received)));
        }
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(Error::io("write", file.path())).map_err(Failure::Final)?;
        transfer.advance(n as u64);
    }
    if let Expect::Exactly { size, sha256 } = expect {
        if received < size {
            return Err(Failure::Passing(format!("ended after {received} of {size} bytes")));
        }
        let found = hasher.finish();
        if found != sha256 {
            let what = url.to_owned();
            return Err(Failure::Final(Error::Mismatch {
                what,
                expected: sha256,
                found,
                advice: WRONG_BYTES,
            }));
        }
    }
    file.as_file().sync_all().map_err(Error::io("sync", file.path())).map_err(Failure::Final)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a mirror on this host being asked through a proxy, and other hosts being asked around one.
    #[test]
    fn loopback_is_recognized() {
        for url in ["http://127.0.0.1:80/x", "http://localhost/", "http://[::1]:8080/d", "http://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://127.0.0.1.test/x", "http://m.test/localhost", "http://10.0.0.1/", "no url"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
