//! What a manifest may say, and what is refused.

use proptest::prelude::*;

use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn item(media_type: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{D}","size":3}}"#)
}

fn image(extra: &str) -> String {
    let (config, layer) = (item(media_type::OCI_CONFIG), item(media_type::OCI_LAYER_GZIP));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
}

fn parse(text: &str, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes(), content_type)
}

#[test]
fn an_image_and_what_it_names() {
    let manifest = parse(&image(""), Some(media_type::OCI_MANIFEST)).unwrap();
    assert_eq!(manifest.kind, Kind::Image);
    assert_eq!(manifest.artifact_type.as_deref(), Some(media_type::OCI_CONFIG));
    assert_eq!((manifest.size(), manifest.blobs().count()), (6, 2));
    let more = format!(
        r#","artifactType":"text/x","subject":{},"annotations":{{"a":"b"}},"new":1"#,
        item(media_type::OCI_MANIFEST)
    );
    let manifest = parse(&image(&more), Some(media_type::OCI_MANIFEST)).unwrap();
    assert_eq!(manifest.artifact_type.as_deref(), Some("text/x"));
    assert_eq!(manifest.subject.unwrap().digest.to_string(), D);
    assert_eq!(manifest.annotations["a"], "b");
}

#[test]
fn media_types_agree_or_are_refused() {
    let typed = image(&format!(r#","mediaType":"{}""#, media_type::OCI_MANIFEST));
    assert!(parse(&typed, None).is_ok());
    assert!(parse(&typed, Some("application/vnd.oci.image.manifest.v1+json; x=y")).is_ok());
    let other = parse(&typed, Some(media_type::DOCKER_MANIFEST)).unwrap_err();
    assert!(matches!(other, ManifestError::OtherMediaType { .. }));
    let none = parse(&image(""), None).unwrap_err();
    assert_eq!(none.to_string(), "image manifest mediatype not provided in manifest or parameter");
    let unknown = parse(&image(""), Some("text/html")).unwrap_err();
    assert!(matches!(unknown, ManifestError::Unsupported(_)));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let both = image(r#","manifests":[]"#);
    for content_type in [media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
        assert!(matches!(parse(&both, Some(content_type)), Err(ManifestError::Invalid(_))));
    }
    let index =
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, item(media_type::OCI_MANIFEST));
    assert_eq!(parse(&index, Some(media_type::OCI_INDEX)).unwrap().children.len(), 1);
    assert!(parse(&index, Some(media_type::OCI_MANIFEST)).is_err());
}

#[test]
fn bad_descriptors_are_refused() {
    for bad in [
        r#"{"mediaType":"x","digest":"md5:00","size":1}"#,
        r#"{"mediaType":"x","digest":"sha256:../../x","size":1}"#,
        r#"{"mediaType":"x","size":1}"#,
        r#"{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}"#,
        r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":-1}"#,
    ] {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{bad}]}}"#,
            item(media_type::OCI_CONFIG)
        );
        let error = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap_err();
        assert!(matches!(error, ManifestError::Invalid(_)), "{bad}");
    }
    assert_eq!(parse("{", None).unwrap_err(), ManifestError::Syntax);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(parse(&deep, None).unwrap_err(), ManifestError::Syntax);
}

#[test]
fn limits() {
    let many = vec![item("x"); MAX_DESCRIPTORS + 1].join(",");
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{many}]}}"#,
        item(media_type::OCI_CONFIG)
    );
    let error = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap_err();
    assert_eq!(error, ManifestError::TooManyDescriptors);
    // Far beyond the limit the list is still read to its end, and no more of it is kept.
    let empty = format!(r#"{{"schemaVersion":2,"manifests":[{}{{}}]}}"#, "{},".repeat(1_000_000));
    let error = parse(&empty, Some(media_type::OCI_INDEX)).unwrap_err();
    assert_eq!(error, ManifestError::TooManyDescriptors);
    let wire: Wire = serde_json::from_str(&empty).unwrap();
    assert_eq!(wire.count(), MAX_DESCRIPTORS + 1);
    let urls = format!(r#"{{"urls":[{}""]}}"#, r#""","#.repeat(1_000_000));
    let wire: WireDescriptor = serde_json::from_str(&urls).unwrap();
    assert_eq!(size_of_val(wire.urls.unwrap().as_slice()), 0);
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Manifest::parse(&long, None).unwrap_err(), ManifestError::TooLarge);
}

#[test]
fn foreign_layers_need_not_be_there() {
    let with_urls = format!(r#"{{"mediaType":"x","digest":"{D}","size":1,"urls":["http://x"]}}"#);
    let foreign = item("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{with_urls},{foreign}]}}"#,
        item(media_type::OCI_CONFIG)
    );
    let manifest = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap();
    assert!(manifest.layers.iter().all(Descriptor::is_foreign));
    assert!(!manifest.config.unwrap().is_foreign());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, content_type: Option<String>) {
        let _ = Manifest::parse(&bytes, content_type.as_deref());
    }
}

const I: &str = media_type::OCI_MANIFEST;

/// A manifest is taken, or refused with a text in which `expected` stands.
fn check(text: &str, content_type: &str, expected: Result<Kind, &str>) {
    match (parse(text, Some(content_type)), expected) {
        (Ok(manifest), Ok(kind)) => assert_eq!(manifest.kind, kind, "{text}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
        (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
    }
}

#[test]
fn every_kind_that_conformance_pushes_is_taken() {
    let (oci, empty) = (item(media_type::OCI_CONFIG), item(media_type::OCI_EMPTY));
    let child = item(media_type::OCI_INDEX);
    let foreign = item(media_type::OCI_FOREIGN_LAYER_TAR);
    let sha512 = format!(
        r#"{{"mediaType":"x/y","digest":"{}","size":0}}"#,
        Digest::of(crate::Algorithm::Sha512, b"")
    );
    let with_data = format!(r#"{{"mediaType":"x/y","digest":"{D}","size":2,"data":"e30="}}"#);
    for (text, content_type, kind) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), media_type::OCI_INDEX, Kind::Index),
        (
            format!(r#"{{"schemaVersion":2,"manifests":[{child}],"subject":{child}}}"#),
            media_type::OCI_INDEX,
            Kind::Index,
        ),
        (
            format!(r#"{{"schemaVersion":2,"artifactType":"a/b","manifests":[{child},{sha512}]}}"#),
            media_type::OCI_INDEX,
            Kind::Index,
        ),
        (
            format!(r#"{{"schemaVersion":2,"manifests":[{child}]}}"#),
            media_type::DOCKER_LIST,
            Kind::Index,
        ),
        (format!(r#"{{"schemaVersion":2,"config":{oci},"layers":[]}}"#), I, Kind::Image),
        (format!(r#"{{"schemaVersion":2,"config":{empty}}}"#), I, Kind::Image),
        (format!(r#"{{"schemaVersion":2,"config":{oci},"layers":null}}"#), I, Kind::Image),
        (format!(r#"{{"schemaVersion":2,"config":{oci},"layers":[{foreign}]}}"#), I, Kind::Image),
        (
            format!(r#"{{"schemaVersion":2,"config":{sha512},"layers":[{with_data}]}}"#),
            I,
            Kind::Image,
        ),
        (image(r#","org.ABC":"x","annotations":{"Layers":"1","Layers":"2"}"#), I, Kind::Image),
        (image(""), media_type::DOCKER_MANIFEST, Kind::Image),
        (
            format!(r#"{{"blobs":[{sha512}],"subject":{child}}}"#),
            media_type::ORAS_ARTIFACT,
            Kind::Artifact,
        ),
        ("{}".to_owned(), media_type::ORAS_ARTIFACT, Kind::Artifact),
    ] {
        check(&text, content_type, Ok(kind));
    }
}

#[test]
fn schema_1_tells_its_type_by_its_version() {
    let schema_1 = |more: &str| {
        format!(
            r#"{{"schemaVersion":1,"name":"a","fsLayers":[{{"blobSum":"{D}"}},{{"blobSum":"{D}"}}]{more}}}"#
        )
    };
    for content_type in [None, Some("application/json"), Some("")] {
        let manifest = parse(&schema_1(""), content_type).unwrap();
        assert_eq!((manifest.kind, manifest.layers.len()), (Kind::Schema1, 2));
        assert_eq!(manifest.media_type, media_type::DOCKER_SCHEMA_1);
        assert_eq!((manifest.size(), manifest.artifact_type), (0, None));
        let signed =
            parse(&schema_1(r#","signatures":[{"protected":"x"}]"#), content_type).unwrap();
        assert_eq!(signed.media_type, media_type::DOCKER_SCHEMA_1_SIGNED);
    }
    check(&schema_1(""), media_type::DOCKER_SCHEMA_1_SIGNED, Ok(Kind::Schema1));
    check(&schema_1(""), I, Err("schemaVersion must be 2"));
    check(r#"{"schemaVersion":1}"#, media_type::DOCKER_SCHEMA_1, Err("has fsLayers"));
    check(
        r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:0"}]}"#,
        media_type::DOCKER_SCHEMA_1,
        Err("a digest is"),
    );
    check(
        r#"{"schemaVersion":1,"fsLayers":[{}]}"#,
        media_type::DOCKER_SCHEMA_1,
        Err("has a digest"),
    );
}

#[test]
fn no_kind_has_the_content_of_another() {
    let one = item("x/y");
    let members = [
        ("config", one.clone()),
        ("layers", format!("[{one}]")),
        ("manifests", format!("[{one}]")),
        ("blobs", format!("[{one}]")),
        ("fsLayers", "[]".to_owned()),
    ];
    let kinds = [
        (I, 2, "config", "layers"),
        (media_type::DOCKER_MANIFEST, 2, "config", "layers"),
        (media_type::OCI_INDEX, 2, "manifests", "manifests"),
        (media_type::DOCKER_LIST, 2, "manifests", "manifests"),
        (media_type::ORAS_ARTIFACT, 2, "blobs", "blobs"),
        (media_type::DOCKER_SCHEMA_1, 1, "fsLayers", "fsLayers"),
    ];
    for (content_type, version, first, second) in kinds {
        let (_, own) = members.iter().find(|(name, _)| *name == first).unwrap();
        for (member, value) in &members {
            let extra =
                if *member == first { String::new() } else { format!(r#","{member}":{value}"#) };
            let text = format!(r#"{{"schemaVersion":{version},"{first}":{own}{extra}}}"#);
            let fits = *member == first || *member == second;
            assert_eq!(parse(&text, Some(content_type)).is_ok(), fits, "{text}");
        }
    }
}

/// Go's JSON package would take each of these for the member of the right name.
#[test]
fn names_in_another_case_are_refused() {
    let why = Err("named as the specification names them");
    for member in [
        "Layers",
        "LAYERS",
        "layerſ",
        "Manifests",
        "mediatype",
        "Config",
        "Subject",
        "schemaversion",
        "fslayers",
        "Blobs",
        "ArtifactType",
        "Annotations",
    ] {
        check(&image(&format!(r#","{member}":null"#)), I, why);
        check(
            &image(&format!(
                r#","\u{:04x}{}":null"#,
                u32::from(member.as_bytes()[0]),
                &member[1..]
            )),
            I,
            why,
        );
    }
    for member in ["Digest", "mediatype", "SIZE", "Urls", "urlſ"] {
        let odd = item("x/y").replace('}', &format!(r#","{member}":"x"}}"#));
        let config = item(media_type::OCI_CONFIG);
        check(&format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{odd}]}}"#), I, why);
        check(&format!(r#"{{"schemaVersion":2,"config":{odd}}}"#), I, why);
        check(&image(&format!(r#","subject":{odd}"#)), I, why);
    }
    check(&image(r#","layer":1,"layerss":2,"custom":{"Layers":[]}"#), I, Ok(Kind::Image));
}

#[test]
fn a_list_is_no_object() {
    let why = Err("objects are no lists");
    let descriptor = format!(r#"["x/y","{D}",3,null]"#);
    let list = format!(r#"[2,"{I}",null,{},null,null,null,null,null,null,null]"#, item("x/y"));
    check(&list, I, why);
    check(&format!(r#"{{"schemaVersion":2,"config":{descriptor}}}"#), I, why);
    let config = item("x/y");
    check(&format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{descriptor}]}}"#), I, why);
}

#[test]
fn a_known_member_comes_once_and_an_unknown_one_does_no_harm() {
    check(&image(r#","layers":[]"#), I, Err("Invalid JSON syntax"));
    let twice = item("x/y").replace('}', &format!(r#","digest":"{D}"}}"#));
    check(&format!(r#"{{"schemaVersion":2,"config":{twice}}}"#), I, Err("Invalid JSON syntax"));
    check(&image(r#","x":1,"x":[2]"#), I, Ok(Kind::Image));
    let deep = format!(r#","x":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000));
    check(&image(&deep), I, Ok(Kind::Image));
}

/// The media type becomes a header, and other types become columns.
#[test]
fn media_types_are_taken_letter_for_letter() {
    for odd in [
        "application/vnd.oci.image.manifest.v1+json;\\r\\nX: y",
        "application/vnd.oci.image.manifest.v1+json ",
        "application/vnd.OCI.image.manifest.v1+json",
        "text/html",
    ] {
        let text = image(&format!(r#","mediaType":"{odd}""#));
        check(&text, "", Err("is not supported"));
        check(&text, I, Err("is not that of the manifest"));
        assert!(!parse(&text, None).unwrap_err().to_string().contains(char::is_control));
    }
    let long = "x".repeat(256);
    for odd in ["", "a\\u0000b", "a\\nb", "é", &long] {
        let config = item(odd);
        check(&format!(r#"{{"schemaVersion":2,"config":{config}}}"#), I, Err("a media type has"));
        let taken = if odd.is_empty() { Ok(Kind::Image) } else { Err("a media type has") };
        check(&image(&format!(r#","artifactType":"{odd}""#)), I, taken);
    }
    check(&image(&format!(r#","artifactType":"{}""#, &long[1..])), I, Ok(Kind::Image));
    let echoed = parse(&image(""), Some(&"y".repeat(100_000))).unwrap_err().to_string();
    assert!(echoed.len() < 400);
}

#[test]
fn sizes_cannot_overflow() {
    let most = format!(r#"{{"mediaType":"x/y","digest":"{D}","size":{}}}"#, i64::MAX);
    let with = |config: &str, layers: &str| {
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
    };
    check(&with(&most, ""), I, Ok(Kind::Image));
    check(&with(&most, &item("x/y")), I, Err("too large"));
    check(&with(&most, &format!("{most},{most}")), I, Err("too large"));
    for size in ["9223372036854775808", "1e3", "1.5", "\"1\"", "null", "-1"] {
        let odd = item("x/y").replace(":3}", &format!(":{size}}}"));
        assert!(parse(&with(&odd, ""), Some(I)).is_err(), "{size}");
    }
}

proptest! {
    /// Near to a manifest: members in any order and number, of right and wrong shape.
    #[test]
    fn what_is_taken_keeps_the_invariant(
        members in proptest::collection::vec((0usize..9, 0usize..9), 0..7),
        content_type in proptest::option::of(proptest::sample::select(&media_type::MANIFESTS[..])),
    ) {
        let one = item("x/y");
        let names = ["schemaVersion", "config", "layers", "manifests", "blobs", "fsLayers",
            "mediaType", "subject", "Layers"];
        let values = ["2".to_owned(), "1".to_owned(), one.clone(), format!("[{one}]"),
            "[]".to_owned(), "null".to_owned(), format!("\"{I}\""), "{}".to_owned(),
            format!("[{{\"blobSum\":\"{D}\"}}]")];
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("\"{}\":{}", names[*name], values[*value])).collect();
        let text = format!("{{{}}}", members.join(","));
        if let Ok(manifest) = parse(&text, content_type) {
            let known = media_type::manifest(&manifest.media_type);
            prop_assert_eq!(known, Some(manifest.media_type.as_str()));
            prop_assert!(content_type.is_none_or(|given| Some(given) == known));
            let index = manifest.kind == Kind::Index;
            prop_assert!(!index || manifest.blobs().count() == 0);
            prop_assert!(index || manifest.children.is_empty());
            prop_assert!(!text.contains("\"Layers\""));
        }
    }
}
