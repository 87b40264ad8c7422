//! A server that resets each connection instead of answering.
//!
//! In: requests. Out: `ECONNRESET`, a moment later.

use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};

/// Between a request and the reset.
const DELAY: Duration = Duration::from_millis(10);

/// The server; listens no more when dropped.
#[derive(Debug)]
pub struct Resets {
    /// Where it listens on loopback.
    pub port: u16,
    over: Arc<AtomicBool>,
}

impl Resets {
    /// Listens on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::Relaxed)) {
                thread::spawn(move || reset(stream));
            }
        });
        Self { port, over }
    }
}

/// Closes a connection with bytes to send that nobody waits for: the kernel resets it.
fn reset(mut stream: TcpStream) {
    // Who says nothing is reset as well.
    let _ = stream.read(&mut [0; 4096]);
    thread::sleep(DELAY);
    let at_once = linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream.as_fd(), Linger, &at_once).expect("a TCP socket can linger");
}

impl Drop for Resets {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it up, so that it sees that.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}
