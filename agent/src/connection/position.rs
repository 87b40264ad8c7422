//! TCP sequence numbers wrap at 32 bits; streams go on. One counter a direction.

/// The origin leaves room for a first position that turns out not to be the lowest.
const ORIGIN: u64 = 1 << 32;

/// Turns 32-bit positions into 64-bit ones that do not wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Positions {
    last: Option<u64>,
}

impl Positions {
    /// The 64-bit position nearest to the last one.
    pub fn unwrap(&mut self, position: u32) -> u64 {
        let full = match self.last {
            None => ORIGIN | u64::from(position),
            Some(last) => {
                let ahead = position.wrapping_sub(last as u32) as i32;
                last.saturating_add_signed(i64::from(ahead))
            }
        };
        self.last = Some(full);
        full
    }

    /// The last position.
    pub fn last(&self) -> u64 {
        self.last.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_past_the_wrap_and_back() {
        let mut positions = Positions::default();
        let first = positions.unwrap(0xffff_fff0);
        assert_eq!(positions.unwrap(0x10), first + 0x20);
        assert_eq!(positions.unwrap(0xffff_fff8), first + 8);
        assert_eq!(positions.last() as u32, 0xffff_fff8);
    }
}
