//! What the demo found out, as a picture and a table.
//!
//! In: answers, traces, the agent's counters and cost. Out: text on standard output, and a verdict.

use anyhow::{Result, bail};

use crate::{
    agent::Cost,
    load::{Answers, Route},
    trace::{self, Trace},
};

/// The results of one performance.
pub struct Report {
    /// What the customers were answered.
    pub answers: Answers,
    /// All traces that were seen.
    pub traces: Vec<Trace>,
    /// Requests whose trace is complete and right.
    pub complete: u64,
    /// Spans that the agent made.
    pub spans: f64,
    /// Exchanges and spans that the agent lost, by its own count.
    pub lost: f64,
    /// What the agent's start has cost.
    pub start: Cost,
    /// What the agent has cost, its start included, when the last request was answered.
    pub cost: Cost,
}

impl Report {
    /// The picture, then the table.
    pub fn print(&self) {
        match trace::best(&self.traces) {
            Some(trace) => println!("\n{}\n", trace.picture.clone().unwrap_or_else(|| trace.list())),
            None => println!("\nno complete trace to show\n"),
        }
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in rows {
            println!("  {name:<width$}  {value}");
        }
        println!();
    }

    /// An error if a request has no complete trace.
    pub fn verdict(&self) -> Result<()> {
        let (complete, sent) = (self.complete, self.answers.sent());
        if sent == 0 {
            bail!("no request was sent");
        }
        if complete < sent {
            bail!("{} of {sent} requests have no complete trace", sent - complete);
        }
        Ok(())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let of = |wanted: Route| self.answers.count(|route, _| route == wanted);
        let failed = self.answers.count(|_, status| status >= 500);
        let silent = self.answers.count(|_, status| status == 0);
        let stories = self.traces.iter().filter_map(Trace::story);
        let seen = stories.filter(|story| story.status >= 500).count();
        let silent = if silent > 0 { format!(", {silent} without an answer") } else { String::new() };
        let Cost { cpu_s, elapsed_s, peak_mib } = self.cost;
        let (start_s, traced_s) = (self.start.cpu_s, elapsed_s - self.start.elapsed_s);
        let busy_s = cpu_s - start_s;
        vec![
            (
                "requests sent",
                format!(
                    "{} ({} POST /checkout, {} GET /products{silent})",
                    self.answers.sent(),
                    of(Route::Checkout),
                    of(Route::Products)
                ),
            ),
            ("traces complete", format!("{} of {}", self.complete, self.answers.sent())),
            ("spans", format!("{} ({} lost)", self.spans, self.lost)),
            ("errors seen", format!("{seen} of {failed} answers with status 500")),
            (
                "agent CPU",
                format!(
                    "{:.2} % of a core ({busy_s:.2} s in {traced_s:.1} s), and {start_s:.2} s at its start",
                    100.0 * busy_s / traced_s
                ),
            ),
            ("agent memory", format!("{peak_mib:.1} MiB")),
        ]
    }
}
