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
