//! The exchanges of one connection that wait for the end of their responses, oldest first.
//!
//! In: which requests began. Out: which one the next response answers, as far as the order proves it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Chunk, Limits};

/// An exchange whose response is not over.
#[derive(Debug)]
pub(super) struct Exchange {
    pub n: u64,
    /// The request's head is known.
    pub head_known: bool,
    /// The end of the request has been reported.
    pub request_ended: bool,
    /// The head of its final response was seen.
    pub answered: bool,
    /// `HEAD`: its response has no body.
    pub is_head: bool,
    /// `CONNECT`: granted, it makes the connection a tunnel.
    pub is_connect: bool,
}

/// The open exchanges.
#[derive(Debug, Default)]
pub(super) struct Pending(VecDeque<Exchange>);

impl Pending {
    pub fn push(&mut self, n: u64) {
        self.0.push_back(Exchange {
            n,
            head_known: false,
            request_ended: false,
            answered: false,
            is_head: false,
            is_connect: false,
        });
    }
    pub fn pop(&mut self) -> Option<Exchange> {
        let oldest = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > 8 {
            self.0 = VecDeque::new();
        }
        oldest
    }
    pub fn front(&mut self) -> Option<&mut Exchange> {
        self.0.front_mut()
    }
    pub fn get(&mut self, n: u64) -> Option<&mut Exchange> {
        self.0.iter_mut().rev().find(|e| e.n == n)
    }
    pub fn remove(&mut self, n: u64) -> Option<Exchange> {
        let at = self.0.iter().position(|e| e.n == n)?;
        self.0.remove(at)
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn cost(&self) -> usize {
        self.0.capacity() * size_of::<Exchange>()
    }
}

/// A response that was seen before its request: of two calls at almost the same time, the later one may be
/// reported first. Kept until the request comes, or it is clear that it won't.
#[derive(Debug, Default)]
pub(super) struct Held {
    chunks: Vec<Chunk>,
    /// Its request came.
    pub proven: bool,
}

impl Held {
    /// Adds a chunk, or gives it back if there is no room.
    pub fn add(&mut self, chunk: Chunk, limits: &Limits) -> Result<(), Chunk> {
        let bytes = |c: &Chunk| c.head.len() + c.tail.len();
        let all: usize = self.chunks.iter().map(bytes).sum();
        if self.chunks.len() >= 4 || all + bytes(&chunk) > 2 * limits.head_bytes {
            return Err(chunk);
        }
        // Of its own memory: what it is a slice of may be much more.
        let own = Bytes::copy_from_slice;
        self.chunks.push(Chunk { head: own(&chunk.head), tail: own(&chunk.tail), ..chunk });
        Ok(())
    }
    /// Whether a request that began at `began` can be what it answers.
    pub fn answers(&self, began: u64) -> bool {
        self.chunks.first().is_some_and(|c| began <= c.at)
    }
    pub fn into_chunks(self) -> Vec<Chunk> {
        self.chunks
    }
    pub fn cost(&self) -> usize {
        size_of::<Self>()
            + self.chunks.capacity() * size_of::<Chunk>()
            + self.chunks.iter().map(|c| c.head.len() + c.tail.len()).sum::<usize>()
    }
}
