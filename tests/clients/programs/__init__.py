"""One program per client. They run in an environment without the service; of ours they import `telling`."""
