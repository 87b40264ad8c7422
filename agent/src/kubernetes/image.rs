//! An image reference taken apart: `registry:5000/shop/cart:1.2@sha256:…`.

/// The parts of an image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Registry and repository, as written.
    pub name: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest, with its algorithm.
    pub digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Takes `reference` apart.
    pub fn parse(reference: &'a str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash is a registry's port.
        let tagged = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let (name, tag) = tagged.map_or((rest, None), |(name, tag)| (name, Some(tag)));
        let some = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
        Self { name, tag: some(tag), digest: some(digest) }
    }

    /// `service.version` by the conventions: tag and digest, or what there is of them.
    pub fn version(&self) -> Option<String> {
        match (self.tag, self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (tag, digest) => digest.or(tag).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (reference, name, tag, digest, version) in [
            ("cart", "cart", None, None, None),
            ("cart:1.2", "cart", Some("1.2"), None, Some("1.2")),
            ("docker.io/library/cart:1.2", "docker.io/library/cart", Some("1.2"), None, Some("1.2")),
            ("host:5000/cart", "host:5000/cart", None, None, None),
            ("host:5000/a/cart:v1", "host:5000/a/cart", Some("v1"), None, Some("v1")),
            ("cart@sha256:ab", "cart", None, Some("sha256:ab"), Some("sha256:ab")),
            ("cart:1@sha256:ab", "cart", Some("1"), Some("sha256:ab"), Some("1@sha256:ab")),
            ("cart:", "cart", None, None, None),
        ] {
            let image = Image::parse(reference);
            assert_eq!(image, Image { name, tag, digest }, "{reference}");
            assert_eq!(image.version().as_deref(), version, "{reference}");
        }
    }
}
