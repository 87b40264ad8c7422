//! What grows.
//!
//! In: nothing. Out: sizes, and the crowd of each.

/// Something that there can be few and many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Open connections of one service, used by turns.
    Connections,
    /// Traced processes that serve and ask.
    Services,
    /// Bytes of a response's body.
    Body,
    /// Processes that are not traced and do nothing.
    Untraced,
}

/// So many files may be open in a process everywhere; a connection has two ends here.
const CONNECTIONS_OF_ONE: u64 = 5_000;

/// Exchanges a second, of all processes together: well below what an agent keeps up with, for what is measured is cost and
/// not what happens beyond.
const RATE: u64 = 5_000;
/// A body in bytes of which so many a second would be too many.
const LARGE: u64 = 1 << 16;

/// A crowd, as its program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Processes, and what each has open.
    pub processes: u64,
    pub connections: u64,
    /// Bytes of a response's body.
    pub body: u64,
    /// Of all processes.
    pub exchanges: u64,
    /// A second; 0 is as fast as it goes.
    pub rate: u64,
}

impl Shape {
    /// The words of its command line.
    pub fn words(self) -> Vec<String> {
        [self.processes, self.connections, self.body, self.exchanges, self.rate]
            .map(|n| n.to_string())
            .to_vec()
    }

    /// Exchanges that are made: each process makes the same number.
    pub fn made(self) -> f64 {
        (self.exchanges / self.processes * self.processes) as f64
    }
}

impl Dimension {
    /// All.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Services, Self::Body, Self::Untraced];

    /// Its name in tables.
    pub fn text(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Services => "services",
            Self::Body => "bytes of a body",
            Self::Untraced => "untraced processes",
        }
    }

    /// From few to many.
    pub fn sizes(self) -> &'static [u64] {
        match self {
            Self::Connections => &[10, 100, 1_000, 10_000],
            Self::Services => &[1, 10, 100, 500],
            Self::Body => &[0, 65_536, 1 << 20, 64 << 20, 1 << 30],
            Self::Untraced => &[100, 1_000, 10_000],
        }
    }

    /// The crowd of that size that is traced.
    pub fn crowd(self, size: u64) -> Shape {
        let shape = Shape { processes: 1, connections: 1, body: 39, exchanges: 60_000, rate: RATE };
        match self {
            Self::Connections => {
                let processes = size.div_ceil(CONNECTIONS_OF_ONE);
                Shape { processes, connections: size / processes, ..shape }
            }
            Self::Services => Shape { processes: size, connections: 10, ..shape },
            Self::Body if size > LARGE => {
                // As fast as the machine copies, twice and more.
                Shape { body: size, exchanges: ((2 << 30) / size).max(2), rate: 0, ..shape }
            }
            Self::Body => Shape { body: size, exchanges: 20_000, ..shape },
            Self::Untraced => Shape { exchanges: 20_000, ..shape },
        }
    }

    /// Those beside, that are not traced.
    pub fn idle(self, size: u64) -> Option<u64> {
        (self == Self::Untraced).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_are_of_their_sizes() {
        let words = |dimension: Dimension, size| dimension.crowd(size).words().join(" ");
        assert_eq!(words(Dimension::Connections, 10_000), "2 5000 39 60000 5000");
        assert_eq!(words(Dimension::Body, 0), "1 1 0 20000 5000");
        assert_eq!(words(Dimension::Body, 1 << 30), "1 1 1073741824 2 0");
        assert_eq!(Dimension::Services.crowd(500).made(), 60_000.0);
        assert_eq!(Dimension::Untraced.idle(7), Some(7));
    }
}
