//! The steps `run` and `await`, key by key: real programs on the hosts of a live run.

use super::schema::{NAME, POSITIVE, SWITCH, TEXT, optional, required};
use super::shape::Shape;
use super::units::leaf;
use crate::topology::schema::PORT;

/// Most characters of a command line.
const COMMAND_CHARACTERS: usize = 4_000;

leaf!(
    COMMAND_TEXT,
    "command",
    command,
    "a command line for the shell, or a program and its arguments as a list; at most 4,000 characters each",
    r"^[^\u0000]{0,4000}$"
);

fn command(text: &str) -> Result<String, String> {
    let fits = text.chars().count() <= COMMAND_CHARACTERS && !text.contains('\0');
    if fits { Ok(text.to_owned()) } else { Err("too long, or with a NUL".to_owned()) }
}

static COMMAND: Shape = Shape::OneOrMany(&Shape::Leaf(&COMMAND_TEXT));
static LINES: Shape = Shape::OneOrMany(&TEXT);

static WAIT_FOR: Shape = Shape::Object(&[
    optional("line", &TEXT, "A text in a line that the program writes."),
    optional("port", &PORT, "A port on which anything listens on the host, over TCP or UDP."),
]);

/// The step `run`.
pub(super) static RUN: Shape = Shape::Object(&[
    required("on", &NAME, "The host, which is real in a live run even if it has `services`."),
    required(
        "command",
        &COMMAND,
        "The program and its arguments, as a list; or a line for the shell (`/bin/sh -c`). It starts in the current folder.",
    ),
    optional(
        "as",
        &NAME,
        "The name under which the program goes on beside later steps, until the scenario ends. The step lasts until it ends if absent.",
    ),
    optional("wait_for", &WAIT_FOR, "What a program with a name must have come to before the next step begins."),
    optional("timeout", &POSITIVE, "How long the step may last; then the program is killed. 30s if absent."),
]);

/// The step `await`.
pub(super) static AWAIT: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("program", &NAME, "The program, by the name that its `run` gave it."),
        optional("wait_for", &WAIT_FOR, "What is waited for, from the beginning of its output; its end if absent."),
        optional("stop", &SWITCH, "Whether it is told to end (SIGTERM); `off` if absent."),
        optional("timeout", &POSITIVE, "How long it is waited for at most; 30s if absent."),
    ]),
);

static EXIT: Shape = Shape::Count { what: "an exit code", min: 0, max: 255 };

/// What may be expected of a program.
pub(super) static EXPECT_PROGRAM: Shape = Shape::Either(
    &EXIT,
    &Shape::Object(&[
        optional("exit", &EXIT, "Its exit code; 128 and the signal's number if a signal has ended it."),
        optional("line", &LINES, "Texts, each in some line that it has written to standard output or standard error."),
        optional("no_line", &LINES, "Texts that are in no such line."),
    ]),
);
