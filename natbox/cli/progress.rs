//! A bar on standard error while files or cells are run, for who waits longer than a second at a terminal.
//!
//! Says nothing to files and pipes, and nothing with `--quiet`. What is run knows nothing of it.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long people wait without asking what goes on.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// The bar; gone from the terminal when it is dropped.
pub(crate) struct Progress(Option<Shown>);

struct Shown {
    bar: ProgressBar,
    /// Dropped at the end: who waits for it draws no bar any more.
    end: Option<Sender<()>>,
    drawer: Option<JoinHandle<()>>,
}

impl Progress {
    /// A bar over so many files, where somebody looks at it.
    pub(crate) fn new(files: usize, quiet: bool) -> Progress {
        if quiet || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let template = if files > 1 { "{spinner} {pos}/{len} {wide_bar} {msg}" } else { "{spinner} {elapsed} {msg}" };
        Progress::drawn(files, template)
    }

    /// A bar over so many cells of a matrix, where somebody looks at it.
    pub(crate) fn of_cells(cells: usize, quiet: bool) -> Progress {
        if quiet || !io::stderr().is_terminal() {
            return Progress(None);
        }
        Progress::drawn(cells, "{spinner} {pos}/{len} {wide_bar} {elapsed} of about {duration} {msg}")
    }

    fn drawn(length: usize, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let (end, ended) = mpsc::channel();
        let late = bar.clone();
        let drawer = thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                late.set_draw_target(ProgressDrawTarget::stderr());
                late.enable_steady_tick(TICK);
            }
        });
        Progress(Some(Shown { bar, end: Some(end), drawer: Some(drawer) }))
    }

    /// Says which file is being run.
    pub(crate) fn begin(&self, file: &Path) {
        if let Some(shown) = &self.0 {
            shown.bar.set_message(format!("running {}", file.display()));
        }
    }

    /// Says what is being done.
    pub(crate) fn say(&self, what: &'static str) {
        if let Some(shown) = &self.0 {
            shown.bar.set_message(what);
        }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        if let Some(shown) = &self.0 {
            shown.bar.inc(1);
        }
    }

    /// So many more are done.
    pub(crate) fn steps(&self, steps: u64) {
        if let Some(shown) = &self.0 {
            shown.bar.inc(steps);
        }
    }

    /// One file more is done. `write` may use the terminal: the bar makes room.
    pub(crate) fn end<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(shown) => {
                shown.bar.inc(1);
                shown.bar.suspend(write)
            }
            None => write(),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(drawer) = self.drawer.take() {
            drawer.join().ok();
        }
        self.bar.finish_and_clear();
    }
}
