//! `opentelemetry.proto.common.v1.KeyValue`.

use super::protobuf::{begin, bytes_len, field_len, present, varint, varint_len};
use crate::span::{Attribute, Value};

/// `KeyValue.key`, `KeyValue.value`.
const KEY: u32 = 1;
const VALUE: u32 = 2;
/// `AnyValue.string_value`, and its other kinds.
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const ARRAY: u32 = 5;
/// `ArrayValue.values`.
const VALUES: u32 = 1;

/// The length of the message, without the field that holds it.
pub(super) fn len(attribute: &Attribute) -> usize {
    bytes_len(KEY, attribute.key.as_bytes()) + field_len(VALUE, value_len(&attribute.value))
}

/// Appends the message as `field` of the one that holds it; `length` is [`len`]'s.
pub(super) fn write(out: &mut Vec<u8>, field: u32, attribute: &Attribute, length: usize) {
    if let (Value::Str(text), Ok(length @ 0..0x80)) = (&attribute.value, u8::try_from(length)) {
        return write_short(out, field, &attribute.key, text, length);
    }
    begin(out, field, length);
    super::protobuf::bytes(out, KEY, attribute.key.as_bytes());
    begin(out, VALUE, value_len(&attribute.value));
    match &attribute.value {
        Value::Str(text) => present(out, STRING, text.as_bytes()),
        Value::Int(number) => varint(out, INT, number.cast_unsigned()),
        Value::Bool(truth) => varint(out, BOOL, u64::from(*truth)),
        Value::Strs(texts) => {
            begin(out, ARRAY, array_len(texts));
            for text in texts {
                begin(out, VALUES, text_len(text));
                present(out, STRING, text.as_bytes());
            }
        }
    }
}

/// Most attributes are short texts: every length within is one byte, every tag too.
fn write_short(out: &mut Vec<u8>, field: u32, key: &str, text: &str, length: u8) {
    const BYTES: u8 = 2;
    let tag = |field: u32| (field as u8) << 3 | BYTES;
    let (key_len, text_len) = (key.len() as u8, text.len() as u8);
    if key.is_empty() {
        out.extend_from_slice(&[tag(field), length]);
    } else {
        out.extend_from_slice(&[tag(field), length, tag(KEY), key_len]);
        out.extend_from_slice(key.as_bytes());
    }
    out.extend_from_slice(&[tag(VALUE), text_len + 2, tag(STRING), text_len]);
    out.extend_from_slice(text.as_bytes());
}

fn value_len(value: &Value) -> usize {
    match value {
        Value::Str(text) => text_len(text),
        Value::Int(number) => varint_len(INT, number.cast_unsigned()),
        Value::Bool(truth) => varint_len(BOOL, u64::from(*truth)),
        Value::Strs(texts) => field_len(ARRAY, array_len(texts)),
    }
}

/// A value is one of several kinds: which shows by its field, so that an empty text is written too.
fn text_len(text: &str) -> usize {
    field_len(STRING, text.len())
}

fn array_len(texts: &[String]) -> usize {
    texts.iter().map(|text| field_len(VALUES, text_len(text))).sum()
}
