//! What can be typed.

#[cfg(target_os = "linux")]
mod live;
mod matrix;
mod probe;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(target_os = "linux")]
pub(crate) use live::*;
pub(crate) use matrix::{Matrix, MatrixFormat, Outputs, Population, Report, ReportFormat};
pub(crate) use probe::{Probe, ProbeCommand};

/// A NAT emulator and NAT-traversal lab: any NAT behaviour, virtual time, captures that explain every packet.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  natbox run topologies/two-homes.yaml --capture lab.pcapng
  natbox check lab.yaml                 is the file right, and what do its defaults come to?
  natbox inspect lab.pcapng             what happened to each packet, and why?
  natbox replay lab.pcapng other.yaml   which packets fare differently behind other NATs?
  natbox matrix --nats symmetric,cgn    which NATs can be traversed, by which technique?
  natbox population shares.yaml         how many pairs of a population come to talk?
  natbox conform linux-masquerade       which requirements of the RFCs does this NAT violate?
  natbox nat list                       which NATs are there by name?
  natbox up lab.yaml                    real programs behind the same NATs (then: exec, shell, down)
  natbox probe nat --server HOST        what does the NAT in front of this machine do?

Exit codes:
  0  all expectations hold
  1  some do not
  2  it could not be run: a bad file, an output that cannot be written, wrong usage";

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// When to colour the output; NO_COLOR is respected
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, help_heading = "Global options")]
    pub(crate) color: Color,
    /// Say less: `run` and `check` only what fails, `inspect` no totals, `nat list` only names
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Say more: `run` also tells every packet and every mapping
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Also in files and pipes
    Always,
    /// Not at all
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Check(Check),
    Inspect(Inspect),
    Replay(Replay),
    Matrix(Box<Matrix>),
    Population(Population),
    Report(Report),
    Conform(Conform),
    Nat(Nat),
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    Live(Live),
    Probe(Probe),
    Schema(Schema),
    Completions(Completions),
}

/// Print the JSON Schema of topology files, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox schema > natbox.schema.json
  # and as the first line of a topology file:
  # yaml-language-server: $schema=natbox.schema.json
  natbox schema --population > population.schema.json")]
pub(crate) struct Schema {
    /// That of population files instead
    #[arg(long)]
    pub(crate) population: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Run the scenarios of topology files, in virtual time or live
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox run topologies/two-homes.yaml
  natbox run lab.yaml --seed 42 --capture lab.pcapng     then open it in Wireshark
  natbox run -v lab.yaml                                 every packet, every mapping
  natbox run topologies/*.yaml --capture captures/       a capture for each
  natbox run lab.yaml --format json -o result.json
  natbox run --live lab.yaml                             with real hosts, at wall-clock speed

Exit codes: 0 all expectations hold, 1 some do not, 2 a file is bad, an output cannot be written, or no live lab can be made.")]
pub(crate) struct Run {
    /// Topology files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Begin all chance here, instead of at the file's own seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Run at wall-clock speed, with hosts in network namespaces; several files one after another
    #[cfg(target_os = "linux")]
    #[arg(long)]
    pub(crate) live: bool,
    /// Write a capture (pcapng); with several files, or to a folder: one for each, named after it
    #[arg(long, value_name = "FILE")]
    pub(crate) capture: Option<PathBuf>,
    /// How to report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Parse and check topology files, and print the resolved lab with all its defaults
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox check topologies/two-homes.yaml
  natbox check --quiet topologies/*.yaml          says only what is wrong
  natbox check --format json lab.yaml | jq .nats")]
pub(crate) struct Check {
    /// Topology files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How to print the lab
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// List the packets of a capture: what each NAT did, and why each dropped packet died
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox inspect lab.pcapng
  natbox inspect lab.pcapng --host alice                    alice's packets, all the way
  natbox inspect lab.pcapng --nat home-a                    what home-a saw
  natbox inspect lab.pcapng --reason filtered               what filters refused
  natbox inspect lab.pcapng --flow alice-relay --ladder     a diagram of one flow
  natbox inspect other.pcapng --flow 192.0.2.1:5000-198.51.100.7
  natbox inspect lab.pcapng --follow --reason filtered      of a live lab (up --capture), as it happens
  natbox inspect lab.pcapng --format json | jq '.packets[] | select(.dropped)'

Any pcapng file of raw IP or Ethernet can be listed; only natbox's own say what happened.")]
pub(crate) struct Inspect {
    /// A pcapng file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only packets that this host sent or received, wherever they were seen (a name or an address)
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Only what this NAT saw
    #[arg(long, value_name = "NAME")]
    pub(crate) nat: Option<String>,
    /// Only packets dropped for this reason
    #[arg(long, value_name = "WORD")]
    pub(crate) reason: Option<String>,
    /// Only packets between two endpoints, either way, through all NATs (names, addresses, or with a port)
    #[arg(long, value_name = "A-B")]
    pub(crate) flow: Option<String>,
    /// Go on with what comes, until the capture's lab ends it (or Ctrl-C); JSON is one packet a line
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Draw a ladder diagram: columns are nodes, arrows are packets
    #[arg(long, conflicts_with = "format")]
    pub(crate) ladder: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// Send the packets of a capture again, through NATs that may be others, and report which fare differently
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox replay lab.pcapng lab.yaml                  does everything fare as it did?
  natbox replay lab.pcapng stricter.yaml             the same hosts behind other NATs
  natbox replay live.pcapng lab.yaml --format json | jq '.differences[].kind'

Hosts of the capture (natbox's own, of a live lab or not) are those of the same name. They send what they sent when they
sent it, in virtual time; the scenario is left aside. What went to an external endpoint of a flow goes to the one that
this flow has now, and the report says so.

Exit codes: 0 no packet fares differently, 1 some do, 2 it could not be replayed.")]
pub(crate) struct Replay {
    /// A capture written by natbox
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: PathBuf,
    /// A topology file with the hosts of the capture
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Begin all chance here, instead of at the file's own seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How to report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Test a NAT against the requirements of the RFCs, by what it does with packets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox conform linux-masquerade
  natbox conform topologies/two-homes.yaml:home-a
  natbox conform cgn --rfc 6888                    as a carrier's NAT
  natbox conform --quiet symmetric                 only what is violated
  natbox conform rfc4787 --format markdown

A requirement is met, violated (with what was observed), or not applicable (with the reason): it asks nothing of this NAT,
is a choice (MAY) that it does not make, or is about port control, which this command does not speak.

Exit codes: 0 every MUST is met or not applicable, 1 some are violated, 2 there is no such NAT.")]
pub(crate) struct Conform {
    /// A preset's name, or FILE:NAT for a NAT of a topology file
    #[arg(value_name = "NAT")]
    pub(crate) nat: String,
    /// Judge by this RFC (4787, 5382, 5508, 7857, 6888), once or several times; if absent by all but 6888, a carrier's
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rfc: Vec<u16>,
    /// How to report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ReportFormat,
}

/// Show the NATs that have a name
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox nat list
  natbox nat show symmetric")]
pub(crate) struct Nat {
    #[command(subcommand)]
    pub(crate) command: NatCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NatCommand {
    /// List the presets
    #[command(after_help = "\
Examples:
  natbox nat list
  natbox nat list --quiet                         only the names
  natbox nat list --format json | jq '.presets[].name'")]
    List {
        /// How to print
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Show a preset: what it stands for, with its source and every axis
    #[command(after_help = "\
Examples:
  natbox nat show port-restricted-cone
  natbox nat show cgn --format json")]
    Show {
        /// A preset's name
        name: String,
        /// How to print
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox completions bash > ~/.local/share/bash-completion/completions/natbox
  natbox completions zsh > ~/.zfunc/_natbox
  natbox completions fish > ~/.config/fish/completions/natbox.fish")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
