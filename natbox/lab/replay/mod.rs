//! A capture, run again: hosts send what they sent, when they sent it, through NATs that may be others.
//!
//! Hosts are matched by name. In the replay none of them has programs or sockets: they send the packets of the capture,
//! at its times, and take whatever comes. Everything else of the topology works as it always does: NATs, their servers for
//! mappings, links and chance. A packet goes to where it went. Where that was an external endpoint that a mapping had in the
//! capture, it goes to the endpoint that the same flow has now, as far as there is one: [`Difference::sent_to`] says so.
//!
//! What it leaves out: what a program would have done differently (its payloads stay as they are, with the addresses in
//! them), and what was done to the lab while the capture ran (reboots, new addresses, other behaviour, links cut and mended).

mod fate;
mod past;
mod report;
mod stage;

use std::cell::RefCell;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use natbox_world::Stalled;

use crate::capture::{CaptureError, frames};
use crate::lab::Lab;
use crate::record::{Limits, Recorder};
use crate::scenario::servers;

pub use self::fate::{End, Fate};
use self::past::Past;
pub use self::report::{Difference, Kind, Replayed};
use self::stage::{Stage, Told};

/// Packets of one capture that are replayed at the most, and their bytes.
pub const MAX_PACKETS: usize = 200_000;
/// Bytes of all packets of a capture that is replayed.
pub const MAX_BYTES: usize = 512 << 20;
/// How long the world goes on after the last packet was sent: longer than NATs hold a SYN that nobody asked for.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// What is kept of the replay.
const LIMITS: Limits = Limits { records: 16 * MAX_PACKETS, bytes: 0, summaries: false };

/// Why a capture cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// It cannot be read.
    Capture(CaptureError),
    /// It does not fit the topology, or cannot be replayed at all.
    Unfit(String),
    /// The world did not go on.
    Stalled(Stalled),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Capture(error) => error.fmt(f),
            ReplayError::Unfit(why) => f.write_str(why),
            ReplayError::Stalled(why) => write!(f, "the replay did not go on: {why}"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<CaptureError> for ReplayError {
    fn from(error: CaptureError) -> ReplayError {
        ReplayError::Capture(error)
    }
}

impl Lab {
    /// Replays a capture of this lab or of one with the same hosts, in virtual time. The scenario is left aside.
    ///
    /// ```
    /// use natbox::Lab;
    ///
    /// let lab = |nat: &str| Lab::from_yaml(&format!("
    /// nats: {{ home: {nat} }}
    /// hosts: {{ alice: {{ behind: home }}, server: {{}}, stranger: {{}} }}
    /// scenario:
    ///   - send: {{ from: 'alice:1234', to: 'server:5678', as: p1 }}
    ///   - send: {{ from: 'stranger:7777', to: p1.mapped }}
    /// "));
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("lab.pcapng");
    /// lab("full-cone")?.capture(&path).run()?;
    ///
    /// let same = lab("full-cone")?.replay(std::fs::File::open(&path)?)?;
    /// assert!(same.differences.is_empty());
    /// let stricter = lab("port-restricted-cone")?.replay(std::fs::File::open(&path)?)?;
    /// let reason = stricter.differences.iter().find_map(|difference| difference.now.reason());
    /// assert_eq!(reason, Some("filtered"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The capture cannot be read, is not natbox's, is too large, or has hosts that this lab has not.
    pub fn replay(&self, capture: impl Read) -> Result<Replayed, ReplayError> {
        let (plan, seed) = (self.plan(), self.chosen_seed());
        let mut built = plan.build_with(seed, &|_| true);
        let past = Past::read(capture, plan, &built)?;
        let recorder = built.record(LIMITS);
        let told = Rc::new(RefCell::new(Told::new(&past, &built)));
        let until = past.last_sent() + AFTERWARDS;
        built.world.open(Box::new(Stage::new(past.clone(), recorder.clone(), told.clone())));
        servers::start(plan, &built);
        built.world.run_for(until).map_err(ReplayError::Stalled)?;
        told.borrow_mut().catch_up(&recorder.log());
        report(self, seed, &past, &told.borrow(), &recorder, &built.names)
    }
}

fn report(
    lab: &Lab,
    seed: u64,
    past: &Past,
    told: &Told,
    recorder: &Recorder,
    names: &crate::record::Names,
) -> Result<Replayed, ReplayError> {
    let log = recorder.log();
    if log.truncated() {
        return Err(ReplayError::Unfit("the replay came to too much; replay a part of the capture".to_owned()));
    }
    let mut now = vec![Fate::default(); past.units.len()];
    let hosts = &past.hosts;
    for frame in frames(&log, names) {
        if let Some(unit) = frame.packet.and_then(|packet| told.unit_of(packet)) {
            now[unit].see(&frame, hosts);
        }
    }
    Ok(Replayed::of(lab, seed, past, told, now))
}

/// An external endpoint of a flow, as a NAT gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exit {
    nat: String,
    external: SocketAddr,
}
