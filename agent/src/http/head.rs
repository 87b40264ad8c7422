//! Message heads: recognising them by their first bytes, and parsing them whole.
//!
//! In: the bytes of one head up to its empty line (or as many as there are). Out: [`RequestHead`],
//! [`ResponseHead`] and how the body that follows is framed. Nothing is copied unless the head was cut.

use std::mem::MaybeUninit;

use bytes::Bytes;
use httparse::{Error, ParserConfig, Status};

use super::{
    Headers, LossReason,
    fields::{Framing, FramingFields, Header, kept, named},
};

/// Most header lines of one head.
const MAX_HEADERS: usize = 128;
/// Longest method name that is taken for one; the longest registered is 17 bytes.
const MAX_METHOD: usize = 32;

/// The registered methods that are in use, and one that is widespread.
const METHODS: [&str; 35] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "MERGE",
    "CHECKOUT",
    "CHECKIN",
    "UNCHECKOUT",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKWORKSPACE",
    "BASELINE-CONTROL",
    "VERSION-CONTROL",
    "LABEL",
    "UPDATE",
    "ACL",
    "BIND",
    "REBIND",
    "UNBIND",
    "PURGE",
];

/// The protocol version of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Protocol version.
    pub version: Version,
    /// Method, in the sender's case. Of a truncated head too.
    pub method: Bytes,
    /// Request target as sent: origin-form, absolute-form, authority-form or `*`.
    pub target: Bytes,
    /// The header fields that are kept.
    pub headers: Headers,
    /// `Content-Length`, where it is valid.
    pub content_length: Option<u64>,
    /// Bytes of the head that were read, the empty line included.
    pub head_size: u64,
    /// The head was cut: header fields may be missing.
    pub truncated: bool,
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Protocol version.
    pub version: Version,
    /// Status code, 100 to 999.
    pub status: u16,
    /// The header fields that are kept: those configured, and `upgrade`.
    pub headers: Headers,
    /// `Content-Length`, where it is valid.
    pub content_length: Option<u64>,
    /// Bytes of the head that were read, the empty line included.
    pub head_size: u64,
    /// The head was cut: header fields may be missing.
    pub truncated: bool,
}

/// What the first bytes of something say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was asked for.
    Yes,
    /// It can't be.
    No,
    /// Too short to tell.
    Open,
}

/// Whether `bytes` look like the beginning of an HTTP/1 request: a method and a target, and where the line is
/// complete, the version. Leading line ends are allowed.
pub fn looks_like_request(bytes: &[u8]) -> bool {
    request_verdict(bytes) == Verdict::Yes
}

/// Whether `bytes` look like the beginning of an HTTP/1 response.
pub fn looks_like_response(bytes: &[u8]) -> bool {
    response_verdict(bytes) == Verdict::Yes
}

/// Whether `bytes`, which look like a response, say that another follows it: 1xx other than 101.
pub(super) fn looks_interim(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().get(9..12).is_some_and(|status| status.starts_with(b"1") && status != b"101")
}

pub(super) fn request_verdict(bytes: &[u8]) -> Verdict {
    let start = bytes.iter().take_while(|b| is_line_end(**b)).count();
    let bytes = bytes.get(start..).unwrap_or_default();
    let method = bytes.iter().take(MAX_METHOD + 1).take_while(|b| is_token(**b)).count();
    let mut rest = bytes.iter().skip(method);
    match (rest.next(), rest.next()) {
        (None, _) if method <= MAX_METHOD => Verdict::Open,
        (Some(b' '), None) if method > 0 => Verdict::Open,
        (Some(b' '), Some(b'/' | b'*')) if method > 0 => line_verdict(bytes),
        // absolute-form and the authority-form of CONNECT
        (Some(b' '), Some(b)) if method > 0 && (b.is_ascii_alphanumeric() || *b == b'[') => {
            line_verdict(bytes)
        }
        _ => Verdict::No,
    }
}

/// Whether `bytes` begin with a method that is in use, or with a part of one.
pub(super) fn has_known_method(bytes: &[u8]) -> bool {
    match bytes.iter().position(|b| *b == b' ').and_then(|end| bytes.get(..end)) {
        Some(method) => METHODS.iter().any(|known| known.as_bytes() == method),
        None => METHODS.iter().any(|known| known.as_bytes().starts_with(bytes)),
    }
}

/// The request line's version, where the line is complete.
fn line_verdict(bytes: &[u8]) -> Verdict {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Verdict::Yes };
    let line = bytes.get(..end).unwrap_or_default().trim_ascii_end();
    match line.strip_suffix(b"0").or_else(|| line.strip_suffix(b"1")) {
        Some(line) if line.ends_with(b" HTTP/1.") => Verdict::Yes,
        _ => Verdict::No,
    }
}

pub(super) fn response_verdict(bytes: &[u8]) -> Verdict {
    const NAME: &[u8] = b"HTTP/1.";
    let known = NAME.len().min(bytes.len());
    match (bytes.get(NAME.len()), bytes.get(NAME.len() + 1)) {
        _ if bytes.get(..known) != NAME.get(..known) => Verdict::No,
        (None, _) | (Some(b'0' | b'1'), None) => Verdict::Open,
        (Some(b'0' | b'1'), Some(b' ')) => Verdict::Yes,
        _ => Verdict::No,
    }
}

pub(super) fn is_line_end(b: u8) -> bool {
    matches!(b, b'\r' | b'\n')
}

/// Whether `b` can be in a method or in a header's name.
pub fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Where the head that starts `bytes` ends: after its empty line. The search starts at `from`.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let newline = memchr::memchr(b'\n', rest)?;
        at += newline + 1;
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\n'), _) => return Some(at + 1),
            (Some(b'\r'), Some(b'\n')) => return Some(at + 2),
            _ => {}
        }
    }
}

/// The first lines of a cut head, made parseable by an empty line; `None` if not even the first is complete.
pub(super) fn mend(cut: &[u8]) -> Option<Bytes> {
    let ends = cut.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
    let lines = cut.get(..ends.take(MAX_HEADERS).last()?)?;
    Some([lines, b"\r\n"].concat().into())
}

/// Parses the complete head of a request.
pub(super) fn request(bytes: &Bytes, extra: &[String]) -> Result<(RequestHead, Framing), LossReason> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = config().parse_request_with_uninit_headers(&mut parsed, bytes, &mut fields);
    whole(status, bytes)?;
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(LossReason::Malformed);
    };
    let (headers, framing) = gather(bytes, parsed.headers, |name| kept(name, extra));
    let head = RequestHead {
        version: version(parsed.version),
        method: slice(bytes, method.as_bytes()),
        target: slice(bytes, target.as_bytes()),
        headers,
        content_length: framing.content_length(),
        head_size: bytes.len() as u64,
        truncated: false,
    };
    Ok((head, framing.framing(Framing::Length(0))))
}

/// Parses the complete head of a response. The framing is what its fields say: the request's method and the
/// status may overrule it.
pub(super) fn response(bytes: &Bytes, extra: &[String]) -> Result<(ResponseHead, Framing), LossReason> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = config().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    whole(status, bytes)?;
    let status = parsed.code.filter(|code| *code >= 100).ok_or(LossReason::Malformed)?;
    let kept = |name: &str| named(name, extra) || status == 101 && name.eq_ignore_ascii_case("upgrade");
    let (headers, framing) = gather(bytes, parsed.headers, kept);
    let head = ResponseHead {
        version: version(parsed.version),
        status,
        headers,
        content_length: framing.content_length(),
        head_size: bytes.len() as u64,
        truncated: false,
    };
    Ok((head, framing.framing(Framing::UntilClose)))
}

/// An observer reads what real peers accept among themselves.
fn config() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .ignore_invalid_headers_in_requests(true)
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    config
}

fn whole(status: Result<Status<usize>, Error>, bytes: &Bytes) -> Result<(), LossReason> {
    match status {
        Ok(Status::Complete(size)) if size == bytes.len() => Ok(()),
        Err(Error::TooManyHeaders) => Err(LossReason::TooManyHeaders),
        _ => Err(LossReason::Malformed),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

fn gather(
    bytes: &Bytes,
    parsed: &[httparse::Header<'_>],
    kept: impl Fn(&str) -> bool,
) -> (Headers, FramingFields) {
    let (mut headers, mut framing) = (Vec::new(), FramingFields::default());
    for field in parsed {
        framing.add(field.name, field.value);
        if kept(field.name) {
            let name = slice(bytes, field.name.as_bytes());
            headers.push(Header { name, value: slice(bytes, field.value) });
        }
    }
    (Headers(headers), framing)
}

/// `part` as a slice of `bytes`, which it was parsed from.
fn slice(bytes: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= bytes.len() => bytes.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}
