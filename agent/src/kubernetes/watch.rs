//! The two watches: this node's pods, and the metadata of all namespaces. After the first list they are all the traffic
//! there is.
//!
//! In: the API server. Out: the [`Cache`]. Errors are counted, told once in a while and followed by a pause that grows; in
//! the meantime everybody is served from the cache.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1;
use kube::{
    Api, Client,
    api::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    cache::Cache,
    connect::Link,
    pod::{Listed, Namespace},
    trouble::Trouble,
};
use crate::{
    export::{Retry, backoff::Backoff},
    metrics::{Label as _, Metrics, Watched},
};

/// Objects a page of the first list; what is read at once takes memory at once.
const PAGE: u32 = 50;
/// Pauses after errors.
const RETRY: Retry = Retry { initial: Duration::from_millis(500), max: Duration::from_secs(10) };

/// What a watch needs.
#[derive(Clone)]
struct Watch {
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
    what: Watched,
}

/// The watches, which end with this value.
pub struct Watches(Vec<JoinHandle<()>>);

impl Drop for Watches {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Begins both watches.
///
/// # Errors
/// Certificates that cannot be used.
pub fn start(link: &Link, cache: &Arc<Cache>, metrics: &Arc<Metrics>) -> anyhow::Result<Watches> {
    let watch = |what| Watch { cache: cache.clone(), metrics: metrics.clone(), what };
    let client = |what| {
        let cache = cache.clone();
        link.client(move |well| cache.answered(what, well))
    };
    let fields = format!("spec.nodeName={}", link.node);
    let pods = client(Watched::Pods)?;
    let namespaces = client(Watched::Namespaces)?;
    Ok(Watches(vec![
        tokio::spawn(watch(Watched::Pods).pods(pods, fields)),
        tokio::spawn(watch(Watched::Namespaces).namespaces(namespaces)),
    ]))
}

impl Watch {
    async fn pods(self, client: Client, fields: String) {
        let config = watcher::Config::default().page_size(PAGE).fields(&fields);
        let mut kept = self.cache.kept();
        loop {
            let annotations = kept.borrow_and_update().clone();
            let api: Api<Listed> = Api::all(client.clone());
            let take = |event| match event {
                Event::Apply(pod) | Event::InitApply(pod) => {
                    self.cache.put_pod(Listed::slim(pod, |key| annotations.of_pod(key)));
                    true
                }
                Event::Delete(pod) => {
                    self.cache.drop_pod(&Listed::slim(pod, |_| false).uid);
                    true
                }
                other => self.boundary(&other),
            };
            tokio::select! {
                () = self.follow(watcher(api, config.clone()), take) => {}
                changed = kept.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn namespaces(self, client: Client) {
        let config = watcher::Config::default().page_size(PAGE);
        let mut kept = self.cache.kept();
        loop {
            let annotations = kept.borrow_and_update().clone();
            let api: Api<PartialObjectMeta<v1::Namespace>> = Api::all(client.clone());
            let take = |event| match event {
                Event::Apply(namespace) | Event::InitApply(namespace) => {
                    self.cache.put_namespace(Namespace::slim(namespace, |key| annotations.of_namespace(key)));
                    true
                }
                Event::Delete(namespace) => {
                    self.cache.drop_namespace(&Namespace::slim(namespace, |_| false).name);
                    true
                }
                other => self.boundary(&other),
            };
            tokio::select! {
                () = self.follow(watcher(api, config.clone()), take) => {}
                changed = kept.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The beginning and the end of a list.
    fn boundary<K>(&self, event: &Event<K>) -> bool {
        match event {
            Event::Init => self.cache.begin(self.what),
            Event::InitDone => {
                self.cache.complete(self.what);
                let n = self.cache.len(self.what);
                tracing::info!("{n} {} are known by the API server's word", self.what.text());
            }
            _ => {}
        }
        false
    }

    /// Takes events until the stream ends, which it does not. `take` says whether the event was about an object.
    async fn follow<K>(
        &self,
        events: impl futures_util::Stream<Item = watcher::Result<Event<K>>>,
        mut take: impl FnMut(Event<K>) -> bool,
    ) {
        let mut events = pin!(events);
        let mut backoff = Backoff::new(&RETRY);
        let mut answers = self.cache.health(self.what).answers;
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    if take(event) && self.cache.health(self.what).synced.is_some() {
                        self.cache.wake();
                    }
                    continue;
                }
                Err(error) => error,
            };
            let answered = self.cache.health(self.what);
            self.failed(&error);
            let expired = matches!(&error, watcher::Error::WatchError(status) if status.code == 410);
            // The server answered since the last error, or says itself to begin anew: it is up.
            if expired || (answered.answers > answers && answered.trouble.is_none()) {
                backoff = Backoff::new(&RETRY);
            }
            answers = answered.answers;
            sleep(backoff.pause(None)).await;
        }
    }

    fn failed(&self, error: &watcher::Error) {
        let trouble = Trouble::of_watch(self.what.text(), error);
        self.metrics.watch_errors.inc(trouble.reason);
        let text = trouble.text.clone();
        if self.cache.failed(self.what, trouble) {
            tracing::warn!("Kubernetes: {text}");
        } else {
            tracing::debug!("Kubernetes: {text}");
        }
    }
}
