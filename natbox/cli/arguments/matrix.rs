//! Arguments of matrices and populations.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Run traversal techniques between NATs, each against each
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox matrix                                            RFC 4787's nine combinations
  natbox matrix lab.yaml                                   the NATs of a topology file
  natbox matrix --nats symmetric,lab.yaml:home,endpoint-independent/address-dependent
  natbox matrix --nats all --techniques punch,connect      every preset
  natbox matrix --seeds 100 --loss 5% --jitter 20ms        shares with their intervals
  natbox matrix -v --nats symmetric,full-cone              a line for each pair
  natbox matrix -o matrix.html -o matrix.json -o junit.xml
  natbox matrix --expect matrix.expect.json --bless        write down what is so today
  natbox matrix --expect matrix.expect.json                and hold every run against it
  natbox matrix --seeds 1000 --shard 2/8 -o part-2.json    then: natbox report part-*.json

Exit codes: 0 all is as expected, 1 some cells are not, 2 it could not be run.")]
pub(crate) struct Matrix {
    /// A topology file whose NATs take part; --nats may name some of them
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Presets, MAPPING/FILTERING, FILE (all its NATs), FILE:NAT, `classes` (RFC 4787's nine), `all` (every preset)
    #[arg(long, value_name = "NAT,...", value_delimiter = ',')]
    pub(crate) nats: Vec<String>,
    /// How the hosts try to reach each other; `all` for everything [default: connect]
    #[arg(long, value_name = "WORD,...", value_delimiter = ',')]
    pub(crate) techniques: Vec<String>,
    /// How many runs of each cell, each from a seed of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) seeds: NonZeroUsize,
    /// The first seed
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// What permissions are tied to, in every NAT: `mapping` or `endpoint`
    #[arg(long, value_name = "WORD")]
    pub(crate) filter_scope: Option<String>,
    /// Whether replies use the mapping that let the packet in, in every NAT: `on` or `off`
    #[arg(long, value_name = "WORD")]
    pub(crate) session_affinity: Option<String>,
    /// What each host's NAT speaks for port mappings: nat-pmp, pcp, igd1, igd2, or `none` [default: what the NAT's file says]
    #[arg(long, value_name = "WORD,...", value_delimiter = ',')]
    pub(crate) control: Vec<String>,
    #[command(flatten)]
    pub(crate) link: Link,
    /// Cores to use; all if absent. Results are the same
    #[arg(long, short, value_name = "N", value_parser = at_least_one)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Run part K of N alone: `natbox report` joins the parts' JSON
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<String>,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

/// The link between each NAT and the public network, in the words of topology files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Links of the NATs")]
pub(crate) struct Link {
    /// One-way delay, such as `25ms`
    #[arg(long, value_name = "TIME")]
    pub(crate) latency: Option<String>,
    /// Random delay up to this, such as `5ms`
    #[arg(long, value_name = "TIME")]
    pub(crate) jitter: Option<String>,
    /// Share of packets lost, such as `0.5%`
    #[arg(long, value_name = "SHARE")]
    pub(crate) loss: Option<String>,
    /// Share of packets delivered twice
    #[arg(long, value_name = "SHARE")]
    pub(crate) duplicate: Option<String>,
    /// Share of packets that may overtake others
    #[arg(long, value_name = "SHARE")]
    pub(crate) reorder: Option<String>,
    /// Such as `20mbit`
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,
    /// Packets that may wait where there is a rate
    #[arg(long, value_name = "PACKETS")]
    pub(crate) queue: Option<String>,
    /// Largest packet, in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<String>,
}

/// What becomes of a matrix that was run or joined.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports and expectations")]
pub(crate) struct Outputs {
    /// How to report [default: text, or by the name of the file]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<MatrixFormat>,
    /// Write the report to this file instead of standard output; once or several times
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// Hold the paths against this file
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// Write the file of --expect anew
    #[arg(long, requires = "expect")]
    pub(crate) bless: bool,
    /// Where to write a small topology file for each cell that differs [default: a folder beside the file of --expect]
    #[arg(long, value_name = "FOLDER", requires = "expect")]
    pub(crate) shrink_to: Option<PathBuf>,
}

/// How to report a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatrixFormat {
    /// Tables for people
    Text,
    /// Every cell, for programs
    Json,
    /// Test cases, for CI systems
    Junit,
    /// Tables for documents
    Markdown,
    /// A row a pair, for spreadsheets
    Csv,
    /// One page with a heat map and every packet
    Html,
}

/// Draw pairs of NATs by their shares in a population, and run each pair
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox population topologies/populations/halkes-2011.yaml
  natbox population shares.yaml --draws 1000000            with a bar; every draw is run
  natbox population shares.yaml --seed 7 -o shares.json -o shares.md
  natbox population shares.yaml --shard 2/8 -o part-2.json       then: natbox report part-*.json
  natbox population topologies/populations/ford-2005.yaml  NAT Check against every NAT

A population file has NATs with a share each:
  nats: { full-cone: 20%, symmetric: 11%, others: { share: 69%, type: endpoint-independent/address-dependent } }

Exit codes: 0 it was run, 1 some of its labs broke, 2 it could not be run.")]
pub(crate) struct Population {
    /// A population file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How many draws, instead of the file's own number
    #[arg(long, value_name = "N")]
    pub(crate) draws: Option<u64>,
    /// Begin all chance here, instead of at the file's own seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Cores to use; all if absent. Results are the same
    #[arg(long, short, value_name = "N", value_parser = at_least_one)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Run part K of N alone: `natbox report` joins the parts' JSON
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<String>,
    /// How to report [default: text, or by the name of the file]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ReportFormat>,
    /// Write the report to this file instead of standard output; once or several times
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
}

/// Join the parts of a matrix or of a population, or show one again in another format
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox report part-*.json
  natbox report part-*.json -o matrix.json -o matrix.html
  natbox report part-*.json --expect matrix.expect.json
  natbox report matrix.json --format markdown

Exit codes: 0 all is as expected, 1 some cells are not, 2 a part is missing, cut short, there twice, or of another matrix.")]
pub(crate) struct Report {
    /// What `natbox matrix --format json` or `natbox population --format json` wrote
    #[arg(required = true, value_name = "PART")]
    pub(crate) parts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number, 1 at least".to_owned())
}

/// How to print what may become part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For documents
    Markdown,
}
