//! The same world at wall-clock speed: hosts are Linux network namespaces with a TUN device each, and the NATs and links
//! between them are the world's own.
//!
//! [`sockets`] is a host made of the operating system's own sockets: what is written against `natbox_host` runs on the
//! machine, or in the namespace, that it is started on. Clocks and the system's chance are read here and in no other room.
//!
//! Everything that a lab makes dies with its process. Linux only; needs the right to make namespaces. Knows no topology
//! file and no scenario.

#![cfg(target_os = "linux")]

mod calls;
mod device;
mod driver;
mod error;
mod join;
mod listening;
mod machine;
mod mounts;
mod moving;
mod namespace;
mod nap;
mod netlink;
pub mod privilege;
mod program;
mod scheduling;
pub mod signals;
mod socket;
pub mod sockets;
mod tun;
mod watched;

pub use driver::Driver;
pub use error::LiveError;
pub use join::{join, run};
pub use machine::{Machine, Task};
pub use mounts::Files;
pub use namespace::{Doors, Household, Namespace};
pub use netlink::{Interface, set_up};
pub use program::Command;
pub use socket::{Listener, Peer};
pub use tun::Tun;
pub use watched::{Seen, Watched};
