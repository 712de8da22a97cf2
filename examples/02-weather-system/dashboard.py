"""A page with the weather in all cities, from services found by capability.

It needs no addresses of the other services, nor their number.
"""

import os

from flask import Flask, render_template_string

from modularity_client import Registry, Resolver
from modularity_client.flask import Module

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>Weather</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem;
         padding: 0 1rem; color-scheme: light dark; }
  table { border-collapse: collapse; width: 100%; }
  th, td { border-bottom: 1px solid #8885; padding: .4rem; text-align: left; }
  .number { text-align: right; font-variant-numeric: tabular-nums; }
  small { opacity: .7; }
</style>
<h1>Weather</h1>
<table>
  <tr><th>City<th class="number">Temperature<th>Sky<th>Source</tr>
  {% for row in cities %}
  <tr><td>{{ row.city }}<td class="number">{{ row.temperature }} °C
      <td>{{ row.sky }}<td>{{ row.instance }}</tr>
  {% endfor %}
</table>
<p><small>{{ providers }} providers of weather.now are healthy.</small>
</html>
"""

app = Flask(__name__)
registry = Registry()
resolver = Resolver(
    registry, "location.list", "location.find", "weather.now", consumer_id="dashboard"
)
module = Module(app, registry, id="dashboard", name="Dashboard")


@module.capability("weather.overview")
def overview() -> list[dict[str, object]]:
    """Return the location and the weather of every city."""
    rows = []
    for city in resolver.invoke("location.list"):
        location = resolver.invoke("location.find", {"city": city})
        position = {key: location[key] for key in ("latitude", "longitude")}
        rows.append(location | resolver.invoke("weather.now", position))
    return rows


@app.get("/")
def page() -> str:
    """Return the page."""
    providers = len(resolver.providers("weather.now"))
    return render_template_string(PAGE, cities=overview(), providers=providers)


if __name__ == "__main__":
    module.run(port=int(os.environ.get("PORT", "0")))
