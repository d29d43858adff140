//! `connect` as a technique: one session, either side.

use natbox_host::Host;

use super::blocked::{self, Begun};
use super::callee::Answered;
use super::{Config, Connection, begin, callee};
use crate::contact::{Contact, Failure, Setting};
use crate::punch::{self, CheckPlan};

pub(crate) async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    call_as(host, setting, setting.into(), peer).await
}

/// With a plan of checks of the caller's own.
pub(crate) async fn call_as<H: Host>(
    host: &H,
    setting: &Setting,
    config: Config,
    peer: &str,
) -> Result<Contact<H>, Failure> {
    let began = host.now();
    match blocked::or_by_relays(host, &config, setting, peer, begin(host, &config, peer).await).await? {
        Begun::Link(link) => Ok(Connection::new(link, config, host.now().since(began)).into()),
        Begun::Shut(signal) => blocked::by_relays(host, setting, signal, began).await,
        Begun::Signal(signal, relay) => blocked::call(host, setting, (signal, relay), began).await,
    }
}

pub(crate) async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    // The caller brings the relay, and says which paths may be tried.
    let deadline = setting.options.deadline(host.now());
    match callee::answer(host, &setting.into(), deadline).await {
        Ok(Answered::Contact(contact)) => Ok(contact),
        Ok(Answered::Signal(signal)) => blocked::by_relays(host, setting, signal, host.now()).await,
        Err(failure) if host.now() >= deadline => Err(failure.into()),
        Err(failure) => blocked::answer(host, setting, failure.into()).await,
    }
}

impl From<&Setting> for Config {
    fn from(setting: &Setting) -> Config {
        let (options, usual) = (&setting.options, Config::new(setting.directory, &setting.me));
        Config {
            stun: setting.stun.first().copied(),
            asks: setting.asks.clone(),
            relay: setting.relay.clone(),
            relay_timeout: options.timeout.min(usual.relay_timeout),
            allow: options.allow,
            checks: CheckPlan { relay_first: options.relay_first, ..punch::technique::plan(options) },
            keep_alive: options.keep_alive,
            ..usual
        }
    }
}
