//! What is made of the command line, what is put into cells, and what is told of a build that failed.

use super::*;

/// Bug: a build whose product nobody named, which would test what lay there before; two kernels for one side.
#[test]
fn a_recipe_says_what_it_makes() {
    let new = |build: Option<&str>, loader: Option<&str>, kernels: &[&str]| {
        let args = RecipeArgs {
            build: build.map(str::to_owned),
            loader: loader.map(PathBuf::from),
            kernel: kernels.iter().map(|text| text.parse().unwrap()).collect(),
        };
        Recipe::new(&args).map_err(|failure| failure.to_string())
    };
    assert_eq!(new(None, None, &[]), Ok(Recipe::OwnLoader));
    assert!(new(Some("make"), None, &[]).unwrap_err().contains("what does it build?"));
    assert!(new(None, Some("a"), &["first=b"]).unwrap_err().contains("one of them"));
    assert!(new(None, None, &["first=a", "first=b"]).unwrap_err().contains("one kernel a side"));
    let both = new(Some("make"), None, &["first=a", "capture=a"]).unwrap();
    assert!(matches!(both, Recipe::Kernels { kernels, .. } if kernels.len() == 2));
}

/// Bug: a released loader is given an option that only the one in the tree has, ends at it, and a hunt over releases takes that for
/// what the cell shows.
#[test]
fn released_loaders_are_not_given_options_that_they_lack() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/seed.yaml");
    let seed = scenario::load(&seed, &scenario::Catalog::locked().unwrap()).unwrap();
    let cell = |args: &[&str]| seed.cells.iter().find(|cell| cell.loader_args == args).unwrap();
    let released = Candidate::KexecTools("2.0.29".into());
    let why = released.put_into(cell(&["--ignore-address-limits"])).unwrap_err();
    assert!(why.contains("--ignore-address-limits"), "{why}");
    assert_eq!(released.put_into(cell(&[])).unwrap().loader, Loader::KexecTools("2.0.29".into()));
}

/// Bug: a cell is run with a program or a kernel of another architecture in it, and what comes of that is taken for what was built.
#[test]
fn nothing_is_put_into_cells_of_another_architecture() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/seed.yaml");
    let seed = scenario::load(&seed, &scenario::Catalog::locked().unwrap()).unwrap();
    let id = "5.10-amd64.i386.in-tree.5.10-686-pae.256M@512M.pc-4g";
    let cell = seed.cells.iter().find(|cell| cell.id.0 == id).unwrap();
    let program = |arch| Candidate::Programs([(arch, PathBuf::from("/build/kexec"))].into());
    assert!(program(Arch::X86_64).put_into(cell).unwrap_err().contains("architecture"));
    assert_eq!(program(Arch::I386).put_into(cell).unwrap().loader, Loader::Path("/build/kexec".into()));
    let kernels = |first: Option<&Kernel>, capture: Option<&Kernel>| {
        Candidate::Kernels { first: first.cloned(), capture: capture.cloned() }.put_into(cell)
    };
    assert!(kernels(Some(&cell.capture), None).unwrap_err().contains("architecture"));
    assert!(kernels(None, Some(&cell.first)).unwrap_err().contains("architecture"));
    assert_eq!(kernels(Some(&cell.first), Some(&cell.capture)).as_ref(), Ok(cell));
}

/// Bug: the reason of a failed build is its last warning, or cargo's words on what it will not build either.
#[test]
fn the_first_error_is_the_reason() {
    let cargo =
        "warning: unused\n\nerror[E0425]: cannot find value `y`\n --> z.rs\nerror: could not compile\n";
    assert_eq!(telling_line(cargo), Some("error[E0425]: cannot find value `y`"));
    assert_eq!(
        telling_line("CC x.o\nx.c:3:1: error: expected ;\nmake: *** [x.o] Error 1\n"),
        Some("x.c:3:1: error: expected ;")
    );
    // With several jobs make may be the first to say that something failed.
    assert_eq!(
        telling_line(
            "make[1]: *** [a.o] Error 1\nld: x.o: in function `f':\nx.c:(.text+0x1): undefined reference to `g'\n"
        ),
        Some("x.c:(.text+0x1): undefined reference to `g'")
    );
    for line in [
        "x.c:1:10: fatal error: y.h: No such file or directory",
        "ld: b.o:(.text+0x0): multiple definition of `f'; a.o:(.text+0x0): first defined here",
        "ERROR: modpost: \"f\" [x.ko] undefined!",
    ] {
        assert_eq!(telling_line(&format!("{line}\nmake: *** [all] Error 1\n")), Some(line));
        assert_eq!(telling_line(&format!("make: *** [a.o] Error 1\n  LD y\n{line}\n")), Some(line));
    }
    assert_eq!(
        telling_line("make: *** No rule to make target 'x'.  Stop.\nbye\n"),
        Some("make: *** No rule to make target 'x'.  Stop.")
    );
    assert_eq!(telling_line("sh: 1: frobnicate: not found\n"), Some("sh: 1: frobnicate: not found"));
    assert_eq!(telling_line(""), None);
}

/// Bug: a build that ends with 0 and has not built has what an earlier commit's build left tested in place of its own; or a file that is
/// no build's is removed.
#[tokio::test]
async fn what_an_earlier_build_left_is_not_tested() {
    let temp = tempfile::tempdir().unwrap();
    let checkout = temp.path().join("checkout");
    std::fs::create_dir_all(checkout.join("out/folder")).unwrap();
    let git = |words: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=n", "-c", "user.email=n@localhost", "-C"]).arg(&checkout).args(words);
        assert!(git.output().unwrap().status.success(), "{words:?}");
    };
    git(&["init", "--quiet"]);
    for (file, text) in [(".gitignore", "/out\n"), ("own", "x"), ("out/own", "x")] {
        std::fs::write(checkout.join(file), text).unwrap();
    }
    git(&["add", "--force", "."]);
    std::fs::write(temp.path().join("outside"), "x").unwrap();
    let (_sender, receiver) = tokio::sync::watch::channel(false);
    let interrupts = Interrupts::from_channel(receiver);
    let builder =
        Builder { folder: temp.path().join("builds"), i686: &Toolchain::InUse, interrupts: &interrupts };
    let archs = BTreeSet::from([Arch::I386, Arch::X86_64]);
    let build = async |build: &str, path: &str| {
        let recipe = Recipe::Loader { build: Some(build.to_owned()), path: path.into() };
        match builder.build(&recipe, &checkout, &archs).await {
            Ok(_) => Ok(()),
            Err(NoCandidate::Untestable(why)) => Err(why),
            Err(NoCandidate::Failed(failure)) => panic!("{failure}"),
        }
    };
    let makes = "for arch in i386 x86_64; do echo x > made.$arch; echo x > out/made.$arch; done; ln -sf made.i386 out/link";
    for path in ["made.{arch}", "out/made.{arch}", "out/link"] {
        assert_eq!(build(makes, path).await, Ok(()), "{path}");
        let why = build("make nonsense 2>&1 | tail -50", path).await.unwrap_err();
        assert!(why.contains("the build left no ") && why.contains(checkout.to_str().unwrap()), "{why}");
    }
    // What the link led to as well.
    assert!(!checkout.join("out/made.i386").exists() && checkout.join("out/made.x86_64").exists());
    for path in ["own", "out/own", "../outside", temp.path().join("outside").to_str().unwrap()] {
        assert_eq!(build("true", path).await, Ok(()), "{path}");
    }
    assert!(build("true", "out/folder").await.is_err() && checkout.join("out/folder").is_dir());
    assert!(build("true", "no/such/folder/kexec").await.is_err());
    // Nobody can say there whose it is.
    std::fs::remove_dir_all(checkout.join(".git")).unwrap();
    std::fs::write(checkout.join("made.i386"), "x").unwrap();
    assert_eq!(build("true", "made.i386").await, Ok(()));
}
