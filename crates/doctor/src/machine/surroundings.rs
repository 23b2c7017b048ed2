//! Whether this is a container.

use std::path::Path;

/// The sign by which this is a container; `None` where there is none.
pub(super) fn container() -> Option<String> {
    for file in ["/.dockerenv", "/run/.containerenv"] {
        if Path::new(file).exists() {
            return Some(format!("there is {file}"));
        }
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Some(String::from("KUBERNETES_SERVICE_HOST is set"));
    }
    container_cgroup(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

fn container_cgroup(groups: &str) -> Option<String> {
    let engines = ["docker", "kubepods", "libpod", "containerd", "lxc"];
    let group = groups.lines().find(|group| engines.iter().any(|engine| group.contains(engine)))?;
    Some(format!("its control group is {}", group.rsplit(':').next().unwrap_or(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_tells_its_engine() {
        let sign = container_cgroup("0::/system.slice/docker-4fd2.scope\n").unwrap();
        assert!(sign.contains("/system.slice/docker-4fd2.scope"), "{sign}");
        assert_eq!(container_cgroup("0::/user.slice/session-1.scope\n"), None);
    }
}
