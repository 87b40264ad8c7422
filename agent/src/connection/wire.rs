//! The wire identity: how both ends of a TCP connection name a request alike without asking each other. No
//! addresses, so it holds across NAT; no ports, so their reuse cannot confuse it.

use sockspan_ebpf::{Data, Role, flag};

/// A request's name: where both streams began and where the request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wire {
    /// Sequence number of the client's first byte on the connection.
    pub client: u32,
    /// Sequence number of the server's first byte.
    pub server: u32,
    /// Sequence number of the request's first byte.
    pub request: u32,
}

impl Wire {
    /// The name of the request that begins at `position`, if the connection's ends were found.
    pub fn of(data: &Data, role: Role, position: u32) -> Option<Self> {
        if data.flags & flag::WIRE == 0 || data.flags & flag::SEQUENCE == 0 {
            return None;
        }
        let (client, server) = if role == Role::Client {
            (data.local_base, data.peer_base)
        } else {
            (data.peer_base, data.local_base)
        };
        Some(Self { client, server, request: position })
    }

    /// Its bytes, most significant first: what ids are derived from.
    pub fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (place, word) in bytes.chunks_exact_mut(4).zip([self.client, self.server, self.request]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_give_one_name() {
        let mut client: Data = bytemuck::Zeroable::zeroed();
        (client.local_base, client.peer_base) = (100, 900);
        client.flags = flag::WIRE | flag::SEQUENCE;
        let mut server = client;
        (server.local_base, server.peer_base) = (900, 100);
        let name = Wire::of(&client, Role::Client, 150);
        assert!(name.is_some());
        assert_eq!(name, Wire::of(&server, Role::Server, 150));
        assert_ne!(name, Wire::of(&server, Role::Server, 151));
        client.flags = flag::SEQUENCE;
        assert_eq!(Wire::of(&client, Role::Client, 150), None);
    }
}
