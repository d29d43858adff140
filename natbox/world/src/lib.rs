//! The network in virtual time: event queue, links, routers, gateways with NATs, and virtual hosts.
//!
//! Knows addresses, never names of presets or files. No clock, no thread, no socket: the world jumps from event to
//! event. Two worlds built alike from one seed do the same, byte for byte. Only a world that is given an [`Outside`] waits
//! where others jump.

mod attach;
mod executor;
mod gateway;
mod host;
pub mod link;
mod network;
pub mod note;
pub mod outside;
pub mod pings;
mod programs;
mod queue;
mod refusal;
mod route;
mod router;
mod stack;
mod state;
mod stream;
mod world;

pub use attach::{Attachment, InterfaceAddress, NetworkId};
pub use executor::Stalled;
pub use host::control::VirtualGateway;
pub use host::{VirtualEcho, VirtualHost, VirtualListener, VirtualStream, VirtualUdp};
pub use link::LinkConfig;
pub use note::{InterfaceId, NodeId, Note, Observer, PacketId};
pub use outside::{Arrived, Outside};
pub use programs::Programs;
pub use refusal::{NotAGateway, NotReconfigured};
pub use state::Statistics;
pub use world::World;
