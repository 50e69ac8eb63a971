# A base image laid out as python:3.13-slim is, but for its optimizations, which would take an hour: CPython of
# /usr/local, as a shared library, with pip, without its tests and without any byte-code; Debian's own Python is not
# there. The source is Debian's, so that no other place than its mirror need be reached.

FROM pyinit-debian AS build
RUN sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list \
    && apt-get update && apt-get install --yes --no-install-recommends \
        gcc libbz2-dev libc6-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev make xz-utils zlib1g-dev
WORKDIR /usr/src
RUN apt-get source --download-only python3.13 && tar --extract --strip-components=1 --file python3.13_*.orig.tar.xz \
    && ./configure --quiet --enable-shared --disable-test-modules OPT="-DNDEBUG -O2" LDFLAGS=-Wl,--strip-all \
    && make --silent --jobs="$(nproc)" && make --silent install && ln -s python3 /usr/local/bin/python \
    && find /usr/local -name __pycache__ -exec rm -r {} + && rm -r /usr/src/*

FROM pyinit-debian
COPY --from=build /usr/local /usr/local
RUN ldconfig
