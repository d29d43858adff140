//! What all NATs of a run have in common, whatever else they are: links, and the two choices that RFC 4787 leaves open.

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_nat::behavior::{FilterScope, SessionAffinity};
use natbox_probes::portmap::server::Config;
use natbox_world::LinkConfig;

use super::MatrixError;
use super::side::Side;
use crate::plan::{Nat, Plan};

/// The keys of a link, as topology files and the command have them.
pub const LINK_KEYS: [&str; 8] = ["latency", "jitter", "loss", "duplicate", "reorder", "rate", "queue", "mtu"];

/// What a run sets for every NAT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// What permissions are tied to.
    pub filter_scope: Option<FilterScope>,
    /// Whether replies use the mapping that let the packet in.
    pub session_affinity: Option<SessionAffinity>,
    /// What each host's own NAT speaks: the value of `control` in a topology file.
    control: Option<(String, Option<Config>)>,
    /// Keys of the link to the public network with their values, in the words of topology files.
    link: Vec<(&'static str, String)>,
}

impl Conditions {
    /// Sets a key of the links, to a value as a topology file has it.
    ///
    /// # Errors
    /// A key that links do not have, and a value that it cannot have.
    pub fn set_link(&mut self, key: &str, value: &str) -> Result<(), MatrixError> {
        let known = LINK_KEYS.into_iter().find(|known| *known == key);
        let key = known.ok_or_else(|| MatrixError::Said(format!("links have no `{key}`")))?;
        parsed(&[(key, value.to_owned())]).map_err(|why| MatrixError::Said(format!("`{key}` {why}")))?;
        self.link.retain(|(other, _)| *other != key);
        self.link.push((key, value.to_owned()));
        // The order of the file format, whatever the order of asking.
        self.link.sort_by_key(|(key, _)| LINK_KEYS.iter().position(|known| known == key));
        Ok(())
    }

    /// Sets what each host's own NAT speaks: `none`, or words as a topology file has them.
    ///
    /// # Errors
    /// A word that is none.
    pub fn set_control(&mut self, words: &[String]) -> Result<(), MatrixError> {
        let list = words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect::<Vec<_>>();
        let nat = nat(&format!("control: [{}]", list.join(", ")));
        let nat = nat.map_err(|why| MatrixError::Said(format!("`control` {why}")))?;
        self.control = Some((words.join(", "), nat.and_then(|nat| nat.control)));
        Ok(())
    }

    /// What the hosts' NATs speak, where that is set.
    pub fn control(&self) -> Option<&str> {
        self.control.as_ref().map(|(words, _)| words.as_str())
    }

    /// The keys of the links that are set.
    pub fn link(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.link.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Lays the conditions on the NATs of a side: the choices on all, the link on the one at the public network.
    pub(super) fn apply(&self, side: &mut Side) {
        let link = parsed(&self.link).unwrap_or_default();
        for nat in &mut side.nats {
            let mut behavior = Behavior::clone(&nat.behavior);
            behavior.filter_scope = self.filter_scope.unwrap_or(behavior.filter_scope);
            behavior.session_affinity = self.session_affinity.unwrap_or(behavior.session_affinity);
            if behavior != *nat.behavior {
                nat.behavior = Arc::new(behavior);
            }
        }
        if let (Some((_, control)), Some(own)) = (&self.control, side.nats.first_mut()) {
            own.control = control.clone();
        }
        let Some(outermost) = side.nats.last_mut() else { return };
        for (key, _) in &self.link {
            set(&mut outermost.link, &link, key);
        }
    }
}

/// Takes one key of a link from another.
fn set(to: &mut LinkConfig, from: &LinkConfig, key: &str) {
    match key {
        "latency" => to.latency = from.latency,
        "jitter" => to.jitter = from.jitter,
        "loss" => to.loss = from.loss,
        "duplicate" => to.duplicate = from.duplicate,
        "reorder" => to.reorder = from.reorder,
        "rate" => to.rate_bits_per_second = from.rate_bits_per_second,
        "queue" => to.queue_packets = from.queue_packets,
        _ => to.mtu_bytes = from.mtu_bytes,
    }
}

/// The link that a topology file with these keys would have; what is wrong with them.
fn parsed(keys: &[(&'static str, String)]) -> Result<LinkConfig, String> {
    let quoted = keys.iter().map(|(key, value)| format!("{key}: {}", serde_json::Value::from(value.as_str())));
    let nat = nat(&format!("link: {{ {} }}", quoted.collect::<Vec<_>>().join(", ")))?;
    Ok(nat.map(|nat| nat.outside.link).unwrap_or_default())
}

/// The NAT that has this entry in a topology file; what is wrong with it.
fn nat(entry: &str) -> Result<Option<Nat>, String> {
    match Plan::from_yaml("conditions", &format!("nats: {{ nat: {{ {entry} }} }}")) {
        Ok(plan) => Ok(plan.nats.into_iter().next()),
        Err(mistakes) => Err(mistakes.list.first().map_or_else(
            || "is not understood".to_owned(),
            |first| match &first.expected {
                Some(expected) => format!("is wrong: {}; expected {expected}", first.message),
                None => format!("is wrong: {}", first.message),
            },
        )),
    }
}
