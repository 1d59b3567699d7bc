"""What a stand-in platform is started with."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """Describe one stand-in platform.

    Attributes:
        seed: text from which ids, random numbers and vectors derive.
        database: path of the SQLite file; None keeps the state in memory.
        frozen_at: Unix seconds at which the clock stands still until it is shifted through the
            control surface; None follows the system's clock, which callers need that compare a
            token's `exp` with their own.
        rate_limits: whether the four windows of Spec: scaigrid 8 are counted.
        public_url: origin named in issuer and image URLs; None takes it from each request's Host.
        inference_url: base URL (with its `/v1`) of an OpenAI-compatible service that answers chat,
            generate and embed for every model outside `scailabs/`; None answers all of them here.
        inference_key: bearer sent to `inference_url`.
        inference_models: further models to seed, each `slug` (chat) or `slug=modality`.
        webhook_posts: whether events are really posted to the webhooks' addresses.
        max_body_bytes: largest accepted request body.
        log_rows: how many audit rows and usage rows are kept, oldest dropped first.
        index_delay_seconds: time after which an uploaded document counts as indexed.
    """

    seed: str = "standin"
    database: str | None = None
    frozen_at: float | None = None
    rate_limits: bool = False
    public_url: str | None = None
    inference_url: str | None = None
    inference_key: str | None = None
    inference_models: tuple[str, ...] = ()
    webhook_posts: bool = False
    max_body_bytes: int = 32 * MEBIBYTE
    log_rows: int = 100_000
    index_delay_seconds: float = 1.0
