//! Handing something to another core: a bounded mailbox.

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A mailbox for `capacity` letters at once; at least one.
///
/// The receiver belongs to one task of one worker; the sender is cloned to whoever has something for it.
#[must_use]
pub fn mailbox<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    (Sender { sender }, Receiver { receiver })
}

/// Why a letter was not taken; it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandoverError<T> {
    /// A limit's fault: the receiver is behind, and the mailbox is full.
    #[error("the other core's mailbox is full")]
    Full(T),
    /// The receiver is gone: its worker has stopped.
    #[error("the other core has stopped")]
    Closed(T),
}

/// Puts letters into a mailbox, from any thread.
#[derive(Debug)]
pub struct Sender<T> {
    sender: mpsc::Sender<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { sender: self.sender.clone() }
    }
}

impl<T: Send> Sender<T> {
    /// Hands `letter` over now or not at all.
    ///
    /// # Errors
    ///
    /// [`HandoverError`] with the letter, if the mailbox is full or its receiver gone.
    pub fn try_send(&self, letter: T) -> Result<(), HandoverError<T>> {
        self.sender.try_send(letter).map_err(|refused| match refused {
            TrySendError::Full(letter) => HandoverError::Full(letter),
            TrySendError::Closed(letter) => HandoverError::Closed(letter),
        })
    }

    /// Hands `letter` over, once there is room for it. Dropping the future drops the letter.
    ///
    /// # Errors
    ///
    /// [`HandoverError::Closed`] with the letter, if the receiver is gone.
    pub async fn send(&self, letter: T) -> Result<(), HandoverError<T>> {
        self.sender.send(letter).await.map_err(|refused| HandoverError::Closed(refused.0))
    }
}

/// Takes letters out of a mailbox.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
}

impl<T: Send> Receiver<T> {
    /// The next letter; none once every sender is gone. Dropping the future loses no letter.
    pub async fn recv(&mut self) -> Option<T> {
        self.receiver.recv().await
    }

    /// A letter that is there already.
    pub fn try_recv(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}
