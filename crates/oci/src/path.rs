//! What a `/v2/` path asks for.
//!
//! A repository name may hold any number of slashes, so a path is read from its end:
//! `/v2/a/b/c/manifests/latest` is the manifest `latest` of `a/b/c`. Paths are taken as they were
//! sent: a percent sign makes no name that parses, so `%2F` is never a separator.

/// A resource of the distribution API, still as text: parsing the name, digest or tag is the
/// handler's, because each failure has its own error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Version,
    Catalog,
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Uploads { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Tags { name: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

/// Reads a path; `None` for one that the specification does not have.
pub fn parse(path: &str) -> Option<Resource<'_>> {
    let path = match path.strip_prefix("/v2")? {
        "" | "/" => return Some(Resource::Version),
        path => path.strip_prefix('/')?,
    };
    if path == "_catalog" {
        return Some(Resource::Catalog);
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Resource::Tags { name });
    }
    let uploads = path.strip_suffix("/blobs/uploads/");
    if let Some(name) = uploads.or_else(|| path.strip_suffix("/blobs/uploads")) {
        return Some(Resource::Uploads { name });
    }
    let (head, last) = path.rsplit_once('/')?;
    let (name, kind) = head.rsplit_once('/')?;
    match kind {
        "manifests" => Some(Resource::Manifest { name, reference: last }),
        "blobs" => Some(Resource::Blob { name, digest: last }),
        "referrers" => Some(Resource::Referrers { name, digest: last }),
        "uploads" => Some(Resource::Upload { name: name.strip_suffix("/blobs")?, id: last }),
        _ => None,
    }
}

/// The sealed part of a download link: `-` is no repository's name.
pub fn layer_link(path: &str) -> Option<&str> {
    path.strip_prefix("/v2/-/layer/").filter(|sealed| !sealed.contains('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let name = "a/manifests/b";
        for (path, expected) in [
            ("/v2", Some(Resource::Version)),
            ("/v2/", Some(Resource::Version)),
            ("/v2/_catalog", Some(Resource::Catalog)),
            ("/v2/a/manifests/b/tags/list", Some(Resource::Tags { name })),
            ("/v2/a/manifests/b/blobs/uploads/", Some(Resource::Uploads { name })),
            ("/v2/a/manifests/b/blobs/uploads", Some(Resource::Uploads { name })),
            ("/v2/a/manifests/b/blobs/uploads/1", Some(Resource::Upload { name, id: "1" })),
            ("/v2/a/manifests/b/blobs/d", Some(Resource::Blob { name, digest: "d" })),
            ("/v2/a/manifests/b/referrers/d", Some(Resource::Referrers { name, digest: "d" })),
            ("/v2/a/manifests/b/manifests/t", Some(Resource::Manifest { name, reference: "t" })),
            ("/v2/a/uploads/1", None),
            ("/v2/a", None),
            ("/v2/a/b", None),
            ("/v2x/a/manifests/b", None),
            ("/v1/a/manifests/b", None),
            ("", None),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
    }

    #[test]
    fn links() {
        assert_eq!(layer_link("/v2/-/layer/abc"), Some("abc"));
        assert_eq!(layer_link("/v2/-/layer/a/b"), None);
        assert_eq!(layer_link("/v2/x/layer/a"), None);
    }

    proptest! {
        #[test]
        fn every_path_is_read(path in "[/a-z2v_%.-]{0,60}") {
            let _ = parse(&path);
        }
    }
}
