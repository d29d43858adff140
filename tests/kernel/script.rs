//! Packet sequences as text: what is sent from which side, and when.
//!
//! ```text
//! # UDP keeps its port towards every remote.
//! variant: masquerade, input drop
//! 1 out udp h1:5000 > r1:7000
//!   => outside udp ext:5000 > r1:7000
//! 2 in udp r1:7000 > ext(h1:5000 r1:7000)
//!   => inside udp r1:7000 > h1:5000
//! wait 3s
//! 3 out tcp h1:5000 > r1:80 S seq 1000 ack 0 win 8192 len 0
//! 4 out echo-request h1:77 > r1:0
//! 5 in error port-unreachable r9 about 1
//! 6 out tcp h1:5000 > r1:80 S seq 1 ack 0 win 8192 len 0 scale 7 sack-permitted
//! 7 out tcp h1:5000 > r1:80 A seq 2 ack 9 win 8192 len 0 sack 20-30,50-60
//! 8 out udp h1:5000 > r1:7000 ttl 9 id 77 df
//! 9 out udp h1:5000 > r1:7000 bytes 100 cut 48 order 2,1,3
//! ```
//!
//! `h1` to `h13` are hosts inside, `r1` to `r13` remotes outside, `ext` is the box's outer address. `ext(h1:5000 r1:7000)`
//! is the external endpoint under which that flow was last seen outside. An error quotes the packet that came out of
//! the step that it is `about`. A packet with `bytes` in its payload may be `cut` into fragments of so many bytes, which
//! are sent in the given `order`. Where `ttl` or `id` is given, outcomes tell of it too. Waits are multiples of 1.5 s. Lines that begin with `=>` say what came out.
//!
//! Knows no kernel and no NAT: [`crate::play`] turns steps into packets.

use std::fmt;
use std::str::FromStr;

use natbox_wire::{Protocol, TcpFlags};

/// A whole sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// What it shows, a sentence; empty for a sequence that nobody has named.
    pub(crate) title: String,
    /// How the box is set up: an index of [`crate::variant::ALL`].
    pub(crate) variant: String,
    /// Why natbox does something else; `None` if it does the same.
    pub(crate) natbox_differs: Option<String>,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens, and what came of it when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) outcome: Vec<String>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A packet of a session, from the side of its source.
    Send { label: u32, inbound: bool, what: What, from: End, to: End, wrap: Wrap },
    /// An ICMP error about what came out of an earlier step.
    Error { label: u32, inbound: bool, error: ErrorKind, from: End, about: u32 },
    /// Time passes.
    Wait { slots: u32 },
}

/// What a packet is wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrap {
    pub(crate) ttl: Option<u8>,
    pub(crate) identification: Option<u16>,
    pub(crate) dont_fragment: bool,
    /// How much a datagram carries, if that matters.
    pub(crate) bytes: Option<u16>,
    pub(crate) cut: Option<Cut>,
}

/// The pieces of one packet on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// How much of the IP payload each holds.
    pub(crate) bytes: u16,
    /// Which of them are sent, counted from 1; 0 for no more.
    pub(crate) order: [u8; MOST_PIECES],
}

/// Of a packet.
pub(crate) const MOST_PIECES: usize = 6;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Udp,
    Tcp(Segment),
    Echo { request: bool },
}

impl What {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            What::Udp => Protocol::Udp,
            What::Tcp(_) => Protocol::Tcp,
            What::Echo { .. } => Protocol::Icmp,
        }
    }
}

/// The parts of a TCP header that a connection tracker looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flags: TcpFlags,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) window_bytes: u16,
    pub(crate) length_bytes: u16,
    pub(crate) options: Options,
}

/// The TCP options that a connection tracker reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// First sequence number, and one past the last.
    pub(crate) sack: [Option<(u32, u32)>; 2],
}

/// Where a packet comes from or goes to. For echo the port is the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// A host inside.
    Host(u8, u16),
    /// A remote outside.
    Remote(u8, u16),
    /// The box's outer address.
    External(u16),
    /// The external endpoint under which a flow from this host's port to this remote's port was seen.
    Mapped { host: (u8, u16), remote: (u8, u16) },
}

/// The kinds of ICMP error that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    PortUnreachable,
    HostUnreachable,
    TtlExceeded,
    TooBig,
    AdminProhibited,
}

const ERRORS: &[(ErrorKind, &str)] = &[
    (ErrorKind::PortUnreachable, "port-unreachable"),
    (ErrorKind::HostUnreachable, "host-unreachable"),
    (ErrorKind::TtlExceeded, "ttl-exceeded"),
    (ErrorKind::TooBig, "too-big"),
    (ErrorKind::AdminProhibited, "admin-prohibited"),
];

/// Half a second more than a whole one: no multiple of it comes nearer than half a second to a timer of whole seconds
/// that is no multiple of three.
pub(crate) const SLOT_MILLISECONDS: u64 = 1500;

impl Script {
    /// The numbers that the script uses as ports or identifiers of a protocol.
    pub(crate) fn named_ports(&self, protocol: Protocol) -> Vec<u16> {
        let of = |end: &End| match *end {
            End::Host(_, port) | End::Remote(_, port) | End::External(port) => vec![port],
            End::Mapped { host, remote } => vec![host.1, remote.1],
        };
        let sends = self.steps.iter().filter_map(|step| match &step.action {
            Action::Send { what, from, to, .. } if what.protocol() == protocol => Some([of(from), of(to)].concat()),
            _ => None,
        });
        sends.flatten().collect()
    }

    /// The same steps without what came of them.
    pub(crate) fn without_outcomes(&self) -> Script {
        let steps = self.steps.iter().map(|step| Step { action: step.action.clone(), outcome: Vec::new() }).collect();
        Script { steps, ..self.clone() }
    }

    pub(crate) fn with_outcomes(&self, outcomes: Vec<Vec<String>>) -> Script {
        let steps = self.steps.iter().zip(outcomes);
        let steps = steps.map(|(step, outcome)| Step { action: step.action.clone(), outcome }).collect();
        Script { steps, ..self.clone() }
    }

    /// The slot in which the last packet is sent, counted from 0.
    pub(crate) fn last_slot(&self) -> u32 {
        let waits = self.steps.iter().map(|step| match step.action {
            Action::Wait { slots } => slots,
            _ => 0,
        });
        waits.sum()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "# {}", self.title)?;
        }
        writeln!(f, "variant: {}", self.variant)?;
        if let Some(reason) = &self.natbox_differs {
            writeln!(f, "natbox differs: {reason}")?;
        }
        for step in &self.steps {
            writeln!(f, "{}", step.action)?;
            for outcome in &step.outcome {
                writeln!(f, "  => {outcome}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = |inbound: &bool| if *inbound { "in" } else { "out" };
        match self {
            Action::Send { label, inbound, what, from, to, wrap } => {
                let way = direction(inbound);
                match what {
                    What::Udp => write!(f, "{label} {way} udp {from} > {to}"),
                    What::Echo { request: true } => write!(f, "{label} {way} echo-request {from} > {to}"),
                    What::Echo { request: false } => write!(f, "{label} {way} echo-reply {from} > {to}"),
                    What::Tcp(segment) => write!(
                        f,
                        "{label} {way} tcp {from} > {to} {} seq {} ack {} win {} len {}",
                        letters(segment.flags),
                        segment.sequence,
                        segment.acknowledgement,
                        segment.window_bytes,
                        segment.length_bytes
                    )
                    .and_then(|()| write!(f, "{}", segment.options)),
                }?;
                write!(f, "{wrap}")
            }
            Action::Error { label, inbound, error, from, about } => {
                let name = ERRORS.iter().find(|(kind, _)| kind == error).map_or("", |(_, name)| name);
                let from = match from {
                    End::Host(host, _) => format!("h{host}"),
                    End::Remote(remote, _) => format!("r{remote}"),
                    End::External(_) | End::Mapped { .. } => "ext".to_owned(),
                };
                write!(f, "{label} {} error {name} {from} about {about}", direction(inbound))
            }
            Action::Wait { slots } => write!(f, "wait {}s", f64::from(*slots) * 1.5),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scale) = self.scale {
            write!(f, " scale {scale}")?;
        }
        if self.sack_permitted {
            f.write_str(" sack-permitted")?;
        }
        let blocks: Vec<String> = self.sack.iter().flatten().map(|(first, end)| format!("{first}-{end}")).collect();
        if blocks.is_empty() { Ok(()) } else { write!(f, " sack {}", blocks.join(",")) }
    }
}

impl fmt::Display for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [("ttl", self.ttl.map(u16::from)), ("id", self.identification), ("bytes", self.bytes)];
        for (name, number) in numbers.iter().filter_map(|(name, number)| number.map(|number| (name, number))) {
            write!(f, " {name} {number}")?;
        }
        if self.dont_fragment {
            f.write_str(" df")?;
        }
        let Some(cut) = self.cut else { return Ok(()) };
        let order: Vec<String> = cut.order.iter().filter(|piece| **piece > 0).map(u8::to_string).collect();
        write!(f, " cut {} order {}", cut.bytes, order.join(","))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Host(host, port) => write!(f, "h{host}:{port}"),
            End::Remote(remote, port) => write!(f, "r{remote}:{port}"),
            End::External(port) => write!(f, "ext:{port}"),
            End::Mapped { host, remote } => write!(f, "ext(h{}:{} r{}:{})", host.0, host.1, remote.0, remote.1),
        }
    }
}

/// A segment's flags as letters in the order S, F, R, P, A; `-` if there is none.
pub(crate) fn letters(flags: TcpFlags) -> String {
    let all = [(flags.syn, 'S'), (flags.fin, 'F'), (flags.rst, 'R'), (flags.psh, 'P'), (flags.ack, 'A')];
    let set: String = all.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    if set.is_empty() { "-".to_owned() } else { set }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Script, String> {
        let mut script =
            Script { title: String::new(), variant: String::new(), natbox_differs: None, steps: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let wrong = |why: String| format!("line {}: {why}: {line}", number + 1);
            let line = line.trim_end();
            if let Some(title) = line.strip_prefix("# ") {
                let space = if script.title.is_empty() { "" } else { "\n# " };
                script.title = format!("{}{space}{title}", script.title);
            } else if let Some(variant) = line.strip_prefix("variant: ") {
                script.variant = variant.to_owned();
            } else if let Some(reason) = line.strip_prefix("natbox differs: ") {
                script.natbox_differs = Some(reason.to_owned());
            } else if let Some(outcome) = line.trim_start().strip_prefix("=> ") {
                let step = script.steps.last_mut().ok_or_else(|| wrong("an outcome before every step".into()))?;
                step.outcome.push(outcome.to_owned());
            } else if !line.is_empty() {
                let action = line.parse().map_err(wrong)?;
                script.steps.push(Step { action, outcome: Vec::new() });
            }
        }
        if script.variant.is_empty() { Err("no line `variant: ...`".to_owned()) } else { Ok(script) }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(line: &str) -> Result<Action, String> {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["wait", time] => {
                let seconds: f64 = time.strip_suffix('s').unwrap_or(time).parse().map_err(|_| "no time".to_owned())?;
                let slots = seconds / 1.5;
                let whole = slots.fract() == 0.0 && (1.0..1000.0).contains(&slots);
                let slots = if whole { slots as u32 } else { return Err("not a multiple of 1.5s".to_owned()) };
                Ok(Action::Wait { slots })
            }
            [label, way, "error", kind, from, "about", about] => {
                let known = ERRORS.iter().find(|(_, name)| name == kind);
                let (error, _) = known.ok_or_else(|| format!("no error `{kind}`"))?;
                let from = format!("{from}:0").parse()?;
                Ok(Action::Error {
                    label: number(label)?,
                    inbound: inbound(way)?,
                    error: *error,
                    from,
                    about: number(about)?,
                })
            }
            [label, way, what, from, ">", to, rest @ ..] => {
                let mut words = rest.iter().copied();
                let what = match (*what, rest) {
                    ("udp", _) => What::Udp,
                    ("echo-request", _) => What::Echo { request: true },
                    ("echo-reply", _) => What::Echo { request: false },
                    ("tcp", [flags, "seq", seq, "ack", ack, "win", window, "len", length, more @ ..]) => {
                        What::Tcp(Segment {
                            flags: flags_of(flags)?,
                            sequence: number(seq)?,
                            acknowledgement: number(ack)?,
                            window_bytes: number(window)?,
                            length_bytes: number(length)?,
                            options: options(&mut words, more)?,
                        })
                    }
                    _ => return Err("no packet".to_owned()),
                };
                let (label, inbound) = (number(label)?, inbound(way)?);
                let wrap = wrap(&mut words)?;
                Ok(Action::Send { label, inbound, what, from: from.parse()?, to: to.parse()?, wrap })
            }
            _ => Err("no step".to_owned()),
        }
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(word: &str) -> Result<End, String> {
        if let Some(flow) = word.strip_prefix("ext(").and_then(|rest| rest.strip_suffix(')')) {
            let (host, remote) = flow.split_once(' ').ok_or_else(|| format!("no flow in `{word}`"))?;
            return match (host.parse()?, remote.parse()?) {
                (End::Host(host, port), End::Remote(remote, remote_port)) => {
                    Ok(End::Mapped { host: (host, port), remote: (remote, remote_port) })
                }
                _ => Err(format!("no flow in `{word}`")),
            };
        }
        let (name, port) = word.split_once(':').ok_or_else(|| format!("no endpoint `{word}`"))?;
        let port = number(port)?;
        match (name, name.split_at_checked(1)) {
            ("ext", _) => Ok(End::External(port)),
            (_, Some(("h", host))) => Ok(End::Host(member(host)?, port)),
            (_, Some(("r", remote))) => Ok(End::Remote(member(remote)?, port)),
            _ => Err(format!("no endpoint `{word}`")),
        }
    }
}

/// The options at the beginning of `more`; what follows them is left in `words`.
fn options<'a>(
    words: &mut std::iter::Copied<std::slice::Iter<'a, &'a str>>,
    more: &'a [&'a str],
) -> Result<Options, String> {
    let (mut options, mut more) = (Options::default(), more);
    loop {
        more = match more {
            ["scale", scale, rest @ ..] => {
                options.scale = Some(number(scale)?);
                rest
            }
            ["sack-permitted", rest @ ..] => {
                options.sack_permitted = true;
                rest
            }
            ["sack", blocks, rest @ ..] => {
                let blocks = blocks.split(',').map(|block| {
                    let (first, end) = block.split_once('-').ok_or_else(|| format!("no block `{block}`"))?;
                    Ok::<(u32, u32), String>((number(first)?, number(end)?))
                });
                let blocks = blocks.collect::<Result<Vec<_>, String>>()?;
                options.sack.iter_mut().zip(blocks).for_each(|(place, block)| *place = Some(block));
                rest
            }
            _ => break,
        };
    }
    *words = more.iter().copied();
    Ok(options)
}

fn wrap<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Wrap, String> {
    let mut wrap = Wrap::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("no value of `{word}`"));
        match word {
            "ttl" => wrap.ttl = Some(number(value()?)?),
            "id" => wrap.identification = Some(number(value()?)?),
            "bytes" => wrap.bytes = Some(number(value()?)?),
            "df" => wrap.dont_fragment = true,
            "cut" => {
                let bytes = number(value()?)?;
                let (named, order) = (value()? == "order", value()?);
                let pieces = order.split(',').map(number).collect::<Result<Vec<u8>, String>>()?;
                if !named || pieces.len() > MOST_PIECES || pieces.contains(&0) {
                    return Err(format!("no order of pieces: `{order}`"));
                }
                let mut all = [0; MOST_PIECES];
                all[..pieces.len()].copy_from_slice(&pieces);
                wrap.cut = Some(Cut { bytes, order: all });
            }
            other => return Err(format!("no packet has `{other}`")),
        }
    }
    Ok(wrap)
}

/// A line's words; `ext(h1:5 r1:7)` is one.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in line.split_whitespace() {
        match words.last_mut() {
            Some(word) if word.contains('(') && !word.ends_with(')') => *word = format!("{word} {part}"),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn member(text: &str) -> Result<u8, String> {
    let member: u8 = number(text)?;
    if (1..=13).contains(&member) { Ok(member) } else { Err(format!("hosts are 1 to 13, not {member}")) }
}

fn inbound(way: &str) -> Result<bool, String> {
    match way {
        "in" => Ok(true),
        "out" => Ok(false),
        _ => Err(format!("neither in nor out: `{way}`")),
    }
}

fn flags_of(text: &str) -> Result<TcpFlags, String> {
    let mut flags = TcpFlags::default();
    for letter in text.chars().filter(|letter| *letter != '-') {
        match letter {
            'S' => flags.syn = true,
            'F' => flags.fin = true,
            'R' => flags.rst = true,
            'P' => flags.psh = true,
            'A' => flags.ack = true,
            other => return Err(format!("no flag `{other}`")),
        }
    }
    Ok(flags)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("no number `{text}`"))
}
