//! The console exporter's task, with a buffer for a terminal.

use super::{SOON, sample::span, settings, spans};
use crate::export::{ConsoleOptions, Counts, Exporter, Running, console, shared::Shared};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that is gone, or one that never takes anything.
struct Broken(bool);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        if self.0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        std::thread::sleep(SOON * 10);
        Ok(0)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PLAIN: ConsoleOptions = ConsoleOptions { width: Some(100), colour: Some(false) };

fn start_on(out: impl Write + Send + 'static) -> (Exporter, Arc<Counts>) {
    start_with(out, PLAIN, true)
}

fn start_with(
    out: impl Write + Send + 'static,
    options: ConsoleOptions,
    auto: bool,
) -> (Exporter, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let shared =
        Arc::new(Shared::new(&settings(&[("OTEL_TRACES_EXPORTER", "console")]), Arc::clone(&counts)));
    let (commands, receiver) = mpsc::channel(8);
    let terminal = console::Terminal::new(Box::new(out), options, auto);
    let worker = Mutex::new(Some(tokio::spawn(console::run(Arc::clone(&shared), receiver, terminal))));
    (Exporter { running: Some(Running { shared, commands, worker }) }, counts)
}

#[tokio::test]
async fn a_settled_trace_is_drawn_once_and_the_rest_at_shutdown() {
    let screen = Screen::default();
    let (exporter, counts) = start_on(screen.clone());
    let drawn = || String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
    exporter.offer(vec![span(1, 1), span(1, 2)]);
    while spans(&counts) != [2, 0, 0, 0, 0] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(drawn().matches("Trace ").count(), 1);
    exporter.offer(vec![span(2, 1), span(3, 2)]);
    exporter.shutdown(SOON).await.unwrap();
    assert_eq!(drawn().matches("Trace ").count(), 3);
    assert_eq!(spans(&counts), [4, 0, 0, 0, 0]);
}

#[tokio::test]
async fn width_and_colour_are_as_the_settings_say() {
    let plain = ConsoleOptions::default();
    let cases = [
        (ConsoleOptions { width: Some(70), ..plain }, false, false),
        (ConsoleOptions { width: Some(140), ..plain }, true, true),
        (ConsoleOptions { width: Some(70), colour: Some(true) }, false, true),
        (ConsoleOptions { width: Some(140), colour: Some(false) }, true, false),
    ];
    for (options, auto, coloured) in cases {
        let screen = Screen::default();
        let (exporter, _) = start_with(screen.clone(), options, auto);
        exporter.offer(vec![span(1, 1), span(1, 2)]);
        exporter.shutdown(SOON).await.unwrap();
        let drawn = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert_eq!(drawn.contains('\x1b'), coloured, "{options:?} {auto}");
        if !coloured {
            let widest = drawn.lines().map(|line| line.chars().count()).max();
            assert_eq!(widest, options.width.map(usize::from), "{drawn}");
        }
    }
}

#[tokio::test]
async fn a_terminal_that_is_gone_costs_counted_drops() {
    let (exporter, counts) = start_on(Broken(true));
    exporter.offer(vec![span(1, 1), span(2, 2)]);
    exporter.flush(SOON).await.unwrap();
    assert_eq!(spans(&counts), [0, 0, 0, 2, 0]);
}

#[tokio::test]
async fn a_terminal_that_never_takes_anything_does_not_keep_the_agent() {
    let (exporter, counts) = start_on(Broken(false));
    exporter.offer(vec![span(1, 1), span(2, 2)]);
    assert!(exporter.shutdown(Duration::from_millis(100)).await.is_err());
    assert_eq!(spans(&counts), [0, 0, 0, 0, 2]);
}
