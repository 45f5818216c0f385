//! ECR's events, as EventBridge carries them.

use bonded_account::audit::seconds;
use bonded_account::clock::new_id;
use bonded_db::EventRow;
use bonded_iam::AccountId;
use serde_json::{Map, Value, json};

/// `ECR Image Action`, or `ECR Referrer Action` for an image that has a subject.
#[derive(Clone, Debug)]
pub struct ImageEvent {
    /// The account that owns the repository.
    pub account: AccountId,
    pub action: ImageAction,
    pub repository_name: String,
    pub image_digest: String,
    pub image_tag: Option<String>,
    pub manifest_media_type: Option<String>,
    pub artifact_media_type: Option<String>,
    pub is_referrer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageAction {
    Push,
    Delete,
}

impl ImageEvent {
    /// The row of this event, with an id of its own.
    pub fn to_row(&self, now: i64, region: &str) -> EventRow {
        let id = new_id(now);
        let action = match self.action {
            ImageAction::Push => "PUSH",
            ImageAction::Delete => "DELETE",
        };
        let mut detail = Map::new();
        let mut put = |name: &str, value: &str| detail.insert(name.to_owned(), json!(value));
        put("result", "SUCCESS");
        put("repository-name", &self.repository_name);
        put("image-digest", &self.image_digest);
        put("action-type", action);
        let optional = [
            ("image-tag", &self.image_tag),
            ("manifest-media-type", &self.manifest_media_type),
            ("artifact-media-type", &self.artifact_media_type),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                put(name, value);
            }
        }
        let kind = if self.is_referrer { "ECR Referrer Action" } else { "ECR Image Action" };
        let account = self.account.to_string();
        let body = json!({
            "version": "0",
            "id": id,
            "detail-type": kind,
            "source": "aws.ecr",
            "account": account,
            "time": seconds(now),
            "region": region,
            "resources": [],
            "detail": Value::Object(detail),
        });
        EventRow { id, account, region: region.to_owned(), time: now, body: body.to_string() }
    }
}
