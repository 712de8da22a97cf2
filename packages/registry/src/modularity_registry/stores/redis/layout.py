"""What a registry keeps in Redis, and the commands that read and write it.

Four things under one prefix, in braces so that a cluster has them on one node:

- ``{prefix}:state``, a hash: ``epoch``, and ``revision``, that of the latest write;
- ``{prefix}:record``, a hash: under each key its revision, a space and its value;
- ``{prefix}:feed``, a stream of the latest writes. The id of an entry is
  ``<revision>-0``, and each is one above the one before. An entry without a key is a
  break: the changes before it may not match the records.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from modularity_registry.errors import StoreConflict, StoreCorrupt
from modularity_registry.stores.base import Change, Outcome, Record, Write
from modularity_registry.stores.redis.connection import Command

KEPT: Final = 10_000
"""Writes that the feed keeps at least, for watchers that are behind."""

# Redis carries out a script as a whole, but keeps what it has written when it fails. An
# error after that begins with this word.
PARTIAL: Final = "PARTIAL"

# A counter below a revision that a watcher has seen means that the server lost its
# newest writes: a failover, or a restart from an older copy. Revisions go on above it,
# and the break tells every watcher to read a new snapshot.
_BREAK: Final = """
local function number_of(text) return tonumber(string.match(text, '^%d+')) or 0 end
local written = false
local function write(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    error((written and 'PARTIAL ' or '') .. reply.err, 0)
  end
  written = true
end
local function add(revision, ...)
  local id = string.format('%d-0', revision)
  write('XADD', KEYS[3], 'MAXLEN', '~', KEPT, id, ...)
  write('HSET', KEYS[1], 'revision', string.format('%d', revision))
  return revision
end
local function beyond(revision, seen)
  if revision < seen then return add(seen + 1, 'break', '1') end
  return revision
end
""".replace("PARTIAL", PARTIAL).replace("KEPT", str(KEPT))

# ARGV: epoch, seen, and for each write: put or delete, key, expected or '', value.
# Answers with a number for each write: the revision, 0 when there was nothing to
# delete, -1 - actual for a conflict; nil for another epoch. The feed is written first:
# if Redis refuses that, nothing has changed.
_COMMIT: Final = f"""{_BREAK}
local state = redis.call('HMGET', KEYS[1], 'epoch', 'revision')
if state[1] ~= ARGV[1] then return nil end
local keys, outcomes = {{}}, {{}}
for at = 4, #ARGV, 4 do keys[#keys + 1] = ARGV[at] end
local records = redis.call('HMGET', KEYS[2], unpack(keys))
local revision = beyond(tonumber(state[2]), tonumber(ARGV[2]))
for number, key in ipairs(keys) do
  local at = 4 * number
  local deletes, expected, value = ARGV[at - 1] == 'delete', ARGV[at + 1], ARGV[at + 2]
  local actual = number_of(records[number] or '')
  if expected ~= '' and actual ~= tonumber(expected) then
    outcomes[number] = string.format('%d', -1 - actual)
  elseif deletes and actual == 0 then
    outcomes[number] = '0'
  else
    revision = revision + 1
    outcomes[number] = string.format('%d', revision)
    if deletes then
      add(revision, 'key', key)
      write('HDEL', KEYS[2], key)
    else
      add(revision, 'key', key, 'value', value)
      write('HSET', KEYS[2], key, outcomes[number] .. ' ' .. value)
    end
  end
end
return table.concat(outcomes, ' ')
"""
_COMMIT_SHA: Final = hashlib.sha1(_COMMIT.encode(), usedforsecurity=False).hexdigest()

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

    def commit(
        self, last_seen: LastSeen, batch: Sequence[Write], full: bool
    ) -> Command:
        """Carry out ``batch``; ``full`` sends the script itself, else its digest.

        The answer is a text with a number for each write, see `outcome_of`, or None
        when the epoch is another one.
        """
        script = ("EVAL", _COMMIT) if full else ("EVALSHA", _COMMIT_SHA)
        command: list[str | bytes | int] = [*script, *self._all, *last_seen]
        for key, value, expected in batch:
            command += (
                "delete" if value is None else "put",
                key,
                "" if expected is None else expected,
                value or b"",
            )
        return command

    def set_epoch(self, epoch: str) -> Command:
        """Begin ``epoch`` with the records of the present one."""
        return ("HSET", self.state, "epoch", epoch)

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


def outcome_of(write: Write, number: int) -> Outcome:
    """Return the outcome of ``write`` from its number in the answer."""
    return StoreConflict(write.key, -1 - number) if number < 0 else number or None
