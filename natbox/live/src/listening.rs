//! Whether anything listens on a port of a host, as its kernel lists sockets.

use std::fs;

use crate::machine::Machine;

/// The kernel's number for a TCP socket that listens.
const LISTENING: &str = "0A";

impl Machine {
    /// Whether a TCP socket listens, or a UDP socket is bound, on this port of the host.
    pub fn listens(&self, port: u16) -> bool {
        let look = move || {
            ["tcp", "tcp6", "udp", "udp6"].iter().any(|protocol| {
                let table = fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).unwrap_or_default();
                has(&table, port, protocol.starts_with("tcp"))
            })
        };
        self.namespace().enter(look).unwrap_or(false)
    }
}

/// Columns: number, local endpoint, remote endpoint, state, ...; all hexadecimal.
fn has(table: &str, port: u16, tcp: bool) -> bool {
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|endpoint| endpoint.rsplit_once(':'));
        let own = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        own == Some(port) && (!tcp || columns.nth(1) == Some(LISTENING))
    })
}

#[cfg(test)]
mod tests {
    use super::has;

    #[test]
    fn a_port_is_open_where_a_socket_listens_not_where_one_is_connected() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n   \
                     1: 0200000A:1F41 0900A8C0:0050 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n";
        assert!(has(table, 8000, true) && !has(table, 8001, true) && has(table, 8001, false));
        assert!(!has(table, 80, false), "a remote port");
    }
}
