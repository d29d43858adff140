//! What an RFC wants to be configurable: the NAT is configured otherwise, and looked at again.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::{Alg, Filtering, GenericAlg, Switch, Timeouts};
use natbox_wire::Protocol;
use natbox_wire::build::{self, IpFields};

use super::bench::Bench;
use super::packets::{ACK, FIN, SYN, SYN_ACK, X1, Y1, endpoint, tcp};
use super::rfc4787::{SIP, filtering_of};
use super::{Outcome, require, with};

/// Why such a row is never violated.
pub(super) const OPTION: &str = "it is an option of every NAT of natbox";

const SECOND: Duration = Duration::from_secs(1);

/// The three that RFC 4787 names.
pub(super) fn filtering(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for wanted in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
        let found = filtering_of(&with(behavior, |it| it.filtering = wanted.into()), protocol)?;
        require(found == wanted, || format!("configured to be {wanted}, filtering was {found}"))?;
    }
    Ok(())
}

/// UDP and TCP apart.
pub(super) fn filtering_apart(behavior: &Arc<Behavior>) -> Outcome {
    let (udp, tcp) = (Filtering::EndpointIndependent, Filtering::AddressAndPortDependent);
    let apart = with(behavior, |it| (it.filtering.udp, it.filtering.tcp) = (udp, tcp));
    let found = (filtering_of(&apart, Protocol::Udp)?, filtering_of(&apart, Protocol::Tcp)?);
    require(found == (udp, tcp), || format!("the filtering of UDP was {}, that of TCP {}", found.0, found.1))
}

/// Of SIP and of whatever looks like an address: one of them is on, and rewrites nothing of the other's.
pub(super) fn algs(behavior: &Arc<Behavior>) -> Outcome {
    const BINARY: &[u8] = b"\x0a\x00\x00\x02\x13\x88";
    let none = Alg { ftp: Switch::Off, sip: Switch::Off, tftp: Switch::Off, generic: GenericAlg::Off };
    let sip = Alg { sip: Switch::On, ..none };
    let generic = Alg { generic: GenericAlg::RewriteBinary, ..none };
    for (alg, rewrites_sip, rewrites_binary) in [(none, false, false), (sip, true, false), (generic, false, true)] {
        let configured = with(behavior, |it| it.alg = alg);
        for (port, text, expected) in [(5060, SIP, rewrites_sip), (4000, BINARY, rewrites_binary)] {
            let (from, to) = (endpoint([10, 0, 0, 2], port), endpoint([192, 0, 2, 1], port));
            let packet = build::udp(from, to, IpFields::default(), text).ok_or("no datagram".to_owned())?;
            // What policy does not let out is not rewritten.
            let Ok(sent) = Bench::new(&configured).out(packet) else { continue };
            let rewritten = sent.payload() != text;
            require(rewritten == expected, || format!("with {alg:?}, a payload to port {port} was treated otherwise"))?;
        }
    }
    Ok(())
}

/// Whether a connection is there after so many seconds of silence: established, being opened, or closed by both sides.
fn outlives(behavior: &Arc<Behavior>, stage: Stage, seconds: u64) -> Result<bool, String> {
    let mut bench = Bench::new(behavior);
    let (external, last) = match stage {
        Stage::Opening => (bench.send(tcp(X1, Y1, SYN))?, SYN_ACK),
        Stage::Established => (bench.open(Protocol::Tcp, X1, Y1)?, ACK),
        Stage::Closing => {
            let external = bench.open(Protocol::Tcp, X1, Y1)?;
            bench.send(tcp(X1, Y1, FIN))?;
            bench.reaches(tcp(Y1, external, FIN), X1)?;
            (external, FIN)
        }
    };
    bench.wait_seconds(seconds);
    Ok(bench.reaches(tcp(Y1, external, last), X1).is_ok())
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Opening,
    Established,
    Closing,
}

fn runs_for(behavior: &Arc<Behavior>, stage: Stage, seconds: u64) -> Outcome {
    let right = outlives(behavior, stage, seconds - 1)? && !outlives(behavior, stage, seconds + 1)?;
    require(right, || format!("set to {seconds} s, the timer of {stage:?} connections ran for another time"))
}

pub(super) fn idle_timeouts(behavior: &Arc<Behavior>) -> Outcome {
    let timeouts = Timeouts { tcp_established: 1000 * SECOND, tcp_opening: 300 * SECOND, ..Timeouts::default() };
    let configured = with(behavior, |it| it.timeouts = timeouts);
    runs_for(&configured, Stage::Established, 1000)?;
    runs_for(&configured, Stage::Opening, 300)
}

pub(super) fn opening_and_closing(behavior: &Arc<Behavior>) -> Outcome {
    let timeouts = Timeouts { tcp_opening: 60 * SECOND, tcp_closing: 240 * SECOND, ..Timeouts::default() };
    let configured = with(behavior, |it| it.timeouts = timeouts);
    runs_for(&configured, Stage::Opening, 60)?;
    runs_for(&configured, Stage::Closing, 240)
}
