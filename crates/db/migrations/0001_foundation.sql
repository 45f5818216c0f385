-- Times are BIGINT microseconds since 1970, booleans SMALLINT 0/1, ids 16-byte UUIDv7 unless said otherwise.
--
-- account ─┬─ principal ─┬─ access_key
--          │             └─ principal_policy
--          └─ registry ─┬─ registry_policy, pull_time_exclusion
--                       ├─ key_domain ── blob ── segment
--                       └─ repository ─┬─ repository_policy, repository_tag
--                                      ├─ image ─┬─ image_manifest, image_pull
--                                      │         ├─ image_blob, image_child, referrer
--                                      │         └─ tag, tag_change
--                                      ├─ membership ── blob
--                                      └─ upload ── segment
-- object_removal: objects that must go.  audit_record, audit_block, audit_key, event: what happened.  job, lease: who works.
-- root_key, token_key: which keys open what.

CREATE TABLE root_key (
    id BIGINT PRIMARY KEY,              -- 1..255, the key id byte of what it seals
    check_value {{blob}} NOT NULL,      -- tells whether a file holds this key
    created_at BIGINT NOT NULL
);

CREATE TABLE token_key (
    id BIGINT PRIMARY KEY,              -- 1..255, the key id byte of tokens, links and page tokens
    wrapped_key {{blob}} NOT NULL,      -- sealed under a root key
    created_at BIGINT NOT NULL,
    retired_at BIGINT                   -- opens for 37 hours more
);

CREATE TABLE account (
    id {{text}} PRIMARY KEY,            -- twelve digits
    name {{text}} NOT NULL,
    generation BIGINT NOT NULL,         -- raised by every change of users, roles, policies, keys
    wrapped_key {{blob}} NOT NULL,      -- the account's data key, sealed under a root key
    created_at BIGINT NOT NULL
);

CREATE TABLE principal (
    id {{text}} PRIMARY KEY,            -- the account id for root, AIDA… for users, AROA… for roles
    account {{text}} NOT NULL,
    kind {{text}} NOT NULL,             -- root, user, role
    path {{text}} NOT NULL,
    name {{text}} NOT NULL,             -- lower-cased in name_key: names are unique whatever their case
    name_key {{text}} NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX principal_name ON principal (account, kind, name_key);

CREATE TABLE principal_policy (
    principal_id {{text}} NOT NULL,
    name {{text}} NOT NULL,
    kind {{text}} NOT NULL,             -- identity, boundary
    hash {{blob}} NOT NULL,             -- SHA-256 over text and resolved ids
    text {{text}} NOT NULL,
    PRIMARY KEY (principal_id, kind, name)
);

CREATE TABLE access_key (
    id {{text}} PRIMARY KEY,            -- AKIA…
    principal_id {{text}} NOT NULL,
    account {{text}} NOT NULL,
    secret {{blob}} NOT NULL,           -- sealed under the account's data key
    active SMALLINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_key_principal ON access_key (principal_id);

CREATE TABLE registry (
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    policy_hash {{blob}},
    policy_scope {{text}} NOT NULL,         -- V1, V2
    blob_mounting {{text}} NOT NULL,        -- ENABLED, DISABLED
    basic_scan_type {{text}} NOT NULL,      -- AWS_NATIVE, CLAIR
    repository_count BIGINT NOT NULL,       -- refreshed hourly
    PRIMARY KEY (account, region)
);

CREATE TABLE registry_policy (
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    hash {{blob}} NOT NULL,
    text {{text}} NOT NULL,
    principals {{text}} NOT NULL,           -- JSON object: ARN in the text → unique id it meant when it was saved
    PRIMARY KEY (account, region)
);

CREATE TABLE pull_time_exclusion (
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    principal_arn {{text}} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, principal_arn)
);

CREATE TABLE key_domain (
    id {{blob}} PRIMARY KEY,
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    key_name {{text}} NOT NULL,             -- empty: the registry's own key (AES256)
    kind {{text}} NOT NULL,                 -- AES256, KMS, KMS_DSSE
    enabled SMALLINT NOT NULL,
    wrapped_key {{blob}} NOT NULL,          -- the domain's data key, sealed under a root key
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX key_domain_key ON key_domain (account, region, kind, key_name);

CREATE TABLE repository (
    id {{blob}} PRIMARY KEY,
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    name {{text}} NOT NULL,
    key_domain {{blob}} NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    tag_mutability {{text}} NOT NULL,
    exclusion_filters {{text}} NOT NULL,    -- JSON array of filter values
    scan_on_push SMALLINT NOT NULL,
    policy_hash {{blob}},
    tags_hash {{blob}},
    image_count BIGINT NOT NULL             -- refreshed hourly
);
CREATE UNIQUE INDEX repository_name ON repository (account, region, name) WHERE deleted_at IS NULL;
CREATE INDEX repository_order ON repository (account, region, id) WHERE deleted_at IS NULL;
CREATE INDEX repository_deleted ON repository (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE repository_policy (
    repository_id {{blob}} PRIMARY KEY,
    hash {{blob}} NOT NULL,
    text {{text}} NOT NULL,
    principals {{text}} NOT NULL
);

CREATE TABLE repository_tag (
    repository_id {{blob}} NOT NULL,
    tag_key {{text}} NOT NULL,
    tag_value {{text}} NOT NULL,
    PRIMARY KEY (repository_id, tag_key)
);

CREATE TABLE image (
    id {{blob}} PRIMARY KEY,                -- push order
    repository_id {{blob}} NOT NULL,
    digest {{text}} NOT NULL,
    tagged SMALLINT NOT NULL,               -- changed only when the first tag comes or the last goes
    status {{text}} NOT NULL,               -- ACTIVE
    media_kind {{text}} NOT NULL,           -- image, index
    media_type {{text}} NOT NULL,
    artifact_type {{text}},                 -- artifactMediaType: artifactType, else the config's media type
    manifest_size BIGINT NOT NULL,
    image_size BIGINT NOT NULL,             -- imageSizeInBytes
    subject_digest {{text}},
    depth BIGINT NOT NULL,                  -- 0 for an image; an index is one above its deepest child
    pushed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX image_digest ON image (repository_id, digest);
CREATE INDEX image_order ON image (repository_id, status, id);
CREATE INDEX image_tagged ON image (repository_id, status, tagged, id);

CREATE TABLE image_manifest (
    image_id {{blob}} PRIMARY KEY,
    bytes {{blob}} NOT NULL                 -- sealed under the domain's data key
);

CREATE TABLE image_pull (
    image_id {{blob}} PRIMARY KEY,
    pulled_at BIGINT NOT NULL
);

CREATE TABLE tag (
    repository_id {{blob}} NOT NULL,
    name {{text}} NOT NULL,
    image_id {{blob}} NOT NULL,
    moved_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
);
CREATE UNIQUE INDEX tag_image ON tag (image_id, name);

CREATE TABLE tag_change (
    id {{blob}} PRIMARY KEY,
    repository_id {{blob}} NOT NULL,
    tag {{text}} NOT NULL,
    from_digest {{text}},
    to_digest {{text}},
    principal_id {{text}} NOT NULL,
    time BIGINT NOT NULL,
    request_id {{text}} NOT NULL
);
CREATE INDEX tag_change_tag ON tag_change (repository_id, tag, id);

CREATE TABLE image_blob (
    repository_id {{blob}} NOT NULL,
    digest {{text}} NOT NULL,
    image_id {{blob}} NOT NULL,
    media_type {{text}} NOT NULL,
    PRIMARY KEY (repository_id, digest, image_id)
);
CREATE INDEX image_blob_image ON image_blob (image_id);

CREATE TABLE image_child (
    repository_id {{blob}} NOT NULL,
    child_digest {{text}} NOT NULL,
    parent_id {{blob}} NOT NULL,
    PRIMARY KEY (repository_id, child_digest, parent_id)
);
CREATE INDEX image_child_parent ON image_child (parent_id);

CREATE TABLE referrer (
    repository_id {{blob}} NOT NULL,
    subject_digest {{text}} NOT NULL,
    digest {{text}} NOT NULL,               -- the referrer's own
    image_id {{blob}} NOT NULL,
    media_type {{text}} NOT NULL,
    artifact_type {{text}},
    manifest_size BIGINT NOT NULL,
    annotations {{blob}} NOT NULL,          -- JSON object, sealed under the domain's data key
    PRIMARY KEY (repository_id, subject_digest, digest)
);
CREATE INDEX referrer_image ON referrer (image_id);
CREATE INDEX referrer_type ON referrer (repository_id, subject_digest, artifact_type, digest);

CREATE TABLE blob (
    id {{blob}} PRIMARY KEY,
    key_domain {{blob}} NOT NULL,
    digest {{text}} NOT NULL,
    size BIGINT NOT NULL,
    wrapped_key {{blob}} NOT NULL,          -- sealed under the domain's data key, for the row id in key_owner
    key_owner {{blob}} NOT NULL,            -- the upload whose id the wrapped key was sealed for
    damaged SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    unused_since BIGINT                     -- set while no membership points to it
);
CREATE UNIQUE INDEX blob_digest ON blob (key_domain, digest);
CREATE INDEX blob_unused ON blob (unused_since) WHERE unused_since IS NOT NULL;

CREATE TABLE segment (
    blob_id {{blob}} NOT NULL,              -- of a blob, or of the upload that will become it
    number BIGINT NOT NULL,
    object {{blob}} NOT NULL,               -- ObjectName, 16 bytes
    plain_offset BIGINT NOT NULL,
    plain_size BIGINT NOT NULL,
    PRIMARY KEY (blob_id, number)
);
CREATE UNIQUE INDEX segment_object ON segment (object);

-- Instead of an object, for a small first segment. A table of its own: a row of it is as large as
-- a thousand of the other.
CREATE TABLE segment_bytes (
    object {{blob}} PRIMARY KEY,            -- of the segment
    bytes {{blob}} NOT NULL                 -- what the object would hold
);

CREATE TABLE membership (
    repository_id {{blob}} NOT NULL,
    digest {{text}} NOT NULL,
    blob_id {{blob}} NOT NULL,
    created_at BIGINT NOT NULL,
    unused_since BIGINT,                    -- set while no manifest of the repository uses it
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX membership_blob ON membership (blob_id, created_at);
CREATE INDEX membership_unused ON membership (unused_since) WHERE unused_since IS NOT NULL;

CREATE TABLE upload (
    id {{blob}} PRIMARY KEY,                -- UUIDv4 (clients see it); the id its blob will have
    repository_id {{blob}} NOT NULL,
    principal_id {{text}} NOT NULL,
    key_domain {{blob}} NOT NULL,
    algorithm {{text}} NOT NULL,            -- sha256, sha512
    wrapped_key {{blob}} NOT NULL,          -- sealed under the domain's data key
    size BIGINT NOT NULL,                   -- acknowledged bytes
    version BIGINT NOT NULL,                -- raised by every acknowledgement
    segments BIGINT NOT NULL,               -- how many; the limit is 10,000
    hash_state {{blob}} NOT NULL,           -- sealed; at `size`
    last_start BIGINT NOT NULL,             -- where the last part began
    last_hash_state {{blob}},               -- sealed; at last_start
    parts BIGINT NOT NULL,                  -- parts that came by UploadLayerPart
    short_part SMALLINT NOT NULL,           -- a part before the last was under 5 MiB
    last_part_size BIGINT NOT NULL,         -- of the last API part
    state {{text}} NOT NULL,                -- open; discarded: a job moves its segments to object_removal
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL
);
CREATE INDEX upload_principal ON upload (principal_id, state, touched_at);
CREATE INDEX upload_idle ON upload (state, touched_at);
CREATE INDEX upload_repository ON upload (repository_id);

CREATE TABLE object_removal (
    name {{blob}} PRIMARY KEY,              -- ObjectName, 16 bytes
    region {{text}} NOT NULL,               -- whose store holds it
    due BIGINT NOT NULL,
    taken SMALLINT NOT NULL
);
CREATE INDEX object_removal_due ON object_removal (due);

CREATE TABLE audit_record (
    id {{blob}} PRIMARY KEY,                -- the event id
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    time BIGINT NOT NULL,
    record {{text}} NOT NULL                -- compact JSON
);
CREATE INDEX audit_record_time ON audit_record (account, region, time, id);

CREATE TABLE audit_block (
    id {{blob}} PRIMARY KEY,                -- record n of it has this id with n in the last bits
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    first_time BIGINT NOT NULL,
    last_time BIGINT NOT NULL,
    records BIGINT NOT NULL,
    bytes {{blob}} NOT NULL                 -- zstd of a JSON array of compact records
);
CREATE INDEX audit_block_time ON audit_block (account, region, last_time, id);

CREATE TABLE audit_key (
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    attribute {{text}} NOT NULL,            -- EventName, ReadOnly, Username, ResourceType, ResourceName, EventSource, AccessKeyId
    value {{text}} NOT NULL,
    time BIGINT NOT NULL,
    record_id {{blob}} NOT NULL,            -- of an audit_record or an audit_block
    PRIMARY KEY (account, region, attribute, value, time, record_id)
);
CREATE INDEX audit_key_time ON audit_key (time);

CREATE TABLE event (
    id {{blob}} PRIMARY KEY,
    account {{text}} NOT NULL,
    region {{text}} NOT NULL,
    time BIGINT NOT NULL,
    body {{text}} NOT NULL,                 -- the EventBridge envelope
    claimed_until BIGINT NOT NULL,          -- a reader's mark; 0: nobody has it
    done SMALLINT NOT NULL
);
CREATE INDEX event_open ON event (done, claimed_until);
CREATE INDEX event_time ON event (time);

CREATE TABLE job (
    id {{blob}} PRIMARY KEY,
    kind {{text}} NOT NULL,                 -- the name of the file in registry/src/jobs
    key {{text}} NOT NULL,                  -- makes it idempotent: one living job of a kind and key
    input {{text}} NOT NULL,                -- JSON
    due BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    state {{text}} NOT NULL,                -- waiting, done, failed
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE UNIQUE INDEX job_key ON job (kind, key) WHERE state = 'waiting';
CREATE INDEX job_due ON job (state, due);
CREATE INDEX job_ended ON job (ended_at) WHERE state <> 'waiting';

CREATE TABLE lease (
    name {{text}} PRIMARY KEY,              -- migrate, backup:ID, check:ID, sweep …
    holder {{text}} NOT NULL,
    lease_until BIGINT NOT NULL
);
