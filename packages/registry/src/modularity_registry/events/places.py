"""Places for those who listen."""

from modularity_registry.errors import TooManyWatchers, TooManyWatchersOfClient
from modularity_registry.ratelimit import Places


class WatcherPlaces(Places):
    """Places for streams and waits, with an error for each way of having none."""

    def require(self, client: str) -> None:
        """Raise `TooManyWatchers` or `TooManyWatchersOfClient` if none is free.

        It counts as a refusal.
        """
        if self.full:
            self.refuse(client)
            raise TooManyWatchers(
                f"all {self.total} places for watchers are taken; try again later"
            )
        if self.has_its_share(client):
            self.refuse(client)
            raise TooManyWatchersOfClient(
                f"{client} has taken all {self.each} places for watchers that one"
                " client may have; end one of them, or try again later"
            )
