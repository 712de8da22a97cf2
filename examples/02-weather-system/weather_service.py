"""Returns the weather, without a network: provides ``weather.now``.

The weather is computed from the place, the hour and a seed, so that two instances
with the same seed agree. Start as many as you like, each with an id of its own.
"""

import hashlib
import math
import os
from datetime import UTC, datetime

from flask import Flask

from modularity_client.flask import Module

SEED = os.environ.get("WEATHER_SEED", "42")
INSTANCE = os.environ.get("WEATHER_ID", "weather-1")
SKIES = ("clear", "cloudy", "rain", "fog")

app = Flask(__name__)
module = Module(app, id=INSTANCE, name="Weather", metadata={"seed": SEED})


@module.capability("weather.now")
def now(latitude: float, longitude: float) -> dict[str, object]:
    """Return the temperature (degrees Celsius), the sky, and this instance's id."""
    hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")
    chance = _chance(f"{SEED} {latitude:.1f} {longitude:.1f} {hour}")
    warmth = 30 * math.cos(math.radians(latitude)) - 2
    return {
        "temperature": round(warmth + 10 * (chance - 0.5), 1),
        "sky": SKIES[int(chance * len(SKIES))],
        "instance": INSTANCE,
    }


def _chance(text: str) -> float:
    """Return a number from 0 to 1 that looks random and is always the same."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


if __name__ == "__main__":
    print(f"{INSTANCE}: seed {SEED}", flush=True)
    module.run(port=int(os.environ.get("PORT", "0")))
