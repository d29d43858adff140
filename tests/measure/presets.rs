//! Every preset, measured from inside: each axis that can be seen comes back equal, the others say why they do not.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use natbox::Lab;
use natbox::host::Host;
use natbox::measure::{Found, Measurement, Options, axes, checked_fragment, fits, search};
use natbox::nat::{Behavior, preset};
use natbox::probes::measure::measure;

use crate::golden;

/// Up to where lifetimes are searched for.
const LONGEST: Duration = Duration::from_secs(600);
/// How far apart the ends of a lifetime may be: the precision asked for, or four round trips of these labs.
const PRECISION: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options { timers: Some(search(LONGEST)), ..Options::default() }
}

/// What a host behind a NAT of this preset finds.
fn measured(preset: &str) -> Measurement {
    let lab = Lab::from_yaml(&format!(
        "nats: {{ home: {preset} }}\n\
         hosts: {{ alice: {{ behind: home }}, server: {{ services: stun }} }}\n\
         scenario: [ measure: alice ]\n"
    ));
    let mut built = lab.expect("a lab").start().expect("a world");
    let host = |name| built.host(name).expect("a host of the plan");
    let (alice, server) = (host("alice"), host("server").addresses()[0]);
    let server = SocketAddr::new(server, natbox::probes::stun::PORT);
    let found = built.world.run_until(async { measure(&alice, &[server], &options()).await });
    found.expect("the world goes on").expect("a measurement")
}

/// What a behaviour says of an axis.
pub(crate) fn configured(behavior: &Behavior, axis: &str) -> String {
    let rows = behavior.axes();
    let of = |name: &str| rows.iter().find(|(axis, _)| *axis == name).map(|(_, word)| word.clone());
    let whole = axis.split_once('.').and_then(|(whole, _)| of(whole));
    of(axis).or(whole).unwrap_or_else(|| panic!("no axis {axis}"))
}

fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs(number.unwrap_or_else(|| panic!("{text} is no whole number of seconds")))
}

/// Presets that a host cannot tell from others: what is found for what is configured, and why.
const ALIKE: &[(&str, &str, &str, &str)] = &[
    ("freebsd-pf-static-port", "mapping.udp", "endpoint-independent", "preserved ports: all remotes see one endpoint"),
    ("freebsd-pf-static-port", "mapping.tcp", "endpoint-independent", "preserved ports: all remotes see one endpoint"),
];

/// What is wrong with what was found.
fn wrong(axis: &str, found: &Found, configured: &str) -> Option<String> {
    let holds = match found {
        Found::Word(word) => word == configured,
        Found::Between { alive_after, expired_after } => {
            let lifetime = seconds(configured);
            let near = expired_after.saturating_sub(*alive_after) <= PRECISION;
            near && (*alive_after..=*expired_after).contains(&lifetime)
        }
        Found::Unknown(_) => true,
    };
    (!holds).then(|| format!("{axis}: configured {configured}, found {found:?}"))
}

#[test]
fn of_every_preset_each_axis_that_can_be_seen_comes_back_equal() {
    let (mut seen, mut wrongs) = (String::new(), Vec::new());
    for preset in preset::all() {
        let measured = measured(preset.name);
        assert!(fits(&measured).contains(&preset.name), "{} fits {:?}", preset.name, fits(&measured));
        let axes = axes(&measured);
        let known = axes.iter().filter(|axis| !matches!(axis.found, Found::Unknown(_)));
        let names: Vec<&str> = known.map(|axis| axis.name).collect();
        assert!(names.contains(&"filtering.udp"), "{}: {names:?}", preset.name);
        writeln!(seen, "{}: {}", preset.name, names.join(" ")).unwrap();
        let mistaken = axes
            .iter()
            .filter_map(|axis| {
                let alike = ALIKE.iter().find(|(name, other, ..)| (*name, *other) == (preset.name, axis.name));
                let configured = configured(&preset.behavior, axis.name);
                wrong(axis.name, &axis.found, alike.map_or(configured.as_str(), |(_, _, found, _)| found))
            })
            .map(|wrong| format!("{}: {wrong}", preset.name));
        wrongs.extend(mistaken);
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    golden::golden("tests/measure/seen.txt", seen.as_bytes());
}

#[test]
fn the_axes_that_are_never_seen_say_why() {
    let mut unseen: Vec<(&str, String)> = Vec::new();
    for (index, preset) in preset::all().iter().enumerate() {
        let axes = axes(&measured(preset.name));
        let unknown = axes.into_iter().filter_map(|axis| match axis.found {
            Found::Unknown(why) => Some((axis.name, why)),
            _ => None,
        });
        let unknown: Vec<_> = unknown.collect();
        match index {
            0 => unseen = unknown,
            _ => unseen.retain(|(name, _)| unknown.iter().any(|(other, _)| other == name)),
        }
    }
    let text: String = unseen.iter().map(|(axis, why)| format!("{axis}: {why}\n")).collect();
    golden::golden("tests/measure/unseen.txt", text.as_bytes());
}

#[test]
fn the_file_of_a_measurement_finds_itself_again() {
    for preset in preset::all() {
        let text = checked_fragment(&measured(preset.name), &options())
            .unwrap_or_else(|mistakes| panic!("{}: {mistakes}", preset.name));
        for real in ["10.0.0.", "198.18."] {
            assert!(!text.contains(real), "{}: an address of the network is in the file:\n{text}", preset.name);
        }
        let outcome = Lab::from_yaml(&text).expect("checked").run().expect("a run");
        let broken: Vec<_> = outcome.failures().map(|step| &step.got).collect();
        assert!(outcome.ok, "{}: {broken:?}\n{text}", preset.name);
    }
}
