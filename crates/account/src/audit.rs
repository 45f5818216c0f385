//! The audit record: who did what, when, from where, and how it ended.
//!
//! Kept compact, and made into CloudTrail's JSON when it is looked up. The record of a change is
//! a row of the change's transaction; records of reads and of refusals are collected in
//! [`queue::AuditQueue`] and written as blocks.
//!
//! **Invariant:** no record holds a secret. Parameters come in without the bytes of layers and
//! with credentials blanked.

pub mod queue;

use bonded_db::AuditRecordRow;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::new_id;
use crate::request::{Origin, Request};

/// Parameters and responses longer than this many bytes are left out of a record.
pub const LONGEST_PARAMETERS: usize = 100 * 1024;
/// Error messages and user agents are cut at this many bytes.
const LONGEST_TEXT: usize = 1024;

/// What a request was, as its record tells it.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The API operation; for registry traffic the one it stands for.
    pub name: &'static str,
    /// `ecr.amazonaws.com` and the like.
    pub source: &'static str,
    pub read_only: bool,
    /// `requestParameters`: JSON in lowerCamelCase.
    pub parameters: Option<Box<RawValue>>,
    /// ARNs with the account that owns each.
    pub resources: Vec<Resource>,
    /// Ours: `additionalEventData`.
    pub additional: Map<String, Value>,
}

/// A resource that a request was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub arn: String,
    pub account: String,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// With `responseElements`, for writes.
    Done(Option<&'a Value>),
    /// With the wire code and the message that the client was told.
    Failed { code: &'a str, message: &'a str },
}

/// A record as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Microseconds since 1970, when the request completed.
    #[serde(rename = "t")]
    pub time: i64,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "s")]
    pub source: String,
    #[serde(rename = "q")]
    pub request_id: String,
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    #[serde(rename = "w")]
    pub who: Who,
    #[serde(rename = "a")]
    pub address: String,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Box<RawValue>>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<(String, String)>,
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    #[serde(rename = "d", default, skip_serializing_if = "Map::is_empty")]
    pub additional: Map<String, Value>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<(String, String, String)>,
    /// The same in the caller's and the owner's copy of an action across accounts.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Uuid>,
}

/// `userIdentity`, compact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// `Root`, `IAMUser`, `AssumedRole`, `AWSAccount`, `AWSService`.
    #[serde(rename = "k")]
    pub kind: String,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub invoked_by: Option<String>,
}

/// A record and the account and region whose log it belongs to.
#[derive(Clone, Debug)]
pub struct Placed {
    pub account: String,
    pub region: String,
    pub record: Record,
}

/// The records of a request: one for the caller's account and, if the resource is another
/// account's, a copy for its owner, who does not see more of the caller than the account.
pub fn records(request: &Request, event: &Event, outcome: &Outcome<'_>) -> Vec<Placed> {
    let caller = &request.caller.account;
    let owner = event.resources.first().map(|resource| &resource.account);
    let owner = owner.filter(|owner| *owner != caller);
    let mut own = record(request, event, outcome);
    let mut placed = Vec::with_capacity(2);
    if let Some(owner) = owner {
        let shared = Some(new_id(request.services.clock.now()));
        own.shared = shared;
        let who = Who {
            kind: "AWSAccount".to_owned(),
            principal_id: Some(request.caller.principal_id.clone()),
            account: Some(caller.clone()),
            ..Who::default()
        };
        let record = Record { who, ..own.clone() };
        placed.push(Placed { account: owner.clone(), region: request.region.clone(), record });
    }
    placed.push(Placed { account: caller.clone(), region: request.region.clone(), record: own });
    placed
}

fn record(request: &Request, event: &Event, outcome: &Outcome<'_>) -> Record {
    let Origin { address, user_agent, tls, .. } = &request.origin;
    let (response, error) = match outcome {
        Outcome::Done(response) => (response.filter(|_| !event.read_only).cloned(), None),
        Outcome::Failed { code, message } => {
            (None, Some(((*code).to_owned(), cut(message).to_owned())))
        }
    };
    Record {
        time: request.services.clock.now(),
        name: event.name.to_owned(),
        source: event.source.to_owned(),
        request_id: request.id.to_string(),
        read_only: event.read_only,
        who: request.who(),
        address: address.to_string(),
        user_agent: user_agent.as_deref().map(|agent| cut(agent).to_owned()),
        parameters: event.parameters.clone().filter(|it| it.get().len() <= LONGEST_PARAMETERS),
        response,
        error,
        resources: event.resources.clone(),
        additional: event.additional.clone(),
        tls: tls.clone(),
        shared: None,
    }
}

impl Placed {
    /// The row of a record that is written on its own. Nearly all of these are of writes, so a key
    /// for `ReadOnly` would say nothing and cost every write a page.
    pub fn into_row(self, id: Uuid) -> AuditRecordRow {
        let keys = self.record.keys().into_iter().filter(|(attribute, _)| *attribute != "ReadOnly");
        AuditRecordRow {
            id,
            account: self.account,
            region: self.region,
            time: self.record.time,
            keys: owned(keys),
            record: serde_json::to_string(&self.record).expect("a record is plain JSON"),
        }
    }
}

/// Keys as rows keep them.
fn owned<'a>(
    keys: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Vec<(&'static str, String)> {
    keys.into_iter().map(|(attribute, value)| (attribute, value.to_owned())).collect()
}

impl Record {
    /// What `LookupEvents` can ask for. (An event id is looked up by the row's id.)
    pub fn keys(&self) -> Vec<(&'static str, &str)> {
        let mut keys = Vec::with_capacity(7);
        keys.push(("EventName", self.name.as_str()));
        keys.push(("EventSource", self.source.as_str()));
        keys.push(("ReadOnly", if self.read_only { "true" } else { "false" }));
        let name = match self.who.kind.as_str() {
            "Root" => Some("root"),
            _ => self.who.user_name.as_deref(),
        };
        keys.extend(name.map(|name| ("Username", name)));
        keys.extend(self.who.access_key_id.as_deref().map(|id| ("AccessKeyId", id)));
        for resource in &self.resources {
            keys.push(("ResourceName", resource.arn.as_str()));
            keys.extend(resource_type(&resource.arn).map(|kind| ("ResourceType", kind)));
        }
        keys
    }

    /// The record as CloudTrail writes it, version 1.11.
    pub fn to_cloudtrail(&self, event_id: &Uuid, account: &str, region: &str) -> Value {
        let mut out = json!({
            "eventVersion": "1.11",
            "userIdentity": self.who.to_cloudtrail(account),
            "eventTime": seconds(self.time),
            "eventSource": self.source,
            "eventName": self.name,
            "awsRegion": region,
            "sourceIPAddress": self.address,
            "userAgent": self.user_agent.as_deref().unwrap_or("-"),
        });
        let Value::Object(members) = &mut out else { return out };
        if let Some((code, message)) = &self.error {
            members.insert("errorCode".to_owned(), json!(code));
            members.insert("errorMessage".to_owned(), json!(message));
        }
        let parameters =
            self.parameters.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        members.insert("requestParameters".to_owned(), parameters.unwrap_or(Value::Null));
        members.insert("responseElements".to_owned(), self.response.clone().unwrap_or(Value::Null));
        if !self.additional.is_empty() {
            members
                .insert("additionalEventData".to_owned(), Value::Object(self.additional.clone()));
        }
        members.insert("requestID".to_owned(), json!(self.request_id));
        members.insert("eventID".to_owned(), json!(event_id));
        members.insert("readOnly".to_owned(), json!(self.read_only));
        if !self.resources.is_empty() {
            let resources: Vec<_> = self.resources.iter().map(Resource::to_cloudtrail).collect();
            members.insert("resources".to_owned(), json!(resources));
        }
        members.insert("eventType".to_owned(), json!("AwsApiCall"));
        members.insert("managementEvent".to_owned(), json!(true));
        members.insert("recipientAccountId".to_owned(), json!(account));
        if let Some(shared) = &self.shared {
            members.insert("sharedEventID".to_owned(), json!(shared));
        }
        members.insert("eventCategory".to_owned(), json!("Management"));
        if let Some((version, suite, host)) = &self.tls {
            let details = json!({ "tlsVersion": version, "cipherSuite": suite, "clientProvidedHostHeader": host });
            members.insert("tlsDetails".to_owned(), details);
        }
        out
    }
}

impl Resource {
    fn to_cloudtrail(&self) -> Value {
        let mut out = json!({ "ARN": self.arn, "accountId": self.account });
        if let (Value::Object(members), Some(kind)) = (&mut out, resource_type(&self.arn)) {
            members.insert("type".to_owned(), json!(kind));
        }
        out
    }
}

impl Who {
    fn to_cloudtrail(&self, _account: &str) -> Value {
        let mut members = Map::new();
        members.insert("type".to_owned(), json!(self.kind));
        let optional = [
            ("principalId", &self.principal_id),
            ("arn", &self.arn),
            ("accountId", &self.account),
            ("accessKeyId", &self.access_key_id),
            ("userName", &self.user_name),
            ("invokedBy", &self.invoked_by),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                members.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(members)
    }
}

fn resource_type(arn: &str) -> Option<&'static str> {
    let mut parts = arn.splitn(6, ':');
    let service = parts.nth(2)?;
    let resource = parts.nth(2)?;
    (service == "ecr" && resource.starts_with("repository/")).then_some("AWS::ECR::Repository")
}

/// `2026-03-04T08:30:00Z`
pub fn seconds(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or(text)
}
