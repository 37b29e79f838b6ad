//! Where things are in the repository.

use std::path::{Path, PathBuf};

/// The file that makes a folder one that `bisect install` wrote.
pub(crate) const INSTALLED_MARK: &str = "kdump-rig.json";

/// The repository's root and the folders in it that this program reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    root: PathBuf,
}

impl Repo {
    /// The variable that names the root, for a program that is neither run by cargo nor where it was built.
    pub(crate) const ROOT: &str = "KDUMP_RIG_ROOT";

    /// The repository that [`Self::ROOT`] names; else the one that this program was started from by cargo, or else the one that it was
    /// built from.
    pub(crate) fn find() -> Self {
        if let Some(root) = std::env::var_os(Self::ROOT).filter(|root| !root.is_empty()) {
            return Self { root: root.into() };
        }
        if let Some(root) = Self::installed_at() {
            return Self { root };
        }
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().map_or_else(|| package.clone(), Path::to_path_buf);
        Self { root }
    }

    /// The folder that `bisect install` wrote, where this program is the one in it.
    pub(crate) fn installed_at() -> Option<PathBuf> {
        let program = std::env::current_exe().ok()?;
        let folder = program.parent()?.parent()?;
        folder.join(INSTALLED_MARK).is_file().then(|| folder.to_owned())
    }

    /// The artifacts of that folder, in place of the cache that a user's runs share.
    pub(crate) fn installed_cache() -> Option<PathBuf> {
        Self::installed_at().map(|folder| Self::cache_of(&folder))
    }

    /// Where an installed folder has its artifacts.
    pub(crate) fn cache_of(installed: &Path) -> PathBuf {
        installed.join("cache")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The suites.
    pub(crate) fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// How long cells took when they were last run.
    pub(crate) fn durations(&self) -> PathBuf {
        self.scenarios().join("durations.json")
    }

    /// The loader's fuzzers and their corpus.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.root.join("loader/fuzz")
    }

    /// The loader's man page.
    pub(crate) fn man_page(&self) -> PathBuf {
        self.root.join("loader/kexec-load.8")
    }

    /// Where cargo builds: CARGO_TARGET_DIR if the user has chosen one.
    pub(crate) fn target(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(chosen) if !chosen.is_empty() => self.root.join(chosen),
            _ => self.root.join("target"),
        }
    }

    /// Where the last report is, unless `--report` says otherwise.
    pub(crate) fn default_report(&self) -> PathBuf {
        self.root.join("target/e2e/latest")
    }

    /// Where the history of nights is, unless `--history` says otherwise.
    pub(crate) fn default_history(&self) -> PathBuf {
        self.root.join("target/e2e/history")
    }

    /// Where the guests of `shell` have their files.
    pub(crate) fn shells(&self) -> PathBuf {
        self.root.join("target/shell")
    }

    /// Where mutants are built.
    pub(crate) fn mutants(&self) -> PathBuf {
        self.target().join("mutants")
    }

    /// Where the last report on mutants is, unless `--report` says otherwise.
    pub(crate) fn default_mutants_report(&self) -> PathBuf {
        self.root.join("target/mutants/latest")
    }

    /// Where the report of `test` on mutants is.
    pub(crate) fn test_mutants_report(&self) -> PathBuf {
        self.root.join("target/mutants/test")
    }

    /// Where the last report on faults is, unless `--report` says otherwise.
    pub(crate) fn default_faults_report(&self) -> PathBuf {
        self.root.join("target/faults/latest")
    }

    /// Where the report of `test` on faults is.
    pub(crate) fn test_faults_report(&self) -> PathBuf {
        self.root.join("target/faults/test")
    }

    /// Where the last report of a soak is, unless `--report` says otherwise.
    pub(crate) fn default_soak_report(&self) -> PathBuf {
        self.root.join("target/soak/latest")
    }

    /// Where the report of `test` is: the one that somebody is looking into stays where it is.
    pub(crate) fn test_report(&self) -> PathBuf {
        self.root.join("target/e2e/test")
    }
    /// Where the reports of `bench boots` are, unless `--report` says otherwise.
    pub(crate) fn bench_reports(&self) -> PathBuf {
        self.root.join("target/bench/boots")
    }

    /// Reports of `bench matrix`, unless `--report` says otherwise.
    pub(crate) fn matrix_bench_report(&self) -> PathBuf {
        self.root.join("target/bench/matrix")
    }

    /// Report of `bench loader`.
    pub(crate) fn loader_bench_report(&self) -> PathBuf {
        self.root.join("target/bench/loader")
    }

    /// Where the last nightly report is, unless `--report` says otherwise.
    pub(crate) fn default_nightly_report(&self) -> PathBuf {
        self.root.join("target/nightly/latest")
    }

    /// Where the reports of `slurm-check` are.
    pub(crate) fn slurm_check_reports(&self) -> PathBuf {
        self.root.join("target/slurm-check")
    }
}
