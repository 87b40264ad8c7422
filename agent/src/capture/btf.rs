//! The running kernel's own description of its types: where in a structure a field lies.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux` (format: the kernel's Documentation/bpf/btf.rst). Out: byte
//! offsets. Pure; a malformed description is an error, never a panic.

use std::collections::HashMap;

/// Why an offset is not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not BTF, or cut short.
    #[error("not a BTF description: {0}")]
    Malformed(&'static str),
    /// The kernel has no such type.
    #[error("the kernel has no struct {0}")]
    NoStruct(String),
    /// The type has no such field.
    #[error("the kernel's struct {0} has no field {1}")]
    NoField(String, String),
    /// The field is not made of whole bytes.
    #[error("field {0} of the kernel is a bit field")]
    BitField(String),
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// A parsed description.
pub struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Where each type begins in `types`; type ids start at 1.
    starts: Vec<u32>,
    structs: HashMap<&'a str, u32>,
}

/// One type's fixed part.
struct Header {
    name: u32,
    kind: u32,
    members: u32,
    bit_fields: bool,
    size_or_type: u32,
}

/// A structure's field.
struct Member<'a> {
    name: &'a str,
    type_id: u32,
    bits: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Bytes that follow a type's fixed part.
fn trailing(kind: u32, members: u32) -> Option<u32> {
    Some(match kind {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        STRUCT | UNION | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => return None,
    })
}

impl<'a> Btf<'a> {
    /// Parses a description in the machine's byte order.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let magic = bytes.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(Error::Malformed("it does not begin with BTF's magic number"));
        }
        let word =
            |at| u32_at(bytes, at).map(|w| w as usize).ok_or(Error::Malformed("its header is cut short"));
        let header = word(4)?;
        let section = |at: usize, length: usize| {
            let start = header.checked_add(at)?;
            bytes.get(start..start.checked_add(length)?)
        };
        let cut = Error::Malformed("a section is cut short");
        let types = section(word(8)?, word(12)?).ok_or(cut)?;
        let strings = section(word(16)?, word(20)?).ok_or(Error::Malformed("a section is cut short"))?;
        let mut btf = Self { strings, types, starts: vec![0], structs: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), Error> {
        let mut at = 0usize;
        while at < self.types.len() {
            let header = self.header(at).ok_or(Error::Malformed("a type is cut short"))?;
            let more = trailing(header.kind, header.members)
                .ok_or(Error::Malformed("a kind of type is not known"))?;
            let id = self.starts.len() as u32;
            self.starts.push(at as u32);
            if header.kind == STRUCT
                && let Some(name) = self.string(header.name)
            {
                self.structs.entry(name).or_insert(id);
            }
            at += 12 + more as usize;
        }
        Ok(())
    }

    fn header(&self, at: usize) -> Option<Header> {
        let info = u32_at(self.types, at + 4)?;
        Some(Header {
            name: u32_at(self.types, at)?,
            kind: info >> 24 & 0x1f,
            members: info & 0xffff,
            bit_fields: info >> 31 != 0,
            size_or_type: u32_at(self.types, at + 8)?,
        })
    }

    fn string(&self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(offset as usize..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }

    fn of(&self, id: u32) -> Option<(usize, Header)> {
        let at = *self.starts.get(id as usize)? as usize;
        Some((at, self.header(at)?))
    }

    /// The type behind typedefs and qualifiers.
    fn resolved(&self, mut id: u32) -> Option<u32> {
        for _ in 0..32 {
            let (_, header) = self.of(id)?;
            match header.kind {
                8..=11 | 18 => id = header.size_or_type,
                _ => return Some(id),
            }
        }
        None
    }

    fn members(&self, id: u32) -> impl Iterator<Item = Member<'a>> {
        let (at, header) = self.of(id).filter(|(_, h)| matches!(h.kind, STRUCT | UNION)).unzip();
        let (at, count) = (at.unwrap_or(0), header.as_ref().map_or(0, |h| h.members as usize));
        let bit_fields = header.is_some_and(|h| h.bit_fields);
        (0..count).filter_map(move |i| {
            let at = at + 12 + i * 12;
            let bits = u32_at(self.types, at + 8)?;
            Some(Member {
                name: self.string(u32_at(self.types, at)?)?,
                type_id: u32_at(self.types, at + 4)?,
                bits: if bit_fields { bits & 0xff_ffff } else { bits },
            })
        })
    }

    /// Bits from the start of `id` to its field `name`, which may lie in an anonymous member; and its type.
    fn find(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth > 8 {
            return None;
        }
        let id = self.resolved(id)?;
        let direct = self.members(id).find(|m| m.name == name).map(|m| (m.bits, m.type_id));
        direct.or_else(|| {
            self.members(id)
                .filter(|m| m.name.is_empty())
                .find_map(|m| self.find(m.type_id, name, depth + 1).map(|(bits, id)| (bits + m.bits, id)))
        })
    }

    /// The byte offset of a field, named by its structure and the way to it: `sock.__sk_common.skc_family`.
    ///
    /// # Errors
    /// An [`Error`] that names what is missing.
    pub fn offset(&self, path: &str) -> Result<u32, Error> {
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let mut id = *self.structs.get(root).ok_or_else(|| Error::NoStruct(root.into()))?;
        let mut bits = 0;
        for part in parts {
            let (more, next) =
                self.find(id, part, 0).ok_or_else(|| Error::NoField(root.into(), part.into()))?;
            bits += more;
            id = next;
        }
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(Error::BitField(path.into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { short b; } ; struct inner in; }; struct inner { char x:4; char y; }`
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0in\0inner\0x\0y\0";
        let at = |name: &str| {
            let needle = format!("\0{name}\0");
            (strings.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap() + 1) as u32
        };
        let mut types: Vec<u32> = Vec::new();
        types.extend([at("int"), 1 << 24, 4, 32]); // 1: int
        types.extend([0, STRUCT << 24 | 1, 2, at("b"), 1, 0]); // 2: anonymous
        types.extend([at("inner"), 1 << 31 | STRUCT << 24 | 2, 2, at("x"), 1, 4 << 24 | 4, at("y"), 1, 8]); // 3
        types.extend([at("outer"), STRUCT << 24 | 3, 12, at("a"), 1, 0, 0, 2, 32, at("in"), 3, 64]); // 4
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut out = MAGIC.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(types);
        out.extend(strings);
        out
    }

    #[test]
    fn finds_fields_by_path_and_inside_anonymous_members() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("outer.a"), Ok(0));
        assert_eq!(btf.offset("outer.b"), Ok(4));
        assert_eq!(btf.offset("outer.in.y"), Ok(9));
        assert_eq!(btf.offset("inner.x"), Err(Error::BitField("inner.x".into())));
        assert_eq!(btf.offset("nothing.x"), Err(Error::NoStruct("nothing".into())));
        assert_eq!(btf.offset("outer.z"), Err(Error::NoField("outer".into(), "z".into())));
    }

    #[test]
    fn refuses_what_is_cut_short_at_any_byte() {
        let bytes = sample();
        for end in 0..bytes.len() - 1 {
            if let Ok(btf) = Btf::parse(&bytes[..end]) {
                let _ = btf.offset("outer.in.y");
            }
        }
        assert!(Btf::parse(b"ELF").is_err());
    }
}
