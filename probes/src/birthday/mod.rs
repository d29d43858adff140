//! Birthday punching: many sockets on one side, many random ports tried by the other, until one meets one.
//!
//! ```text
//! easy side, one mapping for all                        hard side, another mapping for every remote
//!   | <= "erratic" / "stable, 198.18.0.3:4000" ========> |    what STUN servers saw, through the directory
//!   |            its NAT <-------- check, from 256 sockets |    256 random ports that only the easy side may send to
//!   | <========================================= "open" |
//!   | check to random ports ------> its NAT              |    100 a second, no port twice
//!   |      ... ------------------> hit ----------------> |    after 174 tries as likely as not
//!   | <----------------------------------------- answer |    both go on with this socket and nothing else
//! ```
//!
//! The share of hits after `b` probes of `n` ports, `a` of which are open, is [`chance`]. With Tailscale's numbers ("How NAT
//! traversal works"): 256 sockets, 100 probes a second; hyperdht has a probe every 20 ms, 1,750 of them. Where both sides are
//! hard, both open sockets and both probe from all of them: then a probe has to leave by the very port that the other side
//! guesses, too, and with the usual budget it is all but hopeless. It ends with the budget, and says so.
//!
//! Leaves out a guess of the range that a NAT takes its ports from: all from 1025 up are tried, or those that the setting
//! names.

mod field;
mod ports;

use natbox_host::Host;
use natbox_wire::Word;

use crate::ProbeError;
use crate::contact::{Contact, Failure, Setting};
use crate::observe::{self, Meeting, Rule};
use field::{Field, Found};

pub use ports::chance;

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what was spent in vain.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    punch(host, setting, observe::call(host, setting, peer).await?).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or what was spent in vain.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    punch(host, setting, observe::answer(host, setting).await?).await
}

/// Whether a side has another mapping for every remote endpoint.
fn is_hard(rule: Rule) -> bool {
    matches!(rule, Rule::Stepping | Rule::Erratic)
}

async fn punch<H: Host>(
    host: &H,
    setting: &Setting,
    (mut meeting, socket): (Meeting<H>, H::Udp),
) -> Result<Contact<H>, Failure> {
    let (own, peers) = (is_hard(meeting.own.rule), is_hard(meeting.peer.rule));
    let mut facts = meeting.own.facts();
    facts.insert("peer_rule", meeting.peer.rule.as_str().into());
    if !own && !peers {
        let came = meeting.punch(host, setting, socket, &[meeting.peer.next]).await;
        return observe::outcome(came, facts);
    }
    let mut field = Field::new(host, &meeting, setting.options.deadline(meeting.began));
    let tried = search(setting, &mut meeting, &mut field, socket).await;
    facts.insert("sockets", field.opened.into());
    facts.insert("probes", field.sent.into());
    let elapsed = host.now().since(meeting.began);
    match tried {
        Ok(Some(Found { socket, remote, number })) => {
            facts.extend(number.map(|number| ("hit", number.into())));
            let came = meeting.punch(host, setting, socket, &[remote]).await;
            observe::outcome(came, facts)
        }
        Ok(None) => Err(vain(&field, own && peers, elapsed).with_facts(facts)),
        Err(error) => Err(Failure::early(error, elapsed).with_facts(facts)),
    }
}

/// Opens, tells the other side, and tries what there is to try.
async fn search<H: Host>(
    setting: &Setting,
    meeting: &mut Meeting<H>,
    field: &mut Field<H>,
    socket: H::Udp,
) -> Result<Option<Found<H::Udp>>, ProbeError> {
    let (own, peers) = (is_hard(meeting.own.rule), is_hard(meeting.peer.rule));
    if own {
        drop(socket);
        field.open(setting, peers).await?;
        meeting.signal.send(b"open").await?;
    } else {
        field.add(socket);
    }
    if peers {
        if meeting.signal.recv(setting.options.deadline(meeting.began)).await?.is_none() {
            return Ok(None);
        }
        let found = field.probe(setting).await?;
        if found.is_none() {
            meeting.signal.send(b"over").await?;
        }
        return Ok(found);
    }
    field.wait(&mut meeting.signal).await
}

fn vain<H: Host>(field: &Field<H>, both: bool, elapsed: std::time::Duration) -> Failure {
    let (sockets, probes) = (field.opened, field.sent);
    let spent = format!("{probes} probes from {sockets} sockets met nothing of the peer's");
    let failure = Failure::vain(spent, elapsed);
    if both { failure.remark("both sides have another port for every remote endpoint") } else { failure }
}
