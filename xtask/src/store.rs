//! The artifact store as this program uses it: shared, and never in the way of an interruption.

use crate::build::{DebianRust, Toolchain};
use crate::cli::StoreArgs;
use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::output;
use crate::repo::Repo;
use images::{ArtifactName, Error, Errors, MirrorOption, State, Store, StoreOptions};
use std::sync::Arc;

/// A store that clones share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Store>);

/// Opens the store with what the command line says; that of the installed folder, where this program is in one.
///
/// # Errors
/// [`Failure::Input`]: a mirror that is none, or a cache folder that cannot be used.
pub(crate) fn open(args: &StoreArgs) -> Result<Shared, Failure> {
    let mirrors = args
        .mirror
        .iter()
        .map(|mirror| mirror.parse::<MirrorOption>())
        .collect::<Result<Vec<_>, _>>()
        .or_input()?;
    let options = StoreOptions {
        mirrors,
        artifacts_dir: args.artifacts.clone(),
        offline: args.offline,
        cache: Repo::installed_cache(),
        ..StoreOptions::default()
    };
    Ok(Shared(Arc::new(Store::open(options).or_input()?)))
}

impl Shared {
    /// The store itself, for code that may block.
    pub(crate) fn inner(&self) -> &Store {
        &self.0
    }

    /// Makes sure that these are in the cache.
    ///
    /// # Errors
    /// All that could not be had, as [`failure_of`] sorts it.
    pub(crate) async fn prefetch(
        &self,
        names: Vec<ArtifactName>,
        interrupts: &Interrupts,
    ) -> Result<(), Failure> {
        let store = Arc::clone(&self.0);
        unless_interrupted(interrupts, move || store.prefetch(&names)).await?.map_err(all_failures)
    }
}

impl Shared {
    /// Copies these, ready for use, to a cache in `folder`.
    ///
    /// # Errors
    /// As [`failure_of`] sorts them.
    pub(crate) async fn stage(
        &self,
        names: Vec<ArtifactName>,
        folder: std::path::PathBuf,
        interrupts: &Interrupts,
    ) -> Result<(), Failure> {
        let store = Arc::clone(&self.0);
        unless_interrupted(interrupts, move || store.copy_to(&names, &folder)).await?.map_err(failure_of)
    }
}

impl DebianRust for Shared {
    fn is_cached(&self) -> bool {
        let listed = self.0.list().unwrap_or_default();
        listed.iter().any(|artifact| {
            artifact.name == ArtifactName::Rust
                && match artifact.state {
                    State::Ready | State::Fetched => true,
                    State::Missing { .. } => false,
                }
        })
    }

    async fn get(&self, interrupts: &Interrupts) -> Result<Toolchain, Failure> {
        let store = Arc::clone(&self.0);
        let tree = unless_interrupted(interrupts, move || store.debian_rust()).await?.map_err(failure_of)?;
        if let Some(notice) = tree.notice {
            output::note(notice);
        }
        Ok(Toolchain::Unpacked { name: "debian", rustc: tree.rustc, libraries: tree.library_path })
    }
}

/// Whether an artifact's error is the user's to correct or trouble of network, archive or disk.
pub(crate) fn failure_of(error: Error) -> Failure {
    if is_input(&error) { Failure::Input(error.into()) } else { Failure::Rig(error.into()) }
}

/// The same for several: one that is trouble makes the whole trouble.
pub(crate) fn all_failures(errors: Errors) -> Failure {
    if errors.0.iter().all(|(_, error)| is_input(error)) {
        Failure::Input(errors.into())
    } else {
        Failure::Rig(errors.into())
    }
}

/// What was asked for does not exist, or asking for it was forbidden by the user.
const fn is_input(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownArtifact { .. }
            | Error::MirrorOption { .. }
            | Error::NotAKernelPackage { .. }
            | Error::KernelName { .. }
            | Error::NoSuchPackage { .. }
            | Error::NoMirror { .. }
            | Error::Offline { .. }
            | Error::OfflineIndex { .. }
            | Error::NotInFolder { .. }
    )
}

/// Runs what blocks in a thread of its own. An interruption does not wait for it; it may be killed at any point.
pub(crate) async fn unless_interrupted<T: Send + 'static>(
    interrupts: &Interrupts,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let mut interrupts = interrupts.clone();
    tokio::select! {
        () = interrupts.wait() => Err(Failure::Interrupted),
        done = tokio::task::spawn_blocking(work) => match done {
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::Rig(anyhow::Error::new(error).context("a fetch or a check broke off"))),
        },
    }
}
