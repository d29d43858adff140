//! What goes through a live lab, as a table for people: rates between two tallies.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::live::{HostTally, NatTally, Tally};
use crate::paint::Paint;

/// Rows of hosts and of NATs at the most, so that the table stays on the screen.
const MAX_ROWS: usize = 16;

/// The table. Where there are too many rows, those with the most traffic are shown, and how many are not.
pub fn table(before: &Tally, now: &Tally, paint: Paint) -> String {
    let seconds = now.at.since(before.at).as_secs_f64();
    let mut text = String::new();
    let mut hosts = now.hosts.iter().map(|host| Rates::of(before, host, seconds)).collect::<Vec<_>>();
    let total = hosts.len();
    let mut busiest = hosts.iter().map(|host| host.bytes_in + host.bytes_out).collect::<Vec<_>>();
    busiest.sort_by(|one, other| other.total_cmp(one));
    let least = busiest.get(MAX_ROWS - 1).copied().unwrap_or(0.0);
    hosts.retain(|host| host.bytes_in + host.bytes_out >= least);
    hosts.truncate(MAX_ROWS);
    let mut table = head(["HOST", "IN packets/s", "bytes/s", "OUT packets/s", "bytes/s"]);
    for host in &hosts {
        let numbers = [host.packets_in, host.bytes_in, host.packets_out, host.bytes_out].map(short);
        table.add_row(std::iter::once(host.name.to_owned()).chain(numbers));
    }
    (1..5).for_each(|column| right(&mut table, column));
    push(&mut text, &table, total - hosts.len(), "hosts", paint);
    if !now.nats.is_empty() {
        let mut table = head(["NAT", "MAPPINGS", "DROPPED SO FAR"]);
        let mut nats = now.nats.iter().collect::<Vec<_>>();
        nats.sort_by_key(|nat| std::cmp::Reverse(nat.mappings));
        nats.truncate(MAX_ROWS);
        let shown = now.nats.iter().filter(|nat| nats.iter().any(|other| other.name == nat.name));
        for nat in shown {
            table.add_row([nat.name.clone(), nat.mappings.to_string(), drops(nat)]);
        }
        right(&mut table, 1);
        text.push('\n');
        push(&mut text, &table, now.nats.len() - nats.len(), "NATs", paint);
    }
    text
}

/// Of one host, a second.
struct Rates<'a> {
    name: &'a str,
    packets_in: f64,
    bytes_in: f64,
    packets_out: f64,
    bytes_out: f64,
}

impl<'a> Rates<'a> {
    fn of(before: &Tally, now: &'a HostTally, seconds: f64) -> Rates<'a> {
        let nothing = HostTally::default();
        let then = before.hosts.iter().find(|host| host.name == now.name).unwrap_or(&nothing);
        let rate = |then: u64, now: u64| if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 };
        Rates {
            name: &now.name,
            packets_in: rate(then.packets_in, now.packets_in),
            bytes_in: rate(then.bytes_in, now.bytes_in),
            packets_out: rate(then.packets_out, now.packets_out),
            bytes_out: rate(then.bytes_out, now.bytes_out),
        }
    }
}

fn head<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}

fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn push(text: &mut String, table: &Table, more: usize, what: &str, paint: Paint) {
    let table = table.to_string();
    let mut lines = table.lines().map(str::trim_end);
    let _ = writeln!(text, "{}", paint.strong(lines.next().unwrap_or_default()));
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    if more > 0 {
        let _ = writeln!(text, "{}", paint.faint(format!(" and {more} {what} more")));
    }
}

fn drops(nat: &NatTally) -> String {
    let drops = nat.drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>();
    if drops.is_empty() { "-".to_owned() } else { drops.join(", ") }
}

/// A rate in four places at the most; nothing is a dot, so that what moves is seen.
fn short(rate: f64) -> String {
    match rate {
        rate if rate <= 0.0 => "\u{b7}".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 9_999.5 => format!("{rate:.0}"),
        rate if rate < 999_500.0 => format!("{:.0}k", rate / 1e3),
        rate if rate < 9.95e6 => format!("{:.1}M", rate / 1e6),
        rate if rate < 9.995e8 => format!("{:.0}M", rate / 1e6),
        rate => format!("{:.1}G", rate / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use natbox_wire::{DropReason, Time};

    use super::*;

    fn host(name: &str, packets_in: u64, bytes_in: u64) -> HostTally {
        HostTally { name: name.to_owned(), packets_in, bytes_in, packets_out: 2 * packets_in, bytes_out: 0 }
    }

    fn tally(seconds: u64, hosts: Vec<HostTally>) -> Tally {
        let drops = [(DropReason::Filtered, 12), (DropReason::NoMapping, 2)].into();
        let nat = NatTally { name: "home".to_owned(), mappings: 3, drops };
        let quiet = NatTally { name: "office".to_owned(), ..NatTally::default() };
        Tally { at: Time::ZERO + Duration::from_secs(seconds), hosts, nats: vec![nat, quiet] }
    }

    #[test]
    fn rates_are_those_between_two_tallies_and_drops_are_totals() {
        let before = tally(10, vec![host("alice", 1000, 5_000_000), host("bob", 5, 5)]);
        let now = tally(12, vec![host("alice", 21_000, 2_505_000_000), host("bob", 5, 5)]);
        let expected = "\
\u{20}HOST   IN packets/s  bytes/s  OUT packets/s  bytes/s
 alice           10k     1.2G            20k        ·
 bob               ·        ·              ·        ·

 NAT     MAPPINGS  DROPPED SO FAR
 home           3  2 no-mapping, 12 filtered
 office         0  -
";
        assert_eq!(table(&before, &now, Paint::PLAIN), expected);
    }

    #[test]
    fn the_first_table_has_no_rates() {
        let now = tally(0, vec![host("alice", 100, 100)]);
        assert!(table(&Tally::default(), &now, Paint::PLAIN).lines().nth(1).is_some_and(|line| !line.contains('1')));
    }

    #[test]
    fn of_many_hosts_the_busiest_are_shown_in_their_order() {
        let hosts = |factor| (0..100).map(|index| host(&format!("h{index}"), index, factor * index)).collect();
        let text = table(&tally(0, hosts(0)), &tally(1, hosts(1)), Paint::PLAIN);
        let names: Vec<&str> = text.lines().filter_map(|line| line.trim().split(' ').next()).collect();
        assert_eq!(names[1..17], (84..100).map(|index| format!("h{index}")).collect::<Vec<_>>());
        assert!(text.contains(" and 84 hosts more\n"), "{text}");
    }

    #[test]
    fn numbers_stay_short() {
        let shown: Vec<String> = [0.0, 0.25, 9.96, 9999.6, 123_456.0, 999_600.0, 12e6, 999.9e6, 12e9].map(short).into();
        assert_eq!(shown, ["·", "0.2", "10", "10k", "123k", "1.0M", "12M", "1.0G", "12.0G"]);
    }
}
