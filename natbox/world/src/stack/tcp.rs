//! TCP of one host.

use natbox_host::IcmpReport;
use natbox_wire::{DropReason, Packet, Quoted, Time, Transport, build};

use super::{Arrival, Stack};
use crate::note::Outcome;

#[derive(Debug, Default)]
pub(crate) struct Tcp {}

impl Tcp {
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

impl Stack {
    pub(super) fn receive_tcp(&mut self, packet: Packet, arrival: Arrival) -> Outcome {
        let _ = (packet, arrival);
        Outcome::Dropped(DropReason::PortUnreachable)
    }
    pub(super) fn report_to_tcp(&mut self, _quoted: Quoted, _report: IcmpReport) -> Outcome {
        Outcome::Dropped(DropReason::IcmpUnconcerned)
    }
    pub(super) fn learn_path_mtu(&mut self, destination: std::net::IpAddr, mtu: u32, now: Time) {
        self.routes.learn_path_mtu(destination, mtu, now);
    }
    pub(super) fn tcp_handle_timeout(&mut self, _now: Time) {}
}
