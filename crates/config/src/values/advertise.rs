//! Which address each client is told to connect to.

use std::net::IpAddr;

use toml::de::DeValue;

use crate::error::Fault;
use crate::keys::AdvertiseRule;
use crate::reader::{Node, Reader};
use crate::value::Value;
use crate::values::Host;

/// Which address PASV answers, by the client's network. Without any rule it is the control connection's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertise(Vec<AdvertiseRule>);

impl Advertise {
    /// These rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<AdvertiseRule>) -> Self {
        Self(rules)
    }

    /// One address for all clients.
    #[must_use]
    pub fn everywhere(address: Host) -> Self {
        Self(vec![AdvertiseRule { networks: Vec::new(), address }])
    }

    /// The rules, of which the first that matches counts.
    #[must_use]
    pub fn rules(&self) -> &[AdvertiseRule] {
        &self.0
    }

    /// What a client at `client` is told; `None` is the address that it reached the server by.
    #[must_use]
    pub fn address_for(&self, client: IpAddr) -> Option<&Host> {
        self.0.iter().find(|rule| rule.matches(client)).map(|rule| &rule.address)
    }
}

impl AdvertiseRule {
    /// Whether it is for this client. A rule without networks is for everybody.
    #[must_use]
    pub fn matches(&self, client: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(client))
    }
}

impl FromIterator<AdvertiseRule> for Advertise {
    fn from_iter<I: IntoIterator<Item = AdvertiseRule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Value for Advertise {
    fn expected() -> String {
        format!(
            "{}, or a list of tables {{ networks = [...], address = \"...\" }}",
            <Host as Value>::expected()
        )
    }

    fn from_node(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value.get_ref() {
            DeValue::Array(_) => Vec::from_node(node, reader).map(Self),
            DeValue::String(_) => Host::from_node(node, reader).map(Self::everywhere),
            other => {
                reader.fault(node, crate::value::wrong_type(other, Self::expected()));
                None
            }
        }
    }

    /// One address for all clients; by network only the file can say it.
    fn from_text(text: &str) -> Result<Self, Fault> {
        <Host as Value>::from_text(text).map(Self::everywhere)
    }

    fn to_toml(&self) -> Option<String> {
        match self.0.as_slice() {
            [] => None,
            [AdvertiseRule { networks, address }] if networks.is_empty() => Value::to_toml(address),
            rules => rules.to_vec().to_toml(),
        }
    }
}
