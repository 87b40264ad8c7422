//! The waterfall of a trace: a head line, aligned columns, a bar for each span.

use super::{
    bar::bar,
    text::{clean, cut, date, duration, left, paint, right, width as columns},
    tree::{Row, rows},
};
use crate::span::{Span, SpanKind, Status, TraceId, Value, assemble::EVIDENCE};
use std::collections::HashMap;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
/// Cyan, yellow, magenta, green, blue: services take them in order of appearance.
const SERVICES: [&str; 5] = ["36", "33", "35", "32", "34"];
/// Between columns.
const GAP: &str = "  ";
const ORPHAN: &str = "◌ ";
/// The longest service name, kind with evidence, and status that are shown whole.
const MAX_SERVICE: usize = 24;
const MAX_KIND: usize = 21;
const MAX_STATUS: usize = 18;
/// Less than this tells nothing.
const MIN_NAME: usize = 16;
const MIN_BAR: usize = 10;

/// Draws traces as waterfalls, one after the other if `spans` belong to several. Lines are at most `width`
/// columns wide (60 at least); `colour` adds ANSI escape codes. Empty for no spans.
pub fn render(spans: &[Span], width: usize, colour: bool) -> String {
    let mut order: Vec<TraceId> = Vec::new();
    let mut traces: HashMap<TraceId, Vec<&Span>> = HashMap::new();
    for span in spans {
        let trace = traces.entry(span.trace_id).or_default();
        if trace.is_empty() {
            order.push(span.trace_id);
        }
        trace.push(span);
    }
    let traces = order.iter().filter_map(|id| traces.get(id));
    traces.map(|trace| Waterfall::new(trace, width.max(60), colour).draw()).collect()
}

/// The cells of a row that are text.
struct Cells {
    name: String,
    service: String,
    kind: String,
    status: String,
    start: String,
    duration: String,
}

/// Widths of the columns; 0 leaves one out.
#[derive(Clone, Copy)]
struct Layout {
    label: usize,
    service: usize,
    kind: usize,
    status: usize,
    start: usize,
    duration: usize,
    bar: usize,
}

struct Waterfall<'a> {
    rows: Vec<Row<'a>>,
    cells: Vec<Cells>,
    start: u64,
    total: u64,
    width: usize,
    colour: bool,
}

impl<'a> Waterfall<'a> {
    fn new(trace: &[&'a Span], width: usize, colour: bool) -> Self {
        let rows = rows(trace);
        let start = trace.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end = trace.iter().map(|span| span.end_ns).max().unwrap_or(0);
        let cells = rows.iter().map(|row| Cells::new(row, start)).collect();
        Self { rows, cells, start, total: end.saturating_sub(start), width, colour }
    }

    fn draw(&self) -> String {
        let layout = self.layout();
        let mut out = String::new();
        self.draw_head(&mut out);
        self.draw_titles(&mut out, layout);
        let mut colours: HashMap<&str, &str> = HashMap::new();
        for (row, cells) in self.rows.iter().zip(&self.cells) {
            let next = SERVICES.get(colours.len() % SERVICES.len()).copied().unwrap_or(BOLD);
            let service = *colours.entry(row.span.resource.service_name.as_str()).or_insert(next);
            self.draw_row(&mut out, layout, row, cells, service);
        }
        let orphans = self.rows.iter().filter(|row| row.orphan).count();
        if orphans > 0 {
            let note = format!("{ORPHAN}{} of a parent that is not among these", plural(orphans, "span"));
            self.line(&mut out, &cut(&note, self.width), DIM);
        }
        out.push('\n');
        out
    }

    fn line(&self, out: &mut String, text: &str, code: &str) {
        paint(out, text.trim_end(), code, self.colour);
        out.push('\n');
    }

    /// Trace id, then what fits of duration, counts and time.
    fn draw_head(&self, out: &mut String) {
        let services: std::collections::HashSet<_> =
            self.rows.iter().map(|row| row.span.resource.service_name.as_str()).collect();
        let errors = self.rows.iter().filter(|row| row.span.status == Status::Error).count();
        let id = self.rows.first().map(|row| row.span.trace_id.to_string()).unwrap_or_default();
        let title = format!("Trace {id}");
        let mut used = columns(&title);
        paint(out, &title, BOLD, self.colour);
        let facts = [
            (duration(self.total), BOLD),
            (plural(self.rows.len(), "span"), ""),
            (plural(services.len(), "service"), ""),
            (plural(errors, "error"), if errors > 0 { RED } else { "" }),
            (date(self.start), DIM),
        ];
        for (index, (fact, code)) in facts.iter().enumerate() {
            let separator = if index == 0 { GAP } else { " · " };
            used += columns(separator) + columns(fact);
            if used > self.width {
                break;
            }
            paint(out, separator, DIM, self.colour);
            paint(out, fact, code, self.colour && !code.is_empty());
        }
        out.push('\n');
    }

    fn draw_titles(&self, out: &mut String, layout: Layout) {
        let scale = scale(self.total, layout.bar);
        let cells = [
            left("SPAN", layout.label),
            left("SERVICE", layout.service),
            left("KIND", layout.kind),
            right("STATUS", layout.status),
            right("START", layout.start),
            right("DURATION", layout.duration),
            scale,
        ];
        let titles: Vec<_> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        self.line(out, &titles.join(GAP), DIM);
    }

    fn draw_row(&self, out: &mut String, layout: Layout, row: &Row<'_>, cells: &Cells, service: &str) {
        let failed = row.span.status == Status::Error;
        let offset = |ns: u64| ns.saturating_sub(self.start);
        let bar =
            bar(offset(row.span.start_ns), offset(row.span.end_ns), self.total, layout.bar, row.span.kind);
        let mut line = String::new();
        let lines = shorten(&row.lines, layout.label.saturating_sub(columns(&cells.name).min(MIN_NAME / 2)));
        paint(&mut line, &lines, DIM, self.colour);
        let name = left(&cells.name, layout.label - columns(&lines));
        paint(&mut line, &name, if failed { RED } else { BOLD }, self.colour);
        let rest = [
            (left(&cells.service, layout.service), service),
            (left(&cells.kind, layout.kind), DIM),
            (right(&cells.status, layout.status), if failed { RED } else { "0" }),
            (right(&cells.start, layout.start), DIM),
            (right(&cells.duration, layout.duration), "0"),
            (bar.trim_end().to_owned(), service),
        ];
        for (cell, code) in rest.iter().filter(|(cell, _)| !cell.is_empty()) {
            line.push_str(GAP);
            paint(&mut line, cell, code, self.colour && *code != "0");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }

    /// The columns that fit, from all of them down to name, service, status and duration.
    fn layout(&self) -> Layout {
        let widest = |cell: fn(&Cells) -> &str, title: &str, limit: usize| {
            let cells = self.cells.iter().map(|cells| columns(cell(cells)));
            cells.max().unwrap_or(0).clamp(columns(title), limit.max(columns(title)))
        };
        let labels = self.rows.iter().zip(&self.cells).map(|(row, c)| columns(&row.lines) + columns(&c.name));
        let natural = labels.max().unwrap_or(0).max(columns("SPAN"));
        let full = Layout {
            label: natural,
            service: widest(|c| &c.service, "SERVICE", MAX_SERVICE),
            kind: widest(|c| &c.kind, "KIND", MAX_KIND),
            status: widest(|c| &c.status, "STATUS", MAX_STATUS),
            start: widest(|c| &c.start, "START", 12),
            duration: widest(|c| &c.duration, "DURATION", 12),
            bar: MIN_BAR,
        };
        let narrower = [
            full,
            Layout { kind: 0, ..full },
            Layout { kind: 0, start: 0, ..full },
            Layout { kind: 0, start: 0, bar: 0, ..full },
        ];
        let fits = |layout: &&Layout| layout.fixed() + MIN_NAME.min(natural) + layout.bar <= self.width;
        let chosen = narrower.iter().find(fits).copied();
        chosen.unwrap_or(Layout { kind: 0, start: 0, bar: 0, service: 7, ..full }).spread(self.width)
    }
}

impl Layout {
    /// Everything but the name and the bar.
    fn fixed(&self) -> usize {
        let cells = [self.service, self.kind, self.status, self.start, self.duration];
        let gaps = cells.iter().filter(|cell| **cell > 0).count() + usize::from(self.bar > 0);
        cells.iter().sum::<usize>() + gaps * GAP.len()
    }

    /// Shares what is left between the name, which gets what it needs up to about a half, and the bar.
    fn spread(self, width: usize) -> Self {
        let room = width.saturating_sub(self.fixed());
        if self.bar == 0 {
            return Self { label: self.label.min(room), ..self };
        }
        let most = (room * 11 / 20).max(MIN_NAME.min(self.label)).min(room - self.bar.min(room));
        let label = self.label.min(most);
        Self { label, bar: room - label, ..self }
    }
}

impl Cells {
    fn new(row: &Row<'_>, trace_start: u64) -> Self {
        let span = row.span;
        let orphan = if row.orphan { ORPHAN } else { "" };
        Self {
            name: format!("{orphan}{}", clean(&span.name)),
            service: clean(&span.resource.service_name),
            kind: kind(span),
            status: status(span),
            start: duration(span.start_ns.saturating_sub(trace_start)),
            duration: duration(span.end_ns.saturating_sub(span.start_ns)),
        }
    }
}

/// Tree lines of at most `limit` columns: those next to the name are kept. Each character has one column.
fn shorten(lines: &str, limit: usize) -> String {
    let count = lines.chars().count();
    if count <= limit || limit == 0 {
        return lines.chars().take(limit).collect();
    }
    std::iter::once('⋯').chain(lines.chars().skip(count + 1 - limit)).collect()
}

/// The kind, and on what evidence the parent is known if that is told.
fn kind(span: &Span) -> String {
    let kind = match span.kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
    };
    match span.attribute(EVIDENCE) {
        Some(Value::Str(evidence)) => format!("{kind} ({})", clean(evidence)),
        _ => kind.to_owned(),
    }
}

/// The HTTP status code, else what went wrong; a cross says that it is an error.
fn status(span: &Span) -> String {
    let text = match (span.attribute("http.response.status_code"), span.attribute("error.type")) {
        (Some(Value::Int(code)), _) => code.to_string(),
        (_, Some(Value::Str(kind))) => clean(kind),
        _ => "-".to_owned(),
    };
    if span.status == Status::Error { format!("✗ {text}") } else { text }
}

/// The bars' time axis: its beginning, its middle if there is room, its end.
fn scale(total: u64, columns_wide: usize) -> String {
    let (middle, end) = (duration(total / 2), duration(total));
    let half = columns_wide / 2;
    let roomy = columns(&middle) + columns(&end) + 8 < columns_wide;
    let first = left("0", if roomy { half } else { columns_wide.min(1) });
    let second = if roomy { left(&middle, columns_wide - half - columns(&end)) } else { String::new() };
    let rest = columns_wide - columns(&first) - columns(&second);
    first + &second + &right(&end, rest)
}

fn plural(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
