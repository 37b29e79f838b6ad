//! Git, as a hunt uses it: revisions, what lies between, and a work tree of its own. The user's tree, index and branches are only read;
//! what is written in the repository is the entry of that work tree.

use crate::exit::{Failure, OrFail};
use crate::interrupt::Interrupts;
use crate::output;
use crate::process::{self, RunError};
use anyhow::{Context, anyhow};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The longest that git may take: a checkout of a kernel on a slow disk.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A repository, and where its hunts have their work tree.
pub(crate) struct Git<'a> {
    repo: PathBuf,
    tree: PathBuf,
    interrupts: &'a Interrupts,
}

impl<'a> Git<'a> {
    /// # Errors
    /// [`Failure::Input`]: the folder is in no git repository.
    pub(crate) async fn open(
        folder: &Path,
        trees: &Path,
        interrupts: &'a Interrupts,
    ) -> Result<Git<'a>, Failure> {
        let words = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let repo = run(folder, &words, interrupts).await?.map_err(|why| {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            Failure::Input(anyhow!(
                "{} is in no git repository ({why}); name one: --repo DIR",
                folder.display()
            ))
        })?;
        let name = super::memory::digest_of(&serde_json::json!(repo));
        Ok(Git { repo: repo.into(), tree: trees.join(&name[..12]), interrupts })
    }

    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    async fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        run(&self.repo, words, self.interrupts).await?.map_err(|why| Failure::Input(anyhow!("{why}")))
    }

    /// The commit that a name stands for.
    ///
    /// # Errors
    /// [`Failure::Input`]: there is none.
    pub(crate) async fn commit(&self, name: &str) -> Result<String, Failure> {
        let commit = format!("{name}^{{commit}}");
        self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await.map_err(|_| {
            Failure::Input(anyhow!(
                "there is no commit {name:?} in {}; `git log` and `git tag` show what there is",
                self.repo.display()
            ))
        })
    }

    /// # Errors
    /// Git fails.
    pub(crate) async fn subject(&self, commit: &str) -> Result<String, Failure> {
        self.ask(&["show", "--no-patch", "--format=%s", commit]).await
    }

    /// Whether one commit is in the history of another.
    ///
    /// # Errors
    /// Git cannot be started.
    pub(crate) async fn is_ancestor(&self, old: &str, new: &str) -> Result<bool, Failure> {
        let words = ["merge-base", "--is-ancestor", old, new];
        Ok(run(&self.repo, &words, self.interrupts).await?.is_ok())
    }

    /// The commits that may be the first bad one beside `bad` itself, those first that halve them best.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn between(&self, good: &[String], bad: &str) -> Result<Vec<String>, Failure> {
        let mut words = vec!["rev-list", "--bisect-all", bad, "--not"];
        words.extend(good.iter().map(String::as_str));
        let all = self.ask(&words).await?;
        Ok(commits(&all).filter(|commit| *commit != bad).map(str::to_owned).collect())
    }

    /// Whether this folder's work tree has changes that are in no commit. One that is bare has none.
    ///
    /// # Errors
    /// Git cannot be started.
    pub(crate) async fn is_dirty(&self, folder: &Path) -> Result<bool, Failure> {
        // Without the first it would write down what it found, in the user's index.
        let words = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"];
        let changes = run(folder, &words, self.interrupts).await?;
        Ok(changes.is_ok_and(|changes| !changes.is_empty()))
    }

    /// The first parent; none of a root.
    ///
    /// # Errors
    /// Git cannot be started.
    pub(crate) async fn parent(&self, commit: &str) -> Result<Option<String>, Failure> {
        let name = format!("{commit}^1");
        Ok(run(&self.repo, &["rev-parse", "--verify", "--quiet", &name], self.interrupts).await?.ok())
    }

    /// Makes the work tree hold a commit, and nothing else but what is ignored (builds that are continued).
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn check_out(&self, commit: &str) -> Result<(), Failure> {
        let is_whole =
            self.tree.join(".git").is_file() && self.in_tree(&["rev-parse", "--git-dir"]).await?.is_ok();
        if !is_whole {
            // Left behind by a hunt whose entry in the repository somebody has pruned.
            if self.tree.exists() {
                std::fs::remove_dir_all(&self.tree)
                    .with_context(|| format!("cannot remove {}", self.tree.display()))
                    .or_rig()?;
            }
            std::fs::create_dir_all(self.tree.parent().unwrap_or(&self.tree))
                .with_context(|| format!("cannot make a folder for {}", self.tree.display()))
                .or_rig()?;
            let tree = self.tree.to_string_lossy();
            output::note(format_args!("a work tree for the builds: {tree}"));
            // Twice: git registers a tree whose folder is gone, as that of a killed run may be, only then again.
            self.ask(&["worktree", "add", "--quiet", "--force", "--force", "--detach", &tree, commit])
                .await?;
        }
        for words in [&["checkout", "--quiet", "--force", "--detach", commit][..], &["clean", "-ffdq"]] {
            self.in_tree(words).await?.map_err(|why| Failure::Rig(anyhow!("{why}")))?;
        }
        Ok(())
    }

    /// Takes a commit out again on top of what is checked out. Whether that applies.
    ///
    /// # Errors
    /// Git cannot be started.
    pub(crate) async fn revert(&self, commit: &str) -> Result<bool, Failure> {
        let parents = self.ask(&["show", "--no-patch", "--format=%P", commit]).await?;
        let mut words = vec!["revert", "--no-commit"];
        if parents.split_whitespace().count() > 1 {
            words.extend(["--mainline", "1"]);
        }
        words.push(commit);
        let applies = self.in_tree(&words).await?.is_ok();
        if !applies {
            // Nothing to abort where it did not even begin.
            let _ = self.in_tree(&["revert", "--abort"]).await?;
        }
        Ok(applies)
    }

    /// Says that the work tree stays, if there is one, and how to be rid of it.
    pub(crate) fn tell_of_tree(&self) {
        if self.tree.exists() {
            output::note(format_args!(
                "the next hunt in this repository goes on with what is built in {0}; to be rid of it: git -C {1} worktree remove --force {0}",
                self.tree.display(),
                self.repo.display()
            ));
        }
    }

    /// Takes the work tree away, if there is one, and its entry in the repository.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) async fn remove_tree(&self) -> Result<(), Failure> {
        if !self.tree.exists() {
            return Ok(());
        }
        let tree = self.tree.to_string_lossy();
        let removed = run(&self.repo, &["worktree", "remove", "--force", &tree], self.interrupts).await?;
        removed.map(|_| ()).map_err(|why| Failure::Rig(anyhow!("{why}")))
    }

    async fn in_tree(&self, words: &[&str]) -> Result<Result<String, String>, Failure> {
        run(&self.tree, words, self.interrupts).await
    }
}

/// Whether a file is one of its repository's own; none where no repository is around it. A submodule's files are the submodule's.
///
/// # Errors
/// [`Failure::Rig`]: a repository is around it, and git does not say.
pub(super) async fn is_tracked(file: &Path, interrupts: &Interrupts) -> Result<Option<bool>, Failure> {
    let cannot = |why: &str| {
        Failure::Rig(anyhow!("cannot find out whether {} is in git's index: {why}", file.display()))
    };
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(cannot("it is no file's path"));
    };
    if !folder.ancestors().any(|ancestor| ancestor.join(".git").exists()) {
        return Ok(None);
    }
    let name = name.to_str().ok_or_else(|| cannot("its name is not UTF-8"))?;
    let listed = run(folder, &["ls-files", "--", &format!(":(literal){name}")], interrupts).await?;
    listed.map(|listed| Some(!listed.is_empty())).map_err(|why| cannot(&why))
}

/// What git prints, without the last line's end; or its words where it fails.
async fn run(
    folder: &Path,
    words: &[&str],
    interrupts: &Interrupts,
) -> Result<Result<String, String>, Failure> {
    let errors = tempfile::NamedTempFile::new().context("cannot make a temporary file").or_rig()?;
    let stderr = errors.reopen().context("cannot open a temporary file").or_rig()?;
    let mut git = Command::new("git");
    // Hooks are the user's, for his own work.
    git.args(["-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-C"])
        .arg(folder)
        .args(words);
    // Set where a hook or an alias started this program; they would turn git to the user's own index.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"] {
        git.env_remove(name);
    }
    git.stderr(Stdio::from(stderr));
    match process::output(&mut git, LIMIT, interrupts).await {
        Ok(bytes) => Ok(Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())),
        Err(RunError::Interrupted) => Err(Failure::Interrupted),
        Err(error @ RunError::NotStarted { .. }) => Err(Failure::Input(error.into())),
        Err(error) => {
            let said = std::fs::read_to_string(errors.path()).unwrap_or_default();
            // Git's own words say what is wrong; its many options here are nobody's concern.
            Ok(Err(match said.trim() {
                "" => error.to_string(),
                said => format!("git {}: {said}", words.first().unwrap_or(&"")),
            }))
        }
    }
}

/// The commits of `rev-list --bisect-all`: each line is a commit and, in parentheses, its names and `dist=N`.
fn commits(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a commit that has a name is lost, or its name is taken for a commit.
    #[test]
    fn names_are_not_commits() {
        let listed = "aa (tag: v1, dist=2)\nbb (dist=1)\ncc (HEAD -> main, dist=0)\n";
        assert_eq!(commits(listed).collect::<Vec<_>>(), ["aa", "bb", "cc"]);
    }

    fn by_hand(folder: &Path, words: &[&str]) -> String {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=n", "-c", "user.email=n@localhost", "-C"]).arg(folder).args(words);
        let output = git.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Bug: the user's tree, index or branches are changed; a tree that a killed run left keeps the next from beginning; what a build or a
    /// revert left is taken along to the next commit.
    #[tokio::test]
    async fn a_tree_of_its_own_is_made_again_and_again() {
        let temp = tempfile::tempdir().unwrap();
        let repo = temp.path().join("repo");
        std::fs::create_dir(&repo).unwrap();
        by_hand(&repo, &["init", "--quiet"]);
        let mut commits = Vec::new();
        for (file, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            std::fs::write(repo.join(file), text).unwrap();
            by_hand(&repo, &["add", "."]);
            by_hand(&repo, &["commit", "--quiet", "--message", text]);
            commits.push(by_hand(&repo, &["rev-parse", "HEAD"]));
        }
        std::fs::write(repo.join("a"), "mine").unwrap();
        let state = || {
            [&["status", "--porcelain"][..], &["for-each-ref"], &["worktree", "list"]]
                .map(|words| by_hand(&repo, words))
        };
        let before = state();
        let (_sender, receiver) = tokio::sync::watch::channel(false);
        let interrupts = Interrupts::from_channel(receiver);
        let trees = temp.path().join("trees");
        let git = Git::open(&repo, &trees, &interrupts).await.unwrap();
        let has = |file: &str| std::fs::read_to_string(git.tree().join(file)).ok();

        git.check_out(&commits[0]).await.unwrap();
        assert_eq!((has("a").as_deref(), has("b")), (Some("1"), None));
        std::fs::write(git.tree().join("built"), "x").unwrap();
        git.check_out(&commits[2]).await.unwrap();
        assert_eq!((has("a").as_deref(), has("built")), (Some("3"), None));
        assert!(git.revert(&commits[1]).await.unwrap());
        assert_eq!(has("b"), None);
        git.check_out(&commits[2]).await.unwrap();
        assert!(has("b").is_some() && !git.revert(&commits[0]).await.unwrap());
        // Somebody removes the folder, or the entry.
        std::fs::remove_dir_all(git.tree()).unwrap();
        git.check_out(&commits[1]).await.unwrap();
        std::fs::remove_dir_all(repo.join(".git/worktrees")).unwrap();
        git.check_out(&commits[1]).await.unwrap();
        assert_eq!(has("b").as_deref(), Some("2"));
        git.remove_tree().await.unwrap();
        assert_eq!(state(), before);
        assert!(git.is_ancestor(&commits[0], &commits[2]).await.unwrap());
        assert!(!git.is_ancestor(&commits[2], &commits[0]).await.unwrap());
        assert_eq!(git.between(&commits[..1], &commits[2]).await.unwrap(), commits[1..2]);
        assert_eq!(git.parent(&commits[0]).await.unwrap(), None);
        assert!(git.commit("nonsense").await.is_err());
    }
}
