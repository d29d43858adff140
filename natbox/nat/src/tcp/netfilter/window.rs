//! Which segments are in the window, as Linux judges it (net/netfilter/nf_conntrack_proto_tcp.c, after Guido van Rooij's
//! "Real Stateful TCP Packet Filtering in IP Filter").
//!
//! Left out: SACK blocks, which Linux counts as acknowledgements.

use natbox_wire::{Packet, TcpFlags};

use super::states::State;

/// A TCP segment, as far as sequence numbers go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) flags: TcpFlags,
    pub(super) sequence: u32,
    /// One past its last sequence number; SYN and FIN count.
    pub(super) end: u32,
    pub(super) acknowledgement: u32,
    pub(super) window: u16,
    /// Whether there are options at all, and the window scale among them.
    options: bool,
    scale: Option<u8>,
}

impl Segment {
    pub(super) fn of(packet: &Packet, flags: TcpFlags) -> Segment {
        let sequence = packet.tcp_sequence().unwrap_or(0);
        let length = packet.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        let header = packet.ip_payload().len() - packet.payload().len();
        const WITHOUT_OPTIONS: usize = 20;
        Segment {
            flags,
            sequence,
            end: sequence.wrapping_add(length),
            acknowledgement: packet.tcp_acknowledgement().unwrap_or(0),
            window: packet.tcp_window().unwrap_or(0),
            options: header > WITHOUT_OPTIONS,
            scale: if flags.syn { packet.tcp_window_scale().map(|scale| scale.min(MOST_SCALE)) } else { None },
        }
    }

    /// The window scale that it offers.
    pub(super) fn scale(&self) -> Option<u8> {
        self.scale
    }
}

/// What one side has sent and announced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// One past the last sequence number that it has sent.
    pub(super) end: u32,
    /// The right edge of the window that it may send in.
    pub(super) edge: u32,
    /// The largest window that it has announced; 0 as long as nothing is known of it.
    pub(super) window: u32,
    /// The highest acknowledgement that it has sent.
    pub(super) acknowledged: Option<u32>,
    /// Its window scale, and whether it offered one.
    pub(super) scale: u8,
    pub(super) scales: bool,
    /// Nobody saw it begin: it is believed whatever it sends.
    pub(super) liberal: bool,
    /// It was the first to close.
    pub(super) closed_first: bool,
    /// It has sent what the other side has not acknowledged.
    pub(super) waits: bool,
}

/// What the window says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is in the window.
    Accept,
    /// It is not, but nothing of this connection is judged.
    Believed,
    /// It passes and counts for nothing.
    Ignore,
    /// It does not pass.
    Invalid,
}

/// The largest window scale (RFC 7323 section 2.3).
const MOST_SCALE: u8 = 14;
/// Acknowledgements may lag by this much, or by the largest window.
const ACK_LAG: u32 = 66_000;

/// Whether `a` comes before `b` in the sequence space.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b`.
pub(super) fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

impl Sent {
    /// Begins with a SYN of this side.
    pub(super) fn begin(&mut self, segment: Segment) {
        self.end = segment.end;
        self.edge = segment.end;
        self.window = u32::from(segment.window).max(1);
        self.read_options(segment);
    }

    /// Begins in the middle of a connection.
    pub(super) fn begin_late(&mut self, segment: Segment) {
        self.end = segment.end;
        self.window = (u32::from(segment.window) << self.scale).max(1);
        self.edge = segment.end.wrapping_add(self.window);
    }

    fn read_options(&mut self, segment: Segment) {
        if segment.options {
            (self.scale, self.scales) = (segment.scale.unwrap_or(0), segment.scale.is_some());
            (self.closed_first, self.waits, self.acknowledged) = (false, false, None);
        }
    }

    /// The oldest acknowledgement that this side may still send, less one, when `other` has sent so much.
    fn oldest_acknowledgement(&self, other: &Sent) -> u32 {
        other.end.wrapping_sub(self.window.max(ACK_LAG)).wrapping_sub(1)
    }
}

/// Scaling counts only where both sides offer it (RFC 7323 section 2.2).
fn agree_on_scale(sender: &mut Sent, receiver: &mut Sent) {
    if !(sender.scales && receiver.scales) {
        (sender.scale, receiver.scale) = (0, 0);
    }
}

/// Judges a segment, and learns from it what may be learnt.
pub(super) fn judge(
    sender: &mut Sent,
    receiver: &mut Sent,
    segment: Segment,
    state: Option<State>,
    reply: bool,
    liberal: bool,
) -> Judgement {
    let Segment { flags, mut sequence, mut end, .. } = segment;
    let begins_again = flags.syn && after(end, sender.end) && matches!(state, Some(State::SynSent | State::SynRecv));
    if flags.syn && (sender.window == 0 || begins_again) {
        let first = sender.window == 0;
        sender.begin(segment);
        if reply {
            agree_on_scale(sender, receiver);
        }
        if !flags.ack && (first || reply) {
            return Judgement::Accept;
        }
    } else if sender.window == 0 {
        sender.begin_late(segment);
        if receiver.window == 0 {
            (receiver.end, receiver.edge) = (segment.acknowledgement, segment.acknowledgement);
        } else if segment.acknowledgement == receiver.end.wrapping_add(1) {
            receiver.end = segment.acknowledgement;
        }
    }
    // What does not acknowledge counts as acknowledging all; some stacks send RST|ACK that acknowledges nothing.
    let acknowledges = flags.ack && !(flags.rst && segment.acknowledgement == 0);
    let ack = if acknowledges { segment.acknowledgement } else { receiver.end };
    if flags.rst && sequence == 0 && state == Some(State::SynSent) {
        (sequence, end) = (sender.end, sender.end);
    }
    match place(sender, receiver, sequence, end, ack) {
        Judgement::Accept => learn(sender, receiver, segment, end, ack),
        _ if liberal || sender.liberal => return Judgement::Believed,
        judgement => return judgement,
    }
    Judgement::Accept
}

/// Where a segment lies.
fn place(sender: &mut Sent, receiver: &Sent, sequence: u32, end: u32, ack: u32) -> Judgement {
    let overtakes = !before(ack, receiver.end.wrapping_add(1));
    let lags = !after(ack, sender.oldest_acknowledgement(receiver));
    let too_old = !after(end, sender.end.wrapping_sub(receiver.window).wrapping_sub(1));
    if !before(sequence, sender.edge.wrapping_add(1)) {
        let overshoot = end.wrapping_sub(sender.edge).wrapping_add(1);
        if receiver.window == 0 || too_old || lags || overtakes || overshoot > receiver.window {
            return Judgement::Invalid;
        }
        // The receiver may take more than it has announced.
        sender.end = end;
        sender.waits = true;
        return Judgement::Ignore;
    }
    match () {
        () if overtakes => Judgement::Invalid,
        () if receiver.window != 0 && too_old || lags => Judgement::Ignore,
        () => Judgement::Accept,
    }
}

fn learn(sender: &mut Sent, receiver: &mut Sent, segment: Segment, end: u32, ack: u32) {
    let scale = if segment.flags.syn { 0 } else { sender.scale };
    let window = u32::from(segment.window) << scale;
    sender.window = sender.window.max(window);
    if after(end, sender.end) {
        sender.end = end;
        sender.waits = true;
    }
    if segment.flags.ack && sender.acknowledged.is_none_or(|highest| after(ack, highest)) {
        sender.acknowledged = Some(ack);
    }
    if receiver.window != 0 && after(end, sender.edge) {
        receiver.window = receiver.window.wrapping_add(end.wrapping_sub(sender.edge));
    }
    let edge = ack.wrapping_add(window);
    if after(edge, receiver.edge.wrapping_sub(1)) {
        receiver.edge = if window == 0 { edge.wrapping_add(1) } else { edge };
    }
    if ack == receiver.end {
        receiver.waits = false;
    }
}
