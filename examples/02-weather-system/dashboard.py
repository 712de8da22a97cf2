"""A page with the weather in all cities; finds who knows it by capability.

It does not know where the other services are, nor how many there are.
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
  <tr><th>City<th class="number">Temperature<th>Sky<th>Told by</tr>
  {% for each in cities %}
  <tr><td>{{ each.city }}<td class="number">{{ each.temperature }} °C
      <td>{{ each.sky }}<td>{{ each.instance }}</tr>
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
    """Return place and weather of every city."""
    found = []
    for city in resolver.invoke("location.list"):
        place = resolver.invoke("location.find", {"city": city})
        where = {key: place[key] for key in ("latitude", "longitude")}
        found.append(place | resolver.invoke("weather.now", where))
    return found


@app.get("/")
def page() -> str:
    """Return the page."""
    providers = len(resolver.providers("weather.now"))
    return render_template_string(PAGE, cities=overview(), providers=providers)


if __name__ == "__main__":
    module.run(port=int(os.environ.get("PORT", "0")))
