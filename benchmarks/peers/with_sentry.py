"""`python -m benchmarks.peers.with_sentry`: the API with Sentry's SDK on, whose reports nobody takes; no tracing."""

import sentry_sdk

from api.__main__ import main

if __name__ == "__main__":
    sentry_sdk.init("http://key@127.0.0.1:9/1")  # the port for what is thrown away: nothing listens there
    main()
