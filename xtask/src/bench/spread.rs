//! Several measurements of one thing as one figure.
//!
//! In: figures. Out: the one in the middle, and how far the others are from it.

use std::fmt;

use serde_json::{Value, json};

/// Some figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The one in the middle.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of `figures`; zeros if there is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(0.0);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 if middle > 0 => f64::midpoint(at(middle - 1), at(middle)),
            _ => at(middle),
        };
        Self { least: at(0), median, most: at(figures.len().saturating_sub(1)) }
    }

    /// As an object.
    pub fn to_json(self) -> Value {
        json!({ "least": self.least, "median": self.median, "most": self.most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(2);
        write!(f, "{:.places$} ({:.places$}-{:.places$})", self.median, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few_and_many() {
        assert_eq!(Spread::of([]), Spread::default());
        assert_eq!(Spread::of([3.0, 1.0]), Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(format!("{:.1}", Spread::of([5.0, 1.0, 2.0])), "2.0 (1.0-5.0)");
    }
}
