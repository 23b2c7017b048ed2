//! The image, built by buildah from `deploy/Dockerfile`.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::container::podman::Podman;
use crate::shell;

/// What makes the binary static. `deploy/Dockerfile` has the same.
const RUSTFLAGS: &str = "-C target-feature=+crt-static -C strip=debuginfo";

/// Under which the image is known in its storage.
const NAME: &str = "localhost/ringftpd:tested";

/// More than the image needs: a second library or a forgotten symbol table would not fit.
const BYTES_MAX: u64 = 16 << 20;

/// Compiles the binary and builds the image; gives its name.
pub(super) fn build(podman: &Podman) -> anyhow::Result<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = shell::cargo(["build", "--locked", "--release", "--package", "ringftpd", "--target"]);
    // In a folder of its own whatever the environment says, so that the Dockerfile finds it.
    cargo.arg(&target).args(["--target-dir", "target"]).env("RUSTFLAGS", RUSTFLAGS);
    ensure!(shell::succeeds(&mut cargo)?, "the static binary does not build");

    let root = shell::root();
    let folder = root.join("target/image");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = root.join("target").join(&target).join("release/ringftpd");
    fs::copy(&built, folder.join("ringftpd")).with_context(|| format!("no binary at {}", built.display()))?;

    let mut buildah = Command::new("buildah");
    buildah.current_dir(&root).args(podman.storage_options());
    // Health checks are no part of OCI's format.
    buildah.args(["bud", "--isolation", "chroot", "--format", "docker", "--quiet"]);
    buildah.args(["--file", "deploy/Dockerfile", "--target", "prebuilt", "--tag", NAME, "."]);
    ensure!(shell::succeeds(&mut buildah)?, "the image does not build");
    Ok(String::from(NAME))
}

/// What whoever runs the image relies on.
pub(super) fn check(podman: &Podman, image: &str) -> anyhow::Result<()> {
    let inspect = |format: &str| podman.output(&["image", "inspect", "--format", format, image]);
    let bytes: u64 = inspect("{{.Size}}")?.parse().context("a size")?;
    ensure!(bytes <= BYTES_MAX, "it has {bytes} bytes, and {BYTES_MAX} are enough");
    for (what, expected) in [
        ("{{.Config.User}}", "65532:65532"),
        ("{{.Config.StopSignal}}", "SIGTERM"),
        ("{{.Config.Entrypoint}}", "[/usr/bin/ringftpd]"),
        ("{{.Config.Cmd}}", "[serve]"),
        ("{{.HealthCheck.Test}}", "[CMD /usr/bin/ringftpd health]"),
        ("{{index .Labels \"org.opencontainers.image.licenses\"}}", "Apache-2.0"),
    ] {
        let said = inspect(what)?;
        ensure!(said == expected, "{what} is {said}, and not {expected}");
    }
    let ports = inspect("{{.Config.ExposedPorts}}")?;
    for port in ["2121/tcp", "50000-50015/tcp"] {
        ensure!(ports.contains(port), "{port} is not among the ports: {ports}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_of_the_image_is_built_as_the_dockerfile_builds_it() {
        let dockerfile = fs::read_to_string(shell::root().join("deploy/Dockerfile")).expect("a Dockerfile");
        assert!(dockerfile.contains(&format!("RUSTFLAGS=\"{RUSTFLAGS}\"")), "{dockerfile}");
        let manifest = fs::read_to_string(shell::root().join("Cargo.toml")).expect("a manifest");
        let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
        let version = version.expect("a version of Rust").trim_matches('"');
        assert!(dockerfile.contains(&format!("rust:{version}-slim")), "{version} in\n{dockerfile}");
    }
}
