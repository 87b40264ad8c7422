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

    /// The crowd of that size that is traced, as its program is told: processes, connections, body, exchanges.
    pub fn crowd(self, size: u64) -> [u64; 4] {
        match self {
            Self::Connections => {
                let processes = size.div_ceil(CONNECTIONS_OF_ONE);
                [processes, size / processes, 39, 60_000]
            }
            Self::Services => [size, 10, 39, 60_000],
            Self::Body => [1, 1, size, (2_u64 << 30).checked_div(size).unwrap_or(20_000).clamp(2, 20_000)],
            Self::Untraced => [1, 1, 39, 20_000],
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
        assert_eq!(Dimension::Connections.crowd(10_000), [2, 5_000, 39, 60_000]);
        assert_eq!(Dimension::Body.crowd(0), [1, 1, 0, 20_000]);
        assert_eq!(Dimension::Body.crowd(1 << 30), [1, 1, 1 << 30, 2]);
        assert_eq!(Dimension::Untraced.idle(7), Some(7));
    }
}
