"""The audit: who changed what."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class AuditOut(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "0199c5a2-7b1e-7c3d-8f00-3b6f2a9d1c55",
                    "at": "2026-01-31T09:30:00Z",
                    "actor": "key:0199c59f-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
                    "actor_name": "deploy",
                    "address": "203.0.113.7",
                    "action": "webhook.edit",
                    "resource": "123e4567-e89b-12d3-a456-426614174000",
                    "changes": {"url": ["https://old.example/", "https://new.example/"], "secrets": "changed"},
                }
            ]
        },
    )

    id: str
    at: datetime
    actor: str = Field(description="`key:ID`, `token:SUBJECT` or `person:SUBJECT`")
    actor_name: str
    address: str = Field(description="Where the request came from")
    action: str = Field(description="Like `webhook.edit`, `delivery.resend` or `access.refused`")
    resource: str = Field(description="The id or the name of what was changed; of a refusal, the call")
    changes: dict[str, JsonValue] = Field(
        description="Each changed field as `[before, after]`, or `changed` if its values are secret, personal or long"
    )
