//! Manual pages and completions of shells, made of the command line's own description.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Where each shell of Debian looks for the completions of packages.
pub(super) const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions/ringftpd"),
    (Shell::Zsh, "usr/share/zsh/vendor-completions/_ringftpd"),
    (Shell::Fish, "usr/share/fish/vendor_completions.d/ringftpd.fish"),
];

/// Where manual pages are.
pub(super) const MANUALS: &str = "usr/share/man/man1";

/// Writes ringftpd(1), and a page for each of its commands.
pub(super) fn write_manuals(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(MANUALS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // `help` is nothing to read a page about.
    let mut command = cli::Cli::command().disable_help_subcommand(true);
    command.build();
    write_manual(&folder, "ringftpd", &command)?;
    for subcommand in command.get_subcommands() {
        write_manual(&folder, &format!("ringftpd-{}", subcommand.get_name()), subcommand)?;
    }
    Ok(())
}

fn write_manual(folder: &Path, name: &str, command: &Command) -> anyhow::Result<()> {
    let path = folder.join(format!("{name}.1"));
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let examples = command.get_after_long_help().map(ToString::to_string);
    // A page is read as it is set, and examples are set by hand.
    let described = command.clone().after_long_help(None::<&str>);
    let source = concat!("ringftpd ", env!("CARGO_PKG_VERSION"));
    Man::new(described).source(source).manual("ringftpd").render(&mut file)?;
    if let Some(examples) = examples {
        let examples = examples.strip_prefix("Examples:\n").unwrap_or(&examples);
        let mut page = Roff::new();
        page.control("SH", ["EXAMPLES"]).control("nf", []).text([roman(examples)]).control("fi", []);
        page.to_writer(&mut file)?;
    }
    Ok(())
}

/// Writes the completions.
pub(super) fn write_completions(root: &Path) -> anyhow::Result<()> {
    for (shell, path) in COMPLETIONS {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a file in a directory")?)?;
        let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        clap_complete::generate(shell, &mut cli::Cli::command(), "ringftpd", &mut file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let root = tempfile::tempdir().expect("a directory");
        write_manuals(root.path()).expect("manual pages");
        write_completions(root.path()).expect("completions");
        let read = |path: &str| fs::read_to_string(root.path().join(path)).expect(path);
        let command = cli::Cli::command();
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert!(names.contains(&"serve") && names.contains(&"health"), "{names:?}");
        for name in names {
            let page = read(&format!("{MANUALS}/ringftpd-{name}.1"));
            assert!(page.contains(".SH DESCRIPTION"), "{page}");
            for (shell, path) in COMPLETIONS {
                assert!(read(path).contains(name), "{shell} completes {name}");
            }
        }
        let page = read("usr/share/man/man1/ringftpd-serve.1");
        assert!(page.contains("passive\\-ports") && page.contains(".SH EXAMPLES"), "{page}");
    }
}
