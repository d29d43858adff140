//! `connect` as a technique: one session, either side.

use natbox_host::Host;

use super::{Config, callee, connect};
use crate::contact::{Contact, Failure, Setting};
use crate::punch::{self, CheckPlan};

pub(crate) async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    Ok(connect(host, &setting.into(), peer).await?.into())
}

pub(crate) async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    // The caller brings the relay, and says which paths may be tried.
    let deadline = setting.options.deadline(host.now());
    Ok(callee::answer(host, &setting.into(), deadline).await?)
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
