//! The reading end of a scheduler's queue, which tells the runner when there is room again. What the core tells at a
//! framework's own pace must not fill the queue: a full one ends the session.
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;

/// What writer and reader of one queue share.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    is_awaited: Arc<AtomicBool>,
    /// The runner's, one for all queues.
    bell: Arc<Notify>,
}

impl Room {
    pub(crate) fn new(bell: Arc<Notify>) -> Self {
        Self { is_awaited: Arc::default(), bell }
    }
    /// From now on the bell rings when the queue is half empty; also if it is so already.
    pub(crate) fn wait<T>(&self, queue: &mpsc::Sender<T>) {
        self.is_awaited.store(true, Ordering::SeqCst);
        if has_room(queue) {
            self.bell.notify_one();
        }
    }
}

/// Whether half of the queue is free.
pub(crate) fn has_room<T>(queue: &mpsc::Sender<T>) -> bool {
    queue.capacity() * 2 >= queue.max_capacity()
}

/// The stream that a scheduler reads.
#[derive(Debug)]
pub(crate) struct Paced<T> {
    pub(crate) queue: mpsc::Receiver<T>,
    pub(crate) room: Room,
}

impl<T> Stream for Paced<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let next = self.queue.poll_recv(context);
        if next.is_ready()
            && self.queue.len() * 2 <= self.queue.max_capacity()
            && self.room.is_awaited.swap(false, Ordering::SeqCst)
        {
            self.room.bell.notify_one();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn the_bell_rings_once_there_is_room() {
        let bell = Arc::new(Notify::new());
        let rings = || bell.notified().now_or_never().is_some();
        let (sender, queue) = mpsc::channel(8);
        let room = Room::new(bell.clone());
        let mut paced = Paced { queue, room: room.clone() };
        room.wait(&sender);
        assert!(rings(), "there is room at once");
        for number in 0..8 {
            sender.try_send(number).expect("room");
        }
        room.wait(&sender);
        for number in 0..3 {
            assert_eq!(paced.next().await, Some(number));
            assert!(!rings(), "five are waiting");
        }
        assert_eq!(paced.next().await, Some(3));
        assert!(rings() && has_room(&sender));
        assert_eq!(paced.next().await, Some(4));
        assert!(!rings(), "once");
    }
}
