//! The image, built from `deploy/Dockerfile` around a binary that is compiled here.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::container::podman::Podman;
use crate::shell;

/// What makes the binary static. `deploy/Dockerfile` has the same.
const RUSTFLAGS: &str = "-C target-feature=+crt-static -C strip=debuginfo";

/// Where the Dockerfile takes the binary from, from the top of the repository.
pub(super) const BINARY: &str = "target/image/ringftpd";

/// Under which the image is known in its storage.
const NAME: &str = "localhost/ringftpd:tested";

/// More than the image needs: a second library or a forgotten symbol table would not fit.
const BYTES_MAX: u64 = 16 << 20;

/// How to build an image for use.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What builds it: podman, docker or buildah [default: the first of these that works here].
    #[arg(long, value_name = "PROGRAM")]
    engine: Option<String>,

    /// What to call it.
    #[arg(long, value_name = "NAME", default_value = "ringftpd")]
    tag: String,
}

/// `cargo xtask image`: compiles the binary here, and puts the image where the engine keeps its own.
///
/// # Errors
///
/// If nothing is there to build it with, or something fails.
pub(crate) fn command(options: &Options) -> anyhow::Result<()> {
    // Docker may be installed without its daemon running.
    let works = |engine: &&str| shell::succeeds_quietly(Command::new(engine).arg("info"));
    let engine =
        options.engine.as_deref().or_else(|| ["podman", "docker", "buildah"].into_iter().find(works));
    let engine = engine.context(
        "neither podman nor docker nor buildah works here; on Debian: apt-get install podman runc",
    )?;
    compile()?;
    build_by(Command::new(engine).arg("build"), engine == "docker", &options.tag)?;
    println!("{engine} has the image {}", options.tag);
    Ok(())
}

/// Compiles the binary and builds the image in podman's storage; gives its name.
pub(super) fn build(podman: &Podman) -> anyhow::Result<String> {
    compile()?;
    let mut buildah = Command::new("buildah");
    buildah.args(podman.storage_options()).args(["build", "--isolation", "chroot", "--quiet"]);
    build_by(&mut buildah, false, NAME)?;
    Ok(String::from(NAME))
}

/// Compiles the static binary, and puts it where the Dockerfile looks for it.
fn compile() -> anyhow::Result<()> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = shell::cargo(["build", "--locked", "--release", "--package", "ringftpd", "--target"]);
    // In a folder of its own whatever the environment says, so that the Dockerfile finds it.
    cargo.arg(&target).args(["--target-dir", "target"]).env("RUSTFLAGS", RUSTFLAGS);
    ensure!(shell::succeeds(&mut cargo)?, "the static binary does not build");

    let root = shell::root();
    let binary = root.join(BINARY);
    fs::create_dir_all(binary.parent().context("a file in a directory")?)?;
    let built = root.join("target").join(&target).join("release/ringftpd");
    fs::copy(&built, &binary).with_context(|| format!("no binary at {}", built.display()))?;
    Ok(())
}

fn build_by(engine: &mut Command, is_docker: bool, tag: &str) -> anyhow::Result<()> {
    engine.current_dir(shell::root());
    if !is_docker {
        // Health checks are no part of OCI's format.
        engine.args(["--format", "docker"]);
    }
    engine.args(["--file", "deploy/Dockerfile", "--target", "prebuilt", "--tag", tag, "."]);
    ensure!(shell::succeeds(engine)?, "the image does not build");
    Ok(())
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
