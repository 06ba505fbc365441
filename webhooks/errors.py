"""The errors of the library. Each one is defined in the file that raises it, and derives from a class of this file.

WebhooksError
├── CannotRunError                 the process cannot start or go on
│   ├── DatabaseAwayError          store/postgresql.py
│   ├── NoTemporalError            temporal/dev_binary.py
│   └── NotReadyError              temporal/namespace.py
├── OutcomeError                   an attempt ended without an answer; carries its outcome
│   ├── NoAnswerError              egress/client.py
│   ├── NoTokenError               sending/oauth_tokens.py
│   └── NotSendableError           sending/sender.py
├── AddressNotAllowedError         egress/guard.py; also an httpcore.ConnectError
├── ClosedWithoutAnswerError       egress/streams.py; also an httpcore.ReadError
├── StaleConnectionError           egress/streams.py; also an httpcore.ReadError
├── BadCertificateError            egress/tls.py
├── NotResolvedError               egress/resolver.py
├── ProxyFaultError                egress/guard.py
├── NotVerifiedError               inbound/verification.py
├── CannotOpenError                credentials/vault.py
├── RefusedTokenError              identity/verifying.py
├── ProviderAwayError              identity/identity_provider.py
├── UnreadableError                temporal/codec.py
├── AlreadyDeliveredError          deliveries/monitor.py
├── AlreadyEndedError              deliveries/monitor.py
├── AttemptInProgressError         deliveries/monitor.py
├── TooManyJobsError               deliveries/jobs.py
├── TooManyFanOutsError            deliveries/fan_outs.py
├── OccurrenceConflictError        deliveries/start.py
├── TooManyDelayedError            isolation/delayed_starts.py
├── TooManyWaitingError            isolation/waiting_room.py
├── CallerGoneError                isolation/waiting_room.py
├── TooManyPublicationsError       identity/rates.py
├── TooCostlyError                 events/schema_cost.py
├── UnknownReferenceError          events/schema_cost.py
└── what somebody gave us is wrong: also a ValueError, which pydantic reports as a bad field
    ├── BadCursorError             cursors.py
    ├── BadPartError               credentials/client_certificate.py
    ├── BadEventError              events/rules.py
    ├── BadTemplateError           events/rendering.py
    ├── DocumentError              json_documents.py
    │   └── MalformedJsonError     json_documents.py
    ├── NotASchemaError            events/json_schema.py
    ├── NotAFilterError            publishing/filters.py
    ├── NotAcceptedError           publishing/accept.py
    └── NotRenderedError           events/rendering.py
"""


class WebhooksError(Exception):
    """The base of every error that this library raises."""


class CannotRunError(WebhooksError):
    """The process cannot start or go on. The message says what an operator must do."""


class OutcomeError(WebhooksError):
    """An attempt ended without an answer. `outcome` is a name of webhooks/outcomes.py. The message may be shown to
    the tenant."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
