//! Raw programs: whoever makes TCP segments and echoes by hand takes what comes back before the host would refuse it.
//!
//! As with a raw socket on Linux beside a rule that keeps the kernel's own RST from leaving. Connections, listeners and
//! echo sockets of the host come first.

use natbox_wire::Protocol;

use super::Stack;

impl Stack {
    /// From now on a raw program takes what comes to this TCP port, or with this echo identifier, and nobody else wants.
    /// UDP has sockets for that: nothing changes.
    pub(crate) fn claim_raw(&mut self, protocol: Protocol, number: u16) {
        if protocol != Protocol::Udp {
            self.rare.get_or_insert_default().raw.insert((protocol.as_str(), number));
        }
    }

    pub(super) fn is_raw(&self, protocol: Protocol, number: u16) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.raw.contains(&(protocol.as_str(), number)))
    }
}
