//! Which cells a bisection runs: by ids and expressions, out of the suites.

use super::candidate::Recipe;
use crate::Host;
use crate::cli::{E2eArgs, HostArgs, StoreArgs};
use crate::e2e::plan;
use crate::exit::{Failure, OrFail};
use crate::output;
use anyhow::anyhow;
use harness::cell::Cell;
use harness::filter::Filter;

/// The cells that these words select, each once, in the suites' order. No word selects all that the recipe can be tested in.
///
/// # Errors
/// [`Failure::Input`]: a suite or a word is not right, or selects nothing that the recipe can be tested in.
pub(crate) fn cells(
    words: &[String],
    suites: &[String],
    recipe: &Recipe,
    host_args: HostArgs,
    store_args: &StoreArgs,
    host: &Host,
) -> Result<Vec<Cell>, Failure> {
    let of_suites = |suites: Vec<String>| {
        let args = E2eArgs::of_suites(suites, host_args, store_args.clone());
        plan::make(&args, &host.repo).map(|plan| plan.cells)
    };
    let own = of_suites(suites.to_vec())?;
    let mut all: Option<Vec<Cell>> = None;
    let mut selected: Vec<Cell> = Vec::new();
    for word in words {
        let mut found: Vec<Cell> = if is_expression(word) {
            let filter: Filter = word.parse().map_err(|error| anyhow!("{error}")).or_input()?;
            own.iter().filter(|cell| filter.matches(cell)).cloned().collect()
        } else {
            let mut found: Vec<Cell> = own.iter().filter(|cell| cell.id.0 == *word).cloned().collect();
            if found.is_empty() {
                if all.is_none() {
                    // It takes its time: some suites have thousands.
                    output::note(format_args!(
                        "{word} is not in {}: looking in all suites",
                        suites.join(", ")
                    ));
                    let known = plan::known_suites(&host.repo.scenarios());
                    let mut cells = Vec::new();
                    for suite in known {
                        // One that does not stand by itself is no reason to refuse a cell of another.
                        cells.extend(of_suites(vec![suite]).unwrap_or_default());
                    }
                    all = Some(cells);
                }
                found = all.iter().flatten().filter(|cell| cell.id.0 == *word).take(1).cloned().collect();
            }
            found
        };
        if found.is_empty() {
            let like = most_like(word, all.iter().flatten().map(|cell| cell.id.0.as_str()));
            let like = like.map(|id| format!("did you mean {id}? ")).unwrap_or_default();
            return Err(Failure::Input(anyhow!(
                "{word:?} selects no cell. {like}`cargo xtask e2e SUITE --list` shows the cells of a suite, and --suite says in which suites \
                 an expression is looked for"
            )));
        }
        found.retain(|cell| recipe.takes(cell));
        if found.is_empty() {
            return Err(Failure::Input(anyhow!(
                "{word:?} selects only cells of released loaders, in which the loader under test has no place; name those of \
                 loader=in-tree"
            )));
        }
        selected.extend(found);
    }
    if words.is_empty() {
        selected = own.into_iter().filter(|cell| recipe.takes(cell)).collect();
    }
    let mut seen = std::collections::BTreeSet::new();
    selected.retain(|cell| seen.insert(cell.id.clone()));
    if selected.is_empty() {
        return Err(Failure::Input(anyhow!(
            "the suites {} have no cell that this can be tested in",
            suites.join(", ")
        )));
    }
    Ok(selected)
}

/// The id that has most in common with a word that is none: of the parts between dots, at least half; the shortest of those.
fn most_like<'a>(word: &str, ids: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let parts: Vec<&str> = word.split('.').collect();
    let common = |id: &str| id.split('.').zip(&parts).filter(|(own, part)| own == *part).count();
    let found = ids.max_by_key(|id| (common(id), std::cmp::Reverse(id.len())))?;
    (common(found) * 2 >= parts.len()).then_some(found)
}

/// Whether a word is an expression over axes, and not an id: ids have dots and at most an `=` behind an underscore, expressions
/// compare.
fn is_expression(word: &str) -> bool {
    word == "all" || word.contains(['=', '~', '<', '>', '&', '|', '!', '('])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: an id is read as an expression, or an expression is looked for as an id and not found.
    #[test]
    fn ids_and_expressions_are_told_apart() {
        for id in [
            "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g",
            "6.1-amd64.i386.in-tree.6.1-amd64.256M@512M.pc-4g.first-memmap_4K_1024M_-d846320e5d4f",
        ] {
            assert!(!is_expression(id), "{id}");
        }
        for expression in ["userspace=i386", "!loader=in-tree", "args~x", "all", "(a=b)"] {
            assert!(is_expression(expression), "{expression}");
        }
    }

    /// Bug: an id with a typo is answered with a cell of something else altogether, or the one that was meant is not named.
    #[test]
    fn the_cell_that_was_meant_is_named() {
        let ids = [
            "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g",
            "5.10-amd64.i386.in-tree.5.10-686-pae.256M@1968M.pc-4g",
            "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g.tamper-kernel",
            "6.1-amd64.x86_64.in-tree.6.1-amd64.256M@512M.pc-4g",
        ];
        let like = |word| most_like(word, ids.into_iter());
        assert_eq!(like("5.10-amd64.i386.intree.5.10-amd64.256M@1968M.pc-4g"), Some(ids[0]));
        assert_eq!(like("6.1-amd64.x86_64.in-tree.6.1-amd64.256M@512M"), Some(ids[3]));
        assert_eq!(like("no.such.cell"), None);
    }
}
