//! What a hunt goes over: the commits of a repository, the kernels or the kexec-tools that the lock file knows.

use super::candidate::{Builder, Candidate, NoCandidate, Recipe};
use super::git::Git;
use super::search;
use crate::cli::HuntSide;
use crate::exit::{Failure, OrFail};
use anyhow::anyhow;
use guest_protocol::Arch;
use harness::cell::{Cell, Kernel};
use images::KnownKernel;
use std::collections::{BTreeMap, BTreeSet};

/// The revisions of one kind.
pub(crate) enum Axis<'a> {
    /// Commits, each of which is built.
    Git { git: Git<'a>, recipe: Recipe, builder: Builder<'a>, archs: BTreeSet<Arch> },
    /// Kernels by their series, such as `6.1`, in an order that begins with the good end.
    Kernels { line: Vec<String>, first: Option<String>, capture: Option<String> },
    /// Upstream versions of kexec-tools, likewise.
    KexecTools { line: Vec<String> },
}

impl Axis<'_> {
    /// What a revision is called, in full, by a name that the user gave it.
    ///
    /// # Errors
    /// [`Failure::Input`]: there is no such revision.
    pub(crate) async fn resolve(&self, name: &str) -> Result<String, Failure> {
        match self {
            Self::Git { git, .. } => git.commit(name).await,
            Self::Kernels { line, .. } | Self::KexecTools { line } => {
                let known = line.iter().find(|item| *item == name).cloned();
                known
                    .ok_or_else(|| anyhow!("{name} is not known here; there are {}", line.join(", ")))
                    .or_input()
            }
        }
    }

    /// What people know it by.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn subject(&self, revision: &str) -> Result<String, Failure> {
        match self {
            Self::Git { git, .. } => git.subject(revision).await,
            Self::Kernels { first, capture, .. } => Ok([first, capture]
                .into_iter()
                .flatten()
                .map(|flavour| format!("{revision}-{flavour}"))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(" and ")),
            Self::KexecTools { .. } => Ok(format!("kexec-tools {revision}")),
        }
    }

    /// What may be the first bad one beside `bad` itself, the best to test first.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn between(&self, good: &[String], bad: &str) -> Result<Vec<String>, Failure> {
        match self {
            Self::Git { git, .. } => git.between(good, bad).await,
            Self::Kernels { line, .. } | Self::KexecTools { line } => {
                let place = |name: &str| line.iter().position(|item| item == name);
                // The line begins with the good end, so that the last good one bounds what is left.
                let low = good.iter().filter_map(|name| place(name)).max().unwrap_or(0);
                let high = place(bad).unwrap_or(line.len());
                Ok(if low < high { search::between(line, low, high) } else { Vec::new() })
            }
        }
    }

    /// What comes right before it; none where nothing does.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn before(&self, revision: &str) -> Result<Option<String>, Failure> {
        match self {
            Self::Git { git, .. } => git.parent(revision).await,
            Self::Kernels { line, .. } | Self::KexecTools { line } => {
                let place = line.iter().position(|item| item == revision);
                Ok(place.and_then(|place| line.get(place.checked_sub(1)?)).cloned())
            }
        }
    }

    /// The words by which `compare` holds two of these against each other; none where it cannot.
    pub(crate) fn compared(&self, before: &str, revision: &str) -> Option<String> {
        let sides =
            |prefix: &str, suffix: &str| format!("{prefix}{before}{suffix} {prefix}{revision}{suffix}");
        match self {
            Self::Git { .. } => None,
            Self::Kernels { first: Some(flavour), capture: None, .. } => {
                Some(sides("first=", &format!("-{flavour}")))
            }
            Self::Kernels { first: None, capture: Some(flavour), .. } => {
                Some(sides("capture=", &format!("-{flavour}")))
            }
            Self::Kernels { .. } => None,
            Self::KexecTools { .. } => Some(sides("kexec-tools@", "")),
        }
    }

    /// Builds or names what is to be tested.
    ///
    /// # Errors
    /// As [`NoCandidate`] has them.
    pub(crate) async fn candidate(&self, revision: &str) -> Result<Candidate, NoCandidate> {
        match self {
            Self::Git { git, .. } => {
                git.check_out(revision).await?;
                self.built().await
            }
            Self::Kernels { first, capture, .. } => {
                let known = images::known_kernels().or_rig()?;
                let kernel = |flavour: &Option<String>| match flavour {
                    None => Ok::<_, NoCandidate>(None),
                    Some(flavour) => {
                        let name = format!("{revision}-{flavour}");
                        let found = known.iter().find(|kernel| kernel.name == name);
                        let found =
                            found.ok_or_else(|| NoCandidate::Untestable(format!("there is no {name}")))?;
                        let pae = found.pae || found.arch == Arch::X86_64;
                        Ok(Some(Kernel { name, arch: found.arch, pae, path: None }))
                    }
                };
                Ok(Candidate::Kernels { first: kernel(first)?, capture: kernel(capture)? })
            }
            Self::KexecTools { .. } => Ok(Candidate::KexecTools(revision.to_owned())),
        }
    }

    /// Builds what the work tree holds now.
    ///
    /// # Errors
    /// As [`NoCandidate`] has them.
    pub(crate) async fn built(&self) -> Result<Candidate, NoCandidate> {
        match self {
            Self::Git { git, recipe, builder, archs } => builder.build(recipe, git.tree(), archs).await,
            Self::Kernels { .. } | Self::KexecTools { .. } => {
                Err(NoCandidate::Untestable("a released package is not built".to_owned()))
            }
        }
    }
}

/// The kernels of the lock file between two series, both of them among these, in their order from the good end.
///
/// # Errors
/// [`Failure::Input`]: the cells have kernels of several flavours on a side, or the ends are not known.
pub(crate) fn kernels<'a>(
    cells: &[Cell],
    side: HuntSide,
    good: &str,
    bad: &str,
) -> Result<Axis<'a>, Failure> {
    let flavour = |of: fn(&Cell) -> &Kernel| {
        let all: BTreeSet<Option<&str>> =
            cells.iter().map(|cell| of(cell).name.split_once('-').map(|(_, flavour)| flavour)).collect();
        match all.into_iter().collect::<Vec<_>>()[..] {
            [Some(flavour)] => Ok(Some(flavour.to_owned())),
            _ => Err(Failure::Input(anyhow!(
                "the cells have kernels of several flavours in the place of the one to hunt for; hunt in those of one"
            ))),
        }
    };
    let first = if side == HuntSide::Capture { None } else { flavour(|cell| &cell.first)? };
    let capture = if side == HuntSide::First { None } else { flavour(|cell| &cell.capture)? };
    let wanted: Vec<&String> = first.iter().chain(&capture).collect();
    let line = ends_of(series(&images::known_kernels().or_rig()?, &wanted), good, bad).or_input()?;
    Ok(Axis::Kernels { line, first, capture })
}

/// The series that one of these flavours is there of, each with its kernel's version. One flavour is enough to be on the line: where
/// another is lacking, this is told when it is tested.
fn series(known: &[KnownKernel], flavours: &[&String]) -> Vec<(String, Vec<u32>)> {
    let named = known.iter().filter_map(|kernel| Some((kernel.name.split_once('-')?, kernel)));
    let wanted = named.filter(|((_, flavour), _)| flavours.iter().any(|wanted| wanted == flavour));
    wanted.map(|((series, _), kernel)| (series.to_owned(), numbers(&kernel.version))).collect()
}

/// The kexec-tools of the lock file between two versions, likewise.
///
/// # Errors
/// [`Failure::Input`]: the ends are not known.
pub(crate) fn kexec_tools<'a>(good: &str, bad: &str) -> Result<Axis<'a>, Failure> {
    let known = images::known_loaders().or_rig()?.into_iter();
    let known = known.map(|(version, _)| (version.clone(), numbers(&version))).collect();
    Ok(Axis::KexecTools { line: ends_of(known, good, bad).or_input()? })
}

/// The names from the good end to the bad one in the order of their versions, each once, whichever is newer.
fn ends_of(mut known: Vec<(String, Vec<u32>)>, good: &str, bad: &str) -> anyhow::Result<Vec<String>> {
    // A series may have another version for each of its flavours: the newest comes last, and stays.
    known.sort();
    let newest: BTreeMap<String, Vec<u32>> = known.into_iter().collect();
    let mut known: Vec<(String, Vec<u32>)> = newest.into_iter().collect();
    known.sort_by(|(_, a), (_, b)| a.cmp(b));
    let known: Vec<String> = known.into_iter().map(|(name, _)| name).collect();
    let place = |name: &str| {
        let place = known.iter().position(|version| version == name);
        place.ok_or_else(|| anyhow!("{name} is not in the lock file, which has {}", known.join(", ")))
    };
    let (good, bad) = (place(good)?, place(bad)?);
    let mut line = known[good.min(bad)..=good.max(bad)].to_vec();
    if good > bad {
        line.reverse();
    }
    Ok(line)
}

/// An upstream version as numbers, to be compared.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: 6.12 is sorted before 6.2, or a hunt for what fixed something goes from the wrong end.
    #[test]
    fn a_line_goes_from_the_good_end_to_the_bad_one() {
        let known =
            || ["6.12", "5.10", "6.1", "6.2", "6.1"].map(|name| (name.to_owned(), numbers(name))).to_vec();
        assert_eq!(ends_of(known(), "5.10", "6.12").unwrap(), ["5.10", "6.1", "6.2", "6.12"]);
        assert_eq!(ends_of(known(), "6.12", "6.1").unwrap(), ["6.12", "6.2", "6.1"]);
        assert!(
            ends_of(known(), "6.12", "6.3")
                .unwrap_err()
                .to_string()
                .contains("which has 5.10, 6.1, 6.2, 6.12")
        );
    }

    /// Bug: a kernel that `images add` took into the lock under a word is the oldest of all, so that all others lie beyond it, or the
    /// kernels of another flavour are hunted through.
    #[test]
    fn added_kernels_stand_where_their_versions_belong() {
        let kernel = |name: &str, version: &str| KnownKernel {
            name: name.to_owned(),
            arch: Arch::X86_64,
            pae: false,
            version: version.to_owned(),
        };
        let known = [
            kernel("5.10-amd64", "5.10.223"),
            kernel("6.1-686-pae", "6.1.177"),
            kernel("6.1-amd64", "6.1.176"),
            kernel("6.12-amd64", "6.12.107"),
            kernel("sid-amd64", "7.2.13"),
            kernel("6.3-rt-amd64", "6.3.1"),
            kernel("7.1-amd64", "7.1.9"),
        ];
        let line = |flavours: &[&String], good, bad| ends_of(series(&known, flavours), good, bad).unwrap();
        let (amd64, pae) = (&"amd64".to_owned(), &"686-pae".to_owned());
        assert_eq!(line(&[amd64], "6.1", "sid"), ["6.1", "6.12", "7.1", "sid"]);
        assert_eq!(line(&[amd64, pae], "sid", "5.10"), ["sid", "7.1", "6.12", "6.1", "5.10"]);
    }
}
