//! Real programs in a scenario: the steps `run` and `await`. They need a live run.

use std::time::Duration;

use super::behavior::parsed;
use super::describe::Shown;
use super::real::by_hand;
use super::resolve::{number, switch};
use super::scenario::Reader;
use super::step::Step;
use crate::topology::tree::Node;
use crate::topology::units::{self, show_duration};

/// How long a program is waited for, if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Command::Shell(line) => f.write_str(line.lines().next().unwrap_or_default()),
            Command::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// Starts a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// On which host.
    pub on: String,
    /// Which.
    pub command: Command,
    /// The name under which it goes on beside later steps.
    pub label: Option<String>,
    /// What it must have come to before the next step begins.
    pub wait_for: WaitFor,
    /// How long the step may last.
    pub timeout: Duration,
    /// What is expected.
    pub expect: Option<ExpectProgram>,
}

/// Waits for a program that goes on beside the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Await {
    /// Its name.
    pub label: String,
    /// What is waited for; its end if that is nothing.
    pub wait_for: WaitFor,
    /// Whether it is told to end.
    pub stop: bool,
    /// How long it is waited for.
    pub timeout: Duration,
    /// What is expected.
    pub expect: Option<ExpectProgram>,
}

/// What is waited for; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitFor {
    /// A text in a line of output.
    pub line: Option<String>,
    /// A port on which somebody listens.
    pub port: Option<u16>,
}

impl WaitFor {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == WaitFor::default()
    }
}

/// What is expected of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectProgram {
    /// Its exit code.
    pub exit: Option<u8>,
    /// Texts in its lines.
    pub lines: Vec<String>,
    /// Texts that are in none.
    pub no_lines: Vec<String>,
}

impl Reader<'_, '_> {
    pub(super) fn run(&mut self, node: &Node, expect: Option<&Node>) -> Option<Run> {
        let on = self.host(node.get("on")?);
        let command = self.command(node.get("command")?);
        let label = node.get("as").and_then(Node::text).map(str::to_owned);
        if let (Some(label), Some(named)) = (&label, node.get("as"))
            && !self.programs.insert(label.clone())
        {
            let message = format!("`{label}` is the name of an earlier program");
            self.mistakes.at(named.place, message).expected("another");
        }
        let wait_for = self.wait_for(node);
        if let (Some(wait), None) = (node.get("wait_for"), &label) {
            let message = "a program without a name is waited for until it ends";
            self.mistakes.at(wait.place, message).hint("give it a name by `as`, and it goes on beside later steps");
        }
        if let (Some(expect), Some(_)) = (expect.and_then(|expect| expect.get("exit").or(scalar(expect))), &label) {
            let message = "a program with a name has not ended when the next step begins";
            self.mistakes.at(expect.place, message).hint("expect its exit code of a later `await`");
        }
        let (timeout, expect) = (timeout(node), expect.map(self::expect));
        Some(Run { on: on?, command: command?, label, wait_for, timeout, expect })
    }

    pub(super) fn awaited(&mut self, node: &Node, expect: Option<&Node>) -> Option<Await> {
        let named = node.get("program").unwrap_or(node);
        let label = named.text()?.to_owned();
        if !self.programs.contains(&label) {
            let known = self.programs.iter().map(String::as_str);
            let mistake = self.mistakes.at(named.place, format!("no earlier program is called `{label}`"));
            mistake.expected("the name of an earlier `run`, given by `as`").suggest(&label, known);
            return None;
        }
        let (wait_for, stop) = (self.wait_for(node), switch(node, "stop").unwrap_or(false));
        if let (Some(wait), true) = (node.get("wait_for"), stop) {
            let message = "a program that is told to end is waited for until it has";
            self.mistakes.at(wait.place, message).expected("`stop: on` or `wait_for`");
        }
        if let Some(expect) = expect.and_then(|expect| expect.get("exit").or(scalar(expect)))
            && !wait_for.is_nothing()
        {
            let message = "an exit code of a program whose end is not waited for";
            self.mistakes.at(expect.place, message).expected("`wait_for` or `exit`");
        }
        Some(Await { label, wait_for, stop, timeout: timeout(node), expect: expect.map(self::expect) })
    }

    /// Notes the programs on hosts that stay simulated.
    pub(super) fn simulated(&mut self, nodes: &[Node], steps: &[Step]) {
        let runs = nodes.iter().filter_map(|node| node.get("run")?.get("on")).collect::<Vec<_>>();
        if runs.is_empty() {
            return;
        }
        let by_hand = by_hand(&self.layout.nats, &self.layout.hosts, steps);
        for (on, name) in runs.into_iter().filter_map(|on| Some((on, on.text()?))) {
            if by_hand.contains(name) {
                let message = format!(
                    "`{name}` is simulated: a `send` makes packets by hand there or is to find it closed, or a `move` takes it away"
                );
                self.mistakes.at(on.place, message).expected("another host");
            }
        }
    }

    fn command(&mut self, node: &Node) -> Option<Command> {
        let words: Vec<String> = node.items().iter().filter_map(Node::text).map(str::to_owned).collect();
        let command = match node.text() {
            Some(line) => Command::Shell(line.to_owned()),
            None => Command::Words(words),
        };
        let empty = match &command {
            Command::Shell(line) => line.trim().is_empty(),
            Command::Words(words) => words.first().is_none_or(String::is_empty),
        };
        if empty {
            self.mistakes.at(node.place, "no program").expected("its name, and its arguments if it has any");
            return None;
        }
        Some(command)
    }

    fn wait_for(&mut self, node: &Node) -> WaitFor {
        let Some(wait) = node.get("wait_for") else { return WaitFor::default() };
        if wait.entries().is_empty() {
            self.mistakes.at(wait.place, "nothing is waited for here").expected("`line`, `port` or both");
        }
        let port = number(wait, "port").and_then(|port| u16::try_from(port).ok());
        WaitFor { line: wait.get("line").and_then(Node::text).map(str::to_owned), port }
    }
}

fn timeout(node: &Node) -> Duration {
    parsed(node, "timeout", units::positive_duration).unwrap_or(TIMEOUT)
}

fn scalar(node: &Node) -> Option<&Node> {
    node.text().map(|_| node)
}

fn expect(node: &Node) -> ExpectProgram {
    let texts = |key: &str| {
        let items = node.get(key).map(Node::items).unwrap_or_default();
        items.iter().filter_map(Node::text).map(str::to_owned).collect()
    };
    let exit = node.text().and_then(|text| text.parse().ok());
    let exit = exit.or_else(|| number(node, "exit").and_then(|code| u8::try_from(code).ok()));
    ExpectProgram { exit, lines: texts("line"), no_lines: texts("no_line") }
}

pub(super) fn show_run(run: &Run) -> Shown {
    let command = match &run.command {
        Command::Shell(line) => Shown::text(line),
        Command::Words(words) => texts(words),
    };
    let mut entries = vec![("on", Shown::word(&run.on)), ("command", command)];
    entries.extend(run.label.as_ref().map(|label| ("as", Shown::word(label))));
    entries.extend(show_wait(&run.wait_for));
    entries.push(("timeout", Shown::word(show_duration(&run.timeout))));
    Shown::Map(entries)
}

pub(super) fn show_await(step: &Await) -> Shown {
    let mut entries = vec![("program", Shown::word(&step.label))];
    entries.extend(show_wait(&step.wait_for));
    entries.push(("stop", Shown::word(if step.stop { "on" } else { "off" })));
    entries.push(("timeout", Shown::word(show_duration(&step.timeout))));
    Shown::Map(entries)
}

fn show_wait(wait: &WaitFor) -> Option<(&'static str, Shown)> {
    let line = wait.line.as_ref().map(|line| ("line", Shown::text(line)));
    let port = wait.port.map(|port| ("port", Shown::Count(port.into())));
    (!wait.is_nothing()).then(|| ("wait_for", Shown::Map(line.into_iter().chain(port).collect())))
}

pub(super) fn show_expected(expect: &ExpectProgram) -> Vec<(&'static str, Shown)> {
    let exit = expect.exit.map(|exit| ("exit", Shown::Count(exit.into())));
    let some = |key, lines: &Vec<String>| (!lines.is_empty()).then(|| (key, texts(lines)));
    let lines = some("line", &expect.lines).into_iter().chain(some("no_line", &expect.no_lines));
    exit.into_iter().chain(lines).collect()
}

fn texts(texts: &[String]) -> Shown {
    Shown::List(texts.iter().map(Shown::text).collect())
}
