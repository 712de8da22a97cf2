"""What every scenario uses: servers, load, services, results."""
