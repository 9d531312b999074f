//! Who waits for which settlement, fed by the [tap](super::tap) and read by receivers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::messaging::DeliveryState;
use fe2o3_amqp::types::performatives::{Disposition, Flow};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::{guard, tap};

/// The broker's answers to settlements, for every receiving link of one connection.
#[derive(Debug, Default)]
pub(crate) struct Settlements(Mutex<Links>);

#[derive(Debug, Default)]
struct Links {
    /// Links that were announced and whose `attach` has not come back yet, and all others.
    by_name: HashMap<String, Arc<Pending>>,
    /// The peer's channel of each link: delivery ids are counted per session, and a link has one of its own.
    by_channel: HashMap<u16, Arc<Pending>>,
}

/// What one link waits for.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Outcomes, by delivery id.
    outcomes: Mutex<HashMap<u32, oneshot::Sender<Option<DeliveryState>>>>,
    /// The peer's word that it has used up the link's credit.
    drained: Notify,
    /// The peer has detached the link.
    detached: CancellationToken,
}

/// A link's place in [`Settlements`]; dropping it ends every wait with an error.
#[derive(Debug)]
pub(crate) struct Registration {
    name: String,
    pending: Arc<Pending>,
    settlements: Arc<Settlements>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every update is a single insert or remove: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Settlements {
    /// Announces a link, before it is attached.
    pub(crate) fn register(self: &Arc<Self>, link_name: &str) -> Registration {
        let pending = Arc::new(Pending::default());
        lock(&self.0).by_name.insert(link_name.to_owned(), Arc::clone(&pending));
        Registration {
            name: link_name.to_owned(),
            pending,
            settlements: Arc::clone(self),
        }
    }

    /// A frame of the peer's went past, whose values the tap has followed.
    pub(crate) fn on_frame(&self, channel: u16, code: u8, body: &[u8]) {
        match code {
            tap::ATTACH => {
                if let Some(name) = attach_name(body) {
                    let mut links = lock(&self.0);
                    if let Some(pending) = links.by_name.get(name).cloned() {
                        links.by_channel.insert(channel, pending);
                    }
                }
            }
            tap::DISPOSITION => {
                let Some(pending) = lock(&self.0).by_channel.get(&channel).cloned() else {
                    return;
                };
                match guard::decode_followed::<Disposition>(body) {
                    Ok(disposition) => pending.on_disposition(&disposition),
                    Err(error) => tracing::warn!(%error, "a disposition could not be read"),
                }
            }
            tap::FLOW => {
                let Some(pending) = lock(&self.0).by_channel.get(&channel).cloned() else {
                    return;
                };
                match guard::decode_followed::<Flow>(body) {
                    // Asked to drain, the sender uses up the credit and says so (AMQP 1.0 section 2.6.7).
                    Ok(flow) if flow.drain && flow.link_credit == Some(0) => pending.drained.notify_one(),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a flow could not be read"),
                }
            }
            tap::DETACH => {
                if let Some(pending) = lock(&self.0).by_channel.get(&channel) {
                    pending.detached.cancel();
                }
            }
            _ => {}
        }
    }
}

impl Pending {
    fn on_disposition(&self, disposition: &Disposition) {
        if disposition.role != Role::Sender || !disposition.settled {
            return;
        }
        let (first, last) = (disposition.first, disposition.last.unwrap_or(disposition.first));
        let mut waiting = lock(&self.outcomes);
        // Delivery ids are serial numbers and wrap (AMQP 1.0 section 2.8.10): compare by distance. Walk
        // whichever is shorter, the range or those who wait, as a range is the peer's to choose.
        let span = last.wrapping_sub(first);
        let answer = |reply: oneshot::Sender<_>| {
            // Whoever waited may have gone away meanwhile.
            let _ = reply.send(disposition.state.clone());
        };
        if (span as usize) < waiting.len() {
            for id in (0..=span).map(|offset| first.wrapping_add(offset)) {
                waiting.remove(&id).into_iter().for_each(answer);
            }
        } else {
            let settled = waiting.extract_if(|id, _| id.wrapping_sub(first) <= span);
            settled.for_each(|(_, reply)| answer(reply));
        }
    }
}

impl Registration {
    /// Sends the outcome of delivery `id` to `reply`; to be called before the disposition goes out.
    pub(crate) fn expect(&self, id: u32, reply: oneshot::Sender<Option<DeliveryState>>) {
        lock(&self.pending.outcomes).insert(id, reply);
    }

    /// Returns once for every time that the peer has said that it has used up the credit.
    pub(crate) async fn drained(&self) {
        self.pending.drained.notified().await;
    }

    /// Returns once the peer has detached the link. That its session ended is not seen here.
    pub(crate) async fn detached(&self) {
        self.pending.detached.cancelled().await;
    }

    #[cfg(test)]
    fn outstanding(&self) -> usize {
        lock(&self.pending.outcomes).len()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut links = lock(&self.settlements.0);
        links.by_name.remove(&self.name);
        links
            .by_channel
            .retain(|_, pending| !Arc::ptr_eq(pending, &self.pending));
        lock(&self.pending.outcomes).clear();
    }
}

/// The link name of an `attach`: the first field of its list. Read by hand, because the rest of the frame
/// (source filters, capabilities) may hold types that are of no interest here.
fn attach_name(body: &[u8]) -> Option<&str> {
    let ([0, 0x53, _, list @ ..] | [0, 0x80, _, _, _, _, _, _, _, _, list @ ..]) = body else {
        return None;
    };
    // list8 and list32, str8-utf8 and str32-utf8 (AMQP 1.0 section 1.6).
    let ([0xc0, _, _, fields @ ..] | [0xd0, _, _, _, _, _, _, _, _, fields @ ..]) = list else {
        return None;
    };
    let name = match fields {
        [0xa1, length, rest @ ..] => rest.get(..usize::from(*length))?,
        [0xb1, a, b, c, d, rest @ ..] => rest.get(..u32::from_be_bytes([*a, *b, *c, *d]) as usize)?,
        _ => return None,
    };
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fe2o3_amqp::types::messaging::Accepted;

    fn attach(name: &str) -> Vec<u8> {
        let mut body = vec![
            0,
            0x53,
            tap::ATTACH,
            0xc0,
            0,
            1,
            0xa1,
            u8::try_from(name.len()).unwrap(),
        ];
        body.extend(name.as_bytes());
        body
    }

    fn disposition(first: u32, last: Option<u32>, settled: bool) -> Vec<u8> {
        let state = Some(DeliveryState::Accepted(Accepted {}));
        serde_amqp::to_vec(&Disposition {
            role: Role::Sender,
            first,
            last,
            settled,
            state,
            batchable: false,
        })
        .unwrap()
    }

    #[test]
    fn a_settled_range_answers_those_who_wait_for_it_and_nobody_else() {
        let settlements = Arc::new(Settlements::default());
        let link = settlements.register("link-1");
        let other = settlements.register("link-2");
        settlements.on_frame(3, tap::ATTACH, &attach("link-1"));
        settlements.on_frame(4, tap::ATTACH, &attach("link-2"));
        let mut replies = Vec::new();
        for id in [u32::MAX, 0, 7] {
            let (tx, rx) = oneshot::channel();
            link.expect(id, tx);
            replies.push(rx);
        }
        let (tx, mut elsewhere) = oneshot::channel();
        other.expect(0, tx);

        settlements.on_frame(3, tap::DISPOSITION, &disposition(0, None, false));
        assert_eq!(link.outstanding(), 3, "an unsettled disposition is no answer");
        settlements.on_frame(3, tap::DISPOSITION, &disposition(u32::MAX, Some(1), true));

        assert!(replies[0].try_recv().unwrap().unwrap().is_accepted());
        assert!(replies[1].try_recv().unwrap().unwrap().is_accepted());
        assert!(replies[2].try_recv().is_err());
        assert!(elsewhere.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_detached_link_is_told_apart_from_others() {
        let settlements = Arc::new(Settlements::default());
        let (link, other) = (settlements.register("link-1"), settlements.register("link-2"));
        settlements.on_frame(3, tap::ATTACH, &attach("link-1"));
        settlements.on_frame(4, tap::ATTACH, &attach("link-2"));
        settlements.on_frame(3, tap::DETACH, &[]);
        link.detached().await;
        assert!(!other.pending.detached.is_cancelled());
    }

    #[tokio::test]
    async fn losing_the_link_ends_every_wait() {
        let settlements = Arc::new(Settlements::default());
        let link = settlements.register("link-1");
        let (tx, rx) = oneshot::channel();
        link.expect(1, tx);
        drop(link);
        assert!(rx.await.is_err());
    }
}
