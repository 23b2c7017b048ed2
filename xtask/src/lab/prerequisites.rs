//! Whether the laboratory can be built here, and what to do where not.

use nix::unistd::geteuid;

use crate::lab::namespace::Namespace;

/// Why not, for who is not root.
pub(crate) const NOT_ROOT: &str = "only root may make network namespaces; type: sudo --preserve-env=PATH,HOME \"$(command -v cargo)\" xtask lab";

/// Whether this user may make namespaces and install programs.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// What only a try can tell: whether the kernel gives what the laboratory is made of.
pub(crate) fn try_kernel() -> Result<(), String> {
    let namespace = Namespace::create("probe").map_err(|error| {
        format!("network namespaces cannot be made here (in a container, --privileged allows it): {error:#}")
    })?;
    namespace.ip(&["link add one type veth peer name other"]).map_err(|error| {
        format!("the kernel has no pairs of virtual network cards (CONFIG_VETH; modprobe veth): {error:#}")
    })?;
    let needs = [
        ("no nftables (CONFIG_NF_TABLES; modprobe nf_tables)", "table inet lab { }"),
        (
            "no translation by nftables (CONFIG_NFT_NAT, CONFIG_NFT_MASQ; modprobe nft_nat nft_masq)",
            "table inet lab { chain leaving { type nat hook postrouting priority 100; masquerade; }; }",
        ),
        (
            "no FTP helper (CONFIG_NF_CONNTRACK_FTP, CONFIG_NF_NAT_FTP; modprobe nf_nat_ftp)",
            "table inet lab { ct helper ftp { type \"ftp\" protocol tcp; }; }",
        ),
    ];
    for (lack, ruleset) in needs {
        namespace.nft(ruleset).map_err(|error| format!("the kernel has {lack}: {error:#}"))?;
    }
    Ok(())
}
