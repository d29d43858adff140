//! The two sides of a capture that grows while a world runs: an observer, and the thread that writes.
//!
//! The world's thread copies notes into a buffer, and never waits for the disk: what does not fit is counted, and
//! the capture's statistics say so. The writer's thread takes the whole buffer, lets more gather meanwhile, and hands what is complete
//! to the file: within [`GATHERED`] and [`HELD_BACK`] of its happening.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use natbox_wire::Time;
use natbox_world::note::{Event, InterfaceId, LinkFate, NodeId, Note, Observer, Outcome, PacketId, PacketRef};

use super::stream::{HELD_BACK, Stream};
use super::{CaptureError, Written};
use crate::output::Appearing;
use crate::record::{Names, Step, What};

/// How long notes gather before they are written.
const GATHERED: Duration = Duration::from_millis(20);
/// How much may wait for the writer: packet bytes, and notes.
const BUFFER_BYTES: usize = 32 << 20;
const BUFFER_NOTES: usize = 100_000;

/// A capture that a thread of its own writes. Ends when this is dropped, or with [`Growing::finish`], which says how.
pub struct Growing {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<Written, CaptureError>>>,
    names: Names,
}

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
}

/// What waits for the writer.
#[derive(Default)]
struct Buffer {
    items: Vec<Item>,
    bytes: Vec<u8>,
    missed: BTreeMap<(NodeId, Option<InterfaceId>), u64>,
    ended: bool,
    /// Nobody writes any more.
    broken: bool,
    awaited: Awaited,
}

/// What the writer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    /// It is at work.
    #[default]
    Nothing,
    /// Whatever there is to do.
    Anything,
    /// That much has gathered.
    Much,
}

enum Item {
    /// A packet, whose bytes are the next of the buffer's.
    Packet {
        at: Time,
        node: NodeId,
        id: PacketId,
        cause: Option<PacketId>,
        interface: Option<InterfaceId>,
        step: Step,
        length_bytes: usize,
    },
    Other(Time, NodeId, What),
    Names(Box<Names>),
}

impl Growing {
    /// Begins a capture file: it is there, with its head, when this returns.
    ///
    /// # Errors
    /// It cannot be written; what was there before is still there.
    pub fn begin(path: &Path, names: &Names) -> Result<Growing, CaptureError> {
        let mut stream = Stream::new(Appearing::open(path)?, names.clone())?;
        stream.file().0.appear()?;
        let shared = Arc::<Shared>::default();
        let work = {
            let shared = shared.clone();
            move || shared.write(stream)
        };
        let writer = std::thread::Builder::new().name("natbox-capture".into()).spawn(work)?;
        Ok(Growing { shared, writer: Some(writer), names: names.clone() })
    }

    /// What a world is to be observed with.
    pub fn observer(&self) -> Box<dyn Observer> {
        let nodes = self.names.nodes().map(|(id, _)| id);
        let networks = nodes.filter(|id| self.names.is_network(*id)).collect();
        Box::new(Noting { shared: self.shared.clone(), networks })
    }

    /// What things are called from now on, if it is not what they were called.
    pub fn rename(&mut self, names: &Names) {
        if *names != self.names {
            self.names = names.clone();
            self.shared.lock().items.push(Item::Names(Box::new(names.clone())));
        }
    }

    /// Ends the capture, and says how many packets are in it.
    ///
    /// # Errors
    /// It could not be written, at whatever time.
    pub fn finish(mut self) -> Result<Written, CaptureError> {
        self.end()
    }

    fn end(&mut self) -> Result<Written, CaptureError> {
        let Some(writer) = self.writer.take() else { return Ok(Written::default()) };
        self.shared.lock().ended = true;
        self.shared.filled.notify_one();
        let panicked = |_| Err(CaptureError::Io(io::Error::other("its writer has panicked")));
        writer.join().unwrap_or_else(panicked)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut stream: Stream<Appearing>) -> Result<Written, CaptureError> {
        let written = self.write_all(&mut stream);
        if written.is_err() {
            let mut buffer = self.lock();
            *buffer = Buffer { broken: true, ..Buffer::default() };
            drop(buffer);
            let (file, whole) = stream.file();
            file.cut(whole);
        }
        written
    }

    fn write_all(&self, stream: &mut Stream<Appearing>) -> Result<Written, CaptureError> {
        let mut taken = Buffer::default();
        loop {
            let idle = self.take(&mut taken, stream.waits());
            let mut bytes = taken.bytes.as_slice();
            for item in taken.items.drain(..) {
                write_item(stream, item, &mut bytes)?;
            }
            for ((node, interface), packets) in std::mem::take(&mut taken.missed) {
                stream.missed(node, interface, packets)?;
            }
            taken.bytes.clear();
            if taken.ended {
                return stream.finish();
            }
            stream.flush(idle)?;
        }
    }

    /// Waits until there is something, lets more gather, and takes it. Says whether nothing has come for so long that nothing
    /// more belongs to what was there before.
    fn take(&self, taken: &mut Buffer, waits: bool) -> bool {
        let mut buffer = self.lock();
        while buffer.is_empty() {
            buffer.awaited = Awaited::Anything;
            if waits {
                let (again, timeout) =
                    self.filled.wait_timeout(buffer, HELD_BACK).unwrap_or_else(PoisonError::into_inner);
                buffer = again;
                if timeout.timed_out() && buffer.is_empty() {
                    return true;
                }
            } else {
                buffer = self.filled.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if !buffer.ended && !buffer.is_half_full() {
            buffer.awaited = Awaited::Much;
            let few = |buffer: &mut Buffer| !buffer.ended && !buffer.is_half_full();
            let gather = self.filled.wait_timeout_while(buffer, GATHERED, few);
            buffer = gather.unwrap_or_else(PoisonError::into_inner).0;
        }
        buffer.awaited = Awaited::Nothing;
        std::mem::swap(&mut *buffer, taken);
        // The two take turns; what has ended has ended for both.
        buffer.ended = taken.ended;
        false
    }
}

fn write_item<W: Write>(stream: &mut Stream<W>, item: Item, bytes: &mut &[u8]) -> Result<(), CaptureError> {
    match item {
        Item::Packet { at, node, id, cause, interface, step, length_bytes } => {
            let (own, rest) = bytes.split_at(length_bytes.min(bytes.len()));
            *bytes = rest;
            let packet = PacketRef { id, cause, bytes: own };
            let event = packet_event(step, interface, packet);
            event.map_or(Ok(()), |event| stream.note(&Note { at, node, event }))
        }
        Item::Other(at, node, what) => {
            let event = other_event(&what);
            event.map_or(Ok(()), |event| stream.note(&Note { at, node, event }))
        }
        Item::Names(names) => stream.rename(*names),
    }
}

fn packet_event(step: Step, interface: Option<InterfaceId>, packet: PacketRef<'_>) -> Option<Event<'_>> {
    Some(match (step, interface) {
        (Step::Sent(fate), Some(interface)) => Event::Sent { interface, packet, fate },
        (Step::Received(outcome), Some(interface)) => Event::Received { interface, packet, outcome },
        (Step::Dropped(reason), _) => Event::Dropped { packet, reason },
        (Step::Released(outcome), _) => Event::Released { packet, outcome },
        (Step::Made(mapping), _) => Event::Made { packet, mapping },
        (Step::Sent(_) | Step::Received(_), None) => return None,
    })
}

fn other_event(what: &What) -> Option<Event<'_>> {
    Some(match what {
        What::Packet(_) => return None,
        What::MappingEnded(ended) => Event::MappingEnded(*ended),
        What::Control(mapping, what) => Event::Control { mapping, what: *what },
        What::Rebooted => Event::Rebooted,
        What::Readdressed => Event::Readdressed,
        What::Reconfigured(before, after) => Event::Reconfigured { before, after },
        What::Relinked(interface) => Event::Relinked(*interface),
        What::Cut(interface) => Event::Cut(*interface),
        What::Moved(interface) => Event::Moved(*interface),
        What::Preferred(interface) => Event::Preferred(*interface),
        What::Mended(interface) => Event::Mended(*interface),
    })
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.missed.is_empty() && !self.ended
    }

    fn is_half_full(&self) -> bool {
        self.bytes.len() >= BUFFER_BYTES / 2 || self.items.len() >= BUFFER_NOTES / 2
    }

    fn has_room(&self, length_bytes: usize) -> bool {
        self.bytes.len() + length_bytes <= BUFFER_BYTES && self.items.len() < BUFFER_NOTES
    }
}

/// The world's side.
struct Noting {
    shared: Arc<Shared>,
    networks: BTreeSet<NodeId>,
}

impl Observer for Noting {
    fn note(&mut self, note: &Note<'_>) {
        let (interface, packet, step) = match note.event {
            Event::Sent { interface, packet, fate } => (Some(interface), packet, Step::Sent(fate)),
            Event::Received { interface, packet, outcome } => (Some(interface), packet, Step::Received(outcome)),
            Event::Dropped { packet, reason } => (None, packet, Step::Dropped(reason)),
            Event::Released { packet, outcome } => (None, packet, Step::Released(outcome)),
            Event::Made { packet, mapping } => (None, packet, Step::Made(mapping)),
            Event::MappingEnded(ended) => return self.other(note, What::MappingEnded(ended)),
            Event::Control { mapping, what } => {
                return self.other(note, What::Control(Box::new(mapping.clone()), what));
            }
            Event::Rebooted => return self.other(note, What::Rebooted),
            Event::Readdressed => return self.other(note, What::Readdressed),
            Event::Reconfigured { before, after } => {
                return self.other(note, What::Reconfigured(before.clone(), after.clone()));
            }
            Event::Relinked(interface) => return self.other(note, What::Relinked(interface)),
            Event::Cut(interface) => return self.other(note, What::Cut(interface)),
            Event::Mended(interface) => return self.other(note, What::Mended(interface)),
            Event::Moved(interface) => return self.other(note, What::Moved(interface)),
            Event::Preferred(interface) => return self.other(note, What::Preferred(interface)),
        };
        if !self.is_passed_on(note.node, packet, step) {
            self.packet(note, interface, packet, step);
        }
    }
}

impl Noting {
    /// What a router passes on shows on both sides of it, and not at it.
    fn is_passed_on(&self, node: NodeId, packet: PacketRef<'_>, step: Step) -> bool {
        let plain = match step {
            Step::Received(outcome) => outcome == Outcome::Routed,
            Step::Sent(fate) => !matches!(fate, LinkFate::Dropped(_)),
            Step::Dropped(_) | Step::Released(_) | Step::Made(_) => false,
        };
        plain && packet.cause.is_none() && self.networks.contains(&node)
    }

    fn packet(&self, note: &Note<'_>, interface: Option<InterfaceId>, packet: PacketRef<'_>, step: Step) {
        let mut buffer = self.shared.lock();
        if buffer.broken {
            return;
        }
        if !buffer.has_room(packet.bytes.len()) {
            *buffer.missed.entry((note.node, interface)).or_default() += 1;
            return;
        }
        let (id, cause, length_bytes) = (packet.id, packet.cause, packet.bytes.len());
        buffer.bytes.extend_from_slice(packet.bytes);
        buffer.items.push(Item::Packet { at: note.at, node: note.node, id, cause, interface, step, length_bytes });
        self.wake(buffer);
    }

    fn other(&self, note: &Note<'_>, what: What) {
        let mut buffer = self.shared.lock();
        // These are few, and small: they have twice the room.
        if !buffer.broken && buffer.items.len() < 2 * BUFFER_NOTES {
            buffer.items.push(Item::Other(note.at, note.node, what));
            self.wake(buffer);
        }
    }

    /// Wakes a writer that waits for this.
    fn wake(&self, mut buffer: MutexGuard<'_, Buffer>) {
        let comes = match buffer.awaited {
            Awaited::Nothing => false,
            Awaited::Anything => true,
            Awaited::Much => buffer.is_half_full(),
        };
        if comes {
            buffer.awaited = Awaited::Nothing;
            drop(buffer);
            self.shared.filled.notify_one();
        }
    }
}
