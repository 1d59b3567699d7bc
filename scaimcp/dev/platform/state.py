"""Everything one stand-in platform holds."""

from collections.abc import Callable, Iterable

import aiohttp

from scaimcp.dev.platform.calls import CallLog
from scaimcp.dev.platform.clock import Clock
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.endpoint import Family
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.faults import Faults
from scaimcp.dev.platform.identity import Authenticator
from scaimcp.dev.platform.limits import Limiter
from scaimcp.dev.platform.outbox import Outbox
from scaimcp.dev.platform.store import Row, Store
from scaimcp.dev.platform.tables import CORE_TABLES
from scaimcp.dev.platform.tokens import TokenKeys

SIGNING_KEY = "signing_key"


class Platform:
    """The state behind every endpoint.

    Args:
        config: as given by the user.
        families: the endpoint families, for their tables, seeds and models.
        seed: writes the start state of an empty store.
    """

    def __init__(
        self, config: PlatformConfig, families: Iterable[Family], seed: Callable[["Platform"], None]
    ) -> None:
        self.config = config
        self.families = tuple(families)
        self.clock = Clock(config.frozen_at)
        specs = [*CORE_TABLES, *(spec for family in self.families for spec in family.tables)]
        self.store = Store(specs, self.clock, config.seed, config.database, config.log_rows)
        self.keys = self._signing_keys()
        self.auth = Authenticator(self.store, self.clock, self.keys)
        self.limiter = Limiter(self.clock, enabled=config.rate_limits)
        self.faults = Faults()
        self.calls = CallLog()
        self.outbox = Outbox(self.store, posts=config.webhook_posts)
        self._http: aiohttp.ClientSession | None = None
        self._seed = seed
        if self.store.empty:
            self._fill()

    @property
    def http(self) -> aiohttp.ClientSession:
        """The session for the few outgoing requests, opened by the server's start.

        Raises:
            PlatformError: `SERVICE_UNAVAILABLE` outside a running server.
        """
        if self._http is None:
            raise PlatformError("SERVICE_UNAVAILABLE", "The platform is not running.")
        return self._http

    async def start(self) -> None:
        """Open what needs a running loop."""
        self._http = aiohttp.ClientSession()

    async def stop(self) -> None:
        """Close everything; the platform cannot be used afterwards."""
        if self._http is not None:
            await self._http.close()
            self._http = None
        self.store.close()

    def reset(self) -> None:
        """Go back to the seed: rows, ids, clock, windows, faults and logs."""
        self.clock.reset()
        self.faults.clear()
        self.calls.clear()
        self.limiter.clear()
        self.outbox.clear()
        self.store.clear()
        self._fill()

    def _fill(self) -> None:
        self._seed(self)
        for family in self.families:
            if family.seed is not None:
                family.seed(self)

    def _signing_keys(self) -> TokenKeys:
        keys = TokenKeys(self.store.get_meta(SIGNING_KEY))
        self.store.put_meta(SIGNING_KEY, keys.pem())
        return keys

    def module_active(self, module_id: str, tenant: Row | None) -> bool:
        """Tell whether a module is enabled for a tenant; without one, whether it exists."""
        if self.store["modules"].first(module_id=module_id) is None:
            return False
        if tenant is None:
            return True
        if self.module_state(module_id, tenant["partner_id"]) == "disabled":
            return False
        return self.module_state(module_id, tenant["id"]) == "active"

    def module_state(self, module_id: str, scope_id: str) -> str | None:
        """Return what was set for a module at one tenant or partner."""
        row = self.store["module_states"].first(scope_id=scope_id, module_id=module_id)
        return None if row is None else row["status"]
