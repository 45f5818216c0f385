//! Uploads, blobs and memberships, on both engines.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]

mod support;

use bonded_db::{
    Append, Db, Error, ImageRow, NewAccount, NewBlob, NewImage, NewKeyDomain, NewRepository,
    NewSegment, Tx, UploadRow,
};
use uuid::Uuid;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
const DOMAIN: Uuid = Uuid::from_u128(7);
const ONE: Uuid = Uuid::from_u128(101);
const TWO: Uuid = Uuid::from_u128(102);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Runs a test's steps in one transaction of a database with two repositories.
async fn check(steps: impl Fn(&mut Tx<'_>) -> Result<(), Error> + Send + Copy + 'static) {
    for db in support::databases().await {
        seed(&db).await;
        db.write(steps).await.unwrap();
    }
}

async fn seed(db: &Db) {
    db.write(|tx| {
        let account = NewAccount {
            id: ACCOUNT.to_owned(),
            name: "main".to_owned(),
            wrapped_key: vec![1; 80],
            access_key_id: "AKIAROOT".to_owned(),
            secret: vec![2; 90],
            created_at: 1,
        };
        tx.insert_account(&account)?;
        tx.insert_registry(ACCOUNT, REGION)?;
        tx.insert_key_domain(&NewKeyDomain {
            id: DOMAIN,
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            key_name: String::new(),
            kind: "AES256".to_owned(),
            wrapped_key: vec![3; 80],
            created_at: 1,
        })?;
        for (id, name) in [(ONE, "one"), (TWO, "two")] {
            tx.insert_repository(&NewRepository {
                id,
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
                name: name.to_owned(),
                key_domain: DOMAIN,
                created_at: 1,
                tag_mutability: "MUTABLE".to_owned(),
                exclusion_filters: "[]".to_owned(),
                scan_on_push: false,
            })?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

fn upload(number: u128, touched_at: i64) -> UploadRow {
    UploadRow {
        id: id(number),
        repository_id: ONE,
        principal_id: "AIDA".to_owned(),
        key_domain: DOMAIN,
        algorithm: "sha256".to_owned(),
        wrapped_key: vec![4; 80],
        size: 0,
        version: 0,
        segments: 0,
        hash_state: vec![5; 9],
        last_start: 0,
        last_hash_state: None,
        parts: 0,
        short_part: false,
        last_part_size: 0,
        state: "open".to_owned(),
        created_at: touched_at,
        touched_at,
    }
}

fn append(upload: u128, version: i64, object: u8, offset: i64, size: i64) -> Append {
    Append {
        upload_id: id(upload),
        version,
        segment: NewSegment { object: [object; 16], number: version, offset, size, bytes: None },
        hash_state: vec![6; 9],
        last_hash_state: vec![7; 9],
        parts: 1,
        short_part: true,
        last_part_size: size,
        now: 50,
    }
}

/// A blob with one segment, and the upload's id as its own.
fn insert_blob(tx: &mut Tx<'_>, number: u8, digest: &str) -> Result<NewBlob, Error> {
    let new = NewBlob {
        id: id(number.into()),
        key_domain: DOMAIN,
        digest: digest.to_owned(),
        size: 10,
        wrapped_key: vec![number; 80],
        created_at: 1,
    };
    assert!(tx.insert_blob(&new)?);
    let segment = NewSegment { object: [number; 16], number: 0, offset: 0, size: 10, bytes: None };
    assert!(tx.insert_segment(&new.id, &segment)?);
    Ok(new)
}

#[tokio::test]
async fn an_upload_is_kept_as_it_is() {
    check(|tx| {
        let row = UploadRow { last_hash_state: Some(vec![8; 9]), ..upload(1, 5) };
        assert!(tx.insert_upload(&row)?);
        assert!(!tx.insert_upload(&row)?);
        assert!(tx.insert_upload(&upload(2, 6))?);
        let found = tx.upload(&id(1))?.unwrap();
        assert_eq!(format!("{found:?}"), format!("{row:?}"));
        assert_eq!(tx.upload(&id(2))?.unwrap().last_hash_state, None);
        assert!(tx.upload(&id(3))?.is_none());
        tx.delete_upload(&id(1))?;
        assert!(tx.upload(&id(1))?.is_none());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_append_fits_or_changes_nothing() {
    check(|tx| {
        tx.insert_upload(&upload(1, 5))?;
        assert!(tx.append(&append(1, 0, 1, 0, 10))?);
        let grown = tx.upload(&id(1))?.unwrap();
        assert_eq!((grown.size, grown.version, grown.segments), (10, 1, 1));
        assert_eq!((grown.last_start, grown.last_part_size, grown.parts), (0, 10, 1));
        assert_eq!(grown.hash_state, [6; 9]);
        assert_eq!(grown.last_hash_state.unwrap(), [7; 9]);
        assert!(grown.short_part);
        assert_eq!(grown.touched_at, 50);
        // Of an older version, at another place, of an upload that is not there.
        for other in [append(1, 0, 2, 0, 5), append(1, 1, 2, 9, 5), append(2, 0, 2, 0, 5)] {
            assert!(!tx.append(&other)?);
        }
        assert!(tx.append(&append(1, 1, 2, 10, 5))?);
        let segments = tx.segments(&id(1))?;
        let places: Vec<_> = segments.iter().map(|it| (it.object[0], it.offset, it.size)).collect();
        assert_eq!(places, [(1, 0, 10), (2, 10, 5)]);
        assert_eq!(tx.upload(&id(1))?.unwrap().size, 15);
        assert!(tx.discard_upload(&id(1))?);
        assert!(!tx.append(&append(1, 2, 3, 15, 5))?);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn uploads_of_a_principal_are_counted_while_they_are_open() {
    check(|tx| {
        for (number, touched_at) in [(1, 30), (2, 10), (3, 20)] {
            tx.insert_upload(&upload(number, touched_at))?;
        }
        let other = UploadRow { principal_id: "AROA".to_owned(), ..upload(4, 1) };
        tx.insert_upload(&other)?;
        assert_eq!(tx.count_open_uploads("AIDA")?, 3);
        assert_eq!(tx.count_all_open_uploads()?, 4);
        assert_eq!(tx.longest_idle_upload("AIDA")?, Some((id(2), 10)));
        tx.touch_upload(&id(2), 25)?;
        assert_eq!(tx.longest_idle_upload("AIDA")?, Some((id(3), 20)));
        tx.touch_upload(&id(2), 5)?;
        assert_eq!(tx.upload(&id(2))?.unwrap().touched_at, 25);
        assert!(tx.discard_upload(&id(3))?);
        assert!(!tx.discard_upload(&id(3))?);
        assert_eq!(tx.count_open_uploads("AIDA")?, 2);
        assert_eq!(tx.longest_idle_upload("nobody")?, None);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_object_is_released_unless_it_was_taken() {
    check(|tx| {
        assert!(tx.register_object(&[1; 16], REGION, 100)?);
        assert!(!tx.register_object(&[1; 16], REGION, 100)?);
        assert!(tx.release_object(&[1; 16])?);
        assert!(!tx.release_object(&[1; 16])?);
        tx.register_object(&[2; 16], REGION, 100)?;
        tx.register_object(&[3; 16], REGION, 100)?;
        assert!(tx.take_removals(50, 60, 9)?.is_empty());
        tx.expire_object(&[2; 16], 50)?;
        tx.expire_object(&[2; 16], 99)?;
        let taken = tx.take_removals(50, 60, 9)?;
        assert_eq!(taken.iter().map(|it| it.name).collect::<Vec<_>>(), [[2; 16]]);
        assert!(!tx.release_object(&[2; 16])?);
        assert!(tx.release_object(&[3; 16])?);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_layer_is_found_by_its_membership() {
    check(|tx| {
        let blob = insert_blob(tx, 1, "sha256:a")?;
        let second = NewSegment { object: [9; 16], number: 1, offset: 10, size: 3, bytes: None };
        tx.insert_segment(&blob.id, &second)?;
        assert!(!tx.insert_segment(&blob.id, &second)?);
        assert!(!tx.insert_segment(&id(99), &second)?, "an object is one segment's");
        assert!(tx.layer(&ONE, "sha256:a")?.is_none());
        tx.put_membership(&ONE, "sha256:a", &blob.id, 40)?;
        let layer = tx.layer(&ONE, "sha256:a")?.unwrap();
        assert_eq!((layer.blob_id, layer.key_owner), (blob.id, blob.id));
        assert_eq!((layer.size, layer.unused_since), (10, Some(40)));
        assert_eq!(layer.segments.len(), 2);
        assert_eq!(layer.segments[1].offset, 10);
        assert!(tx.layer(&TWO, "sha256:a")?.is_none());
        let digests = ["sha256:a".to_owned(), "sha256:b".to_owned()];
        assert_eq!(tx.memberships_present(&ONE, &digests)?, ["sha256:a"]);
        let available = tx.available_layers(&ONE, &digests)?;
        assert_eq!(available.len(), 1);
        assert_eq!((available[0].size, available[0].media_type.as_deref()), (10, None));
        use_blob(tx, "sha256:a")?;
        let available = tx.available_layers(&ONE, &digests)?;
        assert_eq!(available[0].media_type.as_deref(), Some("text/x-layer"));
        assert_eq!(available[0].unused_since, None);
        assert_eq!(tx.images_of_blob(&ONE, "sha256:a")?, ["sha256:image"]);
        assert!(tx.images_of_blob(&TWO, "sha256:a")?.is_empty());
        // Damaged, it is absent everywhere.
        assert!(!tx.mark_blob_damaged(&blob.id, &id(5))?);
        assert!(tx.mark_blob_damaged(&blob.id, &blob.id)?);
        assert!(!tx.mark_blob_damaged(&blob.id, &blob.id)?);
        assert!(tx.layer(&ONE, "sha256:a")?.is_none());
        assert!(!tx.has_layer(&ONE, "sha256:a")?);
        assert!(tx.memberships_present(&ONE, &digests)?.is_empty());
        assert!(tx.available_layers(&ONE, &digests)?.is_empty());
        assert!(tx.repositories_with_blob(&DOMAIN, "sha256:a", ACCOUNT, REGION, 9)?.is_empty());
        Ok(())
    })
    .await;
}

/// An image of the first repository that uses a blob.
fn use_blob(tx: &mut Tx<'_>, digest: &str) -> Result<(), Error> {
    let row = ImageRow {
        id: id(300),
        digest: "sha256:image".to_owned(),
        tagged: false,
        status: "ACTIVE".to_owned(),
        media_kind: "image".to_owned(),
        media_type: "text/x-image".to_owned(),
        artifact_type: None,
        manifest_size: 1,
        image_size: 1,
        subject_digest: None,
        depth: 0,
        pushed_at: 1,
    };
    let new = NewImage {
        row,
        manifest: vec![1],
        blobs: vec![(digest.to_owned(), "text/x-layer".to_owned())],
        children: Vec::new(),
        annotations: b"{}".to_vec(),
    };
    tx.insert_image(&ONE, &new)
}

#[tokio::test]
async fn stamps_of_memberships_and_blobs() {
    check(|tx| {
        let blob = insert_blob(tx, 1, "sha256:a")?;
        assert!(!tx.refresh_membership(&ONE, "sha256:a", 50)?);
        tx.put_membership(&ONE, "sha256:a", &blob.id, 40)?;
        assert!(tx.refresh_membership(&ONE, "sha256:a", 50)?);
        assert!(tx.refresh_membership(&ONE, "sha256:a", 45)?);
        assert_eq!(tx.layer(&ONE, "sha256:a")?.unwrap().unused_since, Some(50));
        tx.put_membership(&ONE, "sha256:a", &blob.id, 60)?;
        assert_eq!(tx.layer(&ONE, "sha256:a")?.unwrap().unused_since, Some(60));
        // In use, it has none, whatever is told of it.
        use_blob(tx, "sha256:a")?;
        assert!(tx.refresh_membership(&ONE, "sha256:a", 70)?);
        tx.put_membership(&ONE, "sha256:a", &blob.id, 70)?;
        assert_eq!(tx.layer(&ONE, "sha256:a")?.unwrap().unused_since, None);
        // The last membership leaves a stamp on the blob, and a new one takes it off.
        tx.put_membership(&TWO, "sha256:a", &blob.id, 70)?;
        assert!(tx.delete_membership(&ONE, "sha256:a", 80)?);
        assert!(!tx.delete_membership(&ONE, "sha256:a", 80)?);
        assert!(tx.unused_blobs(1_000, 9)?.is_empty());
        assert!(tx.delete_membership(&TWO, "sha256:a", 90)?);
        assert_eq!(tx.unused_blobs(1_000, 9)?, [(blob.id, REGION.to_owned())]);
        tx.put_membership(&TWO, "sha256:a", &blob.id, 95)?;
        assert!(tx.unused_blobs(1_000, 9)?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn who_got_a_blob_last_is_named_first() {
    check(|tx| {
        let blob = insert_blob(tx, 1, "sha256:a")?;
        tx.put_membership(&TWO, "sha256:a", &blob.id, 10)?;
        tx.put_membership(&ONE, "sha256:a", &blob.id, 20)?;
        let found = |tx: &mut Tx<'_>, account: &str, region: &str, limit| {
            tx.repositories_with_blob(&DOMAIN, "sha256:a", account, region, limit)
        };
        assert_eq!(found(tx, ACCOUNT, REGION, 9)?, [ONE, TWO]);
        assert_eq!(found(tx, ACCOUNT, REGION, 1)?, [ONE]);
        assert!(found(tx, "210987654321", REGION, 9)?.is_empty());
        assert!(found(tx, ACCOUNT, "eu-west-1", 9)?.is_empty());
        tx.mark_repository_deleted(&ONE, 30)?;
        assert_eq!(found(tx, ACCOUNT, REGION, 9)?, [TWO]);
        assert!(tx.repositories_with_blob(&id(8), "sha256:a", ACCOUNT, REGION, 9)?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_damaged_blob_gets_other_segments() {
    check(|tx| {
        let blob = insert_blob(tx, 1, "sha256:a")?;
        let again = NewBlob { id: id(2), wrapped_key: vec![9; 80], ..blob.clone() };
        assert!(!tx.insert_blob(&again)?);
        tx.insert_upload(&upload(2, 5))?;
        tx.append(&append(2, 0, 22, 0, 10))?;
        // One that is whole keeps what it has.
        assert!(tx.empty_damaged_blob(&blob.id, REGION, 100, 1)?);
        assert!(tx.has_segments(&blob.id)?);
        assert!(!tx.replace_blob(&blob.id, &again)?);
        tx.mark_blob_damaged(&blob.id, &blob.id)?;
        assert!(tx.blob_by_digest(&DOMAIN, "sha256:a")?.unwrap().damaged);
        assert!(!tx.empty_damaged_blob(&blob.id, REGION, 100, 1)?);
        assert!(tx.empty_damaged_blob(&blob.id, REGION, 100, 1)?);
        assert!(!tx.has_segments(&blob.id)?);
        assert_eq!(tx.count_removals()?, 1);
        assert!(tx.replace_blob(&blob.id, &again)?);
        tx.put_membership(&ONE, "sha256:a", &blob.id, 40)?;
        let layer = tx.layer(&ONE, "sha256:a")?.unwrap();
        assert_eq!((layer.blob_id, layer.key_owner), (blob.id, id(2)));
        assert_eq!(layer.wrapped_key, [9; 80]);
        assert_eq!(layer.segments[0].object, [22; 16]);
        assert!(!tx.has_segments(&id(2))?);
        assert!(tx.blob_by_digest(&id(8), "sha256:a")?.is_none());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_small_segment_has_no_object() {
    check(|tx| {
        let blob = insert_blob(tx, 1, "sha256:a")?;
        tx.put_membership(&ONE, "sha256:a", &blob.id, 40)?;
        let new = NewBlob { id: id(2), digest: "sha256:b".to_owned(), ..blob.clone() };
        assert!(tx.insert_blob(&new)?);
        let bytes = Some(vec![3; 50]);
        let segment = NewSegment { object: [2; 16], number: 0, offset: 0, size: 10, bytes };
        assert!(tx.insert_segment(&new.id, &segment)?);
        assert!(!tx.insert_segment(&new.id, &segment)?);
        tx.put_membership(&ONE, "sha256:b", &new.id, 40)?;

        let layer = tx.layer(&ONE, "sha256:b")?.unwrap();
        assert_eq!(layer.segments, tx.segments(&new.id)?);
        assert_eq!(layer.segments[0].bytes, segment.bytes);
        assert_eq!(tx.layer(&ONE, "sha256:a")?.unwrap().segments[0].bytes, None);
        let objects = tx.segment_objects(REGION, &[], 10)?;
        assert_eq!(objects.iter().map(|it| it.object).collect::<Vec<_>>(), [[1; 16]]);

        assert_eq!(tx.remove_segments(&new.id, REGION, 100, 10)?, 1);
        assert_eq!(tx.count_removals()?, 0);
        assert!(tx.insert_segment(&new.id, &segment)?, "its bytes are gone");
        assert_eq!(tx.remove_segments(&blob.id, REGION, 100, 10)?, 1);
        assert_eq!(tx.count_removals()?, 1);
        Ok(())
    })
    .await;
}
