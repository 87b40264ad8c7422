//! Two actors, a client and a server: each call is chosen, and has returned before the next is made.
//!
//! In: messages. Out: when they passed.

use crate::actor::{Actor, Address, Moment, Socket};

/// Both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Who opened it.
    pub client: Socket,
    /// Who accepted it.
    pub server: Socket,
}

/// A client and a server that it can connect to.
#[derive(Debug)]
pub struct Pair {
    /// The client.
    pub client: Actor,
    /// The server.
    pub server: Actor,
    /// Where the server listens.
    pub listener: Socket,
    /// By this address.
    pub address: Address,
}

impl Pair {
    /// Both on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::at(&Address::loopback(0))
    }

    /// The server listens there; the client knows the same address, with the port that it came to be.
    pub fn at(address: &Address) -> Self {
        let (client, mut server) = (Actor::start(), Actor::start());
        let (listener, port) = server.listen(address);
        let address = match address {
            Address::Ip(ip, _) => Address::Ip(*ip, port),
            path @ Address::Path(_) => path.clone(),
        };
        Self { client, server, listener, address }
    }

    /// Both process ids.
    pub fn pids(&self) -> [u32; 2] {
        [self.client.pid(), self.server.pid()]
    }

    /// A connection.
    pub fn connect(&mut self) -> Ends {
        let address = self.address.clone();
        self.connect_to(&address)
    }

    /// A connection by another address of the server's.
    pub fn connect_to(&mut self, address: &Address) -> Ends {
        let client = self.client.connect(address);
        Ends { client, server: self.server.accept(self.listener) }
    }

    /// The client writes this, the server reads it.
    pub fn ask(&mut self, ends: Ends, bytes: &[u8]) -> Moment {
        let sent = self.client.send(ends.client, bytes);
        sent.until(self.server.receive(ends.server, bytes.len()))
    }

    /// The server writes this, the client reads it.
    pub fn answer(&mut self, ends: Ends, bytes: &[u8]) -> Moment {
        let sent = self.server.send(ends.server, bytes);
        sent.until(self.client.receive(ends.client, bytes.len()))
    }

    /// The client closes, the server reads that and closes.
    pub fn close(&mut self, ends: Ends) {
        self.client.close(ends.client);
        assert_eq!(self.server.receive_end(ends.server).result, 0, "the end of the stream");
        self.server.close(ends.server);
    }
}
