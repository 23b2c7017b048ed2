//! Where a session's data connections come from: leases of passive ports, and addresses to connect to.

use std::net::{IpAddr, SocketAddr};

use protocol::session::{AddressVerdict, DataSetup, PassiveKind};

use super::ControlConnection;
use crate::data::{DataConnector, SourcePort, on_link_of};
use crate::replies;

impl ControlConnection {
    pub(super) fn lease_passive(&mut self, kind: PassiveKind) {
        let client = self.peer.ip();
        let keys =
            self.worker.settings.get().peers.lease_keys(client, self.stream.peer().ip(), self.may_fxp());
        let leased = match self.lease.take() {
            Some(old) => old.replace(keys, self.now),
            None => self.worker.passive.lease(keys, self.id, self.now),
        };
        let address = match leased {
            Ok(lease) => {
                let port = lease.port();
                self.lease = Some(Box::new(lease));
                self.advertised(kind, client, port).ok_or_else(|| {
                    tracing::error!(session = self.id, peer = %client, "the address that the client reached is not to be found out");
                    replies::INTERNAL
                })
            }
            Err(refused) => {
                self.worker.passive.tell_refused(self.id, client, &refused);
                Err(replies::NO_PASSIVE_PORT)
            }
        };
        self.session.handle_passive(kind, address);
    }

    /// A port that nobody came to in its time is no longer kept, and the session is told so.
    pub(super) fn forget_expired_lease(&mut self) {
        if self.lease.as_ref().is_some_and(|lease| lease.has_expired(self.now)) {
            self.lease = None;
            self.session.handle_passive_expired();
        }
    }

    /// What the client is told of a passive port.
    fn advertised(&mut self, kind: PassiveKind, client: IpAddr, port: u16) -> Option<SocketAddr> {
        let settings = self.worker.settings.get();
        let advertiser = &settings.listeners[self.listener].advertiser;
        match kind {
            PassiveKind::Pasv => self.local().map(|local| advertiser.advertised(client, local.ip(), port)),
            // EPSV tells the port alone, so the address need not be asked for.
            PassiveKind::Epsv => Some(SocketAddr::new(client, advertiser.advertised_port(port))),
        }
    }

    /// The address that the client reached.
    pub(super) fn local(&mut self) -> Option<SocketAddr> {
        if self.local.is_none() {
            self.local = self.stream.local().ok();
        }
        self.local
    }

    fn may_fxp(&self) -> bool {
        self.session.user().is_some_and(|user| self.worker.settings.get().peers.fxp.permits_user(user))
    }

    pub(super) fn permit_address(&mut self, address: SocketAddr) {
        let own_ports = &self.worker.service.own_ports;
        let peers = &self.worker.settings.get().peers;
        let verdict = peers.verdict_on(address, self.peer.ip(), self.may_fxp(), own_ports);
        if verdict != AddressVerdict::Permitted
            && let Some(untold) = self.worker.refused_addresses.tells(self.now)
        {
            tracing::warn!(session = self.id, peer = %self.peer.ip(), asked = %address, ?verdict, untold, "refused to connect");
        }
        self.session.handle_address_verdict(address, verdict);
    }

    pub(super) fn connector(&mut self, setup: DataSetup) -> DataConnector {
        let settings = self.worker.settings.get();
        let deadline = self.now + settings.deadlines.data;
        match setup {
            DataSetup::Passive => DataConnector::passive(self.lease.take(), deadline),
            DataSetup::Active(peer) => {
                let peer = on_link_of(peer, self.stream.peer());
                // What a proxy says that the client reached is not an address of this machine.
                let local = self.stream.local().ok();
                let source = SourcePort {
                    is_port_below: settings.from_port_below,
                    refusal_told: &self.worker.service.source_port_refusal_told,
                };
                DataConnector::active(peer, local, source, deadline)
            }
        }
    }
}
