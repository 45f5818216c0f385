"""Policy documents for the tests."""

import json


def statement(effect, principal, actions, resource=None, condition=None, sid=None):
    """A statement of a resource policy."""
    made = {"Sid": sid} if sid else {}
    made.update({"Effect": effect, "Principal": principal, "Action": actions})
    if resource:
        made["Resource"] = resource
    if condition:
        made["Condition"] = condition
    return made


def policy(*statements):
    """The text of a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(account, *actions, **more):
    """The text of a policy that lets an account do something."""
    return policy(
        statement("Allow", {"AWS": f"arn:aws:iam::{account}:root"}, list(actions), **more)
    )


def deny(account, *actions, **more):
    """The text of a policy that keeps an account from something."""
    return policy(statement("Deny", {"AWS": f"arn:aws:iam::{account}:root"}, list(actions), **more))


PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
PUSH = (
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:BatchCheckLayerAvailability",
    "ecr:PutImage",
)


def not_allowed(account, action, arn):
    """The sentence for a caller of another account whom no policy of the resource allows."""
    return (
        f"User: arn:aws:iam::{account}:root is not authorized to perform: {action} on resource: {arn} "
        f"because no resource-based policy allows the {action} action"
    )


def denied(account, action, arn):
    """The sentence for a caller whom a policy of the resource denies it."""
    return (
        f"User: arn:aws:iam::{account}:root is not authorized to perform: {action} on resource: {arn} "
        "with an explicit deny in a resource-based policy"
    )
