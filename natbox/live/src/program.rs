//! Programs on a host: std's `Command`, in the host's namespaces.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Output, Stdio};

use crate::error::LiveError;
use crate::machine::Machine;
use crate::watched::Watched;

/// A program to be started on a host, as [`std::process::Command`] starts one here. It ends with the lab at the latest.
pub struct Command {
    machine: Machine,
    command: std::process::Command,
}

impl Command {
    pub(crate) fn new(machine: Machine, program: &OsStr) -> Command {
        Command { machine, command: std::process::Command::new(program) }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.command.env(key, value);
        self
    }

    /// Sets the working folder.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.command.current_dir(folder);
        self
    }

    /// Where its input comes from.
    pub fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Command {
        self.command.stdin(from);
        self
    }

    /// Where its output goes.
    pub fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.command.stdout(to);
        self
    }

    /// Where its complaints go.
    pub fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Command {
        self.command.stderr(to);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`LiveError::Program`] if it cannot be started.
    pub fn spawn(&mut self) -> Result<Child, LiveError> {
        self.there(std::process::Command::spawn)
    }

    /// Runs it and captures what it says.
    ///
    /// # Errors
    /// [`LiveError::Program`] if it cannot be started.
    pub fn output(&mut self) -> Result<Output, LiveError> {
        self.there(std::process::Command::output)
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`LiveError::Program`] if it cannot be started.
    pub fn status(&mut self) -> Result<ExitStatus, LiveError> {
        self.there(std::process::Command::status)
    }

    /// Starts it alone in its process group, without input, and watches it.
    ///
    /// # Errors
    /// [`LiveError::Program`] if it cannot be started.
    pub fn watch(&mut self) -> Result<Watched, LiveError> {
        self.command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Watched::new(self.spawn()?)
    }

    /// Does something with the command on the host.
    fn there<R: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut std::process::Command) -> io::Result<R> + Send + 'static,
    ) -> Result<R, LiveError> {
        let mut command = std::mem::replace(&mut self.command, std::process::Command::new(""));
        let program = command.get_program().to_string_lossy().into_owned();
        let task = self.machine.namespace().household(move || {
            let result = act(&mut command);
            Ok((command, result))
        });
        let ended = task.and_then(|task| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let result = ended.and_then(|(command, result)| {
            self.command = command;
            result
        });
        result.map_err(|error| LiveError::Program { host: self.machine.name().to_owned(), program, error })
    }
}
