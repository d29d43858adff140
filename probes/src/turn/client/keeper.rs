//! Renews what a client holds until it is let go, then gives it back.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::Host;
use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

use super::lease::{Renewal, Term};
use super::link::Link;
use super::{bind_channel, permit};
use crate::turn::Error;
use crate::turn::message::{Writer, parse};

/// How long to wait before asking again after a renewal found no answer.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the allocation until the client is dropped (then gives it back) or it is lost.
pub(super) async fn run<H: Host>(link: Rc<Link<H>>, renew: bool) {
    let ended = if renew { keep(&link).await } else { wait_out(&link).await };
    match ended {
        Ended::LetGo => give_back(&link).await,
        Ended::Lost(why) => link.lose(why),
    }
    link.stop();
}

enum Ended {
    LetGo,
    Lost(String),
}

async fn keep<H: Host>(link: &Link<H>) -> Ended {
    loop {
        let changed = link.change();
        if link.is_let_go() {
            return Ended::LetGo;
        }
        let due = link.with_lease(|lease| lease.next_renewal()).unwrap_or_default();
        if due > link.host().now() {
            select(pin!(link.host().sleep_until(due)), pin!(changed)).await;
            continue;
        }
        match select(pin!(renew_due(link)), pin!(link.released())).await {
            Either::Left((Some(why), _)) => return Ended::Lost(why),
            Either::Left((None, _)) => {}
            Either::Right(_) => return Ended::LetGo,
        }
    }
}

/// Lets the allocation run out by itself.
async fn wait_out<H: Host>(link: &Link<H>) -> Ended {
    let end = link.with_lease(|lease| lease.term.end()).unwrap_or_default();
    match select(pin!(link.host().sleep_until(end)), pin!(link.released())).await {
        Either::Left(_) => Ended::Lost("its lifetime is over, and it was not to be renewed".to_owned()),
        Either::Right(_) => Ended::LetGo,
    }
}

/// Renews what is due; answers why if the allocation is lost.
async fn renew_due<H: Host>(link: &Link<H>) -> Option<String> {
    let now = link.host().now();
    let renewal = link.with_lease(|lease| lease.due(now)).flatten()?;
    let outcome = match &renewal {
        Renewal::Allocation => refresh(link).await,
        Renewal::Permissions(peers) => permit(link, peers).await,
        Renewal::Channel(number, peer) => bind_channel(link, *number, *peer).await,
    };
    let Err(error) = outcome else { return None };
    if is_final(&error) {
        return give_up(link, renewal, &error);
    }
    if link.with_lease(|lease| lease.term.is_over(link.host().now())).unwrap_or(true) {
        return Some(format!("it could not be renewed in time: {error}"));
    }
    link.host().sleep(RETRY).await;
    None
}

/// Whether asking again cannot help.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused { .. } | Error::BadCredentials { .. })
}

/// A refused permission or channel is no longer renewed; a refused allocation is lost.
fn give_up<H: Host>(link: &Link<H>, renewal: Renewal, error: &Error) -> Option<String> {
    match renewal {
        // 437: the server does not know the allocation, whatever was asked of it.
        _ if error.code() == Some(437) => Some(error.to_string()),
        Renewal::Allocation => Some(error.to_string()),
        Renewal::Permissions(peers) => {
            link.with_lease(|lease| lease.forget_permissions(&peers));
            None
        }
        Renewal::Channel(_, peer) => {
            link.with_lease(|lease| lease.stop_channel(peer));
            None
        }
    }
}

async fn refresh<H: Host>(link: &Link<H>) -> Result<(), Error> {
    let asked_at = link.host().now();
    let lifetime = link.asked_lifetime();
    let answer = link
        .ask("Refresh", REFRESH, &|writer: Writer, _| match lifetime {
            Some(lifetime) => writer.with(&Lifetime::new(super::lifetime_seconds(lifetime))),
            None => writer,
        })
        .await?;
    let granted = parse(&answer).and_then(|message| message.attribute::<Lifetime>().ok().map(|l| l.seconds()));
    let granted = granted.ok_or(Error::BadAnswer { method: "Refresh", expected: "LIFETIME" })?;
    let term = Term { since: asked_at, lifetime: Duration::from_secs(granted.into()) };
    link.with_lease(|lease| lease.term = term);
    Ok(())
}

/// Refresh with lifetime 0. Whether the server hears it or not, the client is done; unheard, it lapses by itself.
async fn give_back<H: Host>(link: &Link<H>) {
    let _ = link.ask("Refresh", REFRESH, &|writer: Writer, _| writer.with(&Lifetime::new(0))).await;
}
