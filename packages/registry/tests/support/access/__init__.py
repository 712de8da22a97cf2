"""What the tests of rights, secrets and TLS share."""
