//! A program that is watched: what it writes and its end, for futures on any thread.
//!
//! Threads of the program's own read its output and wait for it; whoever waits here is woken by them.

use std::future::poll_fn;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::LiveError;

/// So much of each output is kept, in bytes; what comes later is read and forgotten.
const OUTPUT_BYTES: usize = 1 << 20;
/// So much is read at once, in bytes.
const CHUNK_BYTES: usize = 8 << 10;

/// What a program has come to.
#[derive(Debug, Default)]
pub struct Seen {
    /// What it has written to standard output.
    pub stdout: Vec<u8>,
    /// What it has written to standard error.
    pub stderr: Vec<u8>,
    /// Whether some of that was too much to be kept.
    pub truncated: bool,
    /// Its exit code, once it has ended; 128 and the number of the signal that has ended it.
    pub exit: Option<u8>,
    /// How many of its outputs can still come to something: others may have them too, which it has started.
    pub open: usize,
    waker: Option<Waker>,
}

impl Seen {
    /// Whether a line of either output has this text, which has no line break itself.
    pub fn has(&self, text: &str) -> bool {
        self.line_with(text).is_some()
    }

    /// The first line of either output that has this text.
    pub fn line_with(&self, text: &str) -> Option<String> {
        [&self.stdout, &self.stderr].into_iter().find_map(|output| {
            let output = String::from_utf8_lossy(output);
            let at = output.find(text)?;
            let begin = output[..at].rfind('\n').map_or(0, |end| end + 1);
            output[begin..].lines().next().map(str::to_owned)
        })
    }

    fn output(&mut self, number: usize) -> &mut Vec<u8> {
        if number == 0 { &mut self.stdout } else { &mut self.stderr }
    }
}

/// A program under way, alone in its process group. It is left alone when this is dropped.
#[derive(Clone)]
pub struct Watched {
    seen: Arc<Mutex<Seen>>,
    group: Option<Pid>,
}

impl Watched {
    pub(crate) fn new(mut child: Child) -> Result<Watched, LiveError> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [stdout.map(|pipe| Box::new(pipe) as _), stderr.map(|pipe| Box::new(pipe) as _)];
        let watched = Watched { seen: Arc::default(), group };
        watched.seen().open = outputs.iter().flatten().count();
        for (number, output) in outputs.into_iter().enumerate() {
            let Some(output) = output else { continue };
            let watching = watched.clone();
            beside(move || watching.read(number, output))?;
        }
        let watching = watched.clone();
        beside(move || {
            let code = child.wait().map_or(u8::MAX, code);
            watching.change(|seen| seen.exit = Some(code));
        })?;
        Ok(watched)
    }

    /// What `look` gives, as soon as it gives something. One at a time may wait.
    pub async fn until<R>(&self, mut look: impl FnMut(&Seen) -> Option<R>) -> R {
        poll_fn(|context| {
            let mut seen = self.seen();
            match look(&seen) {
                Some(result) => Poll::Ready(result),
                None => {
                    seen.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What it has come to so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it, and what it has started in its group, to end.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it, and what it has started in its group.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // Whoever has ended may have a successor of its number.
        if let Some(group) = self.group.filter(|_| self.seen().exit.is_none()) {
            let _ = kill_process_group(group, signal);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let waker = {
            let mut seen = self.seen();
            change(&mut seen);
            seen.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn read(&self, number: usize, mut output: Box<dyn Read + Send>) {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match output.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => self.change(|seen| {
                    let room = OUTPUT_BYTES.saturating_sub(seen.output(number).len()).min(length);
                    seen.output(number).extend_from_slice(&chunk[..room]);
                    seen.truncated |= room < length;
                }),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.change(|seen| seen.open -= 1);
    }
}

fn beside(work: impl FnOnce() + Send + 'static) -> Result<(), LiveError> {
    let thread = std::thread::Builder::new().name("natbox-watch".into()).stack_size(128 << 10).spawn(work);
    thread.map(drop).map_err(LiveError::system("watch a program"))
}

/// As a shell says it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}
