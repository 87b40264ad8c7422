//! The ring buffer's reader. It does nothing but copy events out, so that a slow pipeline never holds up the
//! kernel's buffer longer than it must.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::{Bytes, BytesMut};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::Error;

/// Bytes of events in one batch at most.
const BATCH_BYTES: usize = 512 * 1024;

/// The events that the kernel side writes.
pub struct Ring {
    ring: RingBuf<MapData>,
    bell: Bell,
}

/// Wakes the reader, once and for all.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// From now on the reader waits for nothing.
    pub fn ring(&self) {
        // Its count is far from its end.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("EVENTS").ok_or(Error::NoMap("EVENTS"))?;
        let ring = RingBuf::try_from(map).map_err(|e| Error::Map("EVENTS", Box::new(e)))?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.map_err(|errno| Error::Bell(errno.into()))?;
        Ok(Self { ring, bell: Bell(Arc::new(bell)) })
    }

    /// What wakes the reader.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Waits until the kernel side or the bell wakes the reader or `timeout` is over.
    pub fn wait(&self, timeout: Duration) {
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut fds =
            [self.ring.as_fd(), self.bell.0.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // An interrupted wait is a short wait.
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    /// What waits now, as one batch of `length: u32` + event, repeated; `None` if there is nothing.
    pub fn batch(&mut self) -> Option<Bytes> {
        let mut batch = BytesMut::new();
        while batch.len() < BATCH_BYTES {
            let Some(item) = self.ring.next() else { break };
            batch.reserve(4 + item.len());
            batch.extend_from_slice(&(item.len() as u32).to_ne_bytes());
            batch.extend_from_slice(&item);
        }
        (!batch.is_empty()).then(|| batch.freeze())
    }
}
