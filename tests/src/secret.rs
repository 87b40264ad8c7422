//! A text that must not leave the processes that hold it, and the search for any piece of it.
//!
//! In: bytes that left the kernel. Out: where a piece of the secret stands in them.

/// As many bytes of the secret in a row are no accident.
const PIECE: usize = 8;

/// What is planted. No HTTP head, path or name has a piece of it.
pub const SECRET: &str = "pLaNtEd~sEcReT~oF~tHe~sOcKsPaN~tEsTs~0xC0FFEE~";

/// The places in `bytes` at which a piece of [`SECRET`], repeated over and over, begins.
pub fn find(bytes: &[u8]) -> Vec<usize> {
    let round: Vec<u8> = SECRET.bytes().chain(SECRET.bytes().take(PIECE - 1)).collect();
    let pieces: std::collections::HashSet<&[u8]> = round.windows(PIECE).collect();
    bytes.windows(PIECE).enumerate().filter(|(_, window)| pieces.contains(window)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_found() {
        let around = SECRET.repeat(3);
        for start in 0..SECRET.len() {
            let piece = &around.as_bytes()[start..start + PIECE];
            assert_eq!(find(&[b"GET / ", piece, b"\r\n"].concat()), [6], "{start}");
        }
        assert!(find(b"GET /products/pLaNtEd HTTP/1.1").is_empty());
    }
}
