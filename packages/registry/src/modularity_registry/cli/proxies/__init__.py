"""The commands that keep other programs' configuration current: render and haproxy."""
