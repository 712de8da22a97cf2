"""Returns where cities are: provides ``location.find`` and ``location.list``."""

import os

from flask import Flask

from modularity_client.flask import InvocationError, Module

# Degrees north and east, rounded.
CITIES = {
    "Berlin": (52.52, 13.41),
    "Lagos": (6.46, 3.39),
    "Lima": (-12.05, -77.04),
    "Oslo": (59.91, 10.75),
    "Tokyo": (35.68, 139.69),
}

app = Flask(__name__)
module = Module(app, id="location-service", name="Location")


@module.capability("location.find")
def find(city: str) -> dict[str, object]:
    """Return the latitude and longitude of a city."""
    if city not in CITIES:
        detail = f"no city {city!r}; there are {', '.join(CITIES)}"
        raise InvocationError(detail, status=404)
    latitude, longitude = CITIES[city]
    return {"city": city, "latitude": latitude, "longitude": longitude}


@module.capability("location.list")
def cities() -> list[str]:
    """Return all cities, by name."""
    return sorted(CITIES)


if __name__ == "__main__":
    module.run(port=int(os.environ.get("PORT", "0")))
