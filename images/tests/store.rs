//! The store against a mirror on loopback: what it does when transfers, caches and archives are not as they should be.
//! Nothing here talks to any other host.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers are tests as well")]

mod support;

use std::fs;

use images::{ArtifactName, Error, Lock, State, Store, StoreOptions};
use support::{
    Bench, CURRENT, CURRENT_PATH, CURRENT_VERSION, DROPPED_PATH, Mirror, Reply, archive, current_deb,
    fixtures,
};

const KERNEL: &str = "6.1-amd64";

/// Catches a store that does not unpack what it fetched, or fetches more than it needs.
#[test]
fn a_kernel_is_fetched_once_and_then_needs_no_network() {
    let (bench, mirror) = (Bench::with_current(), Mirror::good());
    let kernel = bench.store(&mirror).kernel(KERNEL).unwrap();
    assert_eq!(kernel.release, "6.1.0-51-amd64");
    assert_eq!((kernel.package.as_str(), kernel.version.as_str()), (CURRENT, CURRENT_VERSION));
    assert_eq!(kernel.notice, None);
    let image = fs::read(&kernel.bzimage).unwrap();
    assert_eq!(image, b"bzImage of linux-image-6.1.0-51-amd64 6.1.180-1\n");
    assert_eq!(kernel.sha256, images::Sha256::of(&image).to_string());
    assert!(fs::read_to_string(&kernel.config).unwrap().starts_with("# config"));
    assert_eq!(bench.store(&mirror).kernel(KERNEL).unwrap(), kernel);
    assert_eq!(bench.offline().kernel(KERNEL).unwrap(), kernel);
    assert_eq!(mirror.total(), 1, "one package, and nothing else");
}

/// Catches a dropped version being an error, the wrong replacement, and a replacement that goes unsaid or is sought again.
#[test]
fn a_dropped_version_is_replaced_by_the_current_one_of_its_series() {
    let (bench, mirror) = (Bench::with_dropped(), Mirror::good());
    let kernel = bench.store(&mirror).kernel(KERNEL).unwrap();
    assert_eq!((kernel.package.as_str(), kernel.version.as_str()), (CURRENT, CURRENT_VERSION));
    let notice = kernel.notice.clone().unwrap();
    for part in ["6.1.176-1", "6.1.180-1", "repin"] {
        assert!(notice.contains(part), "`{notice}` lacks {part}");
    }
    assert_eq!(mirror.count(DROPPED_PATH), 1);
    drop(mirror);
    assert_eq!(
        bench.offline().kernel(KERNEL).unwrap(),
        kernel,
        "the replacement is remembered, notice included"
    );
}

/// Catches trust in an index that somebody changed, in a stranger's key, and in an index of another suite.
#[test]
fn an_index_without_a_good_signature_is_refused() {
    let changed = Mirror::new(|path, _| match archive(path) {
        Reply::Whole(content) if path.ends_with("InRelease") => {
            let text = String::from_utf8(content).unwrap();
            Reply::Whole(text.replace("Suite: oldstable", "Suite: newstable").into_bytes())
        }
        other => other,
    });
    let bench = Bench::with_dropped();
    let error = bench.store(&changed).kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::Signature { .. }), "{error}");
    assert!(error.to_string().contains("BAD signature"), "{error}");

    let good = Mirror::good();
    let with_keyring = |keyring| {
        let options = StoreOptions {
            keyring: Some(keyring),
            mirrors: vec![good.url.parse().unwrap()],
            ..bench.options()
        };
        Store::open(options).unwrap().kernel(KERNEL).unwrap_err().to_string()
    };
    let empty = bench.dir.path().join("empty.gpg");
    fs::write(&empty, b"").unwrap();
    assert!(with_keyring(empty).contains("gpgv"));
    assert!(with_keyring(bench.dir.path().join("absent.gpg")).contains("debian-archive-keyring"));

    let other_suite = Mirror::new(|path, _| archive(&path.replace("trixie", "bookworm")));
    let lock = fs::read_to_string(bench.lock_file()).unwrap();
    fs::write(bench.lock_file(), lock.replace("bookworm", "trixie")).unwrap();
    let error = bench.store(&other_suite).kernel(KERNEL).unwrap_err().to_string();
    assert!(error.contains("not for trixie"), "{error}");
}

/// Catches an index that is signed for and then exchanged.
#[test]
fn an_index_that_is_not_the_signed_one_is_refused() {
    let mirror = Mirror::new(|path, _| match archive(path) {
        Reply::Whole(mut content) if path.ends_with("Packages.xz") => {
            content[20] ^= 1;
            Reply::Whole(content)
        }
        other => other,
    });
    let error = Bench::with_dropped().store(&mirror).kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

/// Catches an endless search, or a silent one, when a mirror lacks a package that its own index lists.
#[test]
fn a_package_that_only_the_index_has_is_reported_as_missing() {
    let mirror =
        Mirror::new(|path, _| if path.starts_with("pool/") { Reply::Status(404) } else { archive(path) });
    let error = Bench::with_current().store(&mirror).kernel(KERNEL).unwrap_err();
    assert!(matches!(&error, Error::NotOnMirror { url, .. } if url.ends_with(CURRENT_PATH)), "{error}");
}

/// Catches a series that is gone being replaced by another one.
#[test]
fn a_series_that_is_gone_is_an_error() {
    let bench = Bench::with_dropped();
    let lock = fs::read_to_string(bench.lock_file()).unwrap();
    fs::write(bench.lock_file(), lock.replace("\"6.1\"", "\"6.0\"")).unwrap();
    let error = bench.store(&Mirror::good()).kernel("6.0-amd64").unwrap_err();
    assert!(matches!(error, Error::SeriesGone { .. }), "{error}");
}

/// Catches bytes of the wrong hash reaching the cache.
#[test]
fn wrong_bytes_are_refused() {
    let mirror = Mirror::new(|_, _| {
        let mut deb = current_deb();
        deb[500] ^= 1;
        Reply::Whole(deb)
    });
    let bench = Bench::with_current();
    let error = bench.store(&mirror).kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert_eq!(bench.names("debs"), [""; 0]);
    assert_eq!(bench.names("trees"), [""; 0]);
}

/// Catches a file that never ends filling the disk.
#[test]
fn more_bytes_than_locked_are_refused() {
    let mirror = Mirror::new(|_, _| Reply::Whole([current_deb(), vec![0; 1 << 20]].concat()));
    let error = Bench::with_current().store(&mirror).kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::WrongSize { .. }), "{error}");
}

/// Catches a transfer that broke off being final, or being taken for complete.
#[test]
fn a_cut_transfer_is_tried_again_and_then_reported() {
    let once = Mirror::new(|_, before| match before {
        0 => Reply::Cut(current_deb(), 100),
        _ => Reply::Whole(current_deb()),
    });
    assert!(Bench::with_current().store(&once).kernel(KERNEL).is_ok());
    assert_eq!(once.total(), 2);

    let always = Mirror::new(|_, _| Reply::Cut(current_deb(), 100));
    let bench = Bench::with_current();
    let error = bench.store(&always).kernel(KERNEL).unwrap_err().to_string();
    assert!(error.contains("100") && error.contains("tried 2 times"), "{error}");
    assert_eq!(bench.names("debs"), [""; 0]);
}

/// Catches a mirror's bad moment being final.
#[test]
fn a_server_error_is_tried_again() {
    let mirror = Mirror::new(|path, before| if before == 0 { Reply::Status(503) } else { archive(path) });
    assert!(Bench::with_current().store(&mirror).kernel(KERNEL).is_ok());
}

/// Catches a run that waits forever for a mirror which says nothing more.
#[test]
fn a_stalled_transfer_is_given_up() {
    for at in [0, 100] {
        let mirror = Mirror::new(move |_, _| Reply::Stall(current_deb(), at));
        let error = Bench::with_current().store(&mirror).kernel(KERNEL).unwrap_err().to_string();
        assert!(error.contains("timeout") && error.contains("tried 2 times"), "{error}");
    }
}

/// Catches two runs that fetch the same package twice, or trip over each other's files. Each store has its own file handles,
/// so the locks work between these threads as they do between processes.
#[test]
fn parallel_runs_share_one_transfer() {
    let (bench, mirror) = (Bench::with_current(), Mirror::good());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bench.store(&mirror).kernel(KERNEL).unwrap());
        }
    });
    assert_eq!(mirror.total(), 1);
    assert_eq!(bench.names("trees").len(), 1);
}

/// Catches litter of a killed run being taken for the thing itself: half a package under its final name, half-made temporary
/// files and folders, a tree without its manifest.
#[test]
fn litter_of_a_killed_run_does_no_harm() {
    let (bench, mirror) = (Bench::with_current(), Mirror::good());
    let kernel = bench.store(&mirror).kernel(KERNEL).unwrap();
    let cache = bench.cache();
    let (deb, tree) = (
        cache.join("debs").join(&bench.names("debs")[0]),
        cache.join("trees").join(&bench.names("trees")[0]),
    );
    fs::write(&deb, &current_deb()[..100]).unwrap();
    fs::remove_file(tree.join(".manifest.json")).unwrap();
    fs::write(cache.join("debs/.partial-1"), b"half").unwrap();
    fs::create_dir(cache.join("trees/.partial-2")).unwrap();
    fs::write(cache.join("substitutes/.partial-3"), b"half").unwrap();
    assert_eq!(bench.store(&mirror).kernel(KERNEL).unwrap(), kernel);
    assert_eq!(mirror.total(), 2);
}

const CHILD_CACHE: &str = "KDUMP_RIG_TEST_CACHE";
const CHILD_MIRROR: &str = "KDUMP_RIG_TEST_MIRROR";

/// The other process of [`a_killed_process_leaves_no_lock_and_no_damage`]: fetches from a mirror that stalls, until it is killed.
fn fetch_and_stall(cache: std::path::PathBuf) -> ! {
    let mirrors = vec![std::env::var(CHILD_MIRROR).unwrap().parse().unwrap()];
    let lock_file = cache.with_file_name("lock.json");
    // Default patience: it would wait for half a minute.
    let options =
        StoreOptions { cache: Some(cache), lock_file: Some(lock_file), mirrors, ..StoreOptions::default() };
    let result = Store::open(options).unwrap().kernel(KERNEL);
    panic!("was not killed: {result:?}");
}

/// Catches locks that outlive their holder, and a process killed in mid-transfer leaving something that is taken for a package.
#[test]
fn a_killed_process_leaves_no_lock_and_no_damage() {
    // The process to be killed is this very test, started a second time.
    if let Some(cache) = std::env::var_os(CHILD_CACHE) {
        fetch_and_stall(cache.into());
    }
    let (asked, was_asked) = std::sync::mpsc::channel();
    let stalling = Mirror::new(move |_, _| {
        asked.send(()).unwrap();
        Reply::Stall(current_deb(), 100)
    });
    let bench = Bench::with_current();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_no_lock_and_no_damage"])
        .env(CHILD_CACHE, bench.dir.path().join("cache"))
        .env(CHILD_MIRROR, &stalling.url)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    was_asked.recv_timeout(std::time::Duration::from_secs(30)).expect("the child asks the mirror");
    child.kill().unwrap();
    child.wait().unwrap();
    let started = std::time::Instant::now();
    assert!(bench.store(&Mirror::good()).kernel(KERNEL).is_ok());
    assert!(started.elapsed().as_secs() < 10, "nothing was waited for");
}

/// Catches a rotten file being booted, and the network being asked although the package can still be unpacked.
#[test]
fn rotten_files_are_found_before_use() {
    let (bench, mirror) = (Bench::with_current(), Mirror::good());
    let kernel = bench.store(&mirror).kernel(KERNEL).unwrap();
    let good = fs::read(&kernel.bzimage).unwrap();
    let rot = |path: &std::path::Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[3] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    rot(&kernel.bzimage);
    let again = bench.offline().kernel(KERNEL).unwrap();
    assert_eq!(fs::read(again.bzimage).unwrap(), good);
    // Now the package too: it has to be fetched again.
    rot(&kernel.bzimage);
    rot(&bench.cache().join("debs").join(&bench.names("debs")[0]));
    assert!(matches!(bench.offline().kernel(KERNEL), Err(Error::Offline { .. })));
    let again = bench.store(&mirror).kernel(KERNEL).unwrap();
    assert_eq!(fs::read(again.bzimage).unwrap(), good);
    assert_eq!(mirror.total(), 2);
}

/// Catches `verify` that only looks, or that looks at sizes only.
#[test]
fn verify_finds_and_removes_what_is_rotten() {
    let (bench, mirror) = (Bench::with_current(), Mirror::good());
    let store = bench.store(&mirror);
    let kernel = store.kernel(KERNEL).unwrap();
    let name = [ArtifactName::Kernel(KERNEL.to_owned())];
    let verified = store.verify(&name).unwrap();
    assert_eq!((verified[0].checked, verified[0].rotten.as_slice()), (3, [].as_slice()));
    let size = fs::metadata(&kernel.config).unwrap().len() as usize;
    fs::write(&kernel.config, vec![b'x'; size]).unwrap();
    let verified = store.verify(&name).unwrap();
    assert_eq!(verified[0].rotten.len(), 1, "{verified:?}");
    assert!(!kernel.config.exists());
    assert_eq!(store.list().unwrap()[0].state, State::Fetched);
}

/// Catches a prepared folder that is ignored, not checked, or completed from the network.
#[test]
fn a_prepared_folder_stands_in_for_the_network() {
    let mirror = Mirror::good();
    let bench = Bench::with_current();
    let folder = bench.dir.path().join("prepared folder");
    fs::create_dir(&folder).unwrap();
    let open = || {
        let (mirrors, artifacts_dir) = (vec![mirror.url.parse().unwrap()], Some(folder.clone()));
        Store::open(StoreOptions { mirrors, artifacts_dir, ..bench.options() }).unwrap()
    };
    let file = folder.join(CURRENT_PATH.rsplit('/').next().unwrap());
    let error = open().kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::NotInFolder { .. }), "{error}");
    let mut wrong = current_deb();
    wrong[500] ^= 1;
    fs::write(&file, wrong).unwrap();
    let error = open().kernel(KERNEL).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    fs::write(&file, current_deb()).unwrap();
    assert_eq!(open().kernel(KERNEL).unwrap().version, CURRENT_VERSION);
    assert_eq!(mirror.total(), 0);
}

/// Catches file: mirrors working differently from others, dropped versions included.
#[test]
fn a_mirror_can_be_a_folder() {
    let bench = Bench::with_dropped();
    let mirrors = vec![format!("bookworm=file://{}/archive", fixtures().display()).parse().unwrap()];
    let kernel = Store::open(StoreOptions { mirrors, ..bench.options() }).unwrap().kernel(KERNEL).unwrap();
    assert_eq!(kernel.version, CURRENT_VERSION);
}

/// Catches the host's other archives being the end of the search, and its configuration not being read.
#[test]
fn the_hosts_mirrors_are_tried_in_turn() {
    let (empty, good) = (Mirror::new(|_, _| Reply::Status(404)), Mirror::good());
    let bench = Bench::with_current();
    let apt = bench.dir.path().join("apt");
    fs::create_dir(&apt).unwrap();
    let list = format!("# mine\ndeb {} bookworm main\ndeb {} bookworm main\n", empty.url, good.url);
    fs::write(apt.join("sources.list"), list).unwrap();
    let store = Store::open(StoreOptions { apt_dir: Some(apt), ..bench.options() }).unwrap();
    assert!(store.kernel(KERNEL).is_ok());
    assert_eq!((empty.count(CURRENT_PATH), good.count(CURRENT_PATH)), (1, 1));
}

/// Catches an offline run that asks the network, and one error hiding the others.
#[test]
fn offline_and_unknown_names_are_all_reported() {
    let bench = Bench::with_current();
    let names = [ArtifactName::Kernel("4.19-amd64".to_owned()), ArtifactName::Kernel(KERNEL.to_owned())];
    let errors = bench.offline().prefetch(&names).unwrap_err();
    assert!(matches!(errors.0[0].1, Error::UnknownArtifact { .. }), "{errors}");
    assert!(matches!(errors.0[1].1, Error::Offline { .. }), "{errors}");
    assert!(errors.to_string().contains(KERNEL), "{errors}");
}

/// Catches a re-pin that writes nothing, something unreadable, or a lock from which the old version is still fetched.
#[test]
fn repin_writes_the_current_versions() {
    let (bench, mirror) = (Bench::with_dropped(), Mirror::good());
    // Compiler and firmware of this lock are no packages of the test archive: the whole re-pin fails, and the file stays.
    let before = fs::read_to_string(bench.lock_file()).unwrap();
    assert!(bench.store(&mirror).repin(&bench.lock_file(), &[]).is_err());
    assert_eq!(fs::read_to_string(bench.lock_file()).unwrap(), before);

    let (kernels, rust) = before.split_once("\"rust\"").unwrap();
    let rust = rust
        .replace("linux-image-6.1.0-50-amd64\"", "linux-image-6.1.0-51-rt-amd64\"")
        .replace("1.85.0", "6.1.0");
    fs::write(bench.lock_file(), format!("{kernels}\"rust\"{rust}")).unwrap();
    let changes = bench.store(&mirror).repin(&bench.lock_file(), &[]).unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(
        (changes[0].from.version.as_str(), changes[0].to.version.as_str()),
        ("6.1.176-1", CURRENT_VERSION)
    );
    let kernel = bench.store(&mirror).kernel(KERNEL).unwrap();
    assert_eq!((kernel.version.as_str(), kernel.notice), (CURRENT_VERSION, None));
    assert_eq!(mirror.count(DROPPED_PATH), 0);
}

/// Bug: a program that was built before a kernel was added takes it out of the lock file again.
#[test]
fn what_the_lock_file_got_meanwhile_stays() {
    let (bench, mirror) = (Bench::with_dropped(), Mirror::good());
    let older = bench.store(&mirror);
    let mut lock = Lock::parse(&fs::read_to_string(bench.lock_file()).unwrap(), "test").unwrap();
    let mut added = lock.kernels[0].clone();
    added.series = "5.9".to_owned();
    lock.kernels.push(added.clone());
    fs::write(bench.lock_file(), lock.to_text()).unwrap();
    older.repin(&bench.lock_file(), &[ArtifactName::Kernel(KERNEL.to_owned())]).unwrap();
    let after = Lock::parse(&fs::read_to_string(bench.lock_file()).unwrap(), "test").unwrap();
    assert_eq!(after.kernels.last(), Some(&added));
    assert_eq!(after.kernels[0].deb.version, CURRENT_VERSION);
}

/// Bug: a copy that broke off is taken for a whole one, so that the folder has to be written anew before it is of use.
#[test]
fn a_copy_is_enough_and_is_made_whole_again() {
    let (bench, mirror) = (Bench::with_dropped(), Mirror::good());
    let store = bench.store(&mirror);
    let folder = bench.dir.path().join("copy");
    let names = [ArtifactName::Kernel(KERNEL.to_owned())];
    let there = || {
        store.copy_to(&names, &folder).unwrap();
        Store::open(StoreOptions { cache: Some(folder.clone()), offline: true, ..bench.options() }).unwrap()
    };
    let kernel = there().kernel(KERNEL).unwrap();
    assert!(kernel.bzimage.starts_with(&folder), "{kernel:?}");
    fs::remove_file(&kernel.bzimage).unwrap();
    assert_eq!(there().kernel(KERNEL).unwrap(), kernel);
    // Bug: what is whole is taken away and made anew under those who use it.
    let beside = kernel.bzimage.with_file_name("beside");
    fs::write(&beside, "").unwrap();
    assert_eq!(there().kernel(KERNEL).unwrap(), kernel);
    assert!(beside.exists());
}
