"""How resources reach Envoy: by gRPC streams and by REST.

What they are is not known here.
"""
