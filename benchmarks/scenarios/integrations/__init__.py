"""Other interfaces: DNS, the API of Consul, and xDS."""
