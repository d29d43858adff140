//! How two hosts came to talk, sets of such ways, and over which protocol.

use natbox_wire::{Word, words};

words! {
    /// How two hosts came to talk, best first.
    pub enum Path: "path" {
        Local = "local", "on the network that both share";
        Direct = "direct", "to the callee's own address: no NAT in front of it";
        Reversed = "reversed", "the callee, behind a NAT, called back to the caller's own address";
        Mapped = "mapped", "through a port mapping that the callee asked its NAT for";
        Hairpinned = "hairpinned", "through the NAT that both are behind, by its external address";
        Punched = "punched", "through holes that both sides punched";
        Relayed = "relayed", "through a relay";
        None = "none", "not at all";
    }
}

words! {
    /// The protocol that carries datagrams or messages between two hosts.
    pub enum Transport: "transport" {
        Udp = "udp", "UDP";
        Tcp = "tcp", "TCP";
    }
}

/// A set of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths(u8);

impl Paths {
    /// Every path.
    pub const ALL: Paths = Paths(0x7F);

    /// The set of these paths; [`Path::None`] is in no set.
    pub fn of(paths: &[Path]) -> Paths {
        Paths(paths.iter().fold(0, |bits, path| bits | bit(*path)) & Paths::ALL.0)
    }

    /// Whether `path` is in the set.
    pub fn contains(self, path: Path) -> bool {
        self.0 & bit(path) != 0
    }

    /// Whether any of `paths` is in the set.
    pub fn any_of(self, paths: &[Path]) -> bool {
        paths.iter().any(|path| self.contains(*path))
    }

    /// The paths, best first.
    pub fn iter(self) -> impl Iterator<Item = Path> {
        Path::ALL.iter().copied().filter(move |path| self.contains(*path))
    }

    /// The set as a byte: bit 0 is the best path.
    pub fn to_bits(self) -> u8 {
        self.0
    }

    /// The set in a byte; bits without a path are dropped.
    pub fn from_bits(bits: u8) -> Paths {
        Paths(bits & Paths::ALL.0)
    }
}

fn bit(path: Path) -> u8 {
    if path == Path::None { 0 } else { 1 << path as u8 }
}
