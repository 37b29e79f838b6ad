//! How much memory this process may still take: the host's, or what is left of its control groups' limits where that is less. In a
//! container the host's figure alone promises memory that the kernel then kills guests for.

use std::path::Path;

/// Memory in MiB that is available; none where nothing says so.
pub fn available_mib() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let host = read(Path::new("/proc/meminfo")).and_then(|text| host_mib(&text));
    let group = read(Path::new("/proc/self/cgroup")).and_then(|text| {
        let path = own_group(&text)?.to_owned();
        // A limit of any group above holds as well.
        let root = Path::new("/sys/fs/cgroup");
        let groups =
            Path::new(&path).ancestors().map(|group| root.join(group.strip_prefix("/").unwrap_or(group)));
        let left = groups.filter_map(|group| {
            let file = |name: &str| read(&group.join(name));
            left_mib(&file("memory.max")?, &file("memory.current")?, &file("memory.stat")?)
        });
        left.min()
    });
    match (host, group) {
        (Some(host), Some(group)) => Some(host.min(group)),
        (host, group) => host.or(group),
    }
}

/// `MemAvailable` of /proc/meminfo.
fn host_mib(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

/// The path of this process's group in the unified hierarchy (cgroups(7), /proc/PID/cgroup: the line of hierarchy 0).
fn own_group(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What a group may still take, by its files `memory.max`, `memory.current` and `memory.stat` (Linux
/// Documentation/admin-guide/cgroup-v2.rst); none where it has no limit. Clean pages of files count as used, and are given back
/// when they are needed.
fn left_mib(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let files: u64 = files.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(files)) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a changed unit or a similar key is read for the value.
    #[test]
    fn meminfo() {
        let text = "MemTotal:       24576000 kB\nMemFree:         1 kB\nMemAvailable:   20480000 kB\n";
        assert_eq!(host_mib(text), Some(20000));
        assert_eq!(host_mib("MemFree: 1 kB\n"), None);
    }

    /// Bug: in a container of 2 GiB on a host of 24 the rig starts guests for 24, and the kernel kills some.
    #[test]
    fn a_groups_limit_counts() {
        let stat = "anon 1\ninactive_anon 9\ninactive_file 104857600\nactive_file 7\n";
        assert_eq!(left_mib("2147483648\n", "1073741824\n", stat), Some(1024 + 100));
        assert_eq!(left_mib("1048576\n", "1073741824\n", ""), Some(0));
        assert_eq!(left_mib("max\n", "1073741824\n", stat), None);
        assert_eq!(own_group("1:cpu:/x\n0::/user.slice\n"), Some("/user.slice"));
        assert_eq!(own_group("1:cpu:/x\n"), None);
    }
}
