"""One program per client. They run in an environment without the service and import only `harness`."""
