"""Settings, from the environment or from secret files: names, defaults and descriptions.

No other module reads `os.environ`.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from wishcraft.errors import ConfigurationError
from wishcraft.invalid_values import explain
from wishcraft.setting_types import (
    ApiVersion,
    BaseUrl,
    BounceAddress,
    ClientId,
    ClientSecret,
    DaskAddress,
    DnsServer,
    FernetKeys,
    FilesUrl,
    HostName,
    HttpUrl,
    LmtpUrl,
    Login,
    MailAddress,
    MailUrl,
    Origins,
    PostgresqlUrl,
    PrefectUiUrl,
    ProxyList,
    RedisUrl,
    RunbookUrl,
    SecretHttpUrl,
    Selectors,
    SenderAddress,
    SendGridKey,
    SentryDsn,
    ShopOrigin,
    TimeZoneName,
    Token,
    TopicArns,
)
from wishcraft.urls.parts import UrlError

Kind = TypeVar("Kind", bound=BaseSettings)

SECRETS: Final = Path("/run/secrets")
"""Where Docker and Kubernetes mount secrets, one file each, e.g. `mail_url`; the environment takes precedence."""


class EnvironmentSettings(BaseSettings):
    """Settings from variables and files. An empty one counts as not set, as Compose passes on an unset variable."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,  # or an empty variable would hide the file
        extra="ignore",
        frozen=True,
        secrets_dir=[SECRETS] if SECRETS.is_dir() else [],  # pydantic warns of a missing directory
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if value != ""}


class TimeSettings(EnvironmentSettings):
    """The time zone of people."""

    tz: TimeZoneName = Field(
        "America/New_York", description="Time zone of the daily schedules, and of the days and times in reports."
    )


class DatabaseSettings(EnvironmentSettings):
    """Settings of migrations."""

    database_url: PostgresqlUrl = Field(description="PostgreSQL 17 or newer.")


class AnalyticsSettings(TimeSettings):
    """Settings of an analyst's notebook or shell."""

    database_replica_url: PostgresqlUrl | None = Field(
        None,
        description="PostgreSQL for reports: a replica or the same server, with the login `wishcraft_analyst`. "
        "Empty: DATABASE_URL, and `ask` refuses. Guests' lists are read from it too, if it is a replica.",
    )


class JobSettings(TimeSettings):
    """Settings that flows read on import, before a run begins."""

    task_runner: Literal["threads", "dask"] = Field(
        "threads", description="Where a run executes: `threads` of its process, or a `dask` cluster (the extra `dask`)."
    )
    dask_address: DaskAddress | None = Field(
        None, description="Address of Dask's scheduler, e.g. tcp://dask:8786. Empty: a cluster on this machine."
    )
    alert_webhook_url: SecretHttpUrl | None = Field(
        None, description='URL that receives alerts as `{"text": …}`, e.g. a Slack incoming webhook.'
    )
    runbook_url: RunbookUrl = Field(
        "docs/runbooks",
        description="Where docs/runbooks is published, e.g. https://docs.example/runbooks; alerts link to its pages.",
    )


class Settings(JobSettings, AnalyticsSettings, DatabaseSettings):
    """All settings; a test compares them with docs/settings.md."""

    database_replica_max_lag_seconds: float = Field(
        5,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Guests' lists are read from the replica while it lags no more, by the login of DATABASE_URL. "
        "0: from DATABASE_URL.",
    )
    environment: Literal["development", "production"] = Field(
        "development", description="`production` makes readiness require https to Shopify."
    )
    sentry_dsn: SentryDsn | None = Field(
        None, description="Sentry project that receives errors, traces and profiles. Empty: errors are only logged."
    )
    sentry_traces_sample_rate: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of requests and runs that are traced; of hits on the fast path, a hundredth of it. 0: none.",
    )
    sentry_profiles_sample_rate: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of processes that are profiled while they trace: at the risk of a crash. 0: none.",
    )
    release: str = Field(
        "", description="Release name of reported errors, e.g. a commit. Empty: the package's version."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Format of logs. `auto` is `text` at a terminal, otherwise `json`."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    files_url: FilesUrl = Field(
        "file:files",
        description="Folder of files that people fetch from the API, such as reports and exports, and of the journal "
        "of erasures: file:///folder. "
        "API, consumer of webhooks and worker share it. Back it up apart from PostgreSQL.",
    )
    ops_email: MailAddress | None = Field(None, description="Recipient of reports that are sent by mail.")
    api_host: HostName = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: int = Field(8000, ge=0, le=65_535, description="The API's port.")
    trusted_proxies: ProxyList = Field(
        "",
        description="Proxies whose X-Forwarded-For is trusted: addresses, networks and `shopify`, comma-separated.",
    )
    rate_limit_per_minute: int = Field(
        600,
        ge=1,
        le=1_000_000,
        description="Requests a minute of one person, guest or customer. A server's key may send ten times as many.",
    )
    cors_origins: Origins = Field(
        "", description="Other sites whose pages may call the API, comma-separated. The app proxy needs none."
    )
    metrics_token: Token | None = Field(
        None, description="Bearer token of /metrics. Without it, production has no /metrics."
    )
    drain_seconds: float = Field(
        5,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="How long the API still serves, not ready, after SIGTERM. 0 loses what a proxy still sends.",
    )
    redis_url: RedisUrl = Field(description="Redis 7.4+ or Valkey 9+, e.g. redis://localhost:6379/0.")
    redis_password: SecretStr | None = Field(None, description="The password, if it is not in REDIS_URL.")
    encryption_keys: FernetKeys = Field(
        description="Fernet keys for access tokens at rest, comma-separated: the first encrypts, all decrypt."
    )
    shopify_api_key: ClientId = Field(description="The app's client id.")
    shopify_api_secret: ClientSecret = Field(description="The app's client secret, for signatures and token refreshes.")
    shopify_api_secret_previous: ClientSecret | None = Field(
        None, description="The former client secret, accepted during a rotation."
    )
    shopify_api_version: ApiVersion = Field("2026-10", description="Admin GraphQL version.")
    shopify_origin: ShopOrigin = Field(
        "https://{shop}", description="Origin of a shop's pages and of its Admin API. {shop} becomes its domain."
    )
    public_url: BaseUrl | None = Field(
        None,
        description="Public URL of the API, e.g. https://registry.example. Links to it in mails and runs begin so.",
    )
    mail_url: MailUrl | None = Field(
        None,
        description="What sends mail: smtp://user:password@host:587?starttls, smtps://…, "
        "ses://KEY:SECRET@eu-central-1?configuration_set=NAME or sendgrid://KEY@api.sendgrid.com.",
    )
    mail_from: SenderAddress | None = Field(
        None,
        description="Sender address of mails. Bounces go to it, unless BOUNCE_ADDRESS or the provider takes them.",
    )
    bounce_url: LmtpUrl | None = Field(
        None,
        description="Where the consumer takes bounces of mails sent by SMTP, over LMTP: lmtp://127.0.0.1:2424. Needs "
        "BOUNCE_ADDRESS.",
    )
    ses_topic_arns: TopicArns = Field(
        "",
        description="ARNs of the SNS topics with Amazon SES's events, comma-separated. Messages of others are refused.",
    )
    sns_origin: BaseUrl | None = Field(
        None, description="Origin of a simulated SNS, such as http://127.0.0.1:4500. Not for production."
    )
    sendgrid_webhook_key: SendGridKey | None = Field(
        None, description="SendGrid's verification key of the signed event webhook, as base64."
    )
    dkim_selectors: Selectors = Field(
        "", description="DKIM selectors that the mail provider signs with, comma-separated: `mail-domains` checks them."
    )
    dns_server: DnsServer | None = Field(
        None, description="DNS server that `mail-domains` asks, such as 192.0.2.1:53. That of the machine by default."
    )
    bounce_address: BounceAddress | None = Field(
        None,
        description="Return path of reminders and invitations sent by SMTP, e.g. bounces@registry.example: "
        "bounces+TOKEN@registry.example, so that a bounce names its mail. Without it, MAIL_FROM.",
    )
    reminder_recovery: Literal["resend", "hold"] = Field(
        "resend",
        description="A reminder or invitation that may have been sent when its run died: `resend` it, or `hold` it.",
    )
    invitations_per_shop: int = Field(
        1_000, ge=0, le=1_000_000, description="Invitation mails of a shop in 24 hours; the others wait."
    )
    invitations_per_customer: int = Field(
        20, ge=0, le=1_000_000, description="Invitation mails for all registries of a customer in 24 hours."
    )
    invitations_per_address: int = Field(
        3, ge=0, le=1_000_000, description="Invitation mails to an address, for all registries of a shop, in 24 hours."
    )
    prefect_api_url: HttpUrl | None = Field(None, description="URL of Prefect's API. The health probe calls it.")
    prefect_api_auth_string: Login | None = Field(
        None, description="`user:password` of Prefect's UI and API, as its server has it."
    )
    prefect_ui_url: PrefectUiUrl | None = Field(
        None,
        description="URL of the Prefect UI, with `/v2`, which Prefect's own log needs: /admin/jobs redirects there, and"
        " the start page and alerts link to it.",
    )

    start_page: Path | None = Field(
        None,
        description="File with the addresses and keys of the local stack, for its page at `/`. `make up` sets it; in "
        "production it has no effect.",
    )

    @property
    def encryption_secrets(self) -> list[str]:
        """The keys of ENCRYPTION_KEYS: the first encrypts and signs, all decrypt and verify."""
        return [key.strip() for key in self.encryption_keys.get_secret_value().split(",")]

    @property
    def client_secrets(self) -> list[str]:
        """Secrets of Shopify's signatures: the app's client secret, and the previous one during a rotation."""
        secrets = (self.shopify_api_secret, self.shopify_api_secret_previous)
        return [secret.get_secret_value() for secret in secrets if secret]

    def public_link(self, path: str) -> str:
        """The URL of a path of the API, as mails and runs have it.

        Raises:
            ConfigurationError: PUBLIC_URL is not set.
        """
        if self.public_url is None:
            raise ConfigurationError("PUBLIC_URL is not set: links to the API need it")
        return f"{self.public_url.rstrip('/')}{path}"


def load(kind: type[Kind], environment: Mapping[str, str] = MappingProxyType({})) -> Kind:
    """The settings of this kind.

    Args:
        kind: The class of the settings.
        environment: Variables that replace those of this process.

    Raises:
        ConfigurationError: Variables are missing or invalid; the message names all of them, and no value.
    """
    given: dict[str, Any] = {
        name: environment[name.upper()] for name in kind.model_fields if name.upper() in environment
    }
    try:
        return kind(**given)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


@lru_cache
def settings() -> Settings:
    """This process's settings, read once. Raises as `load`."""
    return load(Settings)


def time_zone() -> ZoneInfo:
    """The time zone of TZ. Raises as `load`."""
    return ZoneInfo(load(TimeSettings).tz)


def analysts_url() -> str:
    """DATABASE_REPLICA_URL, or DATABASE_URL if it is not set; a report needs no other setting. Raises as `load`."""
    return load(AnalyticsSettings).database_replica_url or load(DatabaseSettings).database_url


def _explain(error: ValidationError) -> str:
    """Name, error and description of each invalid variable; no values, which may be secrets."""
    return "; ".join(
        f"{str(each['loc'][0]).upper()}: {_explain_one(each)}" for each in error.errors(include_input=False)
    )


def _explain_one(fault: ErrorDetails) -> str:
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, UrlError):  # its example is that of the description
        return str(cause)
    return f"{explain(fault)} ({Settings.model_fields[str(fault['loc'][0])].description})"
