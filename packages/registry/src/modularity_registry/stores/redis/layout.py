"""What a registry keeps in Redis, and the commands that read and write it.

Four things under one prefix, in braces so that a cluster has them on one node:

- ``{prefix}:state``, a hash: ``epoch``, and ``revision``, that of the latest write;
- ``{prefix}:record``, a hash: under each key its revision, a space and its value;
- ``{prefix}:feed``, a stream of the latest writes. The id of an entry is
  ``<revision>-0``, and each is one above the one before. An entry without a key is a
  break: the changes before it may not match the records.
"""

import hashlib
from typing import Any, Final, NamedTuple

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.group_commit import Write
from modularity_registry.stores.redis.connection import Command

KEPT: Final = 10_000
"""Writes that the feed keeps at least, for watchers that are behind."""

# A counter below a revision that a watcher has seen means that the server lost its
# newest writes: a failover, or a restart from an older copy. Revisions go on above it,
# and the break tells every watcher to read a new snapshot.
_BREAK: Final = """
local function number_of(text) return tonumber(string.match(text, '^%d+')) or 0 end
local function add(revision, ...)
  local id = string.format('%d-0', revision)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', KEPT, id, ...)
  redis.call('HSET', KEYS[1], 'revision', string.format('%d', revision))
  return revision
end
local function beyond(revision, seen)
  if revision < seen then return add(seen + 1, 'break', '1') end
  return revision
end
""".replace("KEPT", str(KEPT))

# ARGV: epoch, seen, key, expected or '', value or nothing. Answers with the revision,
# 0 when there was nothing to delete, -1 - actual for a conflict, nil for another epoch.
# The feed is written first: if Redis refuses that, nothing has changed.
_WRITE: Final = f"""{_BREAK}
local state = redis.call('HMGET', KEYS[1], 'epoch', 'revision')
if state[1] ~= ARGV[1] then return nil end
local key, expected, value = ARGV[3], ARGV[4], ARGV[5]
if expected ~= '' or not value then
  local actual = number_of(redis.call('HGET', KEYS[2], key) or '')
  if expected ~= '' and actual ~= tonumber(expected) then return -1 - actual end
  if not value and actual == 0 then return 0 end
end
local revision = beyond(tonumber(state[2]), tonumber(ARGV[2])) + 1
if value then
  add(revision, 'key', key, 'value', value)
  redis.call('HSET', KEYS[2], key, string.format('%d ', revision) .. value)
else
  add(revision, 'key', key)
  redis.call('HDEL', KEYS[2], key)
end
return revision
"""
_WRITE_SHA: Final = hashlib.sha1(_WRITE.encode(), usedforsecurity=False).hexdigest()

# ARGV: a new epoch, the epoch seen last, its revision. Answers with the epoch and the
# revision. HSETNX is a write even if it changes nothing, so a replica refuses it. An
# eviction can leave records without a state; they are kept.
_ENTER: Final = f"""{_BREAK}
local fresh = redis.call('HEXISTS', KEYS[1], 'epoch') == 0
local top = 0
if fresh then
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  if last then top = number_of(last[1]) end
  for _, packed in ipairs(redis.call('HVALS', KEYS[2])) do
    top = math.max(top, number_of(packed))
  end
end
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
if fresh then
  redis.call('HSET', KEYS[1], 'revision', string.format('%d', top))
  redis.call('DEL', KEYS[3])
end
local state = redis.call('HMGET', KEYS[1], 'epoch', 'revision')
local revision = tonumber(state[2])
if state[1] == ARGV[2] then revision = beyond(revision, tonumber(ARGV[3])) end
return {{state[1], revision}}
"""


class LastSeen(NamedTuple):
    """An epoch, and its latest revision that this process has seen."""

    epoch: str
    revision: int


class State(NamedTuple):
    """The server's epoch and revision; ``epoch`` is empty when it holds nothing."""

    epoch: str
    revision: int


class Layout:
    """The keys of one prefix, and the commands on them."""

    def __init__(self, prefix: str) -> None:
        self.state = f"{{{prefix}}}:state"
        self.record = f"{{{prefix}}}:record"
        self.feed = f"{{{prefix}}}:feed"
        self._all = (3, self.state, self.record, self.feed)

    def enter(self, epoch: str, last_seen: LastSeen) -> Command:
        """Begin ``epoch`` where there is none; `state_of` reads the answer."""
        return ("EVAL", _ENTER, *self._all, epoch, last_seen.epoch, last_seen.revision)

    def write(self, last_seen: LastSeen, write: Write, full: bool) -> Command:
        """Put or delete; ``full`` sends the script itself, else its digest."""
        script = ("EVAL", _WRITE) if full else ("EVALSHA", _WRITE_SHA)
        expected = "" if write.expected is None else write.expected
        value = () if write.value is None else (write.value,)
        return (*script, *self._all, *last_seen, write.key, expected, *value)

    def read_state(self) -> Command:
        """Read the state."""
        return ("HMGET", self.state, "epoch", "revision")

    def read_all(self) -> Command:
        """Read the records."""
        return ("HGETALL", self.record)

    def read_feed(self, after: int, milliseconds: int, count: int) -> Command:
        """Read the feed after revision ``after``, or wait for an entry."""
        wait = ("XREAD", "COUNT", count, "BLOCK", milliseconds)
        return (*wait, "STREAMS", self.feed, f"{after}-0")

    def records_of(self, answer: list[bytes]) -> tuple[Record, ...]:
        """Return the records in the answer to `read_all`, ordered by revision."""
        pairs = zip(answer[::2], answer[1::2], strict=True)
        records = [self._record_of(key, packed) for key, packed in pairs]
        records.sort(key=lambda record: record.revision)
        return tuple(records)

    def changes_of(self, answer: Any) -> list[Change | None]:
        """Return the changes in an answer to `read_feed`, in order; None: a break."""
        entries = answer[0][1] if answer else ()
        return [self._change_of(*entry) for entry in entries]

    def _record_of(self, key: bytes, packed: bytes) -> Record:
        number, space, value = packed.partition(b" ")
        try:
            if not space:
                raise ValueError
            return Record(key.decode(), value, int(number))
        except ValueError as error:
            raise StoreCorrupt(
                f"the field {key!r} of {self.record} in Redis was not written by a"
                " registry; remove it with HDEL"
            ) from error

    def _change_of(self, entry: bytes, fields: list[bytes]) -> Change | None:
        try:
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            key = values.get(b"key")
            if key is None:
                return None
            revision = int(entry.removesuffix(b"-0"))
            return Change(key.decode(), values.get(b"value"), revision)
        except ValueError as error:
            raise StoreCorrupt(
                f"the entry {entry!r} of {self.feed} in Redis was not written by a"
                " registry; remove it with XDEL"
            ) from error


def state_of(answer: tuple[bytes | None, bytes | int | None]) -> State:
    """Return the state in the answer to `Layout.enter` or `Layout.read_state`."""
    epoch, revision = answer
    return State((epoch or b"").decode("ascii", "replace"), int(revision or 0))
