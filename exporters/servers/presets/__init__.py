"""Files of model servers, read by `exporters.servers.preset`."""
