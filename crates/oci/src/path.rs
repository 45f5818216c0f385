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
            ("/v2/tags/list", None),
            ("/v2/manifests/t", None),
            ("/v2/blobs/uploads/", None),
            ("/v2/_catalog/", None),
            ("/v2/a/tags/list/", None),
            ("/v2/a/manifests/t/", None),
            ("//v2/a/manifests/t", None),
            ("/v2//", None),
            ("/v2/a", None),
            ("/v2/a/b", None),
            ("/v2x/a/manifests/b", None),
            ("/v1/a/manifests/b", None),
            ("", None),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
    }

    /// Attempts to hide where a name ends. All of them are read, and none has a name that parses.
    #[test]
    fn tricks_make_no_name() {
        for path in [
            "/v2//manifests/t",
            "/v2/a//manifests/t",
            "/v2//a/manifests/t",
            "/v2/../a/manifests/t",
            "/v2/a/../b/manifests/t",
            "/v2/./a/manifests/t",
            "/v2/a%2Fb/manifests/t",
            "/v2/a%2fb/tags/list",
            "/v2/a%00/blobs/d",
            "/v2/_catalog/tags/list",
            "/v2/-/layer/manifests/t",
            "/v2/A/manifests/t",
        ] {
            let name = match parse(path) {
                Some(Resource::Manifest { name, .. } | Resource::Tags { name }) => name,
                Some(Resource::Blob { name, .. }) => name,
                other => panic!("{path}: {other:?}"),
            };
            assert!(name.parse::<crate::RepositoryName>().is_err(), "{path}");
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
        fn every_path_is_read(path in "\\PC*|(/v2)?[/a-z2v_%.-]{0,60}") {
            let _ = (parse(&path), layer_link(&path));
        }

        /// Every name gets through every route whole, whatever words it is made of.
        #[test]
        fn names_come_out_as_they_went_in(
            words in proptest::collection::vec(
                proptest::sample::select(&["a", "v2", "tags", "list", "blobs", "uploads",
                    "manifests", "referrers"][..]), 1..6),
            last in "[a-z0-9_][a-z0-9._-]{0,6}(:[0-9a-f]{4})?",
        ) {
            let name = words.join("/");
            let (name, last) = (name.as_str(), last.as_str());
            for (tail, expected) in [
                ("tags/list".to_owned(), Resource::Tags { name }),
                ("blobs/uploads/".to_owned(), Resource::Uploads { name }),
                ("blobs/uploads".to_owned(), Resource::Uploads { name }),
                (format!("blobs/uploads/{last}"), Resource::Upload { name, id: last }),
                (format!("blobs/x{last}"), Resource::Blob { name, digest: &format!("x{last}") }),
                (format!("manifests/{last}"), Resource::Manifest { name, reference: last }),
                (format!("referrers/{last}"), Resource::Referrers { name, digest: last }),
            ] {
                let path = ["/v2", name, &tail].join("/");
                prop_assert_eq!(parse(&path), Some(expected));
            }
        }
    }
}
