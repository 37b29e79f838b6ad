//! Bisections for real: a history of the loader is made, with everything in it that a history has, and the culprit is to be found. Builds
//! many revisions and starts guests, so that it runs when it is asked for: `cargo test -p xtask --test bisect -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The refusal of a region above 896 MiB for an i386 capture kernel: a second or two, and as deterministic as anything.
const CELL: &str = "5.10-amd64.i386.in-tree.5.10-686-pae.256M@1968M.pc-4g";
/// Commits of the history; they count from 1.
const COMMITS: u32 = 20;
/// Where the bug comes in.
const CULPRIT: u32 = 12;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn git(folder: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "safe.directory=*"]);
    let output = git.args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn replace(folder: &Path, file: &str, find: &str, replacement: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(find).count(), 1, "{file} has {find:?} not once: this test's edits are stale");
    fs::write(&path, text.replace(find, replacement)).unwrap();
}

/// Twenty commits of this workspace. Each changes the loader's bytes; 8 flakes in two loads of five, 10 and 15 do not build, from 11 to 13
/// the xtask does not compile, and 12 has the bug.
fn make_history(repo: &Path) -> BTreeMap<u32, String> {
    fs::create_dir_all(repo).unwrap();
    git(repo, &["init", "--quiet", "--initial-branch", "main"]);
    for file in git(&workspace(), &["ls-files"]).lines() {
        let to = repo.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(workspace().join(file), to).unwrap();
    }
    let flake = "    if (unsafe { core::arch::x86::_rdtsc() } >> 10) % 5 < 2 {\n        return Err(\"no luck today\".into());\n    }\n";
    let load = "pub(crate) fn load(load: &Load) -> Result<(), String> {\n";
    let broken = "\nfn this does not parse\n";
    let append = |file: &str, text: &str| {
        let before = fs::read_to_string(repo.join(file)).unwrap();
        fs::write(repo.join(file), before + text).unwrap();
    };
    let mut commits = BTreeMap::new();
    for number in 1..=COMMITS {
        let before = match number {
            1 => "; unloading".to_owned(),
            _ => format!("; unloading, {} of {COMMITS}", number - 1),
        };
        replace(repo, "loader/src/program/mod.rs", &before, &format!("; unloading, {number} of {COMMITS}"));
        let subject = match number {
            8 => {
                replace(repo, "loader/src/program/mod.rs", load, &format!("{load}{flake}"));
                "Loader: takes its chances"
            }
            9 => {
                replace(repo, "loader/src/program/mod.rs", flake, "");
                "Loader: takes no chances"
            }
            10 | 15 => {
                append("loader/src/rule.rs", broken);
                "Loader: half of a change"
            }
            11 | 16 => {
                replace(repo, "loader/src/rule.rs", broken, "");
                if number == 11 {
                    append("xtask/src/main.rs", broken);
                }
                "Loader: the other half"
            }
            CULPRIT => {
                let find = "Limit { last: I386_LAST, why: Why::I386Capture }";
                replace(repo, "loader/src/rule.rs", find, "UNLIMITED");
                "Loader: one limit less"
            }
            14 => {
                replace(repo, "xtask/src/main.rs", broken, "");
                "Xtask: compiles again"
            }
            _ => "Loader: another word",
        };
        git(repo, &["add", "--all"]);
        git(repo, &["commit", "--quiet", "--message", &format!("{subject} ({number})")]);
        commits.insert(number, git(repo, &["rev-parse", "HEAD"]));
    }
    commits
}

fn xtask(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(words).output().unwrap();
    println!("$ xtask {}\n{}", words.join(" "), String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All that a user has in a work tree and its index, as one text.
fn state_of(repo: &Path) -> String {
    let diff = git(repo, &["diff", "HEAD"]);
    let (status, head) =
        (git(repo, &["status", "--porcelain=v2", "--branch"]), git(repo, &["rev-parse", "HEAD"]));
    let branches = git(repo, &["for-each-ref"]);
    format!("{head}\n{branches}\n{status}\n{diff}")
}

/// Bug: a flake, a commit that does not build or an xtask that does not compile is called the culprit, or the user's tree is touched.
#[test]
#[ignore = "builds a dozen revisions and starts some twenty guests"]
fn the_culprit_of_twenty_commits_is_found() {
    let temp = tempfile::tempdir().unwrap();
    // A place that stays may be named, for its builds and its report.
    let folder = std::env::var_os("BISECT_EXAMPLE").map_or_else(|| temp.path().to_owned(), PathBuf::from);
    let (repo, cache) = (folder.join("history"), folder.join("cache"));
    let _ = fs::remove_dir_all(&repo);
    let commits = make_history(&repo);
    fs::write(repo.join("README.md"), "the user's own change, which nobody may touch\n").unwrap();
    fs::write(repo.join("notes.txt"), "and a new file\n").unwrap();
    let before = state_of(&repo);
    let (repo_word, cache_word) = (repo.to_str().unwrap(), cache.to_str().unwrap());

    let hunt = [
        "bisect",
        "run",
        "--over",
        "loader",
        "--repo",
        repo_word,
        "--good",
        &commits[&1],
        "--bad",
        &commits[&COMMITS],
    ];
    let output = xtask(&[&hunt[..], &["--cache", cache_word, "--", CELL]].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        told.contains(&format!(
            "the first bad one is {} (Loader: one limit less ({CULPRIT}))",
            &commits[&CULPRIT][..12]
        )),
        "{told}"
    );
    assert!(told.contains("skip Loader: half of a change"), "{told}");
    assert_eq!(state_of(&repo), before);
    let report = told.lines().find_map(|line| line.strip_prefix("report: ")).unwrap();
    let report = fs::read_to_string(report).unwrap();
    println!("{report}");
    assert!(report.contains("- verify: good before it and bad with it"), "{report}");
    assert!(report.contains("- revert: the bad end without it is good"), "{report}");

    // The same by git's own hand, from an installed folder, in a clone whose xtask does not compile at the culprit.
    let installed = folder.join("rig");
    let output = xtask(&["bisect", "install", installed.to_str().unwrap(), "--suite", "smoke"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let clone = folder.join("clone");
    let _ = fs::remove_dir_all(&clone);
    git(&folder, &["clone", "--quiet", repo_word, clone.to_str().unwrap()]);
    git(&clone, &["bisect", "start", &commits[&COMMITS], &commits[&1]]);
    let launcher = installed.join("kdump-bisect");
    let told =
        git(&clone, &["bisect", "run", launcher.to_str().unwrap(), "step", "--cache", cache_word, CELL]);
    println!("{told}");
    assert!(told.contains(&format!("{} is the first bad commit", commits[&CULPRIT])), "{told}");
}
