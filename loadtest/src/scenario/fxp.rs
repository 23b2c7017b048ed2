//! Files from server to server, with this client in between (FXP): in both directions in turn, and either server may be the
//! one that listens. Every file is compared with what the receiving server has, and deleted there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use protocol::command::Command;

use super::upload;
use crate::client::{Control, TRANSFER_ENDED};
use crate::failure::Failure;
use crate::measure::Step;
use crate::plan::Side;
use crate::slot::Slot;

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    let mut server = Control::ready_at(&slot, Side::Server).await?;
    let mut other = Control::ready_at(&slot, Side::Other).await?;
    while let Some(unit) = slot.begin().await {
        let number = slot.begun.get();
        let (from, to, from_side, to_side) = if number.is_multiple_of(2) {
            (&mut server, &mut other, Side::Server, Side::Other)
        } else {
            (&mut other, &mut server, Side::Other, Side::Server)
        };
        let (path, content) = slot.file_at(from_side);
        let name = upload::name(&slot, to_side);
        upload::make_room(&slot, to, to_side, &name).await?;
        slot.leaves_a_file(to_side);
        let (send, store) = (Command::Retr(path), Command::Stor(&name));
        if (number / 2).is_multiple_of(2) {
            transfer(&slot, (&mut *from, &send), (&mut *to, &store)).await?;
        } else {
            transfer(&slot, (&mut *to, &store), (&mut *from, &send)).await?;
        }
        slot.moved(content.length());
        if slot.complete(unit) {
            slot.remark(match from_side {
                Side::Server => "transfers to the other server",
                Side::Other => "transfers from the other server",
            });
        }
        slot.remark(upload::STORED);
        upload::compare_and_delete(&slot, to, to_side, &name, content).await?;
    }
    server.quit().await?;
    other.quit().await
}

/// One transfer, between the server that listens and the one that connects to it, each with its command.
async fn transfer(
    slot: &Slot,
    (listens, for_listener): (&mut Control, &Command<'_>),
    (connects, for_connecter): (&mut Control, &Command<'_>),
) -> Result<(), Failure> {
    let address = listens.passive_as_named().await?;
    let began = slot.at(Step::Active);
    connects.active(address).await?;
    slot.done(Step::Active, began);
    let began = slot.at(Step::Completion);
    listens.send(for_listener).await?;
    connects.send(for_connecter).await?;
    both(replies(listens), replies(connects)).await?;
    slot.done(Step::Completion, began);
    Ok(())
}

async fn replies(control: &mut Control) -> Result<(), Failure> {
    control.expect(&[150, 125]).await?;
    control.expect(&TRANSFER_ENDED).await.map(drop)
}

/// Until both are done, or one has failed: the server that is left waits for a connection that will not come.
async fn both(
    one: impl Future<Output = Result<(), Failure>>,
    other: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_is_done, mut other_is_done) = (false, false);
    poll_fn(|context| {
        if !one_is_done && let Poll::Ready(outcome) = one.as_mut().poll(context) {
            outcome?;
            one_is_done = true;
        }
        if !other_is_done && let Poll::Ready(outcome) = other.as_mut().poll(context) {
            outcome?;
            other_is_done = true;
        }
        if one_is_done && other_is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
