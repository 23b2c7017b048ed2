//! Every kind of fault, by the exact words that an operator reads.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use config::{Config, Overrides, Sources};
use tempfile::TempDir;

/// A complete configuration needs a directory; each text below is about something else.
const DIRECTORY: &str = "directory = \"/srv\"\n";

fn folder_with(name: &str, text: impl AsRef<[u8]>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    folder
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// What is said of the sources, the folder's name left out.
fn said(folder: &Path, environment: &[(&str, &str)], overrides: Overrides) -> Vec<String> {
    let sources =
        Sources { file: Some(folder.join("a.toml")), environment: variables(environment), overrides };
    let shown = match Config::load(&sources) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(errors) => errors.to_string(),
    };
    let folder = format!("{}/", folder.display());
    shown.replace(&folder, "").lines().map(str::to_owned).collect()
}

fn faults_of(text: &str) -> Vec<String> {
    let folder = folder_with("a.toml", text);
    let sources = Sources { file: Some(folder.path().join("a.toml")), ..Sources::default() };
    assert!(Config::load(&sources).is_err(), "{text:?} is taken");
    said(folder.path(), &[], Overrides::default())
}

/// The faults of a file of which the first line names a directory.
#[track_caller]
fn faults(text: &str, expected: &[&str]) {
    assert_eq!(faults_of(&format!("{DIRECTORY}{text}")), expected, "{text}");
}

#[track_caller]
fn warnings(text: &str, expected: &[&str]) {
    let folder = folder_with("a.toml", format!("{DIRECTORY}{text}"));
    assert_eq!(said(folder.path(), &[], Overrides::default()), expected, "{text}");
}

#[test]
fn unknown_keys_name_the_nearest() {
    faults("directroy = \"/srv\"", &["a.toml:2:1: directroy: unknown key; did you mean directory?"]);
    faults("[passive]\nport = \"1-2\"", &["a.toml:3:1: passive.port: unknown key; did you mean ports?"]);
    faults("[deadline]\nidle_s = 3", &["a.toml:2:2: deadline: unknown key; did you mean deadlines?"]);
    faults("idle_s = 3", &["a.toml:2:1: idle_s: unknown key; did you mean deadlines.idle_s?"]);
    faults(
        "[limits]\nidle-s = 3",
        &["a.toml:3:1: limits.idle-s: unknown key; did you mean deadlines.idle_s?"],
    );
    faults(
        "[transfer]\nzzz = 1",
        &["a.toml:3:1: transfer.zzz: unknown key; known here: route, upload_cache, sync"],
    );
    faults(
        "[[listeners]]\naddres = \"[::]:21\"",
        &[
            "a.toml:2:1: listeners[0].address: missing; add address to this table",
            "a.toml:3:1: listeners[0].addres: unknown key; did you mean address?",
        ],
    );
}

#[test]
fn types_are_told_apart() {
    faults(
        "workers = \"two\"\nruntime = 1\nlisteners = 21\nlog = true",
        &[
            "a.toml:2:11: workers: a string where a whole number, at least 1 belongs",
            "a.toml:3:11: runtime: a whole number where one of \"auto\", \"io_uring\", \"epoll\" belongs",
            "a.toml:4:13: listeners: a whole number where a list, each entry an address and port such as \"[::]:2121\", or a table with an address belongs",
            "a.toml:5:7: log: true or false where a table [log] belongs",
        ],
    );
    faults(
        "[deadlines]\nidle_s = 1.5\nlogin_s = \"60\"",
        &[
            "a.toml:3:10: deadlines.idle_s: a number with a fraction where whole seconds, 1 to 31536000 belongs",
            "a.toml:4:11: deadlines.login_s: a string where whole seconds, 1 to 31536000 belongs",
        ],
    );
    faults(
        "accounts = [1]",
        &["a.toml:2:13: accounts[0]: a whole number where a table with a name and a password_hash belongs"],
    );
}

#[test]
fn values_have_bounds() {
    faults("workers = 0", &["a.toml:2:11: workers: 0 is out of range; write a whole number, at least 1"]);
    faults(
        "[deadlines]\nidle_s = 0\ndata_s = 0x7FFFFFFFFFFFFFFF",
        &[
            "a.toml:3:10: deadlines.idle_s: 0 is out of range; write whole seconds, 1 to 31536000",
            "a.toml:4:10: deadlines.data_s: 0x7FFFFFFFFFFFFFFF is out of range; write whole seconds, 1 to 31536000",
        ],
    );
    faults(
        "[limits]\nburst = \"1 KiB\"\ndownload_rate_total = 0\nupload_rate_total = \"5 MiB\"",
        &[
            "a.toml:3:9: limits.burst: 1 KiB is out of range; write a size such as \"64 KiB\", \"10 MiB\" or \"1 GB\", or a number of bytes, at least 16384",
            "a.toml:4:23: limits.download_rate_total: a rate of 0 moves nothing; write \"unlimited\" for no limit",
            "a.toml:5:21: limits.upload_rate_total: \"5 MiB\" is no rate; write \"unlimited\", a rate such as \"500 KiB/s\" or \"10 MB/s\", or a number of bytes a second",
        ],
    );
    faults(
        "runtime = \"iouring\"",
        &[
            "a.toml:2:11: runtime: \"iouring\" is out of place; did you mean \"io_uring\"? It is one of \"auto\", \"io_uring\", \"epoll\"",
        ],
    );
    faults(
        "listeners = [\"2121\"]",
        &[
            "a.toml:2:14: listeners[0]: \"2121\" is no address with a port; write \"[::]:2121\" for every address of this machine",
        ],
    );
    faults(
        "[fxp]\nnetworks = [\"10.0.0.0/8\", \"10.0.0.1/8\"]",
        &[
            "a.toml:3:27: fxp.networks[1]: 10.0.0.1/8 has bits set beyond its prefix; write \"10.0.0.0/8\" or \"10.0.0.1\"",
        ],
    );
    faults("banner = \"\"", &["a.toml:2:10: banner: an empty string; write something, or leave the key out"]);
    faults("banner = \"a\\tb\"", &["a.toml:2:10: banner: a control character in the greeting; leave it out"]);
}

#[test]
fn passive_ranges() {
    let range = |text: &str| format!("[passive]\nports = {text}");
    faults(
        &range("\"50015-50000\""),
        &["a.toml:3:9: passive.ports: the range 50015-50000 is backwards; write \"50000-50015\""],
    );
    faults(
        &range("\"0-10\""),
        &[
            "a.toml:3:9: passive.ports: port 0 names no port; the lowest is 1; write a range of ports such as \"50000-50015\", or one port",
        ],
    );
    faults(
        &range("\"2000-2200\""),
        &[
            "a.toml:3:9: passive.ports: the range 2000-2200 contains the control port 2121 of listeners[0] (the default); move one of them",
        ],
    );
    warnings(
        &range("\"1000-1030\""),
        &[
            "a.toml:3:9: passive.ports: binding ports below 1024, as in 1000-1030, takes root or CAP_NET_BIND_SERVICE",
        ],
    );
}

#[test]
fn passive_addresses() {
    faults(
        "[passive]\nports = \"50000-50015\"\nport_offset = 15521",
        &[
            "a.toml:4:15: passive.port_offset: 50000-50015 and 15521 make 65521 to 65536, which are not all ports; keep them within 1 to 65535",
        ],
    );
    faults(
        "[passive]\nport_offset = -1",
        &[
            "a.toml:3:15: passive.port_offset: a NAT cannot move ports that the kernel picks anew at each start; name passive.ports as well",
        ],
    );
    faults(
        "[passive]\nports = 50000\nadvertise = \"2001:db8::1\"",
        &[
            "a.toml:4:13: passive.advertise: 2001:db8::1 cannot be told to a client: PASV answers with IPv4, and EPSV with a port alone; name an IPv4 address, or nothing",
        ],
    );
    faults(
        "[passive]\npeer = \"proxies\"",
        &["a.toml:3:8: passive.peer: there are no proxies; name their networks in passive.peer_proxies"],
    );
    faults(
        "[passive]\npeer_proxies = [\"10.0.0.0/8\"]",
        &[
            "a.toml:3:16: passive.peer_proxies: with peer = \"exact\" no proxy is asked for; write peer = \"proxies\", or leave peer_proxies out",
        ],
    );
    warnings(
        "[passive]\nports = 50000\npeer_ipv4_prefix_bits = 16\nadvertise = [{ address = \"192.0.2.1\" }, { address = \"192.0.2.2\" }]",
        &[
            "a.toml:5:41: passive.advertise[1]: never used, for entry 0 is for all clients already; put that one last",
            "a.toml:4:25: passive.peer_ipv4_prefix_bits: without effect, for it belongs to peer = \"network\"",
        ],
    );
    warnings(
        "[passive]\nadvertise = \"192.0.2.1\"",
        &[
            "a.toml:3:13: passive.advertise: a NAT or firewall cannot forward ports that the kernel picks anew at each start; name passive.ports",
        ],
    );
}

#[test]
fn listeners_go_together() {
    faults(
        "listeners = []",
        &["a.toml:2:13: listeners: no client can reach the server; name an address to listen on"],
    );
    faults(
        "listeners = [\"[::]:21\", \"[::]:21\"]",
        &[
            "a.toml:2:25: listeners[1]: [::]:21 is listened on already by listeners[0] (a.toml:2:14); name each address once",
        ],
    );
    faults(
        "[[listeners]]\naddress = \"[::]:21\"\nproxy_protocol = \"required\"\n[[listeners]]\naddress = \"[::]:22\"\nproxy_networks = [\"10.0.0.0/8\"]",
        &[
            "a.toml:4:18: listeners[0].proxy_protocol: without proxy_networks anybody could claim any address; name the networks of the load balancers in proxy_networks",
            "a.toml:7:18: listeners[1].proxy_networks: no PROXY protocol is spoken on this listener; add proxy_protocol = \"required\", or leave proxy_networks out",
        ],
    );
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";

fn account(name: &str) -> String {
    format!("[[accounts]]\nname = \"{name}\"\npassword_hash = \"{HASH}\"\n")
}

#[test]
fn accounts_are_checked() {
    faults(
        &format!("{}{}", account("eve"), account("eve")),
        &[
            "a.toml:6:8: accounts[1].name: \"eve\" is the name of accounts[0] (a.toml:2:1) too; give each account a name of its own",
        ],
    );
    faults(
        &account("ftp"),
        &[
            "a.toml:3:8: accounts[0].name: \"ftp\" is the anonymous account; choose another name, or see [anonymous]",
        ],
    );
    faults(
        "[[accounts]]\nname = \" a\"\npassword_hash = \"hunter2\"\nrights = [\"list\", \"downlaod\"]",
        &[
            "a.toml:3:8: accounts[0].name: no client can log in as \" a\"; choose another name",
            "a.toml:4:17: accounts[0].password_hash: this is no hash in PHC string format; write what `ringftpd hash-password` prints, \"$argon2id$v=19$...\"",
            "a.toml:5:10: accounts[0].rights: \"downlaod\" is no right; did you mean \"download\"?",
        ],
    );
    faults(
        "[[accounts]]\nname = \"a\"",
        &["a.toml:2:1: accounts[0].password_hash: missing; add password_hash to this table"],
    );
    faults(
        &format!("{}[fxp]\nusers = [\"anonymous\", \"alise\", \"nobody-at-all\"]", account("alice")),
        &[
            "a.toml:6:23: fxp.users[1]: there is no account \"alise\"; did you mean \"alice\"?",
            "a.toml:6:32: fxp.users[2]: there is no account \"nobody-at-all\"; add it to the accounts, or leave it out here",
        ],
    );
    warnings(
        "[anonymous]\naccess = \"off\"\nroot = \"x\"",
        &[
            "a.toml:3:10: anonymous.access: nobody can log in, for there are no accounts either",
            "a.toml:4:8: anonymous.root: without effect, for anonymous.access is \"off\"",
        ],
    );
    warnings(
        &format!("{}rights = [\"append\", \"list\"]\n[anonymous]\naccess = \"read\"", account("alice")),
        &[
            "a.toml:5:10: accounts[0].rights: \"overwrite\" and \"append\" have no effect without \"upload\"; add it",
        ],
    );
    warnings(
        &account("alice"),
        &[
            "configuration: anonymous.access: guests may list and download, which is the default; write \"read\" if that is meant, else \"off\"",
        ],
    );
}

#[test]
fn accounts_of_both_files_go_together() {
    let text = format!(
        "{DIRECTORY}users_file = \"users\"\n{}[fxp]\nusers = [\"bob\"]\n[anonymous]\naccess = \"off\"",
        account("alice")
    );
    let folder = folder_with("a.toml", text);
    let users = folder.path().join("users");
    let said = || said(folder.path(), &[], Overrides::default());

    assert_eq!(
        said(),
        ["a.toml:2:14: users_file: users cannot be read: No such file or directory (os error 2)",]
    );
    fs::write(&users, format!("{}{}", account("bob"), account("alice"))).unwrap();
    assert_eq!(
        said(),
        [
            "users:5:8: accounts[2].name: \"alice\" is the name of accounts[0] (a.toml:3:1) too; give each account a name of its own"
        ]
    );
    fs::write(&users, "acounts = []\n[passive]").unwrap();
    assert_eq!(
        said(),
        [
            "a.toml:7:10: fxp.users[0]: there is no account \"bob\"; add it to the accounts, or leave it out here",
            "users:1:1: acounts: unknown key; did you mean accounts?",
            "users:2:2: passive: unknown key; known here: accounts",
        ]
    );
    fs::write(&users, account("bob")).unwrap();
    assert_eq!(said(), Vec::<String>::new());
}

#[test]
fn deadlines_and_limits_go_together() {
    faults(
        "[deadlines]\ndrain_delay_s = 60",
        &[
            "a.toml:3:17: deadlines.drain_delay_s: a delay of 60 s leaves nothing of the 60 s to drain; make drain_s the longer one",
        ],
    );
    warnings(
        "user = \"root\"\n[limits]\nsessions_max = 10\nsessions_per_address_max = 11\nupload_rate_per_session = \"2 MB/s\"\nupload_rate_total = \"1 MB/s\"",
        &[
            "a.toml:2:8: user: becoming root gives nothing up; name a user without privileges",
            "a.toml:5:28: limits.sessions_per_address_max: never reached, for limits.sessions_max is 10",
            "a.toml:6:27: limits.upload_rate_per_session: never reached, for all sessions together have 1 MB/s",
        ],
    );
}

#[test]
fn what_is_no_toml_says_where() {
    faults(
        "x = \"abc\ny = 3\nworkers = ",
        &[
            "a.toml:2:9: this is not TOML: invalid basic string, expected `\"`",
            "a.toml:4:11: this is not TOML: string values must be quoted, expected literal string",
        ],
    );
    faults(
        "workers = 2\nworkers = 3\nuser = 1",
        &[
            "a.toml:3:1: workers: this key stands twice; keep one of them",
            "a.toml:4:8: user: a whole number where a string belongs",
        ],
    );
}

#[test]
fn a_key_without_value_is_in_no_contradiction() {
    faults(
        "listeners = [\"nonsense\"]\n[passive]\nports = \"2121\"",
        &[
            "a.toml:2:14: listeners[0]: \"nonsense\" is no address with a port; write an address and port such as \"0.0.0.0:2121\" or \"[::]:2121\"",
        ],
    );
}

#[test]
fn files_that_are_none() {
    let said = |folder: &TempDir| said(folder.path(), &[], Overrides::default());
    let missing = "configuration: directory: missing; name it on the command line, in RINGFTPD_DIRECTORY or in the file: directory = \"/srv/ftp\"";

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(&folder), ["a.toml: cannot be read: No such file or directory (os error 2)"]);

    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.toml")).unwrap();
    assert_eq!(said(&folder), ["a.toml: is a directory; name the file in it"]);

    // Sparse: reading it would take a GiB of memory, and its size does not.
    let folder = folder_with("a.toml", "");
    fs::File::options().write(true).open(folder.path().join("a.toml")).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(said(&folder), ["a.toml: is larger than 1048576 bytes; a configuration is not"]);

    // Of no length to ask for, and without an end.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.toml")).unwrap();
    assert_eq!(said(&folder), ["a.toml: is larger than 1048576 bytes; a configuration is not"]);

    let folder = folder_with("a.toml", b"directory = \"/srv\"\nuser = \"caf\xe9\"\n");
    assert_eq!(said(&folder), ["a.toml:2:12: is not UTF-8 from here on; a configuration is text"]);

    assert_eq!(said(&folder_with("a.toml", "")), [missing]);
}

#[test]
fn variables_are_as_strict() {
    let folder = folder_with("a.toml", DIRECTORY);
    let said = |environment: &[(&str, &str)]| said(folder.path(), environment, Overrides::default());
    assert_eq!(
        said(&[
            ("RINGFTPD_PASSIVE_PORTS", "50015-50000"),
            ("RINGFTPD_PASSIVE_PORT", "50000"),
            ("RINGFTPD_IDLE_S", "5"),
            ("RINGFTPD_ACCOUNTS", "eve"),
            ("RINGFTPD_WORKERS", ""),
            ("RINGFTPD_LISTENERS", "[::]:21,[::]:21"),
            ("RINGFTPD_QQQ", "1"),
            ("RINGFTPD_SERVICE_PORT", "21"),
            ("RINGFTP_USER", "of something else"),
        ]),
        [
            "RINGFTPD_ACCOUNTS: tables cannot be written in a variable; write accounts in the file",
            "RINGFTPD_IDLE_S: unknown environment variable; did you mean RINGFTPD_DEADLINES_IDLE_S?",
            "RINGFTPD_LISTENERS: listeners[1]: [::]:21 is listened on already by listeners[0] (RINGFTPD_LISTENERS); name each address once",
            "RINGFTPD_PASSIVE_PORT: unknown environment variable; did you mean RINGFTPD_PASSIVE_PORTS?",
            "RINGFTPD_PASSIVE_PORTS: the range 50015-50000 is backwards; write \"50000-50015\"",
            "RINGFTPD_QQQ: unknown environment variable; `docs/configuration.md` lists those there are",
            "RINGFTPD_WORKERS: \"\" is out of place; write a whole number, at least 1",
        ]
    );
}

#[test]
fn flags_take_part_in_contradictions() {
    let folder = folder_with("a.toml", format!("{DIRECTORY}[passive]\nports = \"50000-50003\""));
    let listen = Some(vec!["[::]:50002".parse().unwrap()]);
    assert_eq!(
        said(folder.path(), &[], Overrides { listen, ..Overrides::default() }),
        [
            "a.toml:3:9: passive.ports: the range 50000-50003 contains the control port 50002 of listeners[0] (--listen); move one of them"
        ]
    );
}

#[test]
fn the_metrics_have_a_port_of_their_own() {
    faults(
        "listeners = [\"[::1]:2121\"]\nmetrics.address = \"[::1]:2121\"",
        &[
            "a.toml:3:19: metrics.address: [::1]:2121 belongs to listeners[0] (a.toml:2:14) already; choose another port",
        ],
    );
    faults(
        "passive.ports = \"50000-50003\"\nmetrics.address = \"127.0.0.1:50001\"",
        &[
            "a.toml:3:19: metrics.address: 127.0.0.1:50001 belongs to passive.ports (a.toml:2:17) already; choose another port",
        ],
    );
    warnings("metrics.address = \"[::]:0\"\nlisteners = [\"[::]:0\"]", &[]);
}
