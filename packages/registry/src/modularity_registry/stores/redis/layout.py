"""What a registry keeps in Redis, and the commands that read and write it.

Four things under one prefix, in braces so that a cluster has them on one node:

- ``{prefix}:state``, a hash: ``epoch``, and ``revision``, that of the latest write;
- ``{prefix}:record``, a hash: under each key its revision, a space and its value;
- ``{prefix}:feed``, a stream of the latest writes. The id of an entry is
  ``<revision>-0``, and each is one above the one before. An entry without a key is a
  break: what was told before it may not be what is held now.
"""

import hashlib
from typing import Any, Final, NamedTuple

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.redis.connection import Command
from modularity_registry.stores.write import Write

KEPT: Final = 10_000
"""Writes that the feed keeps at least, for watchers that lag."""

# Above what a watcher has seen the counter can't be, unless the server lost its newest
# writes: a failover, or a restart from an older copy. Revisions go on from there, and
# the break tells every watcher to read all anew.
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
# The feed comes first: it is what can be refused, and then nothing has changed.
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

# ARGV: an epoch to begin with, the epoch known, what was seen of it. Answers with the
# epoch and the revision. HSETNX is a write even where it does nothing: a replica
# refuses it. Records without a state are what an eviction can leave; they are kept.
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


class Known(NamedTuple):
    """A history of revisions, and the latest one of it that somebody here has seen."""

    epoch: str
    seen: int


class State(NamedTuple):
    """Where the server is; ``epoch`` is empty when it holds nothing."""

    epoch: str
    revision: int


class Keys:
    """The names of one prefix, and the commands on them."""

    def __init__(self, prefix: str) -> None:
        self.state = f"{{{prefix}}}:state"
        self.record = f"{{{prefix}}}:record"
        self.feed = f"{{{prefix}}}:feed"
        self._all = (3, self.state, self.record, self.feed)

    def enter(self, epoch: str, known: Known) -> Command:
        """Begin with ``epoch`` where there is none; answers as `state_of` takes it."""
        return ("EVAL", _ENTER, *self._all, epoch, known.epoch, known.seen)

    def write(self, known: Known, write: Write, whole: bool) -> Command:
        """Put or delete; ``whole`` sends the script with it, else its digest."""
        script = ("EVAL", _WRITE) if whole else ("EVALSHA", _WRITE_SHA)
        expected = "" if write.expected is None else write.expected
        value = () if write.value is None else (write.value,)
        return (*script, *self._all, *known, write.key, expected, *value)

    def look(self) -> Command:
        """Read the state."""
        return ("HMGET", self.state, "epoch", "revision")

    def read_all(self) -> Command:
        """Read the records."""
        return ("HGETALL", self.record)

    def follow(self, after: int, milliseconds: int, count: int) -> Command:
        """Read the feed beyond revision ``after``, or wait for something to come."""
        wait = ("XREAD", "COUNT", count, "BLOCK", milliseconds)
        return (*wait, "STREAMS", self.feed, f"{after}-0")

    def records_of(self, answer: list[bytes]) -> tuple[Record, ...]:
        """Return what `read_all` found, ordered by revision."""
        pairs = zip(answer[::2], answer[1::2], strict=True)
        records = [self._record_of(key, packed) for key, packed in pairs]
        records.sort(key=lambda record: record.revision)
        return tuple(records)

    def changes_of(self, answer: Any) -> list[Change | None]:
        """Return what `follow` found, in order; None for a break."""
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
            held = dict(zip(fields[::2], fields[1::2], strict=True))
            key = held.get(b"key")
            if key is None:
                return None
            revision = int(entry.removesuffix(b"-0"))
            return Change(key.decode(), held.get(b"value"), revision)
        except ValueError as error:
            raise StoreCorrupt(
                f"the entry {entry!r} of {self.feed} in Redis was not written by a"
                " registry; remove it with XDEL"
            ) from error


def state_of(answer: tuple[bytes | None, bytes | int | None]) -> State:
    """Return what `Keys.enter` or `Keys.look` found."""
    epoch, revision = answer
    return State((epoch or b"").decode("ascii", "replace"), int(revision or 0))
