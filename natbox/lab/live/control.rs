//! A live lab from another process: a control socket that answers its owner alone, and what can be asked of it.
//!
//! Its name is in the abstract name space: nothing is left of it when the lab ends, however it ends. A request is one
//! message of JSON, and so is the answer; the ways into a host come with it as file descriptors.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use natbox_live::{Doors, Listener, LiveError, Peer};
use serde::{Deserialize, Serialize};

use super::LiveLab;
use crate::plan::change::{Axes, LinkChange};

/// A lab that several threads use, until one of them takes it.
pub type Shared = Arc<Mutex<Option<LiveLab>>>;

/// Something to change about a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A NAT loses its state.
    Reboot(String),
    /// A NAT gets other external addresses.
    Readdress(String, Vec<IpAddr>),
    /// A host goes behind this NAT, or to `internet`.
    Move(String, String),
    /// Axes of a NAT get other values: `AXIS=VALUE` each.
    Set(String, Vec<String>),
    /// The links of a host or NAT get other properties: `KEY=VALUE` each.
    Link(String, Vec<String>),
    /// The links of a host or NAT are cut.
    Cut(String),
    /// The links of a host or NAT are mended.
    Mend(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    Join(String),
    Change(Change),
    Down,
}

/// Whoever asked for the end of the lab: it learns of it when this is dropped.
pub struct End {
    _peer: Peer,
}

/// The control socket of a lab.
pub struct Control {
    listener: Listener,
}

impl Control {
    /// Takes the name of a lab.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if the name cannot be a lab's, or is another's.
    pub fn open(user: u32, lab: &str) -> Result<Control, LiveError> {
        let fits = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        if lab.is_empty() || lab.len() > 60 || !lab.chars().all(fits) {
            return Err(LiveError::Refused(format!(
                "`{lab}` cannot be a lab's name: expected up to 60 of a-z, A-Z, 0-9, `.`, `_`, `-`; name it with --lab"
            )));
        }
        match Listener::bind(&socket_name(user, lab)) {
            Ok(listener) => Ok(Control { listener }),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(LiveError::Refused(format!("a lab called `{lab}` is up already: name this one with --lab")))
            }
            Err(error) => Err(LiveError::System { what: "listen for commands".into(), error }),
        }
    }

    /// Answers requests about a lab until it is to end, or cannot be asked any more.
    ///
    /// # Errors
    /// The system cannot listen any more.
    pub fn serve(&self, lab: &Shared) -> Result<End, LiveError> {
        loop {
            let peer = self.listener.accept().map_err(LiveError::system("listen for commands"))?;
            let Ok((message, _)) = peer.receive() else { continue };
            let Ok(request) = serde_json::from_slice::<Request>(&message) else { continue };
            let guard = lab.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = match (&*guard, request) {
                (_, Request::Down) => return Ok(End { _peer: peer }),
                (None, _) => Err(LiveError::Refused("the lab is going down".into())),
                (Some(lab), Request::Join(host)) => lab.host(&host).map(|host| (String::new(), Some(host.doors()))),
                (Some(lab), Request::Change(change)) => lab.change(&change).map(|told| (told, None)),
            };
            let (answer, doors): (Result<String, String>, Option<&Doors>) = match answer {
                Ok((told, doors)) => (Ok(told), doors),
                Err(error) => (Err(error.to_string()), None),
            };
            // Whoever has left needs no answer.
            let _ = peer.send(&serde_json::to_vec(&answer).unwrap_or_default(), doors);
        }
    }
}

impl LiveLab {
    /// Changes something, and says in a line what came of it.
    ///
    /// # Errors
    /// As the single changes.
    pub fn change(&self, change: &Change) -> Result<String, LiveError> {
        match change {
            Change::Reboot(nat) => self.reboot(nat).map(|lost| match lost {
                1 => format!("{nat} has rebooted, 1 mapping lost"),
                lost => format!("{nat} has rebooted, {lost} mappings lost"),
            }),
            Change::Readdress(nat, addresses) => {
                let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                self.readdress(nat, addresses).map(|()| format!("{nat} is now at {}", shown.join(", ")))
            }
            Change::Move(host, to) => self.take_to(host, Some(to)).map(|addresses| {
                let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{host} is now at {}", shown.join(", "))
            }),
            Change::Set(nat, words) => {
                let axes = Axes::from_words(nat, words).map_err(LiveError::Refused)?;
                self.set(nat, &axes).map(|kept| match kept {
                    1 => format!("{nat} has {axes} now, 1 mapping kept"),
                    kept => format!("{nat} has {axes} now, {kept} mappings kept"),
                })
            }
            Change::Link(name, words) => {
                let change = LinkChange::from_words(name, words).map_err(LiveError::Refused)?;
                self.link(name, &change).map(|()| format!("the link of {name} has {change} now"))
            }
            Change::Cut(name) => self.cut(name).map(|()| format!("{name} is cut off")),
            Change::Mend(name) => self.mend(name).map(|()| format!("{name} is connected")),
        }
    }
}

/// Runs a program on a host of a lab in this process's place: see [`natbox_live::run`]. No lab named means the only one.
///
/// # Errors
/// No such lab or host, or the program cannot be started.
pub fn exec(lab: Option<&str>, host: &str, command: &mut std::process::Command) -> Result<u8, LiveError> {
    let (_, doors) = ask(lab, &Request::Join(host.to_owned()))?;
    let doors = doors.ok_or_else(|| LiveError::Stopped("it gave no way into the host".into()))?;
    natbox_live::join(&doors).map_err(LiveError::system(format!("join `{host}`")))?;
    let program = command.get_program().to_string_lossy().into_owned();
    natbox_live::run(command).map_err(|error| LiveError::Program { host: host.to_owned(), program, error })
}

/// Changes something about a lab, and says what came of it. No lab named means the only one.
///
/// # Errors
/// No such lab, or the change cannot be made.
pub fn change(lab: Option<&str>, change: Change) -> Result<String, LiveError> {
    ask(lab, &Request::Change(change)).map(|(told, _)| told)
}

/// Takes a lab down and waits until it is gone; says which. No lab named means the only one.
///
/// # Errors
/// No such lab.
pub fn take_down(lab: Option<&str>) -> Result<String, LiveError> {
    let (name, peer) = send(lab, &Request::Down)?;
    // No answer comes: the connection ends with the lab.
    let _ = peer.receive();
    Ok(name)
}

fn ask(lab: Option<&str>, request: &Request) -> Result<(String, Option<Doors>), LiveError> {
    let (_, peer) = send(lab, request)?;
    let (message, doors) = peer.receive().map_err(LiveError::system("hear from the lab"))?;
    let answer: Result<String, String> =
        serde_json::from_slice(&message).map_err(|_| LiveError::Stopped("it went away without an answer".into()))?;
    answer.map(|told| (told, doors)).map_err(LiveError::Refused)
}

fn send(lab: Option<&str>, request: &Request) -> Result<(String, Peer), LiveError> {
    let user = natbox_live::privilege::user();
    let name = lab.map_or_else(|| the_only_one(user), |lab| Ok(lab.to_owned()))?;
    let peer = Peer::connect(&socket_name(user, &name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => no_lab(Some(&name), &running(user)),
        _ => LiveError::System { what: format!("speak to the lab `{name}`"), error },
    })?;
    let message = serde_json::to_vec(request).unwrap_or_default();
    peer.send(&message, None).map_err(LiveError::system(format!("speak to the lab `{name}`")))?;
    Ok((name, peer))
}

fn socket_name(user: u32, lab: &str) -> String {
    format!("natbox/{user}/{lab}")
}

/// The labs of this user that are up. The kernel lists the names of sockets.
fn running(user: u32) -> BTreeSet<String> {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let prefix = format!("@{}", socket_name(user, ""));
    let names = sockets.lines().filter_map(|line| line.split_whitespace().next_back()?.strip_prefix(&prefix));
    names.map(str::to_owned).collect()
}

fn the_only_one(user: u32) -> Result<String, LiveError> {
    let running = running(user);
    match running.iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).clone()),
        _ => Err(no_lab(None, &running)),
    }
}

fn no_lab(name: Option<&str>, running: &BTreeSet<String>) -> LiveError {
    let labs = running.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    LiveError::Refused(match (name, running.len()) {
        (_, 0) => "no lab is up: start one with `natbox up FILE`".to_owned(),
        (None, _) => format!("several labs are up: name one with --lab ({labs})"),
        (Some(name), _) => format!("no lab called `{name}` is up: expected one of {labs}"),
    })
}
