//! The thread that a live lab's world lives on: it lets the world run, and does with it what it is told.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use natbox_live::{Driver, LiveError, Tun};

use crate::build::Built;
use crate::capture::{CaptureError, Growing};
use crate::live::hosts::is_real;
use crate::live::tally::Counts;
use crate::plan::Plan;
use crate::scenario::servers;

type Job = Box<dyn FnOnce(&mut Lively) + Send>;

/// A world that runs, and what belongs to it.
pub(super) struct Lively {
    pub(super) built: Built,
    pub(super) plan: Plan,
    capturing: Option<Capturing>,
    /// What goes through, since somebody has asked.
    counts: Option<Counts>,
}

impl Lively {
    /// The counts; they begin with the first call.
    pub(super) fn counts(&mut self) -> Counts {
        let Lively { built, capturing, counts, .. } = self;
        let begin = || {
            let counts = Counts::default();
            built.world.observe(counts.observer(capturing.as_ref().map(|capturing| capturing.growing.observer())));
            counts
        };
        counts.get_or_insert_with(begin).clone()
    }
}

/// The thread, and the way to it.
pub(super) struct WorldThread {
    jobs: UnboundedSender<Job>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl WorldThread {
    /// Starts the world of a plan, with these devices for its real hosts, in the order of the plan.
    pub(super) fn start(
        plan: &Plan,
        seed: u64,
        devices: Vec<(String, Vec<Tun>)>,
        capture: Option<PathBuf>,
    ) -> Result<WorldThread, LiveError> {
        let (jobs, inbox) = unbounded();
        let (ready, started) = mpsc::channel();
        let plan = plan.clone();
        let work = move || {
            let mut lively = match open(plan, seed, devices) {
                Ok(lively) => lively,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return Ok(());
                }
            };
            match capture.map(|path| Capturing::begin(path, &mut lively)).transpose() {
                Ok(capturing) => lively.capturing = capturing,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return Ok(());
                }
            }
            let _ = ready.send(Ok(()));
            let run = run(&mut lively, inbox);
            run.and(lively.capturing.map_or(Ok(()), Capturing::finish))
        };
        let thread = std::thread::Builder::new().name("natbox-world".into()).spawn(work);
        let thread = Some(thread.map_err(LiveError::system("start the world's thread"))?);
        let gone = |_| Err(LiveError::Stopped("it did not come up".into()));
        started.recv().unwrap_or_else(gone).map(|()| WorldThread { jobs, thread })
    }

    /// Has something done with the world, between two of its events.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Lively) -> R + Send + 'static,
    ) -> Result<R, LiveError> {
        let gone = || LiveError::Stopped("its world has ended".into());
        let (answer, result) = mpsc::channel();
        let job: Job = Box::new(move |lively| drop(answer.send(job(lively))));
        self.jobs.unbounded_send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }

    /// Ends the world, and says what went wrong with it.
    pub(super) fn stop(&mut self) -> Result<(), LiveError> {
        self.jobs.close_channel();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err("its world's thread has panicked".into())).map_err(LiveError::Stopped)
    }
}

impl Drop for WorldThread {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// What waits for the devices of real hosts.
pub(super) fn driver(built: &Built, devices: Vec<(String, Vec<Tun>)>) -> Result<Driver, LiveError> {
    let mut driver = Driver::new().map_err(LiveError::system("wait for devices"))?;
    for (host, tuns) in devices {
        let uplinks = built.machine(&host).map(|machine| machine.uplinks.clone()).unwrap_or_default();
        for (interface, tun) in uplinks.into_iter().zip(tuns) {
            driver.attach(interface, tun).map_err(LiveError::system("wait for a device"))?;
        }
    }
    Ok(driver)
}

fn open(plan: Plan, seed: u64, devices: Vec<(String, Vec<Tun>)>) -> Result<Lively, LiveError> {
    let mut built = plan.build_with(seed, &is_real);
    let driver = driver(&built, devices)?;
    built.world.open(Box::new(driver));
    servers::start(&plan, &built);
    built.world.run_for(Duration::ZERO).map_err(|why| LiveError::Stopped(why.to_string()))?;
    Ok(Lively { built, plan, capturing: None, counts: None })
}

/// Until nobody can ask for anything any more.
fn run(lively: &mut Lively, mut inbox: UnboundedReceiver<Job>) -> Result<(), String> {
    loop {
        match lively.built.world.run_until(inbox.next()) {
            Ok(Some(job)) => job(lively),
            Ok(None) => return Ok(()),
            Err(stalled) => return Err(stalled.to_string()),
        }
        if let Some(capturing) = &mut lively.capturing {
            capturing.growing.rename(&lively.built.names);
        }
    }
}

/// The capture of a world, written while it runs.
struct Capturing {
    path: PathBuf,
    growing: Growing,
}

impl Capturing {
    fn begin(path: PathBuf, lively: &mut Lively) -> Result<Capturing, LiveError> {
        let failed = |error| LiveError::Refused(cannot_write(&path, &error));
        let growing = Growing::begin(&path, &lively.built.names).map_err(failed)?;
        lively.built.world.observe(growing.observer());
        Ok(Capturing { path, growing })
    }

    fn finish(self) -> Result<(), String> {
        self.growing.finish().map(drop).map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &CaptureError) -> String {
    format!("cannot write {}: {error}", path.display())
}
