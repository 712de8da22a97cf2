"""Service registry for the Modularity ecosystem.

Services register what they can do; callers ask for a capability and get a
healthy provider; the registry watches over every provider's health.
"""

__version__ = "0.2.0"
