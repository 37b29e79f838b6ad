//! What the archive has today for locked packages: one reading of each signed index, however many packages are asked for.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use crate::download::PARTIAL_PREFIX;
use crate::error::Error;
use crate::index::{SuiteIndex, Tools, Wanted};
use crate::lock::{ArtifactName, Deb, DebArch};
use crate::recipe;
use crate::store::Store;

impl Store {
    /// The current packages of the series of each artifact, by the signed indexes, in the order of [`crate::Lock::debs`].
    pub(crate) fn current(&self, names: &[&ArtifactName]) -> Result<Vec<Vec<Deb>>, Error> {
        let mut locked = Vec::new();
        let mut wanted = Vec::new();
        for name in names {
            locked.push(self.lock.debs(name)?);
            wanted.extend(recipe::wanted(&self.lock, name)?);
        }
        let flat: Vec<&Deb> = locked.iter().flatten().copied().collect();
        let mut found = self.look_up(&flat, &wanted)?.into_iter().zip(&flat).zip(&wanted).map(
            |((deb, locked), wanted)| {
                deb.ok_or_else(|| Error::SeriesGone {
                    locked: locked.to_string(),
                    wanted: wanted.to_string(),
                    suite: locked.suite.clone(),
                })
            },
        );
        let found: Vec<Vec<Deb>> =
            locked.iter().map(|debs| found.by_ref().take(debs.len()).collect()).collect::<Result<_, _>>()?;
        for (name, debs) in names.iter().zip(&found) {
            self.fit_together(name, debs)?;
        }
        Ok(found)
    }

    /// An error for packages of one compiler or one kernel in several versions, as an archive has them in the middle of an update.
    fn fit_together(&self, name: &ArtifactName, debs: &[Deb]) -> Result<(), Error> {
        let of_one_version = match name {
            ArtifactName::Loader { .. } | ArtifactName::Busybox(_) | ArtifactName::Ovmf => return Ok(()),
            // Image and configuration.
            ArtifactName::Kernel(_) => debs,
            ArtifactName::Rust => debs.get(..self.lock.rust.compiler.len()).unwrap_or(debs),
        };
        match of_one_version.iter().find(|deb| deb.version != of_one_version[0].version) {
            None => Ok(()),
            Some(other) => Err(Error::Index {
                what: format!("{name} from the indexes of {}", other.suite),
                reason: format!("{} and {other} do not fit together; try again later", of_one_version[0]),
            }),
        }
    }

    /// A folder for the files of indexes.
    pub(crate) fn scratch(&self) -> Result<TempDir, Error> {
        let root = self.cache.root();
        let folder = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempdir_in(root);
        folder.map_err(Error::io("create a temporary folder in", root))
    }

    pub(crate) fn index_tools<'a>(&'a self, scratch: &'a Path) -> Tools<'a> {
        Tools { downloader: &self.downloader, progress: &self.progress, keyring: &self.keyring, scratch }
    }

    /// What the indexes have for each of `wanted`, in the suite and for the architecture of the package beside it.
    fn look_up(&self, locked: &[&Deb], wanted: &[Wanted]) -> Result<Vec<Option<Deb>>, Error> {
        let scratch = self.scratch()?;
        let tools = self.index_tools(scratch.path());
        let mut groups: BTreeMap<&str, BTreeMap<DebArch, Vec<usize>>> = BTreeMap::new();
        for (position, deb) in locked.iter().enumerate() {
            groups.entry(&deb.suite).or_default().entry(deb.arch).or_default().push(position);
        }
        let mut found = vec![None; locked.len()];
        for (suite, by_arch) in groups {
            self.online_for_index(suite)?;
            let index = SuiteIndex::open(&tools, suite, &self.mirrors.of_suite(suite)?)?;
            for (arch, positions) in by_arch {
                let of_group: Vec<Wanted> =
                    positions.iter().map(|&position| wanted[position].clone()).collect();
                let of_group = index.packages(&tools, arch)?.newest(&of_group)?;
                for (position, package) in positions.into_iter().zip(of_group) {
                    found[position] = package.map(|package| package.deb);
                }
            }
        }
        Ok(found)
    }
}
