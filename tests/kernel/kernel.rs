//! The witness: Linux netfilter in the network namespace that this process runs in, which it made itself.
//!
//! Two TUN devices, the kernel forwarding between them and nftables translating. The kernel works a packet off while it is
//! being written to a device, so what comes out of it can be read when the write returns.
//!
//! Timers run in compressed time ([`crate::variant::TIMERS`]), and sequences on a grid of slots of 1.5 s. All sequences of a
//! batch run at once, each in a lane of its own.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use natbox_wire::Packet;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::lane::{BOX_INSIDE, LAST, Lane, WIDTH};
use crate::play::{Device, Play, Side};
use crate::script::{SLOT_MILLISECONDS, Script};
use crate::variant;

/// The kernel as a box with two sides.
pub(crate) struct Kernel {
    inside: SyncDevice,
    outside: SyncDevice,
    /// Lanes that were used since the tracker was last empty, by variant.
    used: [u32; variant::ALL.len()],
    /// What the timers were set to in the fresh namespace, in seconds, in the order of [`variant::TIMERS`].
    shipped: Vec<String>,
}

/// Packets of a slot may be late by so much; a timer is 0.5 s away at least.
const LATE: Duration = Duration::from_millis(200);
/// Scripts begin at so many times, spread over a slot, so that there is less to do at each.
const PHASES: usize = 5;
/// Scripts that are played at once, so that a busy machine keeps the time.
const AT_ONCE: usize = 1000;
/// So few are not too many for any machine.
const FEW: usize = 100;
/// The lanes below [`variant::STRIDE`] are nobody's; of the others one in so many is of one variant.
const LANES_A_VARIANT: u32 = LAST / variant::STRIDE - 1;
/// After so long without a packet every entry is gone.
const OUTLIVED: Duration = Duration::from_secs(11);

impl Kernel {
    /// Sets the namespace up. The error says what this machine refuses.
    pub(crate) fn new() -> Result<Kernel, String> {
        let device = |name: &str| {
            let device = DeviceBuilder::new().name(name).mtu(1500).build_sync();
            let device = device.map_err(|error| format!("no TUN device: {error}"))?;
            device.set_nonblocking(true).map_err(|error| format!("TUN device: {error}"))?;
            Ok::<SyncDevice, String>(device)
        };
        let shipped = variant::TIMERS.iter().map(|timer| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{}", timer.sysctl);
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        });
        let shipped = shipped.collect::<Result<Vec<String>, String>>()?;
        for (name, value) in sysctls() {
            let path = format!("/proc/sys/net/{name}");
            fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        let (inside, outside) = (device("inside0")?, device("outside0")?);
        feed("ip", &["-batch", "-"], &addresses())?;
        feed("nft", &["-f", "-"], &rules())?;
        Ok(Kernel { inside, outside, used: [0; variant::ALL.len()], shipped })
    }

    /// The timers that the kernel ships with other than the table says, in words.
    pub(crate) fn shipped_otherwise(&self) -> Vec<String> {
        let timers = variant::TIMERS.iter().zip(&self.shipped);
        let other = timers.filter(|(timer, shipped)| shipped.trim() != timer.shipped_seconds.to_string());
        other
            .map(|(timer, shipped)| format!("{}: {}, not {}", timer.sysctl, shipped.trim(), timer.shipped_seconds))
            .collect()
    }

    /// Plays scripts, as many at once as there are lanes, and tells what the kernel did. `Err` if the machine was too busy
    /// to keep the time.
    pub(crate) fn testify(&mut self, scripts: &[Script]) -> Result<Vec<Script>, String> {
        let mut testimony: Vec<Option<Script>> = vec![None; scripts.len()];
        for batch in batches(scripts) {
            let asked: Vec<Script> = batch.iter().map(|at| scripts[*at].clone()).collect();
            for (at, said) in batch.into_iter().zip(self.on_time(&asked)?) {
                testimony[at] = Some(said);
            }
        }
        Ok(testimony.into_iter().flatten().collect())
    }

    /// Plays scripts at once; if time was not kept, again, fewer at once.
    fn on_time(&mut self, scripts: &[Script]) -> Result<Vec<Script>, String> {
        let mut late = Duration::ZERO;
        for _ in 0..5 {
            match self.once(scripts) {
                Ok(testimony) => return Ok(testimony),
                Err(_) if scripts.len() > FEW => {
                    let (one, other) = scripts.split_at(scripts.len() / 2);
                    return Ok([self.on_time(one)?, self.on_time(other)?].concat());
                }
                Err(by) => late = late.max(by),
            }
        }
        Err(format!("this machine was {} ms late for a packet, five times", late.as_millis()))
    }

    fn once(&mut self, scripts: &[Script]) -> Result<Vec<Script>, Duration> {
        let lanes = self.lanes(scripts);
        let mut plays: Vec<Play> = scripts.iter().zip(lanes).map(|(script, lane)| Play::new(script, lane)).collect();
        let slots = 1 + scripts.iter().map(Script::last_slot).max().unwrap_or(0);
        let start = Instant::now();
        for (tick, (slot, phase)) in (0..slots).flat_map(|slot| (0..PHASES).map(move |phase| (slot, phase))).enumerate()
        {
            let due = Duration::from_millis(SLOT_MILLISECONDS) * tick as u32 / PHASES as u32;
            sleep(due.saturating_sub(start.elapsed()));
            forget_expired();
            for play in plays.iter_mut().skip(phase).step_by(PHASES) {
                play.play_slot(slot, self);
            }
            let late = start.elapsed() - due;
            if late > LATE {
                return Err(late);
            }
        }
        Ok(plays.into_iter().map(Play::finish).collect())
    }

    /// A fresh lane of the right variant for each script. Lanes are used again when nothing is left in them.
    fn lanes(&mut self, scripts: &[Script]) -> Vec<Lane> {
        let mut wanted = [0; variant::ALL.len()];
        scripts.iter().for_each(|script| wanted[index(script)] += 1);
        if self.used.iter().zip(wanted).any(|(used, wanted)| used + wanted > LANES_A_VARIANT) {
            sleep(OUTLIVED);
            forget_expired();
            self.used = [0; variant::ALL.len()];
        }
        let lane = |script: &Script| {
            let index = index(script);
            self.used[index] += 1;
            Lane(self.used[index] * variant::STRIDE + index as u32)
        };
        scripts.iter().map(lane).collect()
    }

    fn drain(&mut self, out: &mut Vec<(Side, Packet)>) {
        let mut buffer = [0; 2048];
        for (side, device) in [(Side::Inside, &self.inside), (Side::Outside, &self.outside)] {
            while let Ok(length) = device.recv(&mut buffer) {
                match Packet::parse(buffer[..length].to_vec()) {
                    Ok(packet) if !packet.is_ipv6() => out.push((side, packet)),
                    _ => {}
                }
            }
        }
    }
}

fn index(script: &Script) -> usize {
    variant::index(&script.variant).expect("a known variant")
}

/// Which scripts are played at once: as many as can be, of every variant as many as it has lanes, the variants in turn.
fn batches(scripts: &[Script]) -> Vec<Vec<usize>> {
    let mut waiting = vec![VecDeque::new(); variant::ALL.len()];
    scripts.iter().enumerate().for_each(|(at, script)| waiting[index(script)].push_back(at));
    let mut batches = Vec::new();
    while waiting.iter().any(|waiting| !waiting.is_empty()) {
        let mut batch = Vec::new();
        for _ in 0..LANES_A_VARIANT {
            if batch.len() < AT_ONCE {
                batch.extend(waiting.iter_mut().filter_map(VecDeque::pop_front));
            }
        }
        batches.push(batch);
    }
    batches
}

impl Device for Kernel {
    fn pass(&mut self, from: Side, packet: &Packet) -> Vec<(Side, Packet)> {
        let mut out = Vec::new();
        let device = match from {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        };
        // The kernel refuses nothing that parses; what it drops simply does not come out.
        device.send(packet.bytes()).expect("a TUN device that is up takes packets");
        self.drain(&mut out);
        out
    }
}

/// Reading the table makes the kernel drop what has expired (nf_conntrack_standalone.c, ct_seq_show). Else an entry that no
/// packet asks for lingers up to a minute, and new flows may still take over its port (nf_nat_core.c,
/// find_appropriate_src), depending on when the kernel's collector comes by.
fn forget_expired() {
    // A kernel without the file has its collector only; entries then linger, and the retry tells chance from fact.
    let _ = fs::read("/proc/net/nf_conntrack");
}

fn sysctls() -> Vec<(String, String)> {
    let mut all = vec![
        ("ipv6/conf/all/disable_ipv6".to_owned(), "1".to_owned()),
        ("ipv6/conf/default/disable_ipv6".to_owned(), "1".to_owned()),
        ("ipv4/ip_forward".to_owned(), "1".to_owned()),
        ("ipv4/conf/all/rp_filter".to_owned(), "0".to_owned()),
        ("ipv4/conf/default/rp_filter".to_owned(), "0".to_owned()),
        ("ipv4/conf/all/send_redirects".to_owned(), "0".to_owned()),
        ("ipv4/conf/default/send_redirects".to_owned(), "0".to_owned()),
        ("ipv4/icmp_ratemask".to_owned(), "0".to_owned()),
        ("netfilter/nf_conntrack_tcp_loose".to_owned(), "1".to_owned()),
        ("netfilter/nf_conntrack_tcp_be_liberal".to_owned(), "0".to_owned()),
        ("netfilter/nf_conntrack_tcp_max_retrans".to_owned(), "3".to_owned()),
    ];
    for timer in &variant::TIMERS {
        all.push((format!("netfilter/nf_conntrack_{}", timer.sysctl), timer.compressed_seconds.to_string()));
    }
    // A namespace of a user who is not root may lack the first of them where IPv6 is off.
    if fs::metadata("/proc/sys/net/ipv6").is_err() {
        all.retain(|(name, _)| !name.starts_with("ipv6/"));
    }
    all
}

/// What `ip -batch` reads.
fn addresses() -> String {
    let mut batch = format!("link set lo up\naddress add {BOX_INSIDE}/8 dev inside0\n");
    for lane in 1..=LAST {
        let _ = writeln!(batch, "address add {}/28 dev outside0 noprefixroute", Lane(lane).external());
    }
    batch + "link set inside0 up\nlink set outside0 up\nroute add 198.18.0.0/15 dev outside0\n"
}

/// What `nft -f` reads. A lane's variant is its number modulo a power of two: some bits of its addresses.
fn rules() -> String {
    let (mut output, mut input, mut forward, mut pools) = (String::new(), String::new(), String::new(), String::new());
    let mask = std::net::Ipv4Addr::from_bits((variant::STRIDE - 1) * WIDTH);
    for (index, variant) in variant::ALL.iter().enumerate() {
        let bits = std::net::Ipv4Addr::from_bits(index as u32 * WIDTH);
        for translation in variant.source_nat.iter().filter(|_| !variant.has_pool()) {
            let _ = writeln!(output, "oifname outside0 ip saddr & {mask} == {bits} {translation}");
        }
        if variant.has_pool() {
            let _ = writeln!(output, "oifname outside0 ip saddr & {mask} == {bits} jump pool{index}");
            let _ = writeln!(pools, "chain pool{index} {{ {} }}", pool_rules(index as u32, variant.source_nat));
        }
        for verdict in variant.input {
            let _ = writeln!(input, "ip daddr & {mask} == {bits} {verdict}");
        }
        if variant.drops_invalid {
            let _ = writeln!(forward, "iifname inside0 ip saddr & {mask} == {bits} ct state invalid drop");
            let _ = writeln!(forward, "iifname outside0 ip daddr & {mask} == {bits} ct state invalid drop");
        }
    }
    format!(
        "table ip natbox {{
{pools}
chain out {{ type nat hook postrouting priority srcnat; {output} }}
chain in {{ type filter hook input priority filter; {input} }}
chain pass {{ type filter hook forward priority filter; {forward} }}
}}\n"
    )
}

/// Every lane of a variant translates to a pool of its own.
fn pool_rules(index: u32, translations: &[&str]) -> String {
    let mut rules = String::new();
    for lane in (1..=LANES_A_VARIANT).map(|number| Lane(number * variant::STRIDE + index)) {
        let [first, .., last] = lane.pool();
        for translation in translations {
            let translation = translation.replace("POOL", &format!("{first}-{last}"));
            let _ = writeln!(rules, "ip saddr {} {translation}", lane.inside());
        }
    }
    rules
}

/// Runs a command with this on its standard input.
fn feed(command: &str, arguments: &[&str], text: &str) -> Result<(), String> {
    let spawned = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| format!("no `{command}`: {error}"))?;
    let fed = child.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let done = child.wait_with_output().map_err(|error| format!("{command}: {error}"))?;
    match (done.status.success(), fed) {
        (true, Some(Ok(()))) => Ok(()),
        _ => {
            let says = String::from_utf8_lossy(&done.stderr).into_owned();
            let refused = ["not permitted", "not supported", "No such file"].iter().any(|why| says.contains(why));
            // What is not a right or a part of the kernel that is missing is our own mistake.
            assert!(refused, "`{command}` says: {says}");
            Err(format!("`{command}` says: {}", says.lines().next().unwrap_or_default()))
        }
    }
}
