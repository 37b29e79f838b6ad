//! Tables of good and bad command lines.

use super::values::KernelArg;
use super::*;
use clap::CommandFactory;

fn parse(words: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(std::iter::once("xtask").chain(words.split_whitespace()))
}

fn e2e(words: &str) -> E2eArgs {
    match parse(&format!("e2e {words}")).unwrap().verb {
        Verb::E2e(args) => *args,
        other => panic!("{other:?}"),
    }
}

/// Catches definitions that clap only rejects when that verb is used (clashing flags, bad defaults).
#[test]
fn definitions_are_sound() {
    CommandLine::command().debug_assert();
}

/// Catches a changed default: what `cargo xtask e2e` alone does is the first thing that a newcomer types.
#[test]
fn defaults_of_e2e() {
    let args = e2e("");
    assert_eq!(args.suites, ["seed"]);
    assert_eq!((args.guests.accel, args.host.i686), (AccelArg::Auto, I686Arg::Auto));
    assert_eq!((args.retries, args.repeat.get(), args.guests.jobs), (0, 1, None));
    assert!(!args.host.install && !args.list && !args.store.offline);
}

/// Catches a flag of `mutants` that is gone, and a slice of some names, which would be neither.
#[test]
fn flags_of_mutants() {
    let mutants = |words: &str| match parse(&format!("mutants {words}")).map(|line| line.verb) {
        Ok(Verb::Mutants(args)) => Ok(args),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind()),
    };
    let args =
        mutants("a b --list --format json -j 2 --accel tcg --report r --qemu q --install --offline").unwrap();
    assert_eq!((args.names, args.slice, args.list), (vec!["a".to_owned(), "b".to_owned()], false, true));
    assert_eq!((args.guests.jobs.map(NonZeroUsize::get), args.guests.accel), (Some(2), AccelArg::Tcg));
    assert!(mutants("--slice").unwrap().slice);
    assert_eq!(mutants("a --slice").unwrap_err(), clap::error::ErrorKind::ArgumentConflict);
    assert_eq!(mutants("--format json").unwrap_err(), clap::error::ErrorKind::MissingRequiredArgument);
}

/// Catches a flag of `report`, `judge` or `completions` that is gone, or a report that must be named though there is a last one.
#[test]
fn flags_of_the_verbs_over_reports() {
    let verb = |words: &str| parse(words).map(|line| line.verb);
    let Ok(Verb::Report(args)) = verb("report r --html a.html --junit b.xml") else { panic!() };
    assert_eq!(
        (args.report, args.html, args.junit),
        (Some("r".into()), Some("a.html".into()), Some("b.xml".into()))
    );
    let Ok(Verb::Judge(args)) = verb("judge --suite seed --suite ./my.yaml --format json") else { panic!() };
    assert_eq!(
        (args.report, args.suite, args.format),
        (None, vec!["seed".into(), "./my.yaml".into()], JudgeFormat::Json)
    );
    assert!(matches!(
        verb("completions fish"),
        Ok(Verb::Completions(CompletionsArgs { shell: ShellArg::Fish }))
    ));
    assert!(verb("completions").is_err());
}

/// Catches a documented flag that is gone, misspelt, or has lost its short form.
#[test]
fn every_documented_flag_of_e2e_parses() {
    let args = e2e("smoke my.yaml --list --format json -E userspace=i386 --loader in-tree \
                    --loader kexec-tools@2.0.25 --loader ./mine -j 3 --accel tcg --retries 2 --repeat 4 --fresh \
                    --report /tmp/r --install --qemu /opt/q --fail-fast --failed --mirror http://m \
                    --mirror bullseye=http://a --artifacts /d --offline --kernel first=/b --kernel capture=c \
                    --i686 debian --partition 2/4 --coverage full");
    assert_eq!(args.partition.as_deref(), Some("2/4"));
    assert_eq!(args.coverage, Some(CoverageArg::Full));
    assert!(e2e("sweep --resume --report r").resume);
    assert_eq!(args.suites, ["smoke", "my.yaml"]);
    assert_eq!(args.format, ListFormat::Json);
    assert_eq!(args.filter.as_deref(), Some("userspace=i386"));
    assert_eq!(
        args.loader,
        [LoaderArg::InTree, LoaderArg::KexecTools("2.0.25".into()), LoaderArg::Path("./mine".into())]
    );
    assert_eq!(args.guests.jobs.map(NonZeroUsize::get), Some(3));
    assert_eq!((args.guests.accel, args.host.i686), (AccelArg::Tcg, I686Arg::Debian));
    assert_eq!(args.store.mirror, ["http://m", "bullseye=http://a"]);
    let kernels =
        |args: &E2eArgs| args.kernel.iter().flat_map(|kernels| kernels.0.clone()).collect::<Vec<_>>();
    let both = [
        KernelArg { side: KernelSide::First, path: "/b".into() },
        KernelArg { side: KernelSide::Capture, path: "c".into() },
    ];
    assert_eq!(kernels(&args), both);
    assert_eq!(kernels(&e2e("--kernel first=/b,capture=c")), both);
    let one = [KernelArg { side: KernelSide::First, path: "/b,c=d".into() }];
    assert_eq!(kernels(&e2e("--kernel first=/b,c=d")), one);
    assert!(e2e("--filter id=x").filter.is_some());
}

/// Catches verbs that vanish, and store flags that are refused after the action of `images`.
#[test]
fn other_verbs_parse() {
    for words in [
        "test --install",
        "build-loader --out d",
        "doctor",
        "doctor -j 4 --format json --qemu q",
        "images list",
        "images fetch --offline --mirror http://m",
        "images fetch 5.10-amd64 debian-rust",
        "images --artifacts d verify",
        "images repin",
        "images update sid-amd64",
        "images add linux-image-amd64=7.2.13-1 --as sid-amd64 --suite sid",
        "faults --slice --report d",
        "faults sigint qemu-killed --install",
        "faults --list --format json",
        "soak --cells 20 --load 2 seed -E userspace=i386",
        "qemu-stand-in --fault sigint --reached f -- -nodefaults -S",
        "compare-loaders",
        "durations r s --out f",
        "merge a b c --out d",
        "nightly --engine local --suite smoke --parts 3 --report r",
        "nightly --engine slurm --stage s --sbatch=--exclusive --sbatch=--time=60 -- -E loader=in-tree -j 2",
        "slurm-check --install",
        "compare-loaders target/e2e/sweep --format markdown",
        "history add",
        "history add r --host h --revision abc --history d",
        "history --history d list",
        "history show 20261129",
        "history prune --keep 30",
        "e2e smoke --record --history d",
        "report --since last --since good --since 20261129 --fail-on new",
        "report r --format html --out night.html",
        "report --night last --fail-on any --history d",
    ] {
        parse(words).unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}

/// Catches input that is accepted and then means something else than was typed.
#[test]
fn bad_input_is_refused_with_what_was_expected() {
    for (words, expected) in [
        ("e2e --format json", "--list"),
        ("e2e -j 0", "0"),
        ("e2e --resume --failed", "cannot be used with"),
        ("e2e --repeat 0", "0"),
        ("e2e --loader kexec", "kexec-tools@VERSION"),
        ("e2e --loader kexec-tools@", "no version"),
        ("e2e --kernel /boot/vmlinuz", "first=PATH or capture=PATH"),
        ("e2e --kernel first=", "no path"),
        ("e2e --kernel first=/b,capture=", "no path"),
        ("e2e --accel fast", "auto, kvm, tcg"),
        ("e2e --patience 0", "0.01 to 100"),
        ("e2e --patience nan", "0.01 to 100"),
        ("faults --slice sigint", "cannot be used with"),
        ("e2e --record --failed", "cannot be used with"),
        ("e2e --history d", "--record"),
        ("report --since last --html a", "cannot be used with"),
        ("report r --night last", "cannot be used with"),
        ("report --fail-on old", "new, any"),
        ("history", "Usage: cargo xtask history"),
        ("e2e --i686 gcc", "auto, rustup, debian"),
        ("shells", "unrecognized subcommand"),
        ("shell", "<ID>"),
        ("", "Usage: cargo xtask <COMMAND>"),
    ] {
        let error = parse(words).expect_err(words);
        let text = error.to_string();
        assert!(text.contains(expected), "{words}: {text}");
        assert_eq!(error.exit_code(), 2, "{words}");
    }
}

/// Catches help that forgets the exit statuses, or asks for status other than 0.
#[test]
fn help_lists_exit_statuses() {
    for words in ["--help", "e2e --help", "test --help", "build-loader --help", "images --help"] {
        let help = parse(words).expect_err(words);
        assert_eq!(help.exit_code(), 0, "{words}");
        assert!(help.to_string().contains(&Exit::help()[..30]), "{words}: {help}");
    }
}

/// Catches a command that a failed cell's block offers and this program does not take, and a debugger's flag that is overlooked.
#[test]
fn flags_of_shell() {
    let shell = |words: &str| match parse(&format!("shell {words}")).map(|line| line.verb) {
        Ok(Verb::Shell(args)) => Ok(args),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind()),
    };
    assert_eq!(shell("a/b@1968M").unwrap().suites, ["seed"]);
    let offered = "a/b --capture smoke my.yaml --loader kexec-tools@2.0.25 --kernel first=/b --qemu /q";
    let args = shell(offered).unwrap();
    assert_eq!((args.id.as_str(), args.capture, args.suites.len()), ("a/b", true, 2));
    assert_eq!(args.loader, [LoaderArg::KexecTools("2.0.25".into())]);
    let args = shell("a --gdb --wait --command date --accel kvm --offline").unwrap();
    assert!(args.gdb && args.wait && args.command.as_deref() == Some("date"));
    assert_eq!(shell("a --wait").unwrap_err(), clap::error::ErrorKind::MissingRequiredArgument);
    assert_eq!(shell("").unwrap_err(), clap::error::ErrorKind::MissingRequiredArgument);
}

/// Catches CI files that call a verb or a flag which this program does not have.
#[test]
fn ci_files_call_what_is_there() {
    let calls = [
        (include_str!("../../../.github/workflows/nightly.yml"), 2),
        (include_str!("../../../.gitlab-ci.yml"), 2),
    ];
    for (file, expected) in calls {
        let calls: Vec<&str> = file
            .lines()
            .filter_map(|line| line.split_once("cargo xtask ").map(|(_, call)| call.trim_end_matches('\'')))
            .collect();
        assert_eq!(calls.len(), expected, "{calls:?}");
        for call in calls {
            let mut words = call.replace('"', "");
            for (variable, value) in [
                ("$SUITE", "nightly"),
                ("$ACCEL", "tcg"),
                ("$PARTS", "4"),
                ("$PART", "2"),
                ("$CI_NODE_INDEX", "2"),
                ("$CI_NODE_TOTAL", "4"),
            ] {
                words = words.replace(variable, value);
            }
            assert!(!words.contains('$'), "{words}");
            match parse(&words).unwrap_or_else(|error| panic!("{words}: {error}")).verb {
                Verb::E2e(args) => assert_eq!(args.partition.as_deref(), Some("2/4"), "{words}"),
                Verb::Merge(args) => assert!(args.out.is_some(), "{words}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
