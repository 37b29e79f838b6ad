//! Which mirror serves a suite: what the user named, else what the host's own package configuration names.
//!
//! The code holds no host name. Of the host's sources only those can be Debian's archive which serve a Debian suite by its
//! codename, have the component `main`, and are not bound to somebody else's keyring; security, update and backport suites
//! live in the same or in other archives and are never taken for a main one. A suite that the host does not use itself is
//! looked for on the mirrors of those it does use, as one archive holds all of them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::apt_sources::{self, Source};
use crate::error::Error;

/// Codenames and rolling names under which a Debian mirror can be configured. Releases before these are on no mirror.
const SUITES: [&str; 12] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// A `--mirror` option: for one suite, or for all that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorOption {
    /// Codename, or all.
    pub suite: Option<String>,
    /// Archive root, without a slash at its end.
    pub url: String,
}

impl FromStr for MirrorOption {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let bad = |why| Error::MirrorOption { value: value.to_owned(), why };
        // Suites are plain words, so that the `=` of a query in a URL is not taken for ours.
        let (suite, url) = match value.split_once('=') {
            Some((suite, url)) if !suite.contains([':', '/']) => (Some(suite), url),
            _ => (None, value),
        };
        if suite == Some("") {
            return Err(bad("the suite before `=` is empty"));
        }
        let rest =
            ["http://", "https://", "file://", "file:"].iter().find_map(|scheme| url.strip_prefix(scheme));
        match rest {
            None => Err(bad("its scheme is not http, https or file")),
            Some("") => Err(bad("nothing follows the scheme")),
            Some(_) => {
                Ok(Self { suite: suite.map(str::to_owned), url: url.trim_end_matches('/').to_owned() })
            }
        }
    }
}

/// All that is known about mirrors.
#[derive(Clone, Debug)]
pub(crate) struct Mirrors {
    options: Vec<MirrorOption>,
    host: Vec<Source>,
    apt_dir: PathBuf,
}

impl Mirrors {
    /// Reads the host's configuration below `apt_dir`.
    pub(crate) fn new(options: &[MirrorOption], apt_dir: &Path) -> Self {
        Self { options: options.to_vec(), host: apt_sources::read(apt_dir), apt_dir: apt_dir.to_owned() }
    }

    /// Debian's suites that the host's package configuration has, in its order.
    pub(crate) fn host_suites(&self) -> Vec<String> {
        let mut suites: Vec<String> = Vec::new();
        for source in &self.host {
            if rank(source, &source.suite).is_some() && !suites.contains(&source.suite) {
                suites.push(source.suite.clone());
            }
        }
        suites
    }

    /// Archive roots to try for a suite, best first; never empty.
    pub(crate) fn of_suite(&self, suite: &str) -> Result<Vec<String>, Error> {
        let named = |option: &&MirrorOption| option.suite.as_deref() == Some(suite);
        let option = self
            .options
            .iter()
            .find(named)
            .or_else(|| self.options.iter().find(|option| option.suite.is_none()));
        if let Some(option) = option {
            return Ok(vec![option.url.clone()]);
        }
        let mut ranked: Vec<_> =
            self.host.iter().filter_map(|source| Some((rank(source, suite)?, source.uri.clone()))).collect();
        ranked.sort_by_key(|(rank, _)| *rank); // Stable: the host's order within a rank.
        let mut roots: Vec<String> = Vec::new();
        for (_, uri) in ranked {
            if !roots.contains(&uri) {
                roots.push(uri);
            }
        }
        if roots.is_empty() {
            return Err(Error::NoMirror {
                suite: suite.to_owned(),
                looked_in: self.apt_dir.display().to_string(),
            });
        }
        Ok(roots)
    }
}

/// How well a source can serve a suite; lower is better, `None` is not at all.
fn rank(source: &Source, suite: &str) -> Option<u8> {
    let fetchable = ["http://", "https://", "file:"].iter().any(|scheme| source.uri.starts_with(scheme));
    let debian = SUITES.contains(&source.suite.as_str())
        && source.components.iter().any(|component| component == "main");
    if !fetchable || !debian {
        return None;
    }
    let trust = match &source.signed_by {
        Some(keyring) if keyring.contains("debian-archive") => 0,
        None => 1,
        Some(_) => return None,
    };
    let distance = if source.suite == suite { 0 } else { 2 };
    Some(trust + distance)
}

/// Joins an archive root and a path below it into a URL, with the characters quoted that mirrors in object stores take for
/// something else (`+` for a space). apt quotes the same ones.
pub(crate) fn url(root: &str, path: &str) -> String {
    use std::fmt::Write as _;
    let mut url = format!("{root}/");
    if root.starts_with("file:") {
        url.push_str(path);
        return url;
    }
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(byte as char)
            }
            other => {
                // Writing to a String cannot fail.
                let _ = write!(url, "%{other:02x}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str, component: &str, signed_by: Option<&str>) -> Source {
        Source {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            components: vec![component.to_owned()],
            signed_by: signed_by.map(str::to_owned),
        }
    }

    fn mirrors(options: &[&str], host: Vec<Source>) -> Mirrors {
        let options = options.iter().map(|option| option.parse().unwrap()).collect();
        Mirrors { options, host, apt_dir: PathBuf::from("/etc/apt") }
    }

    /// Catches the security archive and third parties being asked for Debian's kernels.
    #[test]
    fn only_debian_main_archives_are_taken() {
        let debian = Some("/usr/share/keyrings/debian-archive-keyring.gpg");
        let host = vec![
            source("https://vendor.test/apt", "bookworm", "main", Some("/usr/share/keyrings/vendor.gpg")),
            source("https://vendor.test/apt", "tools-bookworm", "main", None),
            source("http://plain.test/debian", "bookworm", "main", None),
            source("http://extra.test/debian", "bookworm", "stable", None),
            source("http://m.test/debian-security", "bookworm-security", "main", debian),
            source("http://u.test/debian", "bookworm-updates", "main", debian),
            source("http://m.test/debian", "bookworm", "main", debian),
            source("http://t.test/debian", "trixie", "main", debian),
            source("cdrom:[x]", "bookworm", "main", debian),
        ];
        let mirrors = mirrors(&[], host);
        let expected = ["http://m.test/debian", "http://plain.test/debian", "http://t.test/debian"];
        assert_eq!(mirrors.of_suite("bookworm").unwrap(), expected);
        let expected = ["http://m.test/debian", "http://t.test/debian", "http://plain.test/debian"];
        assert_eq!(mirrors.of_suite("bullseye").unwrap(), expected);
    }

    /// Catches an option being overruled by the host's configuration or by another suite's option.
    #[test]
    fn options_come_first() {
        let host = vec![source("http://m.test/debian", "bookworm", "main", None)];
        let mirrors = mirrors(&["http://all.test/debian/", "trixie=file:///srv/debian"], host);
        assert_eq!(mirrors.of_suite("trixie").unwrap(), ["file:///srv/debian"]);
        assert_eq!(mirrors.of_suite("bookworm").unwrap(), ["http://all.test/debian"]);
    }

    /// Catches a silent default in place of an error on a host of another distribution.
    #[test]
    fn no_mirror_is_an_error_with_a_next_step() {
        let host = vec![source("http://m.test/ubuntu", "jammy", "main", None)];
        let error =
            mirrors(&["trixie=http://t.test/debian"], host).of_suite("bookworm").unwrap_err().to_string();
        assert!(
            error.contains("bookworm") && error.contains("/etc/apt") && error.contains("--mirror"),
            "{error}"
        );
    }

    /// Catches typos of the option being taken for something.
    #[test]
    fn bad_options_are_refused() {
        for value in
            ["", "m.test/debian", "=http://m.test", "trixie=", "trixie=m.test", "http://", "ftp://m.test/d"]
        {
            assert!(value.parse::<MirrorOption>().is_err(), "{value}");
        }
        let option: MirrorOption = "http://m.test/d?a=b".parse().unwrap();
        assert_eq!((option.suite, option.url.as_str()), (None, "http://m.test/d?a=b"));
    }

    /// Catches `+` in kernel package names reaching a mirror that decodes it as a space.
    #[test]
    fn urls_are_quoted() {
        assert_eq!(
            url("http://m.test/debian", "pool/a_1:2+b~c.deb"),
            "http://m.test/debian/pool/a_1%3a2%2bb~c.deb"
        );
        assert_eq!(url("file:/srv", "pool/a+b.deb"), "file:/srv/pool/a+b.deb");
    }
}
