"""The keys of the store in etcd, and the requests on them."""

from typing import Any, Final

from pyetcd import etcdrpc as rpc  # type: ignore[import-untyped]  # has no stubs

from modularity_registry.errors import StoreCorrupt

# Bounds the memory of a page. With smaller pages, etcd took a third longer for 50,000
# records, since it counts all that is left for each page.
PAGE: Final = 2_000


class Layout:
    """Keys and requests under one prefix, which contains no slash."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.epoch = f"{prefix}/epoch".encode()
        self._begin = f"{prefix}/".encode()
        self._end = f"{prefix}0".encode()  # 0 comes after the slash
        self._records = f"{prefix}/record/".encode()

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

    def read_page(self, after: bytes = b"", revision: int = 0) -> Any:
        """Return the request for a page, by name, of everything under the prefix."""
        return rpc.RangeRequest(
            key=after + b"\0" if after else self._begin,
            range_end=self._end,
            limit=PAGE,
            revision=revision,
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

    def put(self, epoch: str, key: str, value: bytes, expected: int | None) -> Any:
        name = self._records + key.encode()
        put = rpc.PutRequest(key=name, value=value)
        return self._write(epoch, name, rpc.RequestOp(request_put=put), expected)

    def delete(self, epoch: str, key: str, expected: int | None) -> Any:
        name = self._records + key.encode()
        delete = rpc.DeleteRangeRequest(key=name)
        operation = rpc.RequestOp(request_delete_range=delete)
        return self._write(epoch, name, operation, expected)

    def _write(
        self, epoch: str, name: bytes, operation: Any, expected: int | None
    ) -> Any:
        """Write in this epoch and at this revision, else read both."""
        compare = [self._in_epoch(epoch)]
        if expected is not None:
            # A revision of 0 means no such key, in etcd as well.
            compare.append(
                rpc.Compare(key=name, target=rpc.Compare.MOD, mod_revision=expected)
            )
        reads = (
            rpc.RangeRequest(key=self.epoch),
            rpc.RangeRequest(key=name, keys_only=True),
        )
        return rpc.TxnRequest(
            compare=compare,
            success=[operation],
            failure=[rpc.RequestOp(request_range=read) for read in reads],
        )

    def _in_epoch(self, epoch: str) -> Any:
        return rpc.Compare(
            key=self.epoch, target=rpc.Compare.VALUE, value=epoch.encode()
        )
