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
    /// Whether the bell rang for this queue, and there still is room. Something may have been queued since it rang: then it
    /// is waited for again, as the reader rings but once.
    pub(crate) fn is_there<T>(&self, queue: &mpsc::Sender<T>) -> bool {
        let is_there = has_room(queue);
        if !is_there {
            self.wait(queue);
        }
        is_there
    }
}

/// Whether half of the queue is free.
fn has_room<T>(queue: &mpsc::Sender<T>) -> bool {
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

    #[tokio::test]
    async fn room_that_was_taken_before_the_bell_was_heard_is_waited_for_again() {
        let bell = Arc::new(Notify::new());
        let rings = || bell.notified().now_or_never().is_some();
        let (sender, queue) = mpsc::channel(8);
        let room = Room::new(bell.clone());
        let mut paced = Paced { queue, room: room.clone() };
        for number in 0..8 {
            sender.try_send(number).expect("room");
        }
        room.wait(&sender);
        let mut next = 0;
        // However often news comes between the bell and the look at the queue.
        for news in 8..11 {
            while sender.capacity() < 4 {
                assert_eq!(paced.next().await, Some(next));
                next += 1;
            }
            sender.try_send(news).expect("room");
            assert!(rings(), "for {news}");
            assert!(!room.is_there(&sender), "{news} took it");
            assert!(!rings(), "and there is none yet");
        }
        assert_eq!(paced.next().await, Some(next));
        assert!(rings() && room.is_there(&sender));
        while sender.capacity() < 8 {
            next += 1;
            assert_eq!(paced.next().await, Some(next));
        }
        assert!(!rings(), "nobody waits any more");
    }
}
