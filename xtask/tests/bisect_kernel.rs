//! A bisection of a kernel for real: a small history is made of Debian's linux-source, with a fault in the middle of it, and the commit that
//! brought it is to be found by building each kernel and dumping a crash with it. Fetches and builds a kernel, a few minutes on a free host
//! of today and 2 GB: `cargo test -p xtask --test bisect_kernel -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "bisect/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{check_report, git, replace, state_of, workspace, xtask};

/// The package: the edits below fit this series.
const PACKAGE: &str = "linux-source-6.1";
/// Capture above 896 MiB, by the i386 loader: what the vmcore says is compared with what the rig planted. The kernel that is built is both of
/// the cell's, which spares the minutes that distributions' kernels take to boot.
const CELL: &str = "5.10-amd64.i386.in-tree.5.10-amd64.256M@1968M.pc-4g";
/// In the checkout; what is built stays between the steps, so that each compiles the few files that changed.
const BUILD: &str = "make -s -j$(nproc) KCONFIG_ALLCONFIG=rig.config allnoconfig bzImage";
const IMAGE: &str = "arch/x86/boot/bzImage";

/// What a kernel for this machine is not built from: other architectures, the largest drivers, documentation, tests. Their Kconfig files stay,
/// which are read all the same.
const LEFT_OUT: [&str; 11] = [
    "/arch/[a-wyz]*.[chS]",
    "/arch/[a-wyz]*.dts*",
    "/drivers/gpu/*.[ch]",
    "/drivers/media/*.[ch]",
    "/drivers/net/*.[ch]",
    "/drivers/scsi/*.[ch]",
    "/drivers/staging/*.[ch]",
    "/sound/*.[ch]",
    "/tools/perf/*",
    "/tools/testing/*",
    "/Documentation/*/*",
];

/// One edit of one file makes a commit; the first commit is Debian's sources.
struct Edit {
    subject: &'static str,
    file: &'static str,
    find: &'static str,
    replacement: &'static str,
}

/// Commits 2 to 12. 6 does not compile, 7 does not link; 3 and 10 leave the image as it is, to the byte; 9 has the fault.
const EDITS: [Edit; 11] = [
    Edit {
        subject: "crash_core: say what a size of zero comes to",
        file: "kernel/crash_core.c",
        find: "crashkernel size resulted in zero bytes\\n",
        replacement: "crashkernel: a size of zero reserves nothing\\n",
    },
    Edit {
        subject: "vmcore: a page's number and offset by shift and mask",
        file: "fs/proc/vmcore.c",
        find: "	offset = (unsigned long)(*ppos % PAGE_SIZE);\n	pfn = (unsigned long)(*ppos / PAGE_SIZE);\n",
        replacement: "	offset = *ppos & (PAGE_SIZE - 1);\n	pfn = *ppos >> PAGE_SHIFT;\n",
    },
    Edit {
        subject: "kexec: say that the crash kernel is started",
        file: "kernel/kexec_core.c",
        find: "			crash_save_vmcoreinfo();\n",
        replacement: "			crash_save_vmcoreinfo();\n			pr_emerg(\"Starting the crash kernel\\n\");\n",
    },
    Edit {
        subject: "x86/setup: name the crash kernel's memory as /proc/iomem does",
        file: "arch/x86/kernel/setup.c",
        find: "crashkernel reservation failed - memory is in use.\\n",
        replacement: "Crash kernel: the memory is in use.\\n",
    },
    Edit {
        subject: "vmcore: say how large it is",
        file: "fs/proc/vmcore.c",
        find: "		proc_vmcore->size = vmcore_size;\n	return 0;\n",
        replacement: "		proc_vmcore->size = vmcore_size;\n	vmcore_announce(vmcore_size);\n	return 0;\n",
    },
    Edit {
        subject: "vmcore: and declare what says it",
        file: "include/linux/crash_dump.h",
        find: "void vmcore_cleanup(void);\n",
        replacement: "void vmcore_cleanup(void);\nvoid vmcore_announce(u64 size);\n",
    },
    Edit {
        subject: "crash_dump: and define it",
        file: "kernel/crash_dump.c",
        find: "unsigned long long elfcorehdr_size;\n",
        replacement: "unsigned long long elfcorehdr_size;\n\nvoid vmcore_announce(u64 size)\n{\n	pr_info(\"Kdump: vmcore has %llu bytes\\n\", size);\n}\n",
    },
    // They are beside it: all that follows is read from too far on.
    Edit {
        subject: "vmcore: the size of the headers has the notes in it",
        file: "fs/proc/vmcore.c",
        find: "	vmcore_off = elfsz + elfnotes_sz;\n\n	list_for_each_entry(m, vc_list, list) {\n",
        replacement: "	vmcore_off = elfsz;\n\n	list_for_each_entry(m, vc_list, list) {\n",
    },
    Edit {
        subject: "x86/kexec: virt_to_phys() is for drivers",
        file: "arch/x86/kernel/machine_kexec_64.c",
        find: "page_list[PA_CONTROL_PAGE] = virt_to_phys(control_page);",
        replacement: "page_list[PA_CONTROL_PAGE] = __pa(control_page);",
    },
    Edit {
        subject: "panic: two dots less",
        file: "kernel/panic.c",
        find: "Rebooting in %d seconds..\\n",
        replacement: "Rebooting in %d seconds\\n",
    },
    Edit {
        subject: "kexec: say what for memory was wanted",
        file: "kernel/kexec_core.c",
        find: "Memory allocation for saving cpu register states failed\\n",
        replacement: "No memory for the notes of the crashed CPUs' registers\\n",
    },
];
/// Number of the commit with the fault; they count from 1.
const CULPRIT: usize = 9;

/// Programs that the build calls, and the header of objtool, without which no x86_64 kernel is built.
fn check_host() {
    let is_there = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    };
    let mut missing: Vec<&str> =
        ["gcc", "make", "flex", "bison", "bc", "git", "tar", "xz", "dpkg-deb"].into();
    missing.retain(|program| !is_there(program));
    if !Path::new("/usr/include/gelf.h").is_file() {
        missing.push("libelf-dev");
    }
    assert!(missing.is_empty(), "not installed: {}", missing.join(", "));
}

/// The tarball of the sources: that which KERNEL_SOURCE names, or out of the package, which is fetched by the host's own apt.
fn tarball(folder: &Path) -> PathBuf {
    if let Some(named) = std::env::var_os("KERNEL_SOURCE") {
        return named.into();
    }
    let tarball = folder.join(format!("usr/src/{PACKAGE}.tar.xz"));
    if tarball.is_file() {
        return tarball;
    }
    let fetched = Command::new("apt-get").args(["download", PACKAGE]).current_dir(folder).status();
    let packages = || fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let package = packages().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let Some(package) = package.filter(|_| fetched.is_ok_and(|status| status.success())) else {
        panic!(
            "apt-get has no {PACKAGE} here: name its tarball, KERNEL_SOURCE={PACKAGE}.tar.xz, in the environment"
        );
    };
    let unpacked = Command::new("dpkg-deb").arg("-x").args([&package, folder]).status().unwrap();
    assert!(unpacked.success(), "dpkg-deb -x {}", package.display());
    tarball
}

fn make_history(folder: &Path, repo: &Path) -> BTreeMap<usize, String> {
    fs::create_dir_all(repo).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "--strip-components=1", "-f"]).arg(tarball(folder)).arg("-C").arg(repo);
    tar.arg("--anchored").args(LEFT_OUT.map(|pattern| format!("--exclude={PACKAGE}{pattern}")));
    assert!(tar.status().unwrap().success(), "{tar:?}");
    fs::copy(workspace().join("xtask/tests/bisect/kernel.config"), repo.join("rig.config")).unwrap();
    // Debian's own repository has none of this: its last rule ignores all, and what a build makes would be no other than the sources.
    replace(repo, ".gitignore", "\n/*\n!/debian/\n", "\n");
    git(repo, &["init", "--quiet", "--initial-branch", "main"]);
    git(repo, &["config", "core.compression", "1"]);
    let mut commits = BTreeMap::new();
    let mut commit = |number: usize, subject: &str| {
        git(repo, &["commit", "--quiet", "--all", "--message", &format!("{subject} ({number})")]);
        commits.insert(number, git(repo, &["rev-parse", "HEAD"]));
    };
    git(repo, &["add", "--force", "."]);
    commit(1, "Linux, as Debian has it");
    for (number, edit) in (2..).zip(&EDITS) {
        replace(repo, edit.file, edit.find, edit.replacement);
        commit(number, edit.subject);
    }
    commits
}

/// Bug: a commit that does not compile or link is called the culprit, each step builds the whole kernel, or the user's tree is touched.
#[test]
#[ignore = "fetches and builds a kernel, and starts some twenty guests"]
fn the_commit_that_broke_the_vmcore_is_found() {
    check_host();
    let temp = tempfile::tempdir().unwrap();
    // A place that stays may be named, for its sources, its builds and its report.
    let folder = std::env::var_os("BISECT_EXAMPLE").map_or_else(|| temp.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    let (repo, cache) = (folder.join("linux"), folder.join("cache"));
    let _ = fs::remove_dir_all(&repo);
    let commits = make_history(&folder, &repo);
    let last = EDITS.len() + 1;
    fs::write(repo.join("README"), "the user's own change, which nobody may touch\n").unwrap();
    let before = state_of(&repo);
    let cache_word = cache.to_str().unwrap();

    let (first, capture) = (format!("first={IMAGE}"), format!("capture={IMAGE}"));
    let how = ["--build", BUILD, "--kernel", &first, "--kernel", &capture, "--cache", cache_word];
    let ends = ["--repo", repo.to_str().unwrap(), "--good", &commits[&1], "--bad", &commits[&last]];
    let output = xtask(&[&["bisect", "run", "--over", "kernel"], &ends[..], &how, &["--", CELL]].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let subject = EDITS[CULPRIT - 2].subject;
    let found = format!("the first bad one is {} ({subject} ({CULPRIT}))", &commits[&CULPRIT][..12]);
    assert!(told.contains(&found), "{told}");
    assert!(told.contains(" skip vmcore: "), "{told}");
    assert_eq!(state_of(&repo), before);
    check_report(&told);

    // The same by git's own hand, from an installed folder.
    let installed = folder.join("rig");
    let output = xtask(&["bisect", "install", installed.to_str().unwrap(), "--suite", "smoke"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    git(&repo, &["checkout", "--quiet", "--force", "main"]);
    git(&repo, &["bisect", "start", &commits[&last], &commits[&1]]);
    let launcher = installed.join("kdump-bisect");
    let step = ["bisect", "run", launcher.to_str().unwrap(), "step"];
    let told = git(&repo, &[&step[..], &how, &[CELL]].concat());
    println!("{told}");
    assert!(told.contains(&format!("{} is the first bad commit", commits[&CULPRIT])), "{told}");
}
