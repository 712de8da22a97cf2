"""Services of a Consul or a Eureka: copied into a running registry, or followed."""
