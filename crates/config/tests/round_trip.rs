//! What is written is read again.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use config::{
    Advertise, AdvertiseRule, Anonymous, Config, Deadlines, Limits, Listener, Passive, Rate, Seconds, Sources,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn reload(config: &Config) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, config.to_toml()).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}\n{}", config.to_toml())).0
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

#[test]
fn the_defaults() {
    let config = Config { directory: PathBuf::from("/srv"), ..Config::default() };
    assert_eq!(reload(&config), config);
}

fn rate() -> impl Strategy<Value = Rate> {
    option::of(1..=u64::from(u32::MAX))
        .prop_map(|rate| rate.and_then(NonZeroU64::new).and_then(Rate::new).unwrap_or(Rate::UNLIMITED))
}

fn count() -> impl Strategy<Value = Option<NonZeroU32>> {
    any::<u32>().prop_map(NonZeroU32::new)
}

fn network() -> impl Strategy<Value = config::Network> {
    prop_oneof![
        (any::<[u8; 2]>()).prop_map(|[one, two]| parsed(&format!("{one}.{two}.0.0/16"))),
        any::<u16>().prop_map(|part| parsed(&format!("2001:db8:{part:x}::/48"))),
    ]
}

fn advertise() -> impl Strategy<Value = Advertise> {
    let host = prop_oneof!["[a-z]{1,9}\\.example", (1..=223_u8).prop_map(|first| format!("{first}.0.0.1"))];
    let rule = (vec(network(), 0..3), host)
        .prop_map(|(networks, address)| AdvertiseRule { networks, address: parsed(&address) });
    vec(rule, 0..3).prop_map(|rules| rules.into_iter().collect())
}

fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    vec((1..1000_u16, any::<[u8; 4]>(), advertise(), vec(network(), 0..2)), 1..4).prop_map(|listeners| {
        let listener = |(number, (port, ip, advertise, proxies)): (
            usize,
            (u16, [u8; 4], Advertise, Vec<config::Network>),
        )| {
            // Ports that differ, for no two listeners may be the same.
            let port = port + 1000 * u16::try_from(number).unwrap();
            let protocol = if proxies.is_empty() { "off" } else { "required" };
            Listener {
                proxy_protocol: parsed(protocol),
                proxy_networks: proxies,
                advertise,
                ..Listener::at((ip, port).into())
            }
        };
        listeners.into_iter().enumerate().map(listener).collect()
    })
}

prop_compose! {
    fn passive()(advertise in advertise(), low in 20_000..30_000_u16, more in 0..9_u16, port_offset in -9999..9999_i32) -> Passive {
        Passive { ports: Some(parsed(&format!("{low}-{}", low + more))), advertise, port_offset, ..Passive::default() }
    }
}

prop_compose! {
    fn limits()(sessions_max in count(), sessions_per_address_max in count(), total in rate(), session in rate()) -> Limits {
        Limits {
            sessions_max,
            sessions_per_address_max,
            download_rate_total: total,
            download_rate_per_session: session,
            ..Limits::default()
        }
    }
}

prop_compose! {
    fn configurations()(
        directory in "/[^\0]{0,20}",
        user in option::of("\\PC{1,20}"),
        banner in option::of("[^\\p{Cc}]{1,10}(\n[\"\\\\a-z]{1,9})?"),
        workers in any::<usize>().prop_map(|workers| NonZeroUsize::new(workers >> 1)),
        listeners in listeners(),
        passive in passive(),
        limits in limits(),
        idle_s in 1..=31_536_000_u32,
        networks in vec(network(), 0..3),
    ) -> Config {
        Config {
            directory: PathBuf::from(directory),
            user,
            banner,
            workers,
            listeners,
            passive,
            limits,
            deadlines: Deadlines { idle_s: Seconds::new(idle_s).unwrap(), ..Deadlines::default() },
            anonymous: Anonymous { networks, ..Anonymous::default() },
            ..Config::default()
        }
    }
}

proptest! {
    #[test]
    fn any_configuration(config in configurations()) {
        prop_assert_eq!(reload(&config), config);
    }

    /// Whatever stands in a file, it is an answer and no panic.
    #[test]
    fn any_text(text in "(directory|\\[passive\\]|\\[\\[accounts\\]\\]|ports|[a-z_]{1,9}| = |\"|\\[|\\]|\\{|\\}|,|\n|[0-9]{1,20}|-|\\.|\\PC){0,60}") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file), ..Sources::default() };
        if let Err(errors) = Config::load(&sources) {
            prop_assert!(errors.iter().count() > 0);
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
