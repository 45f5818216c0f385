//! Repositories of the API.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::harness::{ACCOUNT, Harness};

#[tokio::test]
async fn a_repository_is_made_described_and_deleted() {
    let harness = Harness::new().await;
    let (status, made) =
        harness.ecr("CreateRepository", json!({ "repositoryName": "team/app" })).await;
    assert_eq!(status, 200);
    assert_json_snapshot!(made, @r#"
    {
      "repository": {
        "repositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/team/app",
        "registryId": "123456789012",
        "repositoryName": "team/app",
        "repositoryUri": "localhost:5000/team/app",
        "createdAt": 1772612130.25,
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {
          "scanOnPush": false
        },
        "encryptionConfiguration": {
          "encryptionType": "AES256"
        }
      }
    }
    "#);
    let (_, found) =
        harness.ecr("DescribeRepositories", json!({ "repositoryNames": ["team/app"] })).await;
    assert_eq!(found["repositories"][0], made["repository"]);
    let (status, _) =
        harness.ecr("DeleteRepository", json!({ "repositoryName": "team/app" })).await;
    assert_eq!(status, 200);
    let (_, gone) =
        harness.ecr("DescribeRepositories", json!({ "repositoryNames": ["team/app"] })).await;
    assert_eq!(gone["__type"], "RepositoryNotFoundException");
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let harness = Harness::with_repository("app").await;
    let answer = harness.ecr("CreateRepository", json!({ "repositoryName": "app" })).await;
    assert_json_snapshot!(answer, @r#"
    [
      400,
      {
        "__type": "RepositoryAlreadyExistsException",
        "message": "The repository with name 'app' already exists in the registry with id '123456789012'"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_write_has_one_record() {
    let harness = Harness::with_repository("app").await;
    let records = harness.records_of("CreateRepository").await;
    assert_eq!(records.len(), 1);
    assert!(!records[0].read_only);
    assert_eq!(records[0].resources[0].arn, "arn:aws:ecr:us-east-1:123456789012:repository/app");
    assert_eq!(records[0].resources[0].account, ACCOUNT);
}
