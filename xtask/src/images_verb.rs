//! `cargo xtask images`: the artifacts that the lock file names.

use crate::cli::{ImagesAction, ImagesArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::store::{self, Shared};
use crate::{Host, build, output};
use images::{Added, ArtifactName, KernelPackage, Listed, State};

/// The lock file, from the repository's root.
const LOCK_FILE: &str = "images/lock.json";

pub(crate) async fn run(args: &ImagesArgs, host: &Host) -> Result<Exit, Failure> {
    let store = store::open(&args.store)?;
    match &args.action {
        ImagesAction::List => list(&store),
        ImagesAction::Fetch { names } => {
            // The compiler is big, and of no use where the toolchain has what it is for.
            let compiler = !build::in_use_has_i686().await;
            let names = names_or(names, || {
                let all = store.inner().lock_file().names();
                all.into_iter().filter(|name| compiler || *name != ArtifactName::Rust).collect()
            })?;
            store.prefetch(names, &host.interrupts).await?;
            Ok(Exit::AsExpected)
        }
        ImagesAction::Verify { names } => {
            let names = names_or(names, || store.inner().lock_file().names())?;
            verify(store, names, host).await
        }
        ImagesAction::Repin { names } => {
            let names = names.iter().map(|name| name.parse()).collect::<Result<_, _>>().or_input()?;
            repin(store, names, host).await
        }
        ImagesAction::Add { package, name, suite } => {
            let package = package.parse().or_input()?;
            add(store, package, name.clone(), suite.clone(), host).await
        }
    }
}

/// The artifacts that the user names, or those of `otherwise` where he names none.
fn names_or(
    names: &[String],
    otherwise: impl FnOnce() -> Vec<ArtifactName>,
) -> Result<Vec<ArtifactName>, Failure> {
    if names.is_empty() {
        return Ok(otherwise());
    }
    names.iter().map(|name| name.parse()).collect::<Result<_, _>>().or_input()
}

fn list(store: &Shared) -> Result<Exit, Failure> {
    for artifact in store.inner().list().map_err(store::failure_of)? {
        for text in lines(&artifact) {
            output::line(text);
        }
    }
    output::line(format_args!("cache: {}", store.inner().cache_folder().display()));
    Ok(Exit::AsExpected)
}

/// An artifact's line, and one for each package that stands in for a locked one.
fn lines(artifact: &Listed) -> Vec<String> {
    let state = match artifact.state {
        State::Ready => "ready".to_owned(),
        State::Fetched => "fetched".to_owned(),
        // Rounded up: a missing artifact is never "0 MiB".
        State::Missing { bytes } => format!("missing, {} MiB", bytes.div_ceil(1 << 20)),
    };
    let version = artifact.used.first().map_or("", |deb| deb.version.as_str());
    let mut lines = vec![format!("{:<26} {version:<24} {state}", artifact.name.to_string())];
    for (locked, used) in artifact.locked.iter().zip(&artifact.used).filter(|(locked, used)| locked != used) {
        lines.push(format!("    {used} in place of the locked {locked}, which the archive has dropped"));
    }
    lines
}

async fn verify(store: Shared, names: Vec<ArtifactName>, host: &Host) -> Result<Exit, Failure> {
    let checked = store::unless_interrupted(&host.interrupts, move || store.inner().verify(&names)).await?;
    let mut exit = Exit::AsExpected;
    for artifact in checked.map_err(store::failure_of)? {
        let word = match (artifact.rotten.is_empty(), artifact.checked) {
            (true, 0) => "not in the cache".to_owned(),
            (true, files) => format!("sound, {files} files"),
            (false, _) => "NOT SOUND; taken away, its next use fetches it again".to_owned(),
        };
        output::line(format_args!("{:<26} {word}", artifact.name.to_string()));
        for rotten in &artifact.rotten {
            exit = Exit::NotAsExpected;
            output::line(format_args!("    {rotten}"));
        }
    }
    Ok(exit)
}

async fn add(
    store: Shared,
    package: KernelPackage,
    name: Option<String>,
    suite: Option<String>,
    host: &Host,
) -> Result<Exit, Failure> {
    let lock_file = host.repo.root().join(LOCK_FILE);
    let added = store::unless_interrupted(&host.interrupts, move || {
        store.inner().add(&lock_file, &package, name.as_deref(), suite.as_deref())
    })
    .await?;
    let Added { kernel, replaced } = added.map_err(store::failure_of)?;
    for deb in [&kernel.deb].into_iter().chain(&kernel.config) {
        output::line(format_args!("{}: {deb}", kernel.name()));
    }
    if let Some(replaced) = replaced.filter(|replaced| *replaced != kernel) {
        output::line(format_args!("    in place of {}", replaced.deb));
    }
    output::line(format_args!("{LOCK_FILE} has it; scenarios can name it as {}", kernel.name()));
    Ok(Exit::AsExpected)
}

async fn repin(store: Shared, names: Vec<ArtifactName>, host: &Host) -> Result<Exit, Failure> {
    let lock_file = host.repo.root().join(LOCK_FILE);
    let changes =
        store::unless_interrupted(&host.interrupts, move || store.inner().repin(&lock_file, &names)).await?;
    let changes = changes.map_err(store::failure_of)?;
    for change in &changes {
        output::line(format_args!("{}: {} -> {}", change.name, change.from, change.to));
    }
    output::line(match changes.len() {
        0 => format!("{LOCK_FILE} is current"),
        count => {
            format!("{count} packages changed in {LOCK_FILE}; run `cargo xtask e2e` before you commit it")
        }
    });
    Ok(Exit::AsExpected)
}
