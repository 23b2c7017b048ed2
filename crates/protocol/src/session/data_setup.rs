//! How the next data connection comes about, and how its bytes are to be read: `PORT`, `EPRT`, `PASV`, `EPSV`, `TYPE`,
//! `STRU`, `MODE`.

use std::net::{IpAddr, SocketAddr};

use crate::command::{Eprt, Epsv, Structure, TransferMode, TypeCode};
use crate::reply::Reply;

use super::replies as say;
use super::transfers::DataSlot;
use super::{Action, AddressVerdict, DataSetup, PassiveKind, Session, TransferType, Waiting};

impl Session {
    /// The outside leased a port for `PASV` or `EPSV` (the address is the one to tell the client), or could not: then
    /// `Err` is the reply.
    pub fn handle_passive(&mut self, kind: PassiveKind, leased: Result<SocketAddr, Reply>) {
        self.stop_waiting();
        match (kind, leased) {
            (_, Err(refusal)) => {
                self.data = DataSlot::Empty;
                self.reply(refusal);
            }
            (PassiveKind::Epsv, Ok(address)) => {
                self.data = DataSlot::Ready(DataSetup::Passive);
                // RFC 2428 section 3: the port alone; the address is the control connection's.
                let mut text = Vec::with_capacity(PASSIVE_TEXT_BYTES);
                text.extend_from_slice(b"Entering Extended Passive Mode (|||");
                write_decimal(address.port().into(), &mut text);
                text.extend_from_slice(b"|)");
                self.reply(Reply::new(say::EXTENDED_PASSIVE, text));
            }
            (PassiveKind::Pasv, Ok(address)) => {
                let IpAddr::V4(ip) = address.ip() else {
                    self.data = DataSlot::Empty;
                    self.actions.push_back(Action::ReturnPassive);
                    self.reply(say::PASV_NEEDS_IPV4);
                    return self.resume();
                };
                self.data = DataSlot::Ready(DataSetup::Passive);
                // The form that address translators look for: RFC 1123 section 4.1.2.6.
                let mut text = Vec::with_capacity(PASSIVE_TEXT_BYTES);
                text.extend_from_slice(b"Entering Passive Mode (");
                for byte in ip.octets().into_iter().chain(address.port().to_be_bytes()) {
                    write_decimal(byte.into(), &mut text);
                    text.push(b',');
                }
                text.pop();
                text.extend_from_slice(b").");
                self.reply(Reply::new(say::PASSIVE, text));
            }
        }
        self.resume();
    }

    /// The port that was leased is no longer kept for this session.
    pub fn handle_passive_expired(&mut self) {
        if matches!(self.data, DataSlot::Ready(DataSetup::Passive)) {
            self.data = DataSlot::Empty;
        }
    }

    pub(super) fn on_pasv(&mut self) {
        if self.only_epsv {
            return self.reply(say::ONLY_EPSV);
        }
        if self.peer.is_ipv6() {
            return self.reply(say::PASV_NEEDS_IPV4);
        }
        self.ask(Waiting::PassivePort, Action::LeasePassive(PassiveKind::Pasv));
    }

    pub(super) fn on_epsv(&mut self, argument: Epsv) {
        match argument {
            Epsv::All => {
                self.only_epsv = true;
                self.reply(say::EPSV_ALL_OKAY);
            }
            Epsv::UnknownFamily => self.refuse_family(),
            Epsv::Ipv4 if self.peer.is_ipv6() => self.refuse_family(),
            Epsv::Ipv6 if self.peer.is_ipv4() => self.refuse_family(),
            Epsv::SameFamily | Epsv::Ipv4 | Epsv::Ipv6 => {
                self.ask(Waiting::PassivePort, Action::LeasePassive(PassiveKind::Epsv));
            }
        }
    }

    /// Whether a data connection may be made to an address.
    pub fn handle_address_verdict(&mut self, address: SocketAddr, verdict: AddressVerdict) {
        self.stop_waiting();
        match verdict {
            AddressVerdict::Permitted => self.set_active(address),
            AddressVerdict::Foreign => self.reply(say::FOREIGN_ADDRESS),
            AddressVerdict::TheServer => self.reply(say::ADDRESS_OF_SERVER),
        }
        self.resume();
    }

    pub(super) fn on_port(&mut self, address: SocketAddr) {
        if self.only_epsv {
            self.reply(say::ONLY_EPSV);
        } else if self.peer.is_ipv6() {
            self.reply(say::PORT_NEEDS_IPV4);
        } else {
            self.check_active(address);
        }
    }

    pub(super) fn on_eprt(&mut self, argument: Eprt) {
        match argument {
            _ if self.only_epsv => self.reply(say::ONLY_EPSV),
            Eprt::Address(address) if address.is_ipv4() == self.peer.is_ipv4() => self.check_active(address),
            Eprt::NotIpv4 if self.peer.is_ipv4() => self.reply(say::EPRT_MALFORMED),
            Eprt::NotIpv6 if self.peer.is_ipv6() => self.reply(say::EPRT_MALFORMED),
            Eprt::Address(_) | Eprt::NotIpv4 | Eprt::NotIpv6 | Eprt::UnknownFamily => self.refuse_family(),
        }
    }

    fn check_active(&mut self, address: SocketAddr) {
        if !self.settings.active {
            self.reply(say::ACTIVE_NOT_OFFERED);
        } else if address.port() < 1024 && !self.settings.privileged_ports {
            self.reply(say::PRIVILEGED_PORT);
        } else {
            self.ask(Waiting::AddressVerdict, Action::PermitAddress(address));
        }
    }

    fn set_active(&mut self, address: SocketAddr) {
        self.forget_data_setup();
        self.data = DataSlot::Ready(DataSetup::Active(address));
        self.reply(say::ACTIVE_OKAY);
    }

    /// RFC 2428 section 2: the reply lists the families that work.
    fn refuse_family(&mut self) {
        let family = crate::command::family_number(self.peer);
        let text = format!("Network protocol not supported, use ({family})");
        self.reply(Reply::new(say::FAMILY_NOT_SUPPORTED, text));
    }

    pub(super) fn forget_data_setup(&mut self) {
        if let DataSlot::Ready(setup) = self.data {
            self.data = DataSlot::Empty;
            if setup == DataSetup::Passive {
                self.actions.push_back(Action::ReturnPassive);
            }
        }
    }

    pub(super) fn on_type(&mut self, code: TypeCode) {
        match code {
            TypeCode::Ascii => {
                self.transfer_type = TransferType::Ascii;
                self.reply(say::ASCII_TYPE);
            }
            TypeCode::Image => {
                self.transfer_type = TransferType::Image;
                self.reply(say::IMAGE_TYPE);
            }
            TypeCode::NotOffered => self.reply(say::TYPE_NOT_OFFERED),
        }
    }

    pub(super) fn on_stru(&mut self, structure: Structure) {
        self.reply(match structure {
            Structure::File => say::FILE_STRUCTURE,
            Structure::NotOffered => say::STRUCTURE_NOT_OFFERED,
        });
    }

    pub(super) fn on_mode(&mut self, mode: TransferMode) {
        self.reply(match mode {
            TransferMode::Stream => say::STREAM_MODE,
            TransferMode::NotOffered => say::MODE_NOT_OFFERED,
        });
    }
}

/// Room for the text of either passive reply.
const PASSIVE_TEXT_BYTES: usize = 64;

/// There are such replies with every transfer, and the formatting machinery costs several times what this does.
pub(super) fn write_decimal(number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = number;
    loop {
        // A digit fits in a byte.
        out.push(b'0' + u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::write_decimal;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 7, 10, 99, 100, 255, 256, 1023, 50_000, u64::MAX] {
            let mut text = Vec::from(*b",");
            write_decimal(number, &mut text);
            assert_eq!(text, format!(",{number}").into_bytes());
        }
    }
}
