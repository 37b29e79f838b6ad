//! The list of mutants, `xtask/mutants.toml`: deliberate bugs as edits of the guests' programs, and how each must show.
//!
//! As written (TOML, by shape) and checked: every name is known, every expression compiles. Everything that is wrong is told at
//! once.

use super::edit::Edit;
use crate::build::Program;
use harness::cell::CellId;
use harness::outcome::OutcomeKind;
use regex::Regex;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where the list is, relative to the workspace.
pub(super) const FILE: &str = "xtask/mutants.toml";

/// The name that stands for programs without any bug.
pub(super) const UNMUTATED: &str = "unmutated";

/// The list.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The suites that the cells are taken from.
    pub(super) suites: Vec<String>,
    /// The mutants, in the order of the file.
    pub(super) mutants: Vec<Mutant>,
}

/// A deliberate bug.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    /// Its name: lower-case letters, digits and dashes.
    pub(super) name: String,
    /// The bug, in one sentence.
    pub(super) bug: String,
    /// The program that it is in.
    pub(super) program: Program,
    /// How it comes in.
    pub(super) edit: Edit,
    /// Whether CI runs it.
    pub(super) slice: bool,
    /// The cells that must catch it, at least one.
    pub(super) catches: Vec<Catch>,
}

/// A cell that must catch a mutant, and by what.
#[derive(Clone, Debug)]
pub(super) struct Catch {
    /// The cell's short name in the list.
    pub(super) alias: String,
    /// The cell.
    pub(super) cell: CellId,
    /// What shows that it is this bug.
    pub(super) sign: Sign,
}

/// What a cell's outcome must look like for a bug to count as caught.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    /// Its kind.
    pub(super) outcome: OutcomeKind,
    /// Matches somewhere in its words, as the table shows them.
    pub(super) words: Regex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenList {
    suites: Vec<String>,
    cells: BTreeMap<String, String>,
    mutant: Vec<WrittenMutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMutant {
    name: String,
    bug: String,
    file: String,
    find: String,
    replace: String,
    #[serde(default)]
    slice: bool,
    caught: Vec<WrittenCatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCatch {
    cell: String,
    outcome: OutcomeKind,
    words: String,
}

/// Reads the list from its text.
///
/// # Errors
/// All that is wrong with it, a line each.
pub(super) fn parse(text: &str) -> anyhow::Result<List> {
    let written: WrittenList = toml::from_str(text).map_err(|error| anyhow::anyhow!("{FILE}: {error}"))?;
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let mut unused: BTreeSet<&str> = written.cells.keys().map(String::as_str).collect();
    let mut mutants = Vec::new();
    for mutant in written.mutant {
        for catch in &mutant.caught {
            unused.remove(catch.cell.as_str());
        }
        let name = mutant.name.clone();
        if !names.insert(name.clone()) {
            problems.push(format!("mutant {name}: another one has this name"));
        }
        match check(mutant, &written.cells) {
            Ok(mutant) => mutants.push(mutant),
            Err(found) => problems.extend(found.into_iter().map(|what| format!("mutant {name}: {what}"))),
        }
    }
    problems.extend(unused.iter().map(|alias| format!("cells: no mutant names {alias}")));
    if problems.is_empty() {
        return Ok(List { suites: written.suites, mutants });
    }
    Err(anyhow::anyhow!(
        problems.iter().map(|what| format!("{FILE}: {what}")).collect::<Vec<_>>().join("\n       ")
    ))
}

fn check(written: WrittenMutant, cells: &BTreeMap<String, String>) -> Result<Mutant, Vec<String>> {
    let mut problems = Vec::new();
    let WrittenMutant { name, bug, file, find, replace, slice, caught } = written;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        problems.push("a name is of lower-case letters, digits and dashes".to_owned());
    }
    if name == UNMUTATED {
        problems.push("this name stands for the programs without any bug".to_owned());
    }
    let program = program_of(&file);
    if program.is_none() {
        problems.push(format!("{file} is no part of the programs loader/ and images/agent/"));
    }
    if find.is_empty() || find == replace {
        problems.push("`find` must be some text, and `replace` another".to_owned());
    }
    if caught.is_empty() {
        problems.push("`caught` names no cell".to_owned());
    }
    let mut catches = Vec::new();
    for WrittenCatch { cell: alias, outcome, words } in caught {
        if words.is_empty() {
            problems.push("`words` is empty: any outcome of that kind would do".to_owned());
        }
        match (cells.get(&alias), Regex::new(&words)) {
            (Some(cell), Ok(words)) => {
                catches.push(Catch { alias, cell: CellId(cell.clone()), sign: Sign { outcome, words } });
            }
            (None, _) => {
                let known: Vec<_> = cells.keys().map(String::as_str).collect();
                problems.push(format!("no cell is called {alias:?}; there are {}", known.join(", ")));
            }
            (_, Err(error)) => problems.push(format!("words: {error}")),
        }
    }
    match program {
        Some(program) if problems.is_empty() => {
            Ok(Mutant { name, bug, program, edit: Edit { file, find, replace }, slice, catches })
        }
        _ => Err(problems),
    }
}

/// The program that a source file is a part of. The messages' types are part of the rig as well, where no bug is wanted.
fn program_of(file: &str) -> Option<Program> {
    let within = |folder: &str| file.starts_with(folder) && !file.contains("..");
    match () {
        () if within("loader/") => Some(Program::Loader),
        () if within("images/agent/") => Some(Program::Agent),
        () => None,
    }
}

/// The mutants with these names, or all of them, or those that CI runs.
///
/// # Errors
/// A name that no mutant has; an empty selection.
pub(super) fn select(list: Vec<Mutant>, names: &[String], slice: bool) -> anyhow::Result<Vec<Mutant>> {
    let unknown: Vec<_> =
        names.iter().filter(|name| !list.iter().any(|mutant| mutant.name == **name)).collect();
    if let Some(name) = unknown.first() {
        anyhow::bail!("no mutant is called {name:?}; `cargo xtask mutants --list` shows them");
    }
    let selected: Vec<_> = list
        .into_iter()
        .filter(|mutant| (names.is_empty() || names.contains(&mutant.name)) && (!slice || mutant.slice))
        .collect();
    anyhow::ensure!(!selected.is_empty(), "{FILE} has no mutant to run");
    Ok(selected)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::repo::Repo;

    pub(in crate::mutants) fn repositorys_own() -> List {
        let text = std::fs::read_to_string(Repo::find().root().join(FILE)).unwrap();
        parse(&text).unwrap()
    }

    const GOOD: &str = r#"
suites = ["seed"]
cells.low = "a.b.c"

[[mutant]]
name = "no-zero"
bug = "The text ends nowhere."
file = "loader/src/cmdline.rs"
find = '''
    whole.push(0);
'''
replace = ""
slice = true
caught = [{ cell = "low", outcome = "capture-panicked", words = "No working init" }]
"#;

    /// Catches a text that is changed on its way out of the file: the edit would never fit.
    #[test]
    fn texts_are_taken_as_they_stand() {
        let list = parse(GOOD).unwrap();
        let mutant = &list.mutants[0];
        assert_eq!(mutant.edit.find, "    whole.push(0);\n");
        assert_eq!((mutant.program, mutant.slice), (Program::Loader, true));
        assert_eq!(mutant.catches[0].cell.0, "a.b.c");
        assert_eq!(mutant.catches[0].sign.outcome, OutcomeKind::CapturePanicked);
    }

    /// Catches a list that is half wrong and runs the other half, and errors that come one at a time or do not say where.
    #[test]
    fn all_that_is_wrong_is_told() {
        for (good, bad, expected) in [
            ("no-zero", "No Zero", "lower-case"),
            ("no-zero", "unmutated", "without any bug"),
            ("loader/src", "harness/src", "no part of the programs"),
            ("loader/src", "loader/../harness", "no part of the programs"),
            ("replace = \"\"", "replace = \"    whole.push(0);\\n\"", "must be some text"),
            ("cell = \"low\"", "cell = \"lwo\"", "no cell is called \"lwo\"; there are low"),
            ("cell = \"low\"", "cell = \"lwo\"", "no mutant names low"),
            ("No working init", "No (working", "words: regex parse error"),
            ("No working init", "", "`words` is empty"),
            ("capture-panicked", "capture-paniced", "unknown variant `capture-paniced`"),
            ("slice = true", "slcie = true", "unknown field `slcie`"),
            ("caught = [{", "caught = []\nx = [{", "unknown field `x`"),
        ] {
            let error = format!("{:#}", parse(&GOOD.replace(good, bad)).unwrap_err());
            assert!(error.contains(expected) && error.contains(FILE), "{bad}: {error}");
        }
        let second = GOOD.split_once("[[mutant]]").unwrap().1;
        let error = parse(&format!("{GOOD}[[mutant]]{second}")).unwrap_err().to_string();
        assert!(error.contains("mutant no-zero: another one has this name"), "{error}");
    }

    /// Catches a misspelt name that runs all the others, or nothing, and succeeds.
    #[test]
    fn names_select() {
        let list = || parse(GOOD).unwrap().mutants;
        assert_eq!(select(list(), &["no-zero".into()], false).unwrap().len(), 1);
        let error = select(list(), &["no-zeros".into()], false).unwrap_err().to_string();
        assert!(error.contains("no mutant is called \"no-zeros\""), "{error}");
        let quiet = parse(&GOOD.replace("slice = true\n", "")).unwrap().mutants;
        assert!(select(quiet, &[], true).is_err());
    }

    /// Catches a mutant that the sources have left behind, at once and without a run: each edit of the repository's own list
    /// fits the present sources, at exactly one place.
    #[test]
    fn the_repositorys_own_edits_fit_its_sources() {
        let root = Repo::find().root().to_owned();
        let list = repositorys_own();
        assert!(list.mutants.len() >= 20, "{} mutants", list.mutants.len());
        let stale: Vec<_> = list
            .mutants
            .iter()
            .filter_map(|mutant| {
                let source = std::fs::read_to_string(root.join(&mutant.edit.file)).unwrap_or_default();
                let stale = mutant.edit.apply(&source).err()?;
                Some(format!("{}: {}", mutant.name, mutant.edit.explain(&stale)))
            })
            .collect();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }
}
