//! What each route of a service makes, by the contract of `tests/runtimes`.
//!
//! In: a route, an id, an answer's status. Out: the spans that must be there, for the judge.

use crate::{
    judge::{Expected, Parent, Request, Weight},
    span::Kind,
};

/// The service under test, as its spans name it.
pub const MID: &str = "mid";
/// The service that it calls.
pub const LEAF: &str = "leaf";

/// A route of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name: the path's first part.
    pub name: &'static str,
    /// Its path, for the load.
    pub path: &'static str,
    /// The paths that it calls, after which the id is set in place of `{}`.
    calls: &'static [&'static str],
}

const fn route(name: &'static str, path: &'static str, calls: &'static [&'static str]) -> Route {
    Route { name, path, calls }
}

const ONE: &[&str] = &["/leaf/{}/0"];
const TWO: &[&str] = &["/leaf/{}/0", "/leaf/{}/1"];
const THREE: &[&str] = &["/leaf/{}/0", "/leaf/{}/1", "/leaf/{}/2"];
const FOUR: &[&str] = &["/leaf/{}/0", "/leaf/{}/1", "/leaf/{}/2", "/leaf/{}/3"];

/// All routes of the contract.
pub const ROUTES: [Route; 13] = [
    route("one", "/one/{}", ONE),
    route("seq", "/seq/{}", THREE),
    route("par", "/par/{}", THREE),
    route("mix", "/mix/{}", FOUR),
    route("timer", "/timer/{}", ONE),
    route("pool", "/pool/{}", ONE),
    route("shared", "/shared/{}", ONE),
    route("late", "/late/{}", ONE),
    route("limit", "/limit/{}", TWO),
    route("batch", "/batch/{}", ONE),
    route("retry", "/retry/{}", &["/fail/{}/0", "/leaf/{}/1"]),
    route("stream", "/stream/{}", TWO),
    route("poll", "/poll/{}", ONE),
];

/// The route of that name.
pub fn find(name: &str) -> Option<Route> {
    ROUTES.into_iter().find(|route| route.name == name)
}

/// A call with both its ends; the CLIENT is the one at `place` of the request's list.
fn call(path: &str, parent: Parent, place: usize, leaf: bool) -> Vec<Expected> {
    let status = if path.starts_with("/fail/") { 503 } else { 200 };
    let end = |service, kind, parent| Expected { service, kind, path: path.to_owned(), status, parent };
    let mut ends = vec![end(MID, Kind::Client, parent)];
    if leaf {
        ends.push(end(LEAF, Kind::Server, Parent::Of(place)));
    }
    ends
}

impl Route {
    /// What a request with this id must make, the leaf's spans too if it is watched.
    pub fn request(self, id: &str, status: u16, leaf: bool) -> Request {
        let path = self.path.replace("{}", id);
        let mut all =
            vec![Expected { service: MID, kind: Kind::Server, path, status, parent: Parent::Nobody }];
        for path in self.calls {
            let place = all.len();
            all.extend(call(&path.replace("{}", id), Parent::Of(0), place, leaf));
        }
        Request::of(all)
    }

    /// How many spans that makes.
    pub fn spans(self, leaf: bool) -> usize {
        1 + self.calls.len() * if leaf { 2 } else { 1 }
    }
}

/// What a call makes that belongs to no single request: a lookup for several, or a job's.
pub fn beside(path: &str, weight: Weight, leaf: bool) -> Request {
    let parent = if is_job(path) { Parent::Nobody } else { Parent::Any };
    Request { expected: call(path, parent, 0, leaf), weight }
}

/// Whether a job asks for it.
pub fn is_job(path: &str) -> bool {
    path.starts_with("/leaf/job-")
}

/// Whether it belongs to no single request.
pub fn is_beside(path: &str) -> bool {
    is_job(path) || path.starts_with("/leaf/shared-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_tells_its_spans() {
        let mix = find("mix").unwrap().request("r1x", 200, true);
        assert_eq!((mix.expected.len(), find("mix").unwrap().spans(true)), (9, 9));
        assert_eq!((mix.expected[7].path.as_str(), &mix.expected[7].parent), ("/leaf/r1x/3", &Parent::Of(0)));
        assert_eq!(mix.expected[8].parent, Parent::Of(7));
        let retry = find("retry").unwrap().request("r1x", 200, false);
        let statuses: Vec<_> = retry.expected.iter().map(|expected| expected.status).collect();
        assert_eq!(statuses, [200, 503, 200]);
        assert!(ROUTES.iter().all(|route| route.path == format!("/{}/{{}}", route.name)));
        assert_eq!(beside("/leaf/job-1/0", Weight::Beside, true).expected[0].parent, Parent::Nobody);
        assert_eq!(beside("/leaf/shared-1/0", Weight::Beside, true).expected[0].parent, Parent::Any);
    }
}
