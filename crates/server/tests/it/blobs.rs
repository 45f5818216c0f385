//! Blobs of `/v2/`: read whole and in ranges, and deleted.

use crate::harness::{Harness, digest};

#[tokio::test]
async fn a_blob_is_read_whole_and_in_parts() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = format!("/v2/app/blobs/{}", v2.push_blob("app", &data).await);
    let whole = v2.get(&path).await;
    assert_eq!(whole.body, data);
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let head = v2.head(&path).await;
    assert_eq!(head.header("content-length"), data.len().to_string());
    assert!(head.body.is_empty());

    for (asked, first, last) in
        [("bytes=0-0", 0, 0), ("bytes=16383-16384", 16_383, 16_384), ("bytes=-7", 399_993, 399_999)]
    {
        let part = v2.request("GET", &path, &[("range", asked)], "").await;
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(part.body, data[first..=last], "{asked}");
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/400000"));
    }
    let beyond = v2.request("GET", &path, &[("range", "bytes=400000-")], "").await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), "bytes */400000");
    let etag = whole.header("etag").to_owned();
    let known = v2.request("GET", &path, &[("if-none-match", &etag)], "").await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
}

#[tokio::test]
async fn a_blob_that_an_image_uses_stays() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    v2.push_image("app", "1", b"used").await;
    let path = format!("/v2/app/blobs/{}", digest("used"));
    let kept = v2.delete(&path).await;
    assert_eq!((kept.status.as_u16(), kept.code().as_str()), (405, "UNSUPPORTED"));
    let unused = v2.push_blob("app", b"unused").await;
    let path = format!("/v2/app/blobs/{unused}");
    assert_eq!(v2.delete(&path).await.status, 202);
    let gone = v2.delete(&path).await;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn what_is_no_digest_is_refused() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    for bad in ["junk", "sha256:abc", "md5:00", &digest("x").to_uppercase()] {
        let answer = v2.get(&format!("/v2/app/blobs/{bad}")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "DIGEST_INVALID"));
    }
}
