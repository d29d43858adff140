//! What a technique has found out or spent, by name.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known, by its name in JSON (snake_case; a duration's ends in `_ns`).
pub type Facts = BTreeMap<&'static str, Fact>;

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number: of probes, a delta, a TTL.
    Number(i64),
    /// Whether it is so.
    Switch(bool),
    /// A word, or an endpoint.
    Text(String),
    /// How long it took.
    Duration(Duration),
    /// Several of them.
    List(Vec<Fact>),
}

impl From<usize> for Fact {
    fn from(number: usize) -> Fact {
        Fact::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Fact {
        Fact::Number(number.into())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Fact {
        Fact::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Fact {
    fn from(number: i64) -> Fact {
        Fact::Number(number)
    }
}

impl From<u8> for Fact {
    fn from(number: u8) -> Fact {
        Fact::Number(number.into())
    }
}

impl From<u16> for Fact {
    fn from(number: u16) -> Fact {
        Fact::Number(number.into())
    }
}

impl From<bool> for Fact {
    fn from(switch: bool) -> Fact {
        Fact::Switch(switch)
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Fact {
        Fact::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Fact {
        Fact::Text(text.to_owned())
    }
}

impl From<std::net::SocketAddr> for Fact {
    fn from(endpoint: std::net::SocketAddr) -> Fact {
        Fact::Text(endpoint.to_string())
    }
}

impl From<Duration> for Fact {
    fn from(duration: Duration) -> Fact {
        Fact::Duration(duration)
    }
}

impl<T: Into<Fact>> From<Vec<T>> for Fact {
    fn from(list: Vec<T>) -> Fact {
        Fact::List(list.into_iter().map(Into::into).collect())
    }
}
