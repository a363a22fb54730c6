"""Owns the settings: every `SCRUB_*` variable with its meaning, unit and default."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.values import LONGEST_MAX_AGE_SECONDS, MAX_INT32, Owner


class Settings(BaseSettings):
    """Read from the environment; a secret also from the file named by the variable with `_FILE` appended."""

    model_config = SettingsConfigDict(env_prefix="SCRUB_", frozen=True, extra="ignore")

    kafka: str = Field("127.0.0.1:9092", description="Kafka's bootstrap servers, `host:port`, comma-separated")
    database: str = Field("", repr=False, description="SQLAlchemy URL; empty: SQLite in `SCRUB_DATA`")
    data: Path = Field(Path(".data"), description="Folder for local state: RocksDB, spools, SQLite")
    provider: Literal["generic"] = Field("generic", description="Which lookup API is called")
    lookup_url: str = Field("http://127.0.0.1:8900/lookup", description="The lookup API; `{phone}` in it is replaced")
    lookup_key: SecretStr | None = Field(None, description="Bearer token for the lookup API")
    lookup_timeout_seconds: float = Field(10.0, gt=0, description="Longest wait for a reply of the lookup API")
    rate: int = Field(10, ge=1, description="Calls allowed per window, over everything")
    window_seconds: float = Field(1.0, gt=0, description="Length of the sliding window, seconds")
    strict_window: bool = Field(False, description="Free a slot one window after the response, not after the request")
    max_attempts: int = Field(6, ge=1, description="Calls for one phone before it is given up")
    host: str = Field("127.0.0.1", description="Address that web servers bind; others need tokens")
    port: int = Field(8000, ge=0, le=65535, description="Port that web servers bind")
    region: str = Field("US", pattern=r"^[A-Z]{2}$", description="Region of numbers written without a country code")
    max_age_seconds: int = Field(
        30 * 86400,
        ge=0,
        le=LONGEST_MAX_AGE_SECONDS,
        description="How old a known answer may be, unless the upload says",
    )
    max_file_bytes: int = Field(1024**3, ge=1, description="Largest file accepted, bytes")
    max_rows: int = Field(5_000_000, ge=1, le=MAX_INT32, description="Most rows accepted in a file")
    max_expanded_bytes: int = Field(
        64_000_000, ge=1, description="Most bytes of text in all cells of a file, or 20 times its size if that is more"
    )
    max_open_uploads: int = Field(100, ge=1, description="Most unfinished uploads of an owner, of the last 24 hours")
    keep_days: int = Field(30, ge=6, description="Days that uploads, files and results are kept")
    call_price: float = Field(0.005, ge=0, description="Price of one call, for the plan's cost")
    currency: str = Field("USD", description="Currency of the price")
    tokens: Annotated[dict[str, Owner], NoDecode] = Field(
        default_factory=dict, repr=False, description='JSON object of bearer tokens and owners: `{"T":"owner"}`'
    )
    admin_tokens: Annotated[tuple[str, ...], NoDecode] = Field(
        (), repr=False, description='JSON list of bearer tokens that see and command everything: `["T"]`'
    )
    hash_key: SecretStr = Field(
        SecretStr("phone-scrubber"),
        description="Key of the hashes that keep erased phones erased; under another key they return at a rebuild",
    )
    partitions: int = Field(8, ge=1, description="Partitions of the keyed topics when they are created")
    replication_factor: int = Field(1, ge=1, description="Replicas of topics when they are created; 3 in production")
    topic_prefix: str = Field("", description="Put before every topic and consumer group name, to share a cluster")
    instance: str = Field("1", description="Name of this process among those of its role")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        import os

        for name in SECRETS:
            path = os.environ.get(f"SCRUB_{name.upper()}_FILE")
            if path and name not in values:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
        return values

    @field_validator("tokens", "admin_tokens", mode="before")
    @classmethod
    def _parse_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return json.loads(value) if value.strip() else {}

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, with the default filled in."""
        return self.database or f"sqlite:///{(self.data / 'scrub.sqlite').absolute()}"


SECRETS = ("lookup_key", "tokens", "admin_tokens", "hash_key", "database")
"""Settings that may come from a file: `SCRUB_<NAME>_FILE`."""
