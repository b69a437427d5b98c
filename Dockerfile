# The book in a container, with all that its commands need: see "In a container" in README.md.
FROM python:3.11-slim-bookworm

# The versions of Debian's release; Chromium looks at the built pages and prints them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium g++ git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 reader \
    && install --directory --owner=1000 /enn-book

USER 1000
WORKDIR /enn-book
COPY --chown=1000 . .

# Where pip looks too: the index of PyTorch's builds for the CPU saves several GB.
ARG PIP_EXTRA_INDEX_URL
RUN make setup

CMD ["make", "book"]
