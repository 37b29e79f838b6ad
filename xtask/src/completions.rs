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
        Shell::Fish => format!(
            "complete -c {PROGRAM} -n '__fish_{PROGRAM}_using_subcommand e2e' -a '{}'\n",
            suites.join(" ")
        ),
        _ => String::new(),
    };
    generate(shell, &mut command(suites), PROGRAM, &mut text);
    String::from_utf8_lossy(&text).into_owned() + &positional + wrapper
}

/// The command line, with the suites of now as values, and the axes at `--filter`.
fn command(suites: Vec<String>) -> Command {
    let axes: Vec<String> = Axis::ALL.iter().map(|axis| format!("{axis}=")).collect();
    CommandLine::command().mut_subcommand("e2e", |e2e| {
        e2e.mut_arg("suites", |arg| arg.value_parser(PossibleValuesParser::new(suites)))
            .mut_arg("filter", |arg| arg.value_parser(PossibleValuesParser::new(axes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a renamed argument, which would end the verb, and scripts that do not know verbs, suites or axes.
    #[test]
    fn scripts_know_verbs_suites_and_axes() {
        for shell in [ShellArg::Bash, ShellArg::Zsh, ShellArg::Fish] {
            let script = script(shell, vec!["seed".into(), "my-suite".into()]);
            for word in ["compare-loaders", "my-suite", "userspace=", "cargo"] {
                assert!(script.contains(word), "{shell:?} does not know {word}");
            }
        }
    }
}
