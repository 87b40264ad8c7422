//! Does a call begin an HTTP/1 message? Decided from its first eight bytes alone.

/// What the bytes at hand begin.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Token {
    /// Nothing of HTTP/1.
    None = 0,
    /// Too few bytes to tell, all of them right so far.
    Partial = 1,
    /// A request line.
    Request = 2,
    /// A status line.
    Response = 3,
}

const fn token(text: &[u8]) -> (u64, u32) {
    let mut value = 0u64;
    let mut i = 0;
    while i < text.len() {
        value |= (text[i] as u64) << (8 * i);
        i += 1;
    }
    (value, text.len() as u32)
}

const METHODS: [(u64, u32); 12] = [
    token(b"GET "),
    token(b"POST "),
    token(b"PUT "),
    token(b"HEAD "),
    token(b"DELETE "),
    token(b"PATCH "),
    token(b"OPTIONS "),
    token(b"CONNECT "),
    token(b"TRACE "),
    token(b"QUERY "),
    token(b"PURGE "),
    token(b"PROPFIND"),
];
const STATUS_LINE: (u64, u32) = token(b"HTTP/1.");
const PROXIES: [(u64, u32); 2] = [token(b"PROXY "), token(b"\r\n\r\n\0\r\nQ")];
const HTTP2_PREFACE: (u64, u32) = token(b"PRI * HT");

#[inline(always)]
const fn mask(bytes: u32) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// `lead` holds the first `count` (1 to 8) bytes, the first one lowest, zero above.
#[inline(always)]
pub fn classify(lead: u64, count: u32) -> Token {
    if (lead ^ STATUS_LINE.0) & mask(STATUS_LINE.1) == 0 && count >= STATUS_LINE.1 {
        return Token::Response;
    }
    let mut partial = (lead ^ STATUS_LINE.0) & mask(count) == 0;
    let mut i = 0;
    while i < METHODS.len() {
        let (value, length) = METHODS[i];
        let compared = if count < length { count } else { length };
        if (lead ^ value) & mask(compared) == 0 {
            if count >= length {
                return Token::Request;
            }
            partial = true;
        }
        i += 1;
    }
    if partial { Token::Partial } else { Token::None }
}

/// Whether bytes begin as the PROXY protocol does, of version 1 (`PROXY `) or 2, with which a proxy says before the
/// first request whom it speaks for.
#[inline(always)]
pub fn is_proxy(lead: u64, count: u32) -> bool {
    count >= 8 && PROXIES.iter().any(|(value, length)| (lead ^ value) & mask(*length) == 0)
}

/// Whether bytes begin with a line end.
#[inline(always)]
pub fn is_blank(lead: u64) -> bool {
    lead & 0xff == 0x0d || lead & 0xff == 0x0a
}

/// Whether a stream that begins so is TLS (a handshake record of any version). One byte says enough: with that one
/// begins nothing else that is told apart here.
#[inline(always)]
pub fn is_tls(lead: u64, count: u32) -> bool {
    let compared = if count < 2 { 0xff } else { 0xffff };
    count >= 1 && (lead ^ 0x0316) & compared == 0
}

/// Whether a stream that begins so is HTTP/2 with prior knowledge. Three bytes say enough: no method begins with them.
#[inline(always)]
pub fn is_http2(lead: u64, count: u32) -> bool {
    count >= 3 && (lead ^ HTTP2_PREFACE.0) & mask(count) == 0
}
