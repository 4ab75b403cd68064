"""The routes, thin: they read the request, ask the advisor, and write its answer."""
