//! What the tests of `bisect` have in common: git, edits of sources, and this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "safe.directory=*"]);
    let output = git.args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Replaces a text that the file has exactly once.
pub(crate) fn replace(folder: &Path, file: &str, find: &str, replacement: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(find).count(), 1, "{file} has {find:?} not once: this test's edits are stale");
    fs::write(&path, text.replace(find, replacement)).unwrap();
}

pub(crate) fn xtask(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(words).output().unwrap();
    println!("$ xtask {}\n{}", words.join(" "), String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All that a user has in a work tree and its index, as one text.
pub(crate) fn state_of(repo: &Path) -> String {
    // Whole names of objects: how far git shortens them grows with what is in the repository.
    let diff = git(repo, &["diff", "--full-index", "HEAD"]);
    let (status, head) =
        (git(repo, &["status", "--porcelain=v2", "--branch"]), git(repo, &["rev-parse", "HEAD"]));
    let branches = git(repo, &["for-each-ref"]);
    format!("{head}\n{branches}\n{status}\n{diff}")
}

/// The report of a hunt that said this: the culprit is one still when it is tested again, and taken out of the bad end that is good.
pub(crate) fn check_report(told: &str) {
    let report = told.lines().find_map(|line| line.strip_prefix("report: ")).unwrap();
    let report = fs::read_to_string(report).unwrap();
    println!("{report}");
    assert!(report.contains("- verify: good before it and bad with it"), "{report}");
    assert!(report.contains("- revert: the bad end without it is good"), "{report}");
}
