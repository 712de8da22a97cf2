"""What the store keeps in PostgreSQL: one schema, which it creates and migrates.

``record`` holds the documents, ``change`` the newest writes in order, ``ledger`` the
latest revision. The views ``services`` and ``splits`` are for people: they show the
registry's documents as columns. The store itself knows nothing about the documents.
"""

import logging
from typing import Final, LiteralString

from psycopg import sql

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.postgresql.connection import Connection
from modularity_registry.stores.postgresql.errors import GONE, Refused

log = logging.getLogger(__name__)

KEPT: Final = 10_000
"""Changes in the log; a watch that is further behind reads a new snapshot."""

TRIMMED_EVERY: Final = 1_000

# PostgreSQL reserves these names. No prefix begins with an underscore, so the names
# that do are free.
_RESERVED: Final = ("pg_", "information_schema")

_VERSION_1: Final = """
CREATE TABLE {schema}.ledger (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch text NOT NULL,
    revision bigint NOT NULL,
    floor bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON COLUMN {schema}.ledger.floor IS
    'The newest revision that is no longer in change.';

INSERT INTO {schema}.ledger (epoch, revision, floor)
VALUES (left(replace(gen_random_uuid()::text, '-', ''), 12), 0, 0);

CREATE TABLE {schema}.change (
    revision bigint PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    value bytea
);

-- A store keeps any bytes, and jsonb takes neither all of JSON (no \\u0000, no number
-- beyond numeric) nor anything else: what it can't take has no document.
CREATE FUNCTION {schema}.as_document(value bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT AS $body$
DECLARE
    document jsonb;
BEGIN
    document := convert_from(value, 'UTF8')::jsonb;
    RETURN CASE WHEN jsonb_typeof(document) = 'object' THEN document END;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$body$;

CREATE TABLE {schema}.record (
    key text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL,
    value bytea NOT NULL,
    document jsonb GENERATED ALWAYS AS ({schema}.as_document(value)) STORED
);

CREATE INDEX record_capabilities ON {schema}.record
USING gin ((document -> 'registration' -> 'capabilities'))
-- Without a list of what is yet to be done, which some writer would find too long.
WITH (fastupdate = off);

-- Writes a batch, at most one write a key: outcome n is the revision of write n, NULL
-- when there was nothing to delete, and when its expectation was not met the key's
-- revision times -1.
CREATE FUNCTION {schema}.write(keys text[], bodies bytea[], expectations bigint[])
RETURNS bigint[] LANGUAGE plpgsql
-- A plan that was made when the table was small still has to be right when it is large.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    before bigint;
    newest bigint;
    outcomes bigint[];
BEGIN
    -- A sequence would commit out of order. This row's lock is held until the commit,
    -- so a reader who sees a revision has seen all those before it.
    SELECT l.revision INTO STRICT before FROM {schema}.ledger l FOR UPDATE;
    WITH wish AS (
        SELECT
            w.*,
            coalesce(
                (SELECT r.revision FROM {schema}.record r WHERE r.key = w.key), 0
            ) AS actual
        FROM unnest(keys, bodies, expectations)
            WITH ORDINALITY AS w(key, body, expected, place)
    ), judged AS (
        SELECT
            wish.*,
            coalesce(expected = actual, true) AS is_met,
            NOT (body IS NULL AND actual = 0) AS is_change
        FROM wish
    ), written AS MATERIALIZED (
        SELECT
            judged.*,
            before + count(*) OVER (ORDER BY place) AS revision
        FROM judged
        WHERE is_met AND is_change
    ), deletion AS (
        DELETE FROM {schema}.record
        WHERE key IN (SELECT w.key FROM written w WHERE w.body IS NULL)
    ), stored AS (
        INSERT INTO {schema}.record (key, revision, value)
        SELECT w.key, w.revision, w.body FROM written w WHERE w.body IS NOT NULL
        ON CONFLICT (key)
        DO UPDATE SET revision = excluded.revision, value = excluded.value
    ), logged AS (
        INSERT INTO {schema}.change (revision, key, value)
        SELECT w.revision, w.key, w.body FROM written w
    )
    SELECT
        array_agg(
            CASE WHEN j.is_met THEN w.revision ELSE -j.actual END ORDER BY j.place
        ),
        coalesce(max(w.revision), before)
    INTO outcomes, newest
    FROM judged j LEFT JOIN written w USING (place);
    IF newest > before THEN
        UPDATE {schema}.ledger SET revision = newest;
        PERFORM pg_notify({channel}, newest::text);
        IF newest / {every} > before / {every} AND newest > {kept} THEN
            DELETE FROM {schema}.change c WHERE c.revision <= newest - {kept};
            UPDATE {schema}.ledger l SET floor = greatest(l.floor, newest - {kept});
        END IF;
    END IF;
    RETURN outcomes;
END
$body$;
"""

_VIEWS: Final = """
-- Columns can only be added behind those that are there, in their order.
CREATE OR REPLACE VIEW {schema}.services AS
SELECT
    substr(key, 10) AS id,
    document -> 'registration' ->> 'name' AS name,
    coalesce(document -> 'registration' ->> 'version', '1.0.0') AS version,
    document -> 'registration' -> 'capabilities' AS capabilities,
    document -> 'registration' ->> 'location' AS location,
    document -> 'registration' ->> 'mode' AS mode,
    CASE
        WHEN document ->> 'drain' IS NOT NULL THEN 'draining'
        WHEN document -> 'faults' -> 0 IS NOT NULL THEN 'unhealthy'
        WHEN document -> 'warnings' -> 0 IS NOT NULL THEN 'warning'
        ELSE 'healthy'
    END AS status,
    coalesce(document -> 'faults', '[]') AS faults,
    document -> 'drain' AS drain,
    coalesce(document -> 'registration' -> 'metadata', '{{}}') AS metadata,
    (document ->> 'registered_at')::timestamptz AS registered_at,
    (document ->> 'since')::timestamptz AS since,
    revision,
    coalesce(document -> 'warnings', '[]') AS warnings,
    document -> 'registration' ->> 'zone' AS zone,
    document -> 'registration' ->> 'region' AS region,
    coalesce((document -> 'registration' ->> 'priority')::integer, 0) AS priority,
    (document ->> 'verified')::timestamptz AS verified
FROM {schema}.record
WHERE key LIKE 'services/%' AND document IS NOT NULL;

CREATE OR REPLACE VIEW {schema}.splits AS
SELECT
    substr(key, 8) AS capability,
    document -> 'groups' AS groups,
    revision
FROM {schema}.record
WHERE key LIKE 'splits/%' AND document IS NOT NULL;
"""

MIGRATIONS: Final[tuple[LiteralString, ...]] = (_VERSION_1,)
"""Number n upgrades a schema of version n to n + 1; version 0 is an empty schema."""


class Schema:
    """The schema of one prefix: its names, its creation and migration."""

    def __init__(self, prefix: str) -> None:
        reserved = prefix.startswith(_RESERVED)
        self.name = f"_{prefix}" if reserved else prefix
        self.channel = f"{self.name}.change"

    def fill(self, text: LiteralString) -> bytes:
        """Return ``text`` with the names filled in, quoted."""
        return (
            sql.SQL(text)
            .format(
                schema=sql.Identifier(self.name),
                channel=sql.Literal(self.channel),
                listening=sql.Identifier(self.channel),
                kept=sql.Literal(KEPT),
                every=sql.Literal(TRIMMED_EVERY),
            )
            .as_bytes(None)
        )

    def prepare(self, connection: Connection) -> str:
        """Return the epoch; creates or upgrades the schema where needed.

        Raises `StoreUnavailable`, also when a newer registry made the schema.
        """
        try:
            version, epoch = self._read_version(connection)
        except Refused as error:
            if error.sqlstate not in GONE:
                raise
            version = 0
        if version < len(MIGRATIONS):
            self._migrate(connection)
            version, epoch = self._read_version(connection)
        self._require_known(version)
        self._complete_views(connection)
        return epoch

    def _complete_views(self, connection: Connection) -> None:
        """Bring the views for people up to date; no store needs them.

        So they have no version: with one, older registries could not start.
        """
        is_complete = (
            b"SELECT 1 FROM pg_catalog.pg_views"
            b" WHERE schemaname = %s AND viewname = 'splits'"
        )
        if connection.execute(is_complete, (self.name,)):
            return
        connection.execute(b"BEGIN")
        try:
            self._lock(connection)
            connection.execute(self.fill(_VIEWS))
        except Refused as error:
            connection.execute(b"ROLLBACK")
            log.warning("the views of the store are not up to date: %s", error.detail)
        else:
            connection.execute(b"COMMIT")

    def begin_epoch(self, connection: Connection) -> str:
        """Begin a new epoch with the same records, wake the feeds, and return it."""
        [[epoch, _]] = connection.execute(
            self.fill(
                "UPDATE {schema}.ledger SET"
                " epoch = left(replace(gen_random_uuid()::text, '-', ''), 12)"
                " RETURNING epoch, pg_notify({channel}, revision::text)"
            )
        )
        return str(epoch)

    def _read_version(self, connection: Connection) -> tuple[int, str]:
        rows = connection.execute(
            self.fill(
                "SELECT v.number, l.epoch FROM {schema}.schema_version v,"
                " {schema}.ledger l"
            )
        )
        if len(rows) != 1:
            raise StoreUnavailable(
                f"the schema {self.name} is incomplete: it was changed by hand;"
                " restore it, or drop it to start empty"
            )
        version, epoch = rows[0]
        return version, epoch

    def _migrate(self, connection: Connection) -> None:
        connection.execute(b"BEGIN")
        self._lock(connection)
        # Looked up first: CREATE SCHEMA needs the privilege even if the schema exists.
        if not connection.execute(
            b"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self.name,)
        ):
            connection.execute(self.fill("CREATE SCHEMA {schema}"))
        connection.execute(
            self.fill(
                "CREATE TABLE IF NOT EXISTS {schema}.schema_version ("
                " single boolean PRIMARY KEY DEFAULT true CHECK (single),"
                " number integer NOT NULL)"
            )
        )
        rows = connection.execute(
            self.fill("SELECT number FROM {schema}.schema_version")
        )
        version: int = rows[0][0] if rows else 0
        self._require_known(version)
        for migration in MIGRATIONS[version:]:
            connection.execute(self.fill(migration))
        connection.execute(
            self.fill(
                "INSERT INTO {schema}.schema_version (number) VALUES (%s)"
                " ON CONFLICT (single) DO UPDATE SET number = excluded.number"
            ),
            (len(MIGRATIONS),),
        )
        connection.execute(b"COMMIT")

    def _lock(self, connection: Connection) -> None:
        """Have another process that opens the store now wait, until the commit."""
        connection.execute(
            b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self.channel,)
        )

    def _require_known(self, version: int) -> None:
        if version > len(MIGRATIONS):
            raise StoreUnavailable(
                f"the schema {self.name} has version {version}, and this registry"
                f" supports versions up to {len(MIGRATIONS)}: run the newer registry"
            )
