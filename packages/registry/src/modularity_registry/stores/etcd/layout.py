"""The keys of the store in etcd, and the requests on them."""

from collections.abc import Sequence
from typing import Any, Final

from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import StoreConflict, StoreCorrupt
from modularity_registry.stores.base import Outcome, Write

# Records in the first page, in the largest one, and bytes in between. etcd counts all
# that is left for each page: for a million records, with pages of the first size, it
# took 38 s of processor time, and 5 s with pages of the largest.
FIRST_PAGE: Final = 2_000
LARGEST_PAGE: Final = 20_000
PAGE_BYTES: Final = 16 * 1_048_576

_REVISION: Final = rpc.Compare.MOD


class Layout:
    """Keys and requests under one prefix, which contains no slash."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.epoch = f"{prefix}/epoch".encode()
        self._begin = f"{prefix}/".encode()
        self._end = f"{prefix}0".encode()  # 0 comes after the slash
        self._records = f"{prefix}/record/".encode()
        self._refused = f"{prefix}/refused".encode()

    def key(self, name: bytes) -> str | None:
        """Return the record's key, None for other names.

        Raises `StoreCorrupt` for a name that the store never wrote.
        """
        if not name.startswith(self._records):
            return None
        try:
            return name[len(self._records) :].decode()
        except UnicodeDecodeError:
            raise StoreCorrupt(
                f"etcd holds a key under {self.prefix}/record/ that is not text;"
                " delete what other programs put there"
            ) from None

    def read_first(self) -> Any:
        """Return the request for the first page, by name, of all under the prefix."""
        return self._read(self._begin, FIRST_PAGE, revision=0)

    def read_next(self, page: Any, revision: int) -> Any:
        """Return the request for what follows a page, as it was at ``revision``."""
        size = sum(len(pair.value) for pair in page.kvs) // len(page.kvs)
        limit = min(max(PAGE_BYTES // (size or 1), FIRST_PAGE), LARGEST_PAGE)
        return self._read(page.kvs[-1].key + b"\0", limit, revision)

    def _read(self, begin: bytes, limit: int, revision: int) -> Any:
        return rpc.RangeRequest(
            key=begin, range_end=self._end, limit=limit, revision=revision
        )

    def read_epoch(self) -> Any:
        """Return the request for the epoch."""
        return rpc.RangeRequest(key=self.epoch)

    def watch(self, revision: int) -> Any:
        """Return the request for all changes from ``revision`` on."""
        create = rpc.WatchCreateRequest(
            key=self._begin, range_end=self._end, start_revision=revision
        )
        return rpc.WatchRequest(create_request=create)

    def check(self) -> Any:
        """Return a request that etcd answers at once: the watch of an unused key.

        A progress request would be better, but etcd 3.5.8 and later does not answer
        one before the first change.
        """
        create = rpc.WatchCreateRequest(key=self._begin + b"pulse")
        return rpc.WatchRequest(create_request=create)

    def unwatch(self, watch: int) -> Any:
        """Return the request that ends one watch of a stream; etcd answers it, too."""
        cancel = rpc.WatchCancelRequest(watch_id=watch)
        return rpc.WatchRequest(cancel_request=cancel)

    def begin_epoch(self, epoch: str, old: str | None) -> Any:
        """Return the transaction that sets the epoch, if it is still ``old``."""
        unchanged = (
            rpc.Compare(key=self.epoch, target=rpc.Compare.CREATE, create_revision=0)
            if old is None
            else self._in_epoch(old)
        )
        put = rpc.PutRequest(key=self.epoch, value=epoch.encode())
        return rpc.TxnRequest(
            compare=[unchanged], success=[rpc.RequestOp(request_put=put)]
        )

    def commit(self, epoch: str, batch: Sequence[Write]) -> Any:
        """Return the transaction that carries out each write by itself in ``epoch``.

        In another epoch it leaves a note of the refusal. etcd looks no deeper than this
        note for the rights of the user and the space that a request needs: it ignores
        the nested transactions for both.
        """
        note = {"key": self._refused, "value": epoch.encode()}
        # Dicts: half the time of messages that are copied into each other.
        return rpc.TxnRequest(
            compare=[self._in_epoch(epoch)],
            success=[{"request_txn": self._write(write)} for write in batch],
            failure=[{"request_put": note}],
        )

    def _write(self, write: Write) -> dict[str, Any]:
        """Write at the expected revision, else read the key's."""
        name = self._records + write.key.encode()
        transaction: dict[str, Any] = {
            "success": [
                (
                    {"request_delete_range": {"key": name}}
                    if write.value is None
                    else {"request_put": {"key": name, "value": write.value}}
                )
            ]
        }
        if write.expected is not None:
            # A revision of 0 means no such key, in etcd as well.
            transaction["compare"] = [
                {"key": name, "target": _REVISION, "mod_revision": write.expected}
            ]
            transaction["failure"] = [
                {"request_range": {"key": name, "keys_only": True}}
            ]
        return transaction

    def _in_epoch(self, epoch: str) -> Any:
        return rpc.Compare(
            key=self.epoch, target=rpc.Compare.VALUE, value=epoch.encode()
        )


def outcome(write: Write, reply: Any, revision: int) -> Outcome:
    """Return what the reply to a nested transaction says of ``write``."""
    if not reply.succeeded:
        pairs = reply.responses[0].response_range.kvs
        return StoreConflict(write.key, pairs[0].mod_revision if pairs else 0)
    if write.value is None and not reply.responses[0].response_delete_range.deleted:
        return None
    return revision
