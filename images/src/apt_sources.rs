//! Reads the host's package sources, in both of apt's formats (sources.list(5)): which archive roots serve which suites.
//!
//! Parsing is pure and forgiving: a line or stanza that is not understood is not a source. Nothing here decides which mirror
//! is used; that is [`crate::mirror`]'s.

use std::fs;
use std::path::{Path, PathBuf};

/// One suite of one archive, as the host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Archive root: what `dists/` and `pool/` are appended to. No slash at its end.
    pub(crate) uri: String,
    /// Codename or the like.
    pub(crate) suite: String,
    /// Such as `main`.
    pub(crate) components: Vec<String>,
    /// Keyring that the source is bound to, when there is one.
    pub(crate) signed_by: Option<String>,
}

/// Everything that apt reads below `apt_dir` (`/etc/apt`), in apt's order: sources.list first, then sources.list.d by name.
/// Files that are missing or unreadable hold no sources.
pub(crate) fn read(apt_dir: &Path) -> Vec<Source> {
    let mut files = vec![apt_dir.join("sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(apt_dir.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    let mut sources = Vec::new();
    for file in files {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_list,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        if let Ok(bytes) = fs::read(&file) {
            sources.extend(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
    expand_mirror_lists(sources, |path| fs::read_to_string(path).ok())
}

/// The one-line format: `deb [option=value ...] uri suite component...`.
fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None; // deb-src, or no source at all.
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri: root(words.next()?),
        suite: words.next()?.to_owned(),
        components: words.map(str::to_owned).collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// The deb822 format: stanzas of `Field: values`, continued on indented lines; a comment is a whole line.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza = Vec::new();
    // The empty line at the end closes the last stanza.
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            sources.extend(expand_stanza(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                let value: &mut String = value;
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((field, value)) = line.split_once(':') {
            stanza.push((field.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn expand_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let field = |name: &str| stanza.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace();
    // apt's own reading of a boolean (StringToBool): these are the words for no.
    let disabled = ["no", "false", "without", "off", "disable", "0"];
    let enabled = field("enabled").unwrap_or("yes").to_ascii_lowercase();
    if disabled.contains(&enabled.as_str()) || !words("types").any(|kind| kind == "deb") {
        return Vec::new();
    }
    // A key block given in place of a file name has several lines: then the source is bound to no known keyring.
    let signed_by = field("signed-by").filter(|value| !value.contains('\n') && !value.is_empty());
    let components: Vec<String> = words("components").map(str::to_owned).collect();
    let mut sources = Vec::new();
    for uri in words("uris") {
        for suite in words("suites") {
            sources.push(Source {
                uri: root(uri),
                suite: suite.to_owned(),
                components: components.clone(),
                signed_by: signed_by.map(str::to_owned),
            });
        }
    }
    sources
}

/// Replaces `mirror+file:/PATH` (apt-transport-mirror(1), the form of Debian's cloud images) by the mirrors listed in that file.
fn expand_mirror_lists(sources: Vec<Source>, read: impl Fn(&str) -> Option<String>) -> Vec<Source> {
    let mut expanded = Vec::new();
    for source in sources {
        let Some(list) = source.uri.strip_prefix("mirror+file:") else {
            expanded.push(source);
            continue;
        };
        let path = format!("/{}", list.trim_start_matches('/'));
        for line in read(&path).unwrap_or_default().lines() {
            // A line is a URI, then optional priorities and the like.
            if let Some(uri) = line.split('#').next().and_then(|line| line.split_whitespace().next()) {
                expanded.push(Source { uri: root(uri), ..source.clone() });
            }
        }
    }
    expanded
}

fn root(uri: &str) -> String {
    uri.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(sources: &[Source]) -> Vec<String> {
        sources
            .iter()
            .map(|source| {
                let signed = source.signed_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                format!("{} {} {}{signed}", source.uri, source.suite, source.components.join("+"))
            })
            .collect()
    }

    /// Catches options taken for URIs, comments and deb-src taken for sources, and lost components.
    #[test]
    fn one_line_format() {
        let cases = [
            ("deb http://m.test/debian bookworm main contrib", "http://m.test/debian bookworm main+contrib"),
            ("deb\thttp://m.test/debian/\tbookworm\tmain", "http://m.test/debian bookworm main"),
            (
                "deb [arch=amd64 signed-by=/k.gpg] https://m.test/debian/ trixie main # why",
                "https://m.test/debian trixie main by /k.gpg",
            ),
            ("deb [ trusted=yes ] file:/srv/debian bullseye main", "file:/srv/debian bullseye main"),
            ("deb[arch=i386] http://m.test/d sid main", "http://m.test/d sid main"),
        ];
        for (line, expected) in cases {
            assert_eq!(brief(&parse_list(line)), [expected], "{line}");
        }
        for line in [
            "",
            "# deb http://m.test/debian bookworm main",
            "deb-src http://m.test/d sid main",
            "deb",
            "deb [x http://m.test/d sid",
            "debian http://m.test/d sid main",
            "deb http://m.test/d",
        ] {
            assert_eq!(brief(&parse_list(line)), [""; 0], "{line}");
        }
    }

    /// Catches stanzas that are off, source-only or commented being used, and URIs or suites beyond the first being lost.
    #[test]
    fn deb822_format() {
        let text = "\
# the archive
Types: deb deb-src
URIs: http://a.test/debian/ http://b.test/debian
Suites: bookworm
 bookworm-updates
# a comment inside
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.test/debian
Suites: bookworm
Components: main

types: deb
uris: http://c.test/x
suites: trixie
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----";
        let by = "by /usr/share/keyrings/debian-archive-keyring.gpg";
        assert_eq!(
            brief(&parse_deb822(text)),
            [
                format!("http://a.test/debian bookworm main {by}"),
                format!("http://a.test/debian bookworm-updates main {by}"),
                format!("http://b.test/debian bookworm main {by}"),
                format!("http://b.test/debian bookworm-updates main {by}"),
                "http://c.test/x trixie main".to_owned(),
            ]
        );
    }

    /// Catches hosts of Debian's cloud images being told that they have no mirror.
    #[test]
    fn mirror_lists_are_followed() {
        let sources = parse_deb822(
            "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n",
        );
        let expanded = expand_mirror_lists(sources, |path| {
            (path == "/etc/apt/mirrors/debian.list")
                .then(|| "# list\nhttps://m.test/debian priority:1\n\n".to_owned())
        });
        assert_eq!(brief(&expanded), ["https://m.test/debian bookworm main"]);
    }

    /// Catches files of the wrong name being read, and the order of apt being lost.
    #[test]
    fn folder_is_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(dir.path().join("sources.list"), "deb http://1.test/d bookworm main\n").unwrap();
        fs::write(parts.join("b.list"), "deb http://3.test/d bookworm main\n").unwrap();
        fs::write(parts.join("a.sources"), "Types: deb\nURIs: http://2.test/d\nSuites: bookworm\n").unwrap();
        fs::write(parts.join("c.list.save"), "deb http://4.test/d bookworm main\n").unwrap();
        let uris: Vec<_> = read(dir.path()).into_iter().map(|source| source.uri).collect();
        assert_eq!(uris, ["http://1.test/d", "http://2.test/d", "http://3.test/d"]);
    }
}
