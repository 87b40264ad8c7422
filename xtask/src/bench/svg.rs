//! Pictures: their frame, legible on light and dark pages, and charts of bars.
//!
//! In: what is in the picture. Out: an SVG.

/// For lines, and for what is not ours.
pub const GREY: &str = "#8b949e";

const STYLE: &str = "<style>\n\
    text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #24292f; }\n\
    .title { font-weight: 600; }\n\
    .value { font-variant-numeric: tabular-nums; }\n\
    @media (prefers-color-scheme: dark) { text { fill: #d0d7de; } }\n\
    </style>\n";

/// A picture of that size.
pub fn picture(title: &str, width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n{STYLE}{body}</svg>\n"
    )
}

const WIDTH: f64 = 760.0;
const TOP: f64 = 46.0;
const BAR: f64 = 14.0;
const STEP: f64 = 18.0;
const GAP: f64 = 14.0;
/// A part that is shorter has no room for its name.
const ROOM: f64 = 70.0;

/// A piece of a bar.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// How much.
    pub value: f64,
    /// Its colour, and how much of that.
    pub colour: &'a str,
    pub opacity: f64,
    /// What stands below it, if there is room.
    pub caption: &'a str,
}

impl<'a> Part<'a> {
    /// Without a caption, and quite of that colour.
    pub fn new(value: f64, colour: &'a str) -> Self {
        Self { value, colour, opacity: 1.0, caption: "" }
    }
}

/// Bars below each other, all to the same scale.
#[derive(Debug)]
pub struct Chart {
    /// Where bars begin, and pixels for a unit.
    left: f64,
    scale: f64,
    y: f64,
    body: String,
}

impl Chart {
    /// `left` pixels for labels, `right` for what stands behind the longest bar, which is of the value `most`.
    pub fn new(headline: &str, left: f64, right: f64, most: f64) -> Self {
        let body = format!("<text class=\"title\" x=\"12\" y=\"22\">{headline}</text>\n");
        Self { left, scale: (WIDTH - left - right) / most, y: TOP, body }
    }

    /// The bars from here on have another scale: the longest is as long as before, and of the value `most`.
    pub fn rescale(&mut self, before: f64, most: f64) {
        self.scale *= before / most;
    }

    /// Some room.
    pub fn gap(&mut self) {
        self.y += GAP;
    }

    /// What the bars below have in common.
    pub fn heading(&mut self, text: &str) {
        let base = self.y + 11.0;
        self.body += &format!("<text class=\"title\" x=\"12\" y=\"{base:.0}\">{text}</text>\n");
        self.y += STEP + 2.0;
    }

    /// A bar of these parts, with words before and behind it.
    pub fn bar(&mut self, label: &str, parts: &[Part<'_>], behind: &str) {
        let (y, base) = (self.y, self.y + 11.0);
        let end = self.left - 8.0;
        self.body += &format!("<text x=\"{end:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{label}</text>");
        let mut x = self.left;
        let mut captioned = false;
        for Part { value, colour, opacity, caption } in parts {
            let length = (value * self.scale).max(0.0);
            self.body += &format!(
                "<rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR:.0}\" fill=\"{colour}\" \
                 fill-opacity=\"{opacity}\"/>"
            );
            if length > ROOM && !caption.is_empty() {
                captioned = true;
                let (at, below) = (x + 2.0, y + 28.0);
                self.body += &format!("<text x=\"{at:.1}\" y=\"{below:.0}\">{caption}</text>");
            }
            x += length;
        }
        let after = x + 6.0;
        self.body += &format!("<text class=\"value\" x=\"{after:.1}\" y=\"{base:.0}\">{behind}</text>\n");
        self.y += if captioned { 2.0 * STEP + 4.0 } else { STEP };
    }

    /// A line through all bars so far, at `value`.
    pub fn mark(&mut self, value: f64) {
        let (x, end) = (self.left + value * self.scale, self.y);
        self.body += &format!(
            "<line x1=\"{x:.1}\" y1=\"{TOP:.0}\" x2=\"{x:.1}\" y2=\"{end:.0}\" stroke=\"{GREY}\" \
             stroke-dasharray=\"3 3\"/>\n"
        );
    }

    /// The picture of that name.
    pub fn finish(self, title: &str) -> String {
        picture(title, WIDTH, self.y + GAP, &self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_has_all_the_room() {
        let mut chart = Chart::new("h", 100.0, 60.0, 3.0);
        chart.heading("all");
        chart.bar("a", &[Part::new(1.0, GREY), Part { caption: "two", ..Part::new(2.0, GREY) }], "3");
        chart.mark(3.0);
        let picture = chart.finish("t");
        assert!(picture.contains("x=\"300.0\" y=\"66\" width=\"400.0\""), "{picture}");
        assert!(picture.contains(">two</text>") && picture.contains("x1=\"700.0\""), "{picture}");
        // Both lines of text, and the room below.
        assert!(picture.contains("height=\"120\""), "{picture}");
    }
}
