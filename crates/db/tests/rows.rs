//! Every row function, on both engines: what is written is found, listed in order and removed.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]

mod support;

use bonded_db::{
    AccountSetting, AuditBlockRow, AuditRecordRow, Db, Error, EventRow, ImageBy, ImageFilter,
    ImageRow, ImageTagPlace, NewAccount, NewImage, NewKeyDomain, NewRepository, Note,
    PrincipalPolicyRow, RepositoryBy, ResourcePolicyRow, TagChange, TagRow, TokenKeyRow,
    UnusedMembership, WrappedIn,
};
use uuid::Uuid;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
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
        assert!(tx.insert_account(&account)?);
        assert!(!tx.insert_account(&account)?);
        tx.insert_registry(ACCOUNT, REGION)?;
        tx.insert_registry(ACCOUNT, REGION)?;
        let domain = NewKeyDomain {
            id: id(7),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            key_name: String::new(),
            kind: "AES256".to_owned(),
            wrapped_key: vec![3; 80],
            created_at: 1,
        };
        tx.insert_key_domain(&domain)?;
        tx.insert_key_domain(&NewKeyDomain { id: id(8), ..domain })?;
        assert_eq!(tx.key_domain(ACCOUNT, REGION, "AES256", "")?.unwrap().id, id(7));
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

fn repository(number: u128, name: &str) -> NewRepository {
    NewRepository {
        id: id(number),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: name.to_owned(),
        key_domain: id(7),
        created_at: 5,
        tag_mutability: "MUTABLE".to_owned(),
        exclusion_filters: "[]".to_owned(),
        scan_on_push: false,
    }
}

fn image(number: u128, content: u8, subject: Option<u8>) -> NewImage {
    NewImage {
        row: ImageRow {
            id: id(number),
            digest: digest(content),
            tagged: false,
            status: "ACTIVE".to_owned(),
            media_kind: "image".to_owned(),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            artifact_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
            manifest_size: 500,
            image_size: 1_000,
            subject_digest: subject.map(digest),
            depth: 0,
            pushed_at: 9,
        },
        manifest: vec![9; 600],
        blobs: vec![(digest(200), "layer".to_owned())],
        children: vec![digest(201)],
        annotations: b"{}".to_vec(),
    }
}

fn change(number: u128, tag: &str) -> TagChange {
    TagChange {
        id: id(number),
        tag: tag.to_owned(),
        principal_id: ACCOUNT.to_owned(),
        time: 10,
        request_id: "request".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_keys() {
    for db in support::databases().await {
        seed(&db).await;
        db.write(|tx| {
            let key = tx.access_key("AKIAROOT")?.unwrap();
            assert!(key.active && key.account == ACCOUNT && key.principal_id == ACCOUNT);
            let before = tx.identity(ACCOUNT)?.unwrap();
            assert_eq!(before.active_keys, ["AKIAROOT"]);
            assert!(tx.insert_principal("AIDA1", ACCOUNT, "user", "Alice", 2)?);
            assert!(!tx.insert_principal("AIDA2", ACCOUNT, "user", "alice", 2)?);
            let triple = |name: &str| (ACCOUNT.to_owned(), "user".to_owned(), name.to_owned());
            let ids = tx.principal_ids(&[triple("ALICE"), triple("bob")])?;
            assert_eq!(ids, [Some("AIDA1".to_owned()), None]);
            let policy = PrincipalPolicyRow {
                name: "p".to_owned(),
                kind: "identity".to_owned(),
                hash: [4; 32],
                text: "{}".to_owned(),
            };
            tx.put_principal_policy(ACCOUNT, "AIDA1", &policy)?;
            tx.insert_access_key("AKIAALICE", "AIDA1", ACCOUNT, &[5; 90], 3)?;
            let alice = tx.identity("AIDA1")?.unwrap();
            assert_eq!(alice.policies.len(), 1);
            assert!(alice.generation > before.generation);
            assert!(tx.set_access_key_active(ACCOUNT, "AKIAALICE", false)?);
            assert!(tx.identity("AIDA1")?.unwrap().active_keys.is_empty());
            assert!(tx.delete_access_key(ACCOUNT, "AKIAALICE")?);
            assert!(!tx.delete_access_key(ACCOUNT, "AKIAALICE")?);
            assert_eq!(tx.root_keys_of_accounts()?, [(ACCOUNT.to_owned(), "AKIAROOT".to_owned())]);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
        keys(&db).await;
    }
}

async fn keys(db: &Db) {
    db.write(|tx| {
        assert!(tx.insert_root_key(1, &[1; 16], 1)?);
        assert!(!tx.insert_root_key(1, &[2; 16], 1)?);
        assert_eq!(tx.root_keys()?.len(), 1);
        let token =
            |id| TokenKeyRow { id, wrapped_key: vec![6; 80], created_at: id, retired_at: None };
        assert!(tx.insert_token_key(&token(1))?);
        assert!(tx.insert_token_key(&token(2))?);
        let keys = tx.token_keys()?;
        assert_eq!(keys[0].retired_at, Some(2));
        assert_eq!(keys[1].retired_at, None);
        assert_eq!(tx.delete_token_keys(3)?, 1);
        for kind in [WrappedIn::Account, WrappedIn::KeyDomain, WrappedIn::TokenKey] {
            assert_eq!(tx.wrapped_keys(kind)?.len(), 1, "{kind:?}");
        }
        tx.rewrap_account(ACCOUNT, &[7; 80])?;
        tx.rewrap_key_domain(&id(7), &[7; 80])?;
        tx.rewrap_token_key(2, &[7; 80])?;
        assert_eq!(tx.wrapped_keys(WrappedIn::KeyDomain)?[0].1, vec![7; 80]);
        tx.delete_root_key(1)?;
        assert!(tx.root_keys()?.is_empty());
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_and_what_a_decision_reads() {
    for db in support::databases().await {
        seed(&db).await;
        db.write(|tx| {
            assert!(tx.insert_repository(&repository(20, "b"))?.is_some());
            assert!(tx.insert_repository(&repository(21, "a"))?.is_some());
            assert!(tx.insert_repository(&repository(22, "a"))?.is_none());
            let by_name = RepositoryBy::Name("a".to_owned());
            let row = tx.repository_access(ACCOUNT, ACCOUNT, REGION, &by_name)?.unwrap();
            assert_eq!(row.repository.unwrap().id, id(21));
            assert_eq!(row.registry.unwrap().blob_mounting, "ENABLED");
            let by_id = RepositoryBy::Id(id(20));
            let row = tx.repository_access(ACCOUNT, ACCOUNT, REGION, &by_id)?.unwrap();
            assert_eq!(row.repository.unwrap().name, "b");
            let missing = RepositoryBy::Name("c".to_owned());
            let row = tx.repository_access(ACCOUNT, ACCOUNT, REGION, &missing)?.unwrap();
            assert!(row.repository.is_none() && row.registry.is_some());
            assert!(tx.registry_access("000000000000", ACCOUNT, REGION)?.is_none());
            let elsewhere = tx.registry_access(ACCOUNT, ACCOUNT, "eu-west-1")?.unwrap();
            assert!(elsewhere.registry.is_none());
            let names = tx.repository_names(ACCOUNT, REGION, "", 10)?;
            assert_eq!(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
            let by_age = tx.repositories_by_age(ACCOUNT, REGION, Some(&id(20)), 10)?;
            assert_eq!(by_age.len(), 1);
            policies(tx)?;
            tx.set_tag_mutability(&id(20), "IMMUTABLE", "[]")?;
            tx.set_scan_on_push(&id(20), true)?;
            let row = tx.repository_by_name(ACCOUNT, REGION, "b")?.unwrap();
            assert!(row.tag_mutability == "IMMUTABLE" && row.scan_on_push);
            tx.mark_repository_deleted(&id(20), 50)?;
            assert!(tx.repository(&id(20))?.is_none());
            assert!(tx.insert_repository(&repository(23, "b"))?.is_some());
            assert_eq!(tx.deleted_repositories(10)?, [id(20)]);
            assert!(tx.collect_repository(&id(20), 60, 100)?);
            assert!(tx.deleted_repositories(10)?.is_empty());
            settings(tx)
        })
        .await
        .unwrap();
    }
}

fn policies(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    let policy =
        ResourcePolicyRow { hash: [8; 32], text: "{}".to_owned(), principals: "{}".to_owned() };
    tx.set_repository_policy(&id(21), Some(&policy))?;
    tx.set_registry_policy(ACCOUNT, REGION, Some(&policy))?;
    let tags = vec![("team".to_owned(), "red".to_owned())];
    tx.set_repository_tags(&id(21), &tags, Some(&[9; 32]))?;
    assert_eq!(tx.repository_tags(&id(21))?, tags);
    assert!(tx.repository_policy(&id(21))?.is_some());
    let by_name = RepositoryBy::Name("a".to_owned());
    let row = tx.repository_access(ACCOUNT, ACCOUNT, REGION, &by_name)?.unwrap();
    assert_eq!(row.registry.unwrap().policy_hash, Some([8; 32]));
    let repository = row.repository.unwrap();
    assert_eq!(repository.policy_hash, Some([8; 32]));
    assert_eq!(repository.tags_hash, Some([9; 32]));
    tx.set_repository_policy(&id(21), None)?;
    tx.set_registry_policy(ACCOUNT, REGION, None)?;
    tx.set_repository_tags(&id(21), &[], None)?;
    assert!(tx.repository_policy(&id(21))?.is_none());
    assert!(tx.registry_policy(ACCOUNT, REGION)?.is_none());
    Ok(())
}

fn settings(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    tx.set_account_setting(ACCOUNT, REGION, AccountSetting::BlobMounting, "DISABLED")?;
    tx.set_account_setting(ACCOUNT, REGION, AccountSetting::RegistryPolicyScope, "V1")?;
    tx.set_account_setting(ACCOUNT, REGION, AccountSetting::BasicScanTypeVersion, "CLAIR")?;
    let registry = tx.registry_access(ACCOUNT, ACCOUNT, REGION)?.unwrap().registry.unwrap();
    assert_eq!(registry.blob_mounting, "DISABLED");
    assert_eq!(registry.policy_scope, "V1");
    assert_eq!(registry.basic_scan_type, "CLAIR");
    assert!(tx.insert_pull_time_exclusion(ACCOUNT, REGION, "arn:b", 1)?);
    assert!(tx.insert_pull_time_exclusion(ACCOUNT, REGION, "arn:a", 1)?);
    assert!(!tx.insert_pull_time_exclusion(ACCOUNT, REGION, "arn:a", 1)?);
    assert_eq!(tx.count_pull_time_exclusions(ACCOUNT, REGION)?, 2);
    assert_eq!(tx.pull_time_exclusions(ACCOUNT, REGION, "", 9)?, ["arn:a", "arn:b"]);
    assert!(tx.delete_pull_time_exclusion(ACCOUNT, REGION, "arn:a")?);
    assert!(!tx.delete_pull_time_exclusion(ACCOUNT, REGION, "arn:a")?);
    tx.refresh_repository_count(ACCOUNT, REGION)?;
    let registry = tx.registry_access(ACCOUNT, ACCOUNT, REGION)?.unwrap().registry.unwrap();
    assert_eq!(registry.repository_count, 2);
    assert_eq!(tx.registries()?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_tags_and_referrers() {
    for db in support::databases().await {
        seed(&db).await;
        db.write(|tx| {
            let repository_id = id(20);
            tx.insert_repository(&repository(20, "app"))?;
            tx.insert_image(&repository_id, &image(31, 1, None))?;
            tx.insert_image(&repository_id, &image(32, 2, Some(1)))?;
            tx.insert_image(&repository_id, &image(33, 3, Some(1)))?;
            let to = TagRow { image_id: id(31), digest: digest(1) };
            tx.move_tag(&repository_id, None, &to, &change(41, "v1"))?;
            tx.move_tag(&repository_id, None, &to, &change(42, "v2"))?;
            let from = tx.tag(&repository_id, "v2")?.unwrap();
            let third = TagRow { image_id: id(33), digest: digest(3) };
            tx.move_tag(&repository_id, Some(&from), &third, &change(43, "v2"))?;
            assert!(tx.image_by_digest(&repository_id, &digest(1))?.unwrap().tagged);
            assert_eq!(tx.image_by_tag(&repository_id, "v2")?.unwrap().id, id(33));
            pulls(tx)?;
            assert_eq!(tx.image_manifest(&id(31))?.unwrap().len(), 600);
            assert_eq!(tx.tag_names(&repository_id, "", 9)?, ["v1", "v2"]);
            assert_eq!(tx.tag_names(&repository_id, "v1", 9)?, ["v2"]);
            assert!(tx.has_tags(&id(31), 1)? && !tx.has_tags(&id(31), 2)?);
            let present = tx.images_present(&repository_id, &[digest(1), digest(9), digest(3)])?;
            assert_eq!(present.len(), 2);
            lists(tx)?;
            let all = tx.referrers(&repository_id, &digest(1), None, "", 9)?;
            assert_eq!(
                all.iter().map(|row| row.digest.clone()).collect::<Vec<_>>(),
                [digest(2), digest(3)]
            );
            let kind = "application/vnd.oci.image.config.v1+json";
            assert_eq!(
                tx.referrers(&repository_id, &digest(1), Some(kind), &digest(2), 9)?.len(),
                1
            );
            assert!(tx.referrers(&repository_id, &digest(1), Some("other"), "", 9)?.is_empty());
            assert_eq!(tx.parents(&repository_id, &digest(201))?.len(), 3);
            tx.delete_tag(&repository_id, &to, &change(44, "v1"))?;
            assert!(!tx.image_by_digest(&repository_id, &digest(1))?.unwrap().tagged);
            history(tx)?;
            tx.delete_image(&repository_id, &id(31), 70)?;
            assert!(tx.image_by_digest(&repository_id, &digest(1))?.is_none());
            assert!(tx.has_images(&repository_id)?);
            tx.refresh_image_count(&repository_id)?;
            assert_eq!(tx.repository(&repository_id)?.unwrap().image_count, 2);
            tx.mark_repository_deleted(&repository_id, 80)?;
            while !tx.collect_repository(&repository_id, 90, 1)? {}
            assert!(!tx.has_images(&repository_id)?);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    }
}

fn pulls(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    let repository_id = id(20);
    assert!(tx.insert_pull_time_exclusion(ACCOUNT, REGION, "arn:a", 1)?);
    assert!(tx.is_pull_time_excluded(ACCOUNT, REGION, "arn:a")?);
    assert!(!tx.is_pull_time_excluded(ACCOUNT, REGION, "arn:b")?);
    for by in [ImageBy::Tag("v2".to_owned()), ImageBy::Digest(digest(3))] {
        let pull = |tx: &mut bonded_db::Tx<'_>, name: &str, by: &ImageBy| {
            tx.pull_access(ACCOUNT, ACCOUNT, REGION, name, by).map(Option::unwrap)
        };
        let (access, found) = pull(tx, "app", &by)?;
        let found = found.unwrap();
        assert_eq!(access.repository.unwrap().id, repository_id);
        assert_eq!((found.image.id, found.image.digest), (id(33), digest(3)));
        assert!(found.has_exclusions);
        let (access, found) = pull(tx, "other", &by)?;
        assert!(access.repository.is_none() && found.is_none());
        let (access, found) = pull(tx, "app", &ImageBy::Tag("none".to_owned()))?;
        assert!(access.repository.is_some() && found.is_none());
        assert!(tx.pull_access("none", ACCOUNT, REGION, "app", &by)?.is_none());
    }
    Ok(())
}

fn history(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    let changes = |tx: &mut bonded_db::Tx<'_>| {
        tx.query_opt("SELECT COUNT(*) FROM tag_change", &[], |row| row.get::<i64>(0))
    };
    let kept = changes(tx)?.unwrap();
    assert_eq!(tx.expire_tag_changes(0, 9)?, 0);
    assert_eq!(tx.expire_tag_changes(1_000_000, 1)?, 1);
    assert_eq!(changes(tx)?, Some(kept - 1));
    Ok(())
}

fn lists(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    let repository_id = id(20);
    let filter = |tagged| ImageFilter { status: "ACTIVE".to_owned(), tagged };
    let ids = |rows: Vec<ImageRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(tx.images(&repository_id, &filter(None), &id(31), 9)?), [id(32), id(33)]);
    assert_eq!(ids(tx.images(&repository_id, &filter(Some(false)), &Uuid::nil(), 9)?), [id(32)]);
    let mut place = ImageTagPlace { image_id: Uuid::nil(), tag: String::new() };
    let mut seen = Vec::new();
    while let Some(row) = tx.image_tags(&repository_id, &filter(None), &place, 1)?.pop() {
        place = ImageTagPlace { image_id: row.image_id, tag: row.tag.clone().unwrap_or_default() };
        seen.push(row.tag);
    }
    assert_eq!(seen, [Some("v1".to_owned()), None, Some("v2".to_owned())]);
    let tags = tx.tags_of_images(&[id(31), id(32), id(33)])?;
    assert_eq!(tags, [(id(31), "v1".to_owned()), (id(33), "v2".to_owned())]);
    tx.put_image_pull(&id(31), 100)?;
    tx.put_image_pull(&id(31), 90)?;
    tx.put_image_pull(&id(99), 90)?;
    assert_eq!(tx.pulls_of_images(&[id(31), id(99)])?, [(id(31), 100)]);
    assert_eq!(tx.images_to_check(&Uuid::nil(), 2)?.len(), 2);
    assert_eq!(tx.totals()?.images, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_leases_jobs_and_removals() {
    for db in support::databases().await {
        db.write(|tx| {
            let record = AuditRecordRow {
                id: id(50),
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
                time: 5,
                record: "{}".to_owned(),
                keys: vec![("EventName", "PutImage".to_owned())],
            };
            let event = EventRow {
                id: id(51),
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
                time: 5,
                body: "{}".to_owned(),
            };
            tx.note(&Note { records: vec![record], events: vec![event] })?;
            tx.insert_audit_block(&AuditBlockRow {
                id: id(52),
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
                first_time: 5,
                last_time: 6,
                records: 2,
                bytes: vec![1],
                keys: vec![("ReadOnly", "true".to_owned())],
            })?;
            assert_eq!(tx.audit_records(ACCOUNT, REGION, 5, 9)?.len(), 1);
            assert_eq!(tx.audit_blocks(ACCOUNT, REGION, 6, 9)?.len(), 1);
            assert_eq!(tx.events(ACCOUNT, REGION)?.len(), 1);
            assert!(tx.take_lease("backup:1", "a", 10, 20)?);
            assert!(!tx.take_lease("backup:1", "b", 15, 25)?);
            assert!(tx.take_lease("backup:1", "a", 15, 25)?);
            assert!(tx.has_lease_of(&["backup"], 16)?);
            assert!(!tx.has_lease_of(&["check"], 16)? && !tx.has_lease_of(&["backup"], 26)?);
            tx.release_lease("backup:1", "a")?;
            assert!(tx.take_lease("backup:1", "b", 16, 25)?);
            tx.insert_job(&id(60), ("sweep", ""), "{}", 5, 5)?;
            tx.insert_job(&id(61), ("sweep", ""), "{}", 5, 5)?;
            let job = tx.take_job("sweep", 6, 100)?.unwrap();
            assert_eq!((job.id, job.attempts), (id(60), 1));
            assert!(tx.take_job("sweep", 6, 100)?.is_none());
            tx.repeat_job(&job.id, 200)?;
            assert!(tx.take_job("sweep", 150, 300)?.is_none());
            assert!(tx.take_job("sweep", 201, 300)?.is_some());
            assert!(tx.expire_records(1_000, 100)? > 0);
            assert!(tx.events(ACCOUNT, REGION)?.is_empty());
            assert!(tx.audit_records(ACCOUNT, REGION, 5, 9)?.is_empty());
            assert!(tx.audit_blocks(ACCOUNT, REGION, 6, 9)?.is_empty());
            assert_eq!(tx.expire_records(1_000, 100)?, 0);
            removals(tx)
        })
        .await
        .unwrap();
    }
}

fn removals(tx: &mut bonded_db::Tx<'_>) -> Result<(), Error> {
    tx.insert_removal(&[1; 16], REGION, 10)?;
    tx.insert_removal(&[2; 16], REGION, 30)?;
    tx.insert_removal(&[2; 16], REGION, 40)?;
    assert!(tx.is_object_named(&[1; 16])? && !tx.is_object_named(&[9; 16])?);
    let taken = tx.take_removals(20, 25, 9)?;
    assert_eq!(taken.len(), 1);
    assert!(tx.take_removals(20, 25, 9)?.is_empty());
    assert_eq!(tx.take_removals(26, 99, 9)?.len(), 1);
    tx.delete_removals(&[[1; 16]])?;
    assert_eq!(tx.count_removals()?, 1);
    assert!(tx.unused_memberships(99, 9)?.is_empty());
    let unused = UnusedMembership { repository_id: id(1), digest: digest(1) };
    tx.collect_membership(&unused, 99, 99)?;
    assert!(tx.unused_blobs(99, 9)?.is_empty());
    assert_eq!(tx.discard_idle_uploads(99, 9)?, 0);
    assert!(tx.discarded_uploads(9)?.is_empty());
    assert!(tx.collect_upload(&id(1), REGION, 99, 9)?);
    assert!(tx.collect_blob(&id(1), REGION, 99, 99, 9)?);
    assert!(tx.sweep_memberships(&(Uuid::nil(), String::new()), 99, 9)?.is_none());
    assert!(tx.sweep_blobs(&Uuid::nil(), 99, 9)?.is_none());
    assert!(tx.blobs_to_check(&Uuid::nil(), 9)?.is_empty());
    assert!(tx.memberships_without_blob(9)?.is_empty());
    assert!(tx.segment_objects(REGION, &[], 9)?.is_empty());
    assert!(tx.orphan_segments(9)?.is_empty());
    assert_eq!(tx.totals()?.bytes, 0);
    Ok(())
}
