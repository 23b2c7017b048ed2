//! The crate does no input or output, has no clock and no unsafe code. What it is built of is looked at here,
//! since a build for a target without an operating system is not to be had everywhere.

/// What the crate may depend on, and why that is no way out to the operating system.
const PURE: [(&str, &str); 4] = [
    ("bitflags", "sets of rights: a macro over integers"),
    ("memchr", "search in bytes"),
    ("thiserror", "derives Display and Error; code at compile time"),
    ("time", "the calendar; without its feature `std` it has no clock"),
];

const MANIFEST: &str = include_str!("../Cargo.toml");
const WORKSPACE_MANIFEST: &str = include_str!("../../../Cargo.toml");

/// The entries of a section: the name up to its first `.`, blank or `=`, and the whole line.
fn section<'a>(manifest: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    manifest
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| (line.split(['.', ' ', '=']).next().unwrap_or(line), line))
        .collect()
}

#[test]
fn the_dependencies_are_the_pure_ones() {
    let names: Vec<_> = section(MANIFEST, "[dependencies]").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, PURE.map(|(name, _)| name));
    let headings: Vec<_> = MANIFEST.lines().filter(|line| line.contains("dependencies")).collect();
    assert_eq!(
        headings,
        ["[dependencies]", "[dev-dependencies]"],
        "no other way for a dependency to come in"
    );
}

#[test]
fn the_calendar_comes_without_a_clock() {
    let workspace = section(WORKSPACE_MANIFEST, "[workspace.dependencies]");
    let (_, time) = workspace.iter().find(|(name, _)| *name == "time").unwrap();
    assert!(time.contains("default-features = false") && !time.contains("features = ["), "{time}");
    let (_, ours) =
        section(MANIFEST, "[dependencies]").into_iter().find(|(name, _)| *name == "time").unwrap();
    assert_eq!(ours, "time.workspace = true");
}

/// The ways of the standard library to the outside: none of them is named in the sources.
#[test]
fn the_sources_do_not_reach_outside() {
    const OUTSIDE: [&str; 11] = [
        "std::fs",
        "std::io",
        "std::env",
        "std::process",
        "std::thread",
        "std::os",
        "SystemTime",
        "Instant",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
    ];
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut file_count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            file_count += 1;
            let source = std::fs::read_to_string(&path).unwrap();
            for (number, line) in source.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = OUTSIDE.iter().find(|outside| code.contains(**outside));
                assert_eq!(found, None, "{}:{}", path.display(), number + 1);
            }
        }
    }
    assert!(file_count > 5, "the sources were found");
}

#[test]
fn unsafe_code_is_forbidden() {
    assert!(include_str!("../src/lib.rs").contains("\n#![forbid(unsafe_code)]\n"));
}
