//! ICE over UDP: a socket on each address, and a relay.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use futures::future::select_all;
use natbox_host::{Host, Received, UdpSocket};

use super::agent::Way;
use super::description::Description;
use super::gather::{self, gather};
use super::ground::{Came, Gathered};
use crate::ProbeError;
use crate::contact::Setting;
use crate::punch::READ_BYTES;
use crate::turn;

pub(super) struct Datagrams<H: Host> {
    host: H,
    sockets: Vec<H::Udp>,
    buffers: Vec<Vec<u8>>,
    relay: Option<turn::Client<H>>,
    relay_buffer: Vec<u8>,
    permitted: BTreeSet<IpAddr>,
}

/// What a socket or the relay has read into its buffer.
enum Read {
    Datagram(usize, Received),
    Relayed(usize, SocketAddr),
    /// Something went wrong with one datagram.
    Nothing,
    /// The relay is no more.
    RelayGone,
}

impl<H: Host> Datagrams<H> {
    pub(super) async fn open(host: &H, setting: &Setting) -> Result<Datagrams<H>, ProbeError> {
        let sockets = gather::open(host, setting.directory).await?;
        Ok(Datagrams {
            host: host.clone(),
            buffers: sockets.iter().map(|_| vec![0; READ_BYTES]).collect(),
            sockets,
            relay: None,
            relay_buffer: vec![0; READ_BYTES],
            permitted: BTreeSet::new(),
        })
    }

    pub(super) async fn gather(&mut self, setting: &Setting) -> Gathered {
        self.relay = None;
        self.permitted.clear();
        let found = gather(&self.host, &self.sockets, setting).await;
        self.relay = found.relay;
        Gathered { checked_from: found.candidates.clone(), told: found.candidates, remarks: found.remarks }
    }

    pub(super) fn permit(&mut self, peer: &Description) {
        let Some(relay) = &self.relay else { return };
        let fits = |address: &IpAddr| address.is_ipv4() == relay.relayed_address().is_ipv4();
        for address in peer.candidates.iter().map(|candidate| candidate.addr().ip()).filter(fits) {
            if self.permitted.insert(address) {
                let relay = relay.clone();
                self.host.spawn(async move { drop(relay.create_permission(address).await) });
            }
        }
    }

    pub(super) async fn transmit(&self, datagram: &[u8], way: Way) {
        let socket = self.sockets.iter().find(|socket| socket.local_addr() == way.local);
        if let Some(socket) = socket {
            let _ = socket.send_to(datagram, way.remote).await;
        } else if let Some(relay) = self.relay.as_ref().filter(|relay| relay.relayed_address() == way.local) {
            let _ = relay.send_to(datagram, way.remote).await;
        }
    }

    pub(super) async fn next(&mut self) -> Option<Came> {
        match self.read().await {
            Read::Datagram(index, received) => {
                let way = Way { local: self.sockets[index].local_addr(), remote: received.source };
                let message = self.buffers[index][..received.length.min(READ_BYTES)].to_vec();
                Some(Came { message, way, at: received.at })
            }
            Read::Relayed(length, remote) => {
                let way = Way { local: self.relay.as_ref()?.relayed_address(), remote };
                let message = self.relay_buffer[..length.min(READ_BYTES)].to_vec();
                Some(Came { message, way, at: self.host.now() })
            }
            Read::RelayGone => {
                self.relay = None;
                None
            }
            Read::Nothing => None,
        }
    }

    async fn read(&mut self) -> Read {
        type Reading<'a> = Pin<Box<dyn Future<Output = Read> + 'a>>;
        let mut reads: Vec<Reading<'_>> = Vec::new();
        for (index, (socket, buffer)) in self.sockets.iter().zip(&mut self.buffers).enumerate() {
            reads.push(Box::pin(async move {
                let received = socket.recv_from(buffer).await;
                received.map_or(Read::Nothing, |received| Read::Datagram(index, received))
            }));
        }
        if let Some(relay) = &self.relay {
            let buffer = &mut self.relay_buffer;
            reads.push(Box::pin(async move {
                let received = relay.recv_from(buffer).await;
                received.map_or(Read::RelayGone, |(length, peer)| Read::Relayed(length, peer))
            }));
        }
        if reads.is_empty() {
            reads.push(Box::pin(std::future::pending()));
        }
        select_all(reads).await.0
    }
}
