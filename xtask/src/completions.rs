//! `cargo xtask completions`: what a shell needs to complete the words of `cargo xtask`.
//!
//! Shells complete programs, and here the program is cargo. Each script so defines the completion of `xtask`, as clap writes it,
//! and a few lines that hand it what follows `cargo xtask`.

use crate::cli::{CommandLine, CompletionsArgs, ShellArg};
use crate::e2e::plan;
use crate::exit::{Exit, Failure};
use crate::{Host, output};
use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use harness::filter::Axis;

/// The name under which clap's script knows the program.
const PROGRAM: &str = "xtask";

/// Hands `cargo xtask WORDS` to the completion of `xtask WORDS`, and everything else to what completed cargo before.
const BASH: &str = r#"
_xtask_of_cargo() {
    if [[ ${COMP_WORDS[1]} == xtask && $COMP_CWORD -gt 1 ]]; then
        COMP_WORDS=("${COMP_WORDS[@]:1}")
        COMP_CWORD=$((COMP_CWORD - 1))
        COMP_LINE=${COMP_LINE#*cargo }
        COMP_POINT=${#COMP_LINE}
        _xtask xtask "$2" "$3"
    elif [[ -n $_xtask_cargo_before ]]; then
        "$_xtask_cargo_before" "$@"
    fi
}
if [[ $(complete -p cargo 2>/dev/null) != *_xtask_of_cargo* ]]; then
    # bash-completion loads a program's completion only when it is first asked for; cargo's is wanted now.
    declare -F _completion_loader >/dev/null && _completion_loader cargo 2>/dev/null
    _xtask_cargo_before=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
fi
complete -F _xtask_of_cargo -o bashdefault -o default cargo
"#;

/// cargo's own completion for zsh calls `_cargo-WORD` for a subcommand that it does not know.
const ZSH: &str = r#"
_cargo-xtask() { _xtask "$@"; }
"#;

/// Asks for the completion of `xtask WORDS` where `cargo xtask WORDS` stands.
const FISH: &str = r#"
complete -c cargo -n '__fish_seen_subcommand_from xtask' -f -a '(complete -C (string replace -r "^.*?cargo +" "" -- (commandline -cp)))'
complete -c cargo -n '__fish_is_first_arg' -f -a xtask -d 'The crash loader and its rig'
"#;

pub(crate) fn run(args: CompletionsArgs, host: &Host) -> Result<Exit, Failure> {
    output::line(script(args.shell, plan::known_suites(&host.repo.scenarios())).trim_end());
    Ok(Exit::AsExpected)
}

fn script(shell: ShellArg, suites: Vec<String>) -> String {
    let (shell, wrapper) = match shell {
        ShellArg::Bash => (Shell::Bash, BASH),
        ShellArg::Zsh => (Shell::Zsh, ZSH),
        ShellArg::Fish => (Shell::Fish, FISH),
    };
    let mut text = Vec::new();
    // What clap writes for fish knows no values of positional arguments.
    let positional = match shell {
        Shell::Fish => WITH_SUITES
            .iter()
            .chain(&["bench"])
            .map(|verb| {
                let when = format!("__fish_{PROGRAM}_using_subcommand {verb}");
                format!("complete -c {PROGRAM} -n '{when}' -a '{}'\n", suites.join(" "))
            })
            .collect(),
        _ => String::new(),
    };
    generate(shell, &mut command(suites), PROGRAM, &mut text);
    String::from_utf8_lossy(&text).into_owned() + &positional + wrapper
}

/// Verbs whose arguments are suites; those of `bench` have them as well.
const WITH_SUITES: [&str; 3] = ["e2e", "soak", "shell"];

/// The command line, with the suites of now as values wherever suites are named, and the axes at `--filter`.
fn command(suites: Vec<String>) -> Command {
    let suites = PossibleValuesParser::new(suites);
    let axes = PossibleValuesParser::new(Axis::ALL.iter().map(|axis| format!("{axis}=")));
    let known = |verb: Command| {
        let (suites, axes) = (suites.clone(), axes.clone());
        verb.mut_args(move |arg| match arg.get_id().as_str() {
            "suites" | "suite" => arg.value_parser(suites.clone()),
            "filter" => arg.value_parser(axes.clone()),
            _ => arg,
        })
    };
    let mut command = CommandLine::command();
    for verb in WITH_SUITES.into_iter().chain(["judge"]) {
        command = command.mut_subcommand(verb, known);
    }
    command.mut_subcommand("bench", |bench| bench.mut_subcommands(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a renamed argument, which would end the verb, and scripts that do not know verbs, suites or axes.
    #[test]
    fn scripts_know_verbs_suites_and_axes() {
        for shell in [ShellArg::Bash, ShellArg::Zsh, ShellArg::Fish] {
            let script = script(shell, vec!["seed".into(), "my-suite".into()]);
            for word in ["compare-loaders", "userspace=", "cargo"] {
                assert!(script.contains(word), "{shell:?} does not know {word}");
            }
            // At each place where a suite is named: e2e, soak, shell, judge --suite, bench's two.
            let places = script.matches("my-suite").count();
            assert!(places >= 5, "{shell:?} knows suites at {places} places");
        }
    }
}
