# A service's image: Python, NumPy and chainrule. Build:  docker build -t chainrule .
# The wheel is built in the first stage; the second has no compiler.
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY . /source
RUN pip wheel --no-cache-dir --wheel-dir /wheels /source

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels chainrule
USER nobody
CMD ["chainrule", "selftest"]
