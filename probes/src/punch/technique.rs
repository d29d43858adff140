//! `punch` as a technique, and what every technique of checks has in common.

use std::io;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use natbox_host::Host;
use natbox_wire::Time;

use super::session::CheckPlan;
use super::{Link, PunchConfig, Punched, Step, Via, answer as wait, punch};
use crate::contact::{Channel, Contact, Datagram, Facts, Failure, Options, Setting};
use crate::path::{Path, Transport};
use crate::turn;

pub(crate) async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    call_as(host, &setting.into(), peer).await
}

pub(crate) async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    answer_as(host, &setting.into(), setting).await
}

/// Calls as `config` says.
pub(crate) async fn call_as<H: Host>(host: &H, config: &PunchConfig, peer: &str) -> Result<Contact<H>, Failure> {
    Ok(punch(host, config, peer).await?.into())
}

/// Answers as `config` says.
pub(crate) async fn answer_as<H: Host>(
    host: &H,
    config: &PunchConfig,
    setting: &Setting,
) -> Result<Contact<H>, Failure> {
    Ok(wait(host, config, setting.options.deadline(host.now())).await?.into())
}

impl From<&Setting> for PunchConfig {
    /// Everything is tried, without a relay.
    fn from(setting: &Setting) -> PunchConfig {
        PunchConfig {
            stun: setting.stun.first().copied(),
            asks: setting.asks.clone(),
            checks: plan(&setting.options),
            keep_alive: setting.options.keep_alive,
            ..PunchConfig::new(setting.directory, &setting.me)
        }
    }
}

/// The usual checks, as far as there is time for them.
pub(crate) fn plan(options: &Options) -> CheckPlan {
    let plan = CheckPlan { peer_reflexive: options.peer_reflexive, ..CheckPlan::default() };
    let possible = options.timeout.as_nanos() / plan.interval.as_nanos();
    CheckPlan { attempts: plan.attempts.min(u32::try_from(possible).unwrap_or(u32::MAX)).max(1), ..plan }
}

impl<H: Host> From<Punched<H>> for Contact<H> {
    fn from(punched: Punched<H>) -> Contact<H> {
        Contact::new(punched.link.host.clone(), punched.link, punched.elapsed)
    }
}

impl From<super::Failure> for Failure {
    fn from(failure: super::Failure) -> Failure {
        let forbidden = |attempt: &&super::Attempt| matches!(attempt.outcome, super::Outcome::NotAllowed(_));
        Failure {
            forbidden: failure.attempts.iter().filter(forbidden).map(ToString::to_string).collect(),
            attempts: failure.attempts.iter().map(ToString::to_string).collect(),
            error: failure.error,
            elapsed: failure.elapsed,
            remarks: failure.remarks,
            facts: Facts::new(),
        }
    }
}

impl<H: Host> Channel for Link<H> {
    fn path(&self) -> Path {
        self.history.last().map_or(Path::None, |(_, path)| *path)
    }

    fn transport(&self) -> Transport {
        let by_relay = self.selected().is_some_and(|(via, _)| via == Via::Relay);
        match &self.relay {
            Some(relay) if by_relay && relay.carrier() != turn::Carrier::Udp => Transport::Tcp,
            _ => Transport::Udp,
        }
    }

    fn remote(&self) -> SocketAddr {
        self.selected().map_or(self.session.introduced().peer.reflexive, |(_, remote)| remote)
    }

    fn peer(&self) -> &str {
        &self.session.introduced().peer.name
    }

    fn history(&self) -> Vec<(Time, Path)> {
        self.history.clone()
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        Link::send(self, payload).boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        async move {
            loop {
                match self.step(deadline).await? {
                    Step::Data { length, at } => return Ok(Some(Datagram { payload: self.data(length), at })),
                    Step::Progress => {}
                    Step::Deadline => return Ok(None),
                }
            }
        }
        .boxed_local()
    }
}
