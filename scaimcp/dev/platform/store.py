"""Rows in SQLite, written through, and read from memory only. Spec: scaigrid 12 (state, speed)."""

import hashlib
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from scaimcp.dev.platform.clock import Clock

Row = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (tbl TEXT, id TEXT, seq INTEGER, body BLOB, PRIMARY KEY (tbl, id));
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);
"""
ID_LENGTH = 20


@dataclass(frozen=True, slots=True)
class TableSpec:
    """Declare one table.

    Attributes:
        name: its name in the store.
        prefix: of the ids it issues, such as `mdl_`.
        indexes: fields that `find` looks up without a scan; their values must be hashable.
        capped: whether only the newest `PlatformConfig.log_rows` rows are kept.
    """

    name: str
    prefix: str
    indexes: tuple[str, ...] = ()
    capped: bool = False


class Table:
    """One table: rows are plain dicts, kept in the order of their creation.

    Every row has `id`, `created_at` and the internal `_seq`; change rows only through `update`.
    `version` grows with every change.
    """

    def __init__(self, spec: TableSpec, store: "Store") -> None:
        self.spec = spec
        self.version = 0
        self._store = store
        self._rows: dict[str, Row] = {}
        self._indexes: dict[str, dict[object, dict[str, Row]]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget every row in memory."""
        self._rows.clear()
        self._indexes = {name: {} for name in self.spec.indexes}
        self._issued = 0
        self.version += 1

    def get(self, row_id: str) -> Row | None:
        """Return a row by id."""
        return self._rows.get(row_id)

    def all(self) -> list[Row]:
        """Return every row, oldest first."""
        return list(self._rows.values())

    def find(self, **equal: object) -> list[Row]:
        """Return the rows whose fields equal the given values, oldest first."""
        rows: Iterable[Row] = self._rows.values()
        for name in equal:
            if name in self._indexes:
                rows = self._indexes[name].get(equal[name], {}).values()
                break
        return [row for row in rows if all(row.get(k) == v for k, v in equal.items())]

    def first(self, **equal: object) -> Row | None:
        """Return the oldest such row."""
        found = self.find(**equal)
        return found[0] if found else None

    def insert(self, row: Row) -> Row:
        """Add a row; `id` and `created_at` are filled in where absent. Returns the stored row."""
        self._issued += 1
        if "id" not in row:
            row = {"id": self._store.make_id(self.spec.prefix, self._issued), **row}
        row.setdefault("created_at", self._store.clock.iso())
        row["_seq"] = self._issued
        self._place(row)
        # Capped tables lose their oldest rows only, so the newest row tells the numbering.
        self._store.write(self.spec.name, row, None if self.spec.capped else self._issued)
        if self.spec.capped and len(self._rows) > self._store.log_rows:
            self.delete(next(iter(self._rows)))
        return row

    def load(self, row: Row) -> None:
        """Take up a row read from the file."""
        self._issued = max(self._issued, row["_seq"])
        self._place(row)

    def resume(self, issued: int) -> None:
        """Continue the numbering of ids after a restart."""
        self._issued = max(self._issued, issued)

    def update(self, row_id: str, changes: Row) -> Row:
        """Change fields of a row in place and return it."""
        row = self._rows[row_id]
        self._unindex(row)
        row.update(changes)
        self._index(row)
        self.version += 1
        self._store.write(self.spec.name, row, None)
        return row

    def delete(self, row_id: str) -> None:
        """Remove a row."""
        self._unindex(self._rows.pop(row_id))
        self.version += 1
        self._store.erase(self.spec.name, row_id)

    def _place(self, row: Row) -> None:
        self._rows[row["id"]] = row
        self._index(row)
        self.version += 1

    def _index(self, row: Row) -> None:
        for name, index in self._indexes.items():
            index.setdefault(row.get(name), {})[row["id"]] = row

    def _unindex(self, row: Row) -> None:
        for name, index in self._indexes.items():
            index[row.get(name)].pop(row["id"], None)


class Store:
    """All tables over one SQLite connection, with ids and random numbers from one seed.

    Args:
        specs: the tables.
        clock: stamps `created_at`.
        seed: source of ids and of `random`.
        path: the SQLite file; None is memory.
        log_rows: rows kept in capped tables.
    """

    def __init__(
        self, specs: Iterable[TableSpec], clock: Clock, seed: str, path: str | None, log_rows: int
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.log_rows = log_rows
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        # One thread at a time uses it, though not always the one that opened it.
        self._sql = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        self._sql.execute("PRAGMA journal_mode=WAL")
        self._sql.execute("PRAGMA synchronous=OFF")
        self._sql.executescript(SCHEMA)
        self._encoder = msgspec.json.Encoder()
        self.tables = {spec.name: Table(spec, self) for spec in specs}
        self._load()

    def __getitem__(self, name: str) -> Table:
        """Return a table by name."""
        return self.tables[name]

    @property
    def empty(self) -> bool:
        """Whether nothing was ever stored, so that the seed has to be written."""
        return not self._sql.execute("SELECT 1 FROM rows LIMIT 1").fetchone()

    def make_id(self, prefix: str, number: int) -> str:
        """Return the id of the `number`th object with that prefix."""
        digest = hashlib.sha256(f"{self.seed}:{prefix}:{number}".encode())
        return prefix + digest.hexdigest()[:ID_LENGTH]

    def token(self, prefix: str, length: int = 26) -> str:
        """Return a fresh random id that belongs to no table, such as a request id."""
        return f"{prefix}{self.random.getrandbits(4 * length):0{length}x}"

    def write(self, table: str, row: Row, issued: int | None) -> None:
        """Write one row through, and the table's numbering after an insert."""
        self._sql.execute(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)",
            (table, row["id"], row["_seq"], self._encoder.encode(row)),
        )
        if issued is not None:
            self.put_meta(f"issued:{table}", str(issued).encode())

    def erase(self, table: str, row_id: str) -> None:
        """Remove one row from the file."""
        self._sql.execute("DELETE FROM rows WHERE tbl = ? AND id = ?", (table, row_id))

    def get_meta(self, name: str) -> bytes | None:
        """Return a value kept beside the tables, such as the signing key."""
        found = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else bytes(found[0])

    def put_meta(self, name: str, value: bytes) -> None:
        """Keep a value beside the tables."""
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def clear(self) -> None:
        """Forget every row and start ids and random numbers anew; other values stay."""
        self._sql.execute("DELETE FROM rows")
        self._sql.execute("DELETE FROM meta WHERE name LIKE 'issued:%'")
        self.random.seed(self.seed)
        for table in self.tables.values():
            table.clear()

    def close(self) -> None:
        """Close the connection."""
        self._sql.close()

    def _load(self) -> None:
        boots = int(self.get_meta("boots") or b"0") + 1
        self.put_meta("boots", str(boots).encode())
        if boots > 1:
            # Otherwise a restarted platform would issue its first tokens again.
            self.random.seed(f"{self.seed}:{boots}")
        for name, body in self._sql.execute("SELECT tbl, body FROM rows ORDER BY tbl, seq"):
            if name in self.tables:
                self.tables[name].load(msgspec.json.decode(body))
        for name, table in self.tables.items():
            table.resume(int(self.get_meta(f"issued:{name}") or b"0"))
