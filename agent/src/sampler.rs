//! Which traces are exported: the standard `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
//!
//! In: a trace id and the sampled flag that arrived with the message, if one did. Out: yes or no. The decision
//! depends on nothing else, so every span of a trace gets the same one, on every node that runs this sampler.

use crate::span::TraceId;

/// The variable that names the sampler.
pub const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// The variable that holds the sampler's ratio.
pub const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Every name that [`SAMPLER`] may hold.
const NAMES: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What [`Sampler::default`] is called.
const DEFAULT: &str = "parentbased_always_on";

/// Decides whether a trace is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    root: Root,
    parent_based: bool,
}

/// The decision for a trace that has no parent, or whose parent is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    On,
    Off,
    /// Sampled while 63 bits of the trace id stay below this bound.
    Below(u64),
}

/// A sampler that is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// [`SAMPLER`] holds a name that is none of the known ones.
    #[error("{SAMPLER}={0:?} is not a sampler; accepted are {names}", names = NAMES.join(", "))]
    Unknown(String),
    /// [`SAMPLER_ARG`] is not a ratio, and the sampler needs one.
    #[error(
        "{SAMPLER_ARG}={0:?} is not a ratio; accepted is a number from 0 to 1, such as 0.1 for one trace in ten"
    )]
    NotARatio(String),
}

impl Default for Sampler {
    /// `parentbased_always_on`, as the OpenTelemetry specification has it.
    fn default() -> Self {
        Self { root: Root::On, parent_based: true }
    }
}

impl Sampler {
    /// Reads both variables through `lookup`; an empty value counts as unset. A ratio sampler without an argument
    /// samples everything (the specification's default of 1); other samplers take no notice of the argument.
    ///
    /// # Errors
    /// A name or a ratio that is not understood.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SamplerError> {
        let text = |name| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let Some(name) = text(SAMPLER) else { return Ok(Self::default()) };
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let root = match root {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => text(SAMPLER_ARG).map_or(Ok(Root::On), |arg| ratio(&arg))?,
            _ => return Err(SamplerError::Unknown(name)),
        };
        Ok(Self { root, parent_based })
    }

    /// The variables that are not set, each with what holds in its place; those without effect are left out.
    pub fn defaults(lookup: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
        match lookup(SAMPLER) {
            None => vec![(SAMPLER, DEFAULT.to_owned())],
            Some(name) if name.contains("ratio") && lookup(SAMPLER_ARG).is_none() => {
                vec![(SAMPLER_ARG, "1".to_owned())]
            }
            Some(_) => Vec::new(),
        }
    }

    /// True if the trace is to be exported. `parent_sampled` is the W3C flag of the message that brought the trace
    /// here, `None` where the trace starts.
    pub fn samples(&self, trace_id: TraceId, parent_sampled: Option<bool>) -> bool {
        match parent_sampled {
            Some(sampled) if self.parent_based => sampled,
            _ => self.root.samples(trace_id),
        }
    }
}

impl Root {
    /// The rule of the Go, Rust and Python SDKs: the trace id's last 8 bytes are its random part, and without
    /// their lowest bit they are compared with the ratio's share of 63 bits.
    fn samples(self, trace_id: TraceId) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Below(bound) => {
                let [.., a, b, c, d, e, f, g, h] = trace_id.0;
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < bound
            }
        }
    }
}

fn ratio(arg: &str) -> Result<Root, SamplerError> {
    match arg.parse::<f64>() {
        Ok(1.0) => Ok(Root::On),
        Ok(0.0) => Ok(Root::Off),
        Ok(ratio) if ratio > 0.0 && ratio < 1.0 => Ok(Root::Below((ratio * (1u64 << 63) as f64) as u64)),
        _ => Err(SamplerError::NotARatio(arg.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(name: &str, arg: &str) -> Result<Sampler, SamplerError> {
        Sampler::parse(|variable| {
            Some(if variable == SAMPLER { name } else { arg }.to_owned()).filter(|v| !v.is_empty())
        })
    }

    /// A trace id whose random part is `low`; the first half must not matter.
    fn id(low: u64) -> TraceId {
        let mut bytes = [0xff; 16];
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        TraceId(bytes)
    }

    #[test]
    fn every_sampler_decides_as_its_name_says() {
        // name, decision for: a new trace, a sampled parent, a parent that is not sampled
        let table = [
            ("", true, true, false),
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
        ];
        for (name, new, sampled, unsampled) in table {
            let sampler = sampler(name, "").unwrap();
            let decisions = [None, Some(true), Some(false)].map(|parent| sampler.samples(id(1), parent));
            assert_eq!(decisions, [new, sampled, unsampled], "{name:?}");
        }
    }

    #[test]
    fn what_holds_where_nobody_said_anything_is_told() {
        assert_eq!(sampler(DEFAULT, ""), Ok(Sampler::default()));
        let told = |name: &str, arg: &str| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Sampler::defaults(|variable| text(if variable == SAMPLER { name } else { arg }))
        };
        assert_eq!(told("", ""), [(SAMPLER, DEFAULT.to_owned())]);
        assert_eq!(told("parentbased_traceidratio", ""), [(SAMPLER_ARG, "1".to_owned())]);
        assert!(told("traceidratio", "0.5").is_empty() && told("always_on", "").is_empty());
    }

    #[test]
    fn a_ratio_decides_by_the_random_half_of_the_trace_id() {
        let half = sampler("traceidratio", "0.5").unwrap();
        assert!(half.samples(id(0), None));
        assert!(half.samples(id((1 << 63) - 1), None));
        assert!(!half.samples(id(1 << 63), None));
        assert!(!half.samples(id(u64::MAX), Some(true)), "the parent is not asked");
    }

    #[test]
    fn one_tenth_is_bounded_as_doubles_have_it() {
        // 0.1 * 2^63 in doubles is 0x0ccc_cccc_cccc_cd00; the id is compared without its lowest bit.
        let tenth = sampler("parentbased_traceidratio", "0.1").unwrap();
        assert!(tenth.samples(id(0x1999_9999_9999_9000), None));
        assert!(!tenth.samples(id(0x1999_9999_9999_a000), None));
        assert!(!tenth.samples(id(0), Some(false)), "the parent is asked first");
        assert!(tenth.samples(id(u64::MAX), Some(true)));
    }

    #[test]
    fn the_share_of_sampled_traces_is_the_ratio() {
        let quarter = sampler("traceidratio", "0.25").unwrap();
        // Multiples of the golden ratio spread evenly.
        let ids = (0..40_000u64).map(|n| id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let sampled = ids.filter(|id| quarter.samples(*id, None)).count();
        assert!((9_900..=10_100).contains(&sampled), "{sampled}");
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert!(sampler("traceidratio", "1.0").unwrap().samples(id(u64::MAX), None));
        assert!(sampler("traceidratio", "").unwrap().samples(id(u64::MAX), None));
        assert!(!sampler("traceidratio", "0").unwrap().samples(id(0), None));
    }

    #[test]
    fn errors_name_the_variable_the_value_and_what_is_accepted() {
        let error = sampler("parentbased_sometimes", "").unwrap_err().to_string();
        assert_eq!(
            error,
            "OTEL_TRACES_SAMPLER=\"parentbased_sometimes\" is not a sampler; accepted are always_on, always_off, \
             traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
        );
        for arg in ["10%", "1.5", "-0.1", "NaN", "inf"] {
            let error = sampler("traceidratio", arg).unwrap_err().to_string();
            assert!(error.starts_with(&format!("OTEL_TRACES_SAMPLER_ARG={arg:?} is not a ratio")), "{error}");
        }
        assert!(sampler("always_on", "nonsense").is_ok(), "takes no argument");
    }
}
