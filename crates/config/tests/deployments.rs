//! What ships the server agrees with its configuration: the image, the compose file, the manifests for Kubernetes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, Sources, Warning};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn load(file: PathBuf, environment: &[(&str, &str)]) -> Config {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let sources = Sources { file: Some(file), environment: environment.collect(), ..Sources::default() };
    let (config, warnings) = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, Vec::<Warning>::new());
    config
}

/// The ports that clients connect to, the one of the listener first.
fn client_ports(config: &Config) -> Vec<u16> {
    let passive = config.passive.ports.expect("a range, for each port is published");
    [config.listeners[0].address.port()].into_iter().chain(passive.low()..=passive.high()).collect()
}

#[test]
fn the_image_exposes_the_ports_of_its_configuration() {
    let config = load(deploy("image/etc/ringftpd/ringftpd.toml"), &[]);
    let range = config.passive.ports.unwrap();
    let dockerfile = read("Dockerfile");
    let exposed = format!("EXPOSE {} {range}\n", config.listeners[0].address.port());
    assert!(dockerfile.contains(&exposed), "{exposed}");
    assert!(dockerfile.contains("ENV RINGFTPD_CONFIG=/etc/ringftpd/ringftpd.toml\n"));
    assert!(config.metrics.address.unwrap().ip().is_loopback(), "nobody outside of it asked for metrics");
}

#[test]
fn the_manual_of_containers_tells_how_long_the_image_drains() {
    let config = load(deploy("image/etc/ringftpd/ringftpd.toml"), &[]);
    let manual = read("../docs/containers.md");
    let drain = config.deadlines.drain_s.get();
    assert!(manual.contains(&format!("`deadlines.drain_s`, {drain} seconds")), "{drain}");
    let (_, after) = manual.split_once("podman stop --time ").unwrap();
    let granted: u32 = after.split_whitespace().next().unwrap().parse().unwrap();
    assert!(granted > drain, "transfers would be cut off");
}

#[test]
fn the_compose_file_publishes_what_the_image_serves() {
    let [compose] = &yaml("compose.yaml")[..] else { panic!("one document") };
    let service = &compose["services"]["ringftpd"];
    let environment: Vec<(&str, &str)> = service["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .map(|(name, value)| (name, if value == "${ADVERTISE:-127.0.0.1}" { "127.0.0.1" } else { value }))
        .collect();
    let config = load(deploy("image/etc/ringftpd/ringftpd.toml"), &environment);
    let range = config.passive.ports.unwrap();
    let expected = [format!("21:{}", config.listeners[0].address.port()), format!("{range}:{range}")];
    assert_eq!(service["ports"], serde_json::json!(expected));
    assert_eq!(service["volumes"], serde_json::json!([format!("data:{}", config.directory.display())]));
    let grace: u32 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!(grace > config.deadlines.drain_s.get(), "transfers would be cut off");
    let options = service["security_opt"].as_array().unwrap();
    let profile = options.iter().find_map(|option| option.as_str()?.strip_prefix("seccomp:")).unwrap();
    assert!(deploy(profile).is_file(), "{profile}");
    let dockerfile = service["build"]["dockerfile"].as_str().unwrap();
    assert!(deploy(".").join(service["build"]["context"].as_str().unwrap()).join(dockerfile).is_file());
}

/// A manifest as the type that it claims to be. What that type does not have is no key of Kubernetes, and would be lost.
#[track_caller]
fn typed<T: DeserializeOwned + Serialize>(manifest: &Value) -> T {
    let typed: T = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), *manifest, "a key that Kubernetes does not know");
    typed
}

/// Lays a patch over a manifest, as far as ours go: maps are merged, `null` takes away, and of lists with names those
/// entries are merged whose name is the same.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(into), Value::Array(patch)) if patch.iter().all(|entry| entry["name"].is_string()) => {
            for entry in patch {
                match into.iter_mut().find(|other| other["name"] == entry["name"]) {
                    Some(other) => merge(other, entry),
                    None => into.push(entry.clone()),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// The manifests of a variation: what is for clients, what is for Prometheus, and the pods.
fn manifests(variation: &str) -> (Service, Service, StatefulSet) {
    let mut all: Vec<Value> = Vec::new();
    for resource in names(&yaml("kubernetes/base/kustomization.yaml")[0]["resources"]) {
        all.extend(yaml(&format!("kubernetes/base/{resource}")));
    }
    let patches = match variation {
        "base" => Vec::new(),
        _ => {
            let [kustomization] = &yaml(&format!("kubernetes/{variation}/kustomization.yaml"))[..] else {
                panic!("one document")
            };
            assert_eq!(names(&kustomization["resources"]), ["../base"]);
            kustomization["patches"].as_array().unwrap().clone()
        }
    };
    for patch in patches {
        for patch in yaml(&format!("kubernetes/{variation}/{}", patch["path"].as_str().unwrap())) {
            let is_meant = |other: &&mut Value| {
                other["kind"] == patch["kind"] && other["metadata"]["name"] == patch["metadata"]["name"]
            };
            merge(all.iter_mut().find(is_meant).expect("a patch has something to change"), &patch);
        }
    }
    let [clients, metrics, pods] = &all[..] else { panic!("two services and a set of pods") };
    (typed(clients), typed(metrics), typed(pods))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// The configuration of the ConfigMap, with what the pod's variables say; its accounts are those of the Secret.
fn configuration(container: &Container) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let text = read("kubernetes/base/ringftpd.toml");
    let beside = text.replace("/etc/ringftpd-accounts/users.toml", "users.toml");
    assert_ne!(text, beside, "the file of the Secret");
    fs::write(folder.path().join("ringftpd.toml"), beside).unwrap();
    fs::write(folder.path().join("users.toml"), read("kubernetes/base/users.toml")).unwrap();
    let value = |name: &str| match name {
        "RINGFTPD_WORKERS" => "2",
        "RINGFTPD_PASSIVE_ADVERTISE" => "192.0.2.1",
        _ => panic!("{name} has no value here"),
    };
    let variables = container.env.iter().flatten();
    let environment: Vec<_> =
        variables.map(|variable| (variable.name.as_str(), value(&variable.name))).collect();
    load(folder.path().join("ringftpd.toml"), &environment)
}

/// The number that a port of a service or a probe means.
fn number(port: &IntOrString, container: &Container) -> u16 {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = |port: &&k8s_openapi::api::core::v1::ContainerPort| port.name.as_ref() == Some(name);
            let ports = container.ports.as_ref().unwrap();
            ports.iter().find(named).unwrap_or_else(|| panic!("the container has no {name}")).container_port
        }
    };
    number.try_into().unwrap()
}

fn pod(pods: &StatefulSet) -> &PodSpec {
    pods.spec.template.spec.as_ref().unwrap()
}

#[test]
fn ports_agree_in_service_configuration_and_container() {
    for variation in ["base", "io_uring", "host-network"] {
        let (clients, metrics, pods) = manifests(variation);
        let [container] = &pod(&pods).containers[..] else { panic!("one container") };
        let config = configuration(container);

        let ports: BTreeSet<u16> = client_ports(&config).into_iter().collect();
        let metrics_port = config.metrics.address.unwrap().port();
        let opened = container.ports.as_ref().unwrap().iter();
        let opened: BTreeSet<u16> = opened.map(|port| port.container_port.try_into().unwrap()).collect();
        assert_eq!(opened, ports.iter().copied().chain([metrics_port]).collect(), "{variation}");

        let published = clients.spec.as_ref().unwrap().ports.as_ref().unwrap();
        let reached: Vec<u16> =
            published.iter().map(|port| number(port.target_port.as_ref().unwrap(), container)).collect();
        assert_eq!(reached, client_ports(&config), "{variation}");
        assert_eq!(published[0].port, 21);
        for port in &published[1..] {
            // Clients are told the number inside.
            assert_eq!(port.port, i32::from(number(port.target_port.as_ref().unwrap(), container)));
        }
        let scraped = &metrics.spec.as_ref().unwrap().ports.as_ref().unwrap()[0];
        assert_eq!(number(scraped.target_port.as_ref().unwrap(), container), metrics_port);
        let asked = |probe: &Option<Probe>| {
            let get = probe.as_ref().unwrap().http_get.clone().unwrap();
            (get.path.unwrap(), number(&get.port, container))
        };
        assert_eq!(asked(&container.readiness_probe), (String::from("/health/ready"), metrics_port));
        assert_eq!(asked(&container.liveness_probe), (String::from("/health/live"), metrics_port));
    }
}

#[test]
fn pods_are_confined_and_may_drain() {
    for (variation, profile) in
        [("base", None), ("io_uring", Some("ringftpd-seccomp.json")), ("host-network", None)]
    {
        let (clients, _, pods) = manifests(variation);
        let pod = pod(&pods);
        let container = &pod.containers[0];
        let config = configuration(container);
        let grace = u32::try_from(pod.termination_grace_period_seconds.unwrap()).unwrap();
        assert!(grace > config.deadlines.drain_s.get(), "{variation}: transfers would be cut off");

        let context = pod.security_context.as_ref().unwrap();
        assert_eq!((context.run_as_non_root, context.run_as_user), (Some(true), Some(65532)));
        let seccomp = context.seccomp_profile.as_ref().unwrap();
        assert_eq!(seccomp.localhost_profile.as_deref(), profile);
        assert_eq!(seccomp.type_, if profile.is_some() { "Localhost" } else { "RuntimeDefault" });
        if let Some(profile) = profile {
            assert!(deploy("kubernetes").join(variation).join(profile).is_file());
        }
        let own = container.security_context.as_ref().unwrap();
        assert_eq!(
            (own.read_only_root_filesystem, own.allow_privilege_escalation),
            (Some(true), Some(false))
        );
        let dropped = own.capabilities.as_ref().unwrap().drop.as_ref().unwrap();
        assert_eq!(*dropped, ["ALL"]);

        let mounts = container.volume_mounts.as_ref().unwrap();
        let mounted: Vec<&Path> = mounts.iter().map(|mount| Path::new(&mount.mount_path)).collect();
        let expected = [Path::new("/etc/ringftpd"), Path::new("/etc/ringftpd-accounts"), &config.directory];
        assert_eq!(mounted, expected, "{variation}");

        // What clients are told: the name of the balancer, or the node's address.
        let is_advertised = |name: &str| container.env.iter().flatten().any(|variable| variable.name == name);
        let type_ = clients.spec.unwrap().type_.unwrap();
        assert_eq!(is_advertised("RINGFTPD_PASSIVE_ADVERTISE"), type_ == "ClusterIP", "{variation}");
        assert_eq!(pod.host_network.is_some(), type_ == "ClusterIP");
    }
    let annotations = manifests("base").0.metadata.annotations.unwrap();
    let config = read("kubernetes/base/ringftpd.toml");
    let name = &annotations["external-dns.alpha.kubernetes.io/hostname"];
    assert!(config.contains(&format!("advertise = \"{name}\"")), "{name}");
}
