//! The same world at wall-clock speed: hosts are Linux network namespaces with a TUN device each, and the NATs and links
//! between them are the world's own.
//!
//! Everything that a lab makes dies with its process. Linux only; needs the right to make namespaces. Knows no topology
//! file and no scenario.

#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod tun;

#[cfg(target_os = "linux")]
pub use driver::Driver;
#[cfg(target_os = "linux")]
pub use namespace::{Files, Household, Namespace};
#[cfg(target_os = "linux")]
pub use netlink::{Interface, set_up};
#[cfg(target_os = "linux")]
pub use tun::Tun;
