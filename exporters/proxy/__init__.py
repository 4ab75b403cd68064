"""The measuring reverse proxy: HTTP/1.1, streaming both ways, nothing buffered but heads.

heads, chunked        what the bytes mean, and where a body ends (pure)
routes, replies       which model a path is for; what the proxy answers itself (pure)
admission             who may be executed, who waits, who is turned away (pure)
streams               tokens in a streamed answer (pure)
client, upstream      one protocol object for each side of the wire
exchange              one request and its answer: joins the two, and is what gets measured
pool                  connections to the model server, the last used first
server                listens, sweeps time limits, drains
"""
