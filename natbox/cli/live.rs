//! `natbox up`, `exec`, `shell`, `down`, and what changes a live lab: `reboot`, `readdress`, `move`,
//! `set`, `link`, `cut`, `mend`.

use std::io::IsTerminal as _;
use std::process::Command as Program;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use natbox::Lab;
use natbox::live::{
    Change, Control, End, LiveError, LiveLab, Shared, Tally, change, exec, is_real, privilege, signals, take_down,
};
use natbox::paint::Paint;
use natbox::plan::{Network, Plan};
use natbox::report::traffic::table;

use crate::arguments::{Addresses, Down, Exec, Live, Name, Shell, Up, Values};
use crate::files::labs;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(live: &Live, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    match live {
        Live::Up(up) => self::up(up, terminal),
        Live::Exec(exec) => run(exec),
        Live::Shell(shell) => self::shell(shell),
        Live::Down(down) => self::down(down, terminal),
        Live::Reboot(nat) => turn(Change::Reboot, nat, terminal),
        Live::Readdress(nat) => readdress(nat, terminal),
        Live::Move(host) => {
            let wish = Change::Move(host.host.clone(), host.to.clone());
            told(&change(host.lab.as_deref(), wish).map_err(failed)?, terminal)
        }
        Live::Set(values) => give(Change::Set, values, terminal),
        Live::Link(values) => give(Change::Link, values, terminal),
        Live::Cut(name) => turn(Change::Cut, name, terminal),
        Live::Mend(name) => turn(Change::Mend, name, terminal),
    }
}

fn failed(error: LiveError) -> Failure {
    Failure::Said(format!("error: {error}"))
}

/// Why a lab ends.
enum Ending {
    /// A signal has come.
    Signal,
    /// Somebody has asked for it.
    Down(#[allow(dead_code, reason = "is dropped when the lab has ended: then the other side goes on")] End),
    /// It can be heard no more.
    Deaf(LiveError),
}

fn up(up: &Up, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let mut lab = labs(std::slice::from_ref(&up.file))?.remove(0);
    if let Some(seed) = up.seed {
        lab = lab.seed(seed);
    }
    if let Some(capture) = &up.capture {
        lab = lab.capture(capture);
    }
    let name = up.lab.clone().unwrap_or_else(|| name_of(up));
    // Before there is any other thread: rights and signals are the whole process's.
    let control = Control::open(privilege::user(), &name).map_err(failed)?;
    privilege::gain().map_err(failed)?;
    signals::hold();
    let live = Arc::new(Mutex::new(Some(lab.live().map_err(failed)?)));
    if !terminal.quiet {
        write!(terminal.out(), "{}", describe(&name, &lab))?;
        terminal.out().flush()?;
    }
    let (ending, ended) = mpsc::channel();
    let (heard, shared) = (ending.clone(), live.clone());
    std::thread::spawn(move || heard.send(control.serve(&shared).map_or_else(Ending::Deaf, Ending::Down)));
    std::thread::spawn(move || signals::wait().map(|_| ending.send(Ending::Signal)));
    let mut watched = Watch::new(terminal);
    let why = loop {
        match ended.recv_timeout(SECOND) {
            Err(mpsc::RecvTimeoutError::Timeout) => watched.look(&live),
            why => break why,
        }
    };
    watched.clear();
    let taken = live.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(lab) = taken.as_ref().filter(|_| !terminal.quiet) {
        write!(terminal.out(), "{}", overrun(lab))?;
    }
    let stopped = taken.map_or(Ok(()), LiveLab::stop);
    stopped.map_err(failed)?;
    match why {
        Ok(Ending::Deaf(error)) => Err(failed(error)),
        _ => Ok(Verdict::Holds),
    }
}

/// What the lab has never seen, because it came too fast.
fn overrun(lab: &LiveLab) -> String {
    let told = lab.overrun().into_iter();
    told.map(|(host, packets)| format!("{host} sent too fast: its own kernel dropped {packets} packets\n")).collect()
}

/// How often somebody who watches sees something new.
const SECOND: Duration = Duration::from_secs(1);

/// The table of what goes through a lab, at a terminal. Elsewhere there is none, and nothing is counted.
struct Watch {
    place: Option<ProgressBar>,
    paint: Paint,
    before: Option<Tally>,
}

impl Watch {
    fn new(terminal: &Terminal) -> Watch {
        let seen = !terminal.quiet && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let place = seen.then(|| {
            let place = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            ProgressStyle::with_template("{msg}").map_or(place.clone(), |style| place.with_style(style))
        });
        Watch { place, paint: terminal.paint, before: None }
    }

    /// Shows what has gone through since the last look.
    fn look(&mut self, live: &Shared) {
        let Some(place) = &self.place else { return };
        let guard = live.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Ok(now)) = guard.as_ref().map(LiveLab::tally) else { return };
        if let Some(before) = self.before.replace(now.clone()) {
            place.set_message(format!("\n{}", table(&before, &now, self.paint)));
            place.tick();
        }
    }

    fn clear(&self) {
        if let Some(place) = &self.place {
            place.finish_and_clear();
        }
    }
}

/// A lab is called as its file is.
fn name_of(up: &Up) -> String {
    up.file.file_stem().unwrap_or(up.file.as_os_str()).to_string_lossy().into_owned()
}

/// What there is, and what can be done with it.
fn describe(name: &str, lab: &Lab) -> String {
    let plan = lab.plan();
    let width = plan.hosts.iter().map(|host| &host.name).chain(plan.nats.iter().map(|nat| &nat.name));
    let width = width.map(String::len).max().unwrap_or(0);
    let mut text = format!("{name} is up; Ctrl-C takes it down\n");
    for nat in &plan.nats {
        let preset = nat.preset.unwrap_or("a NAT");
        let at = addresses(nat.outside.addresses.iter());
        text += &format!("  {:width$}  {at}  ({preset}{})\n", nat.name, behind(plan, nat.outside.network));
    }
    for host in &plan.hosts {
        let kind = match is_real(host) {
            true => "programs".to_owned(),
            false => host.services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let at = addresses(host.uplinks.iter().flat_map(|uplink| &uplink.addresses));
        let behind: String = host.uplinks.iter().map(|uplink| behind(plan, uplink.network)).collect();
        text += &format!("  {:width$}  {at}  ({kind}{behind})\n", host.name);
    }
    if let Some(host) = plan.hosts.iter().find(|host| is_real(host)) {
        text +=
            &format!("from another terminal: natbox exec {0} -- COMMAND, natbox shell {0}, natbox down\n", host.name);
    }
    text
}

fn addresses<'a>(addresses: impl Iterator<Item = &'a std::net::IpAddr>) -> String {
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn behind(plan: &Plan, network: Network) -> String {
    match network {
        Network::Internet => String::new(),
        Network::Behind(index) => format!(", behind {}", plan.nats[index].name),
    }
}

fn run(arguments: &Exec) -> Result<Verdict, Failure> {
    let Some((program, rest)) = arguments.command.split_first() else { return Ok(Verdict::Holds) };
    let mut command = Program::new(program);
    command.args(rest);
    exec(arguments.lab.as_deref(), &arguments.host, &mut command).map(Verdict::Program).map_err(failed)
}

fn shell(arguments: &Shell) -> Result<Verdict, Failure> {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    exec(arguments.lab.as_deref(), &arguments.host, &mut Program::new(shell)).map(Verdict::Program).map_err(failed)
}

fn down(arguments: &Down, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let name = take_down(arguments.lab.as_deref()).map_err(failed)?;
    told(&format!("{name} is down"), terminal)
}

fn turn(what: fn(String) -> Change, arguments: &Name, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    told(&change(arguments.lab.as_deref(), what(arguments.name.clone())).map_err(failed)?, terminal)
}

fn readdress(arguments: &Addresses, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let wish = Change::Readdress(arguments.nat.clone(), arguments.addresses.clone());
    told(&change(arguments.lab.as_deref(), wish).map_err(failed)?, terminal)
}

fn give(
    what: fn(String, Vec<String>) -> Change,
    arguments: &Values,
    terminal: &mut Terminal,
) -> Result<Verdict, Failure> {
    let wish = what(arguments.name.clone(), arguments.values.clone());
    told(&change(arguments.lab.as_deref(), wish).map_err(failed)?, terminal)
}

fn told(what: &str, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    if !terminal.quiet {
        writeln!(terminal.out(), "{what}")?;
    }
    Ok(Verdict::Holds)
}
