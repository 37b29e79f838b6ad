//! The installer's plan as a table: tools there or not, who may install -> complaint or commands.

use super::*;

const ALL: [Tool; 3] = [QEMU, CC, GPGV];

/// Catches a complaint about tools that are there, and silence about those that are not.
#[test]
fn only_what_is_missing_is_missing() {
    let names = |there: &'static [&'static str]| {
        missing(&ALL, |program| there.contains(&program)).iter().map(|tool| tool.program).collect::<Vec<_>>()
    };
    assert_eq!(names(&["qemu-system-x86_64", "cc", "gpgv"]), Vec::<&str>::new());
    assert_eq!(names(&["cc"]), ["qemu-system-x86_64", "gpgv"]);
}

/// Catches a message that does not say each tool, or not the command that helps this very user.
#[test]
fn complaints_name_tools_and_command() {
    assert_eq!(
        complaint(&[&QEMU], Installer::Apt, false),
        "a host tool is missing:\n  qemu-system-x86_64, which runs the guests\n\
         install with: apt-get install --no-install-recommends qemu-system-x86\n\
         or let this command do it: add --install"
    );
    assert_eq!(
        complaint(&[&QEMU, &CC], Installer::SudoApt, false),
        "2 host tools are missing:\n  qemu-system-x86_64, which runs the guests\n  \
         cc, which links the programs that run in guests\n\
         install with: sudo apt-get install --no-install-recommends gcc libc6-dev qemu-system-x86\n\
         or let this command do it: add --install"
    );
    let forbidden = complaint(&[&QEMU], Installer::ForbiddenApt, true);
    assert!(forbidden.contains("needs root, or a sudo that asks no password"), "{forbidden}");
    let foreign = complaint(&[&QEMU], Installer::Unknown, true);
    assert!(foreign.contains("knows Debian's apt-get only"), "{foreign}");
    // To whom --install cannot help it must not be recommended.
    assert!(!complaint(&[&QEMU], Installer::ForbiddenApt, false).contains("--install\n"));
    assert!(!complaint(&[&QEMU], Installer::Unknown, false).contains("add --install"));
}

/// Catches an installation that asks questions, pulls in recommended packages, or trusts old lists.
#[test]
fn install_commands_are_unattended() {
    let lines = |installer, fresh| {
        install_commands(&["gcc", "gpgv"], installer, fresh)
            .map(|commands| commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>())
    };
    let apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120";
    assert_eq!(
        lines(Installer::Apt, true).unwrap(),
        [format!("env {apt} install -y --no-install-recommends gcc gpgv")]
    );
    assert_eq!(
        lines(Installer::SudoApt, false).unwrap(),
        [
            format!("sudo -n env {apt} update"),
            format!("sudo -n env {apt} install -y --no-install-recommends gcc gpgv")
        ]
    );
    assert_eq!(lines(Installer::ForbiddenApt, true), None);
    assert_eq!(lines(Installer::Unknown, true), None);
}

/// Catches a package list that names a package twice, or is not stable.
#[test]
fn packages_are_named_once() {
    assert_eq!(packages(&[&GPGV, &CC, &GPGV]), ["debian-archive-keyring", "gcc", "gpgv", "libc6-dev"]);
}

/// Catches lists that count as fresh although there are none (a new container image).
#[test]
fn missing_lists_are_not_fresh() {
    assert!(!lists_are_fresh(Path::new("/nonexistent"), SystemTime::now()));
    let empty = std::env::temp_dir().join(format!("xtask-lists-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    assert!(!lists_are_fresh(&empty, SystemTime::now()));
    std::fs::write(empty.join("x_Packages"), "").unwrap();
    assert!(lists_are_fresh(&empty, SystemTime::now()));
    assert!(!lists_are_fresh(&empty, SystemTime::now() + LISTS_AGE_LIMIT * 2));
    std::fs::remove_dir_all(&empty).unwrap();
}
