//! Why a part of a world cannot do or become what it was asked to.

use std::fmt;

/// Asked of a node what only a gateway can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAGateway {
    /// The node's name.
    pub name: String,
}

impl fmt::Display for NotAGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a gateway, but {:?} is not one: name a NAT", self.name)
    }
}

impl std::error::Error for NotAGateway {}

/// Why a NAT behaves as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReconfigured {
    /// There is none.
    NotAGateway(NotAGateway),
    /// These axes cannot change while it runs.
    Fixed(Vec<&'static str>),
}

impl fmt::Display for NotReconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReconfigured::NotAGateway(error) => error.fmt(f),
            NotReconfigured::Fixed(axes) => {
                write!(f, "{} cannot change while a NAT runs: that is what its mappings are", axes.join(" and "))
            }
        }
    }
}

impl std::error::Error for NotReconfigured {}

impl From<NotAGateway> for NotReconfigured {
    fn from(error: NotAGateway) -> NotReconfigured {
        NotReconfigured::NotAGateway(error)
    }
}
