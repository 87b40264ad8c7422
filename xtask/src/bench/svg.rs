//! The frame of every picture: legible on light and dark pages.
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
