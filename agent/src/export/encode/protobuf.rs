//! Protocol Buffers' wire format, as far as OTLP needs it: fields appended to bytes, and how long they will be.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use prost::encoding::{WireType, encode_varint, encoded_len_varint};

fn number(out: &mut Vec<u8>, value: u64) {
    // Most are lengths and tags: one byte.
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(value, out),
    }
}

/// The length of a field's tag: all numbers that OTLP has fit in two bytes, most in one.
pub(super) const fn tag_len(field: u32) -> usize {
    if field < 16 { 1 } else { 2 }
}

/// The length of a field that holds `length` bytes.
pub(super) fn field_len(field: u32, length: usize) -> usize {
    tag_len(field) + encoded_len_varint(length as u64) + length
}

/// The length of a text's or bytes' field; nothing for an empty one, which is the default.
pub(super) fn bytes_len(field: u32, bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { field_len(field, bytes.len()) }
}

/// The length of a number's field.
pub(super) fn varint_len(field: u32, value: u64) -> usize {
    tag_len(field) + encoded_len_varint(value)
}

fn tag(out: &mut Vec<u8>, field: u32, wire: WireType) {
    number(out, u64::from(field << 3) | wire as u64);
}

/// Begins a field that holds `length` bytes, which are to follow.
pub(super) fn begin(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, WireType::LengthDelimited);
    number(out, length as u64);
}

/// A text or bytes, present even if empty.
pub(super) fn present(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    begin(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// A text or bytes, unless empty.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        present(out, field, bytes);
    }
}

/// A number.
pub(super) fn varint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, WireType::Varint);
    number(out, value);
}

/// A number of 64 bits, unless zero.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        tag(out, field, WireType::SixtyFourBit);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// The length of what [`fixed64`] writes.
pub(super) fn fixed64_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { tag_len(field) + 8 }
}

/// A number of 32 bits.
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, WireType::ThirtyTwoBit);
    out.extend_from_slice(&value.to_le_bytes());
}
