# One image for a Ray head, its workers and the command line.
FROM python:3.11-slim-bookworm

RUN useradd --create-home xling
WORKDIR /app

# The dependencies first: they change less often than the code, and so stay cached.
COPY pyproject.toml constraints.txt README.md ./
RUN mkdir xling && echo '__version__ = "0"' > xling/__init__.py \
    && pip install --no-cache-dir --constraint constraints.txt ".[s3]" \
    && pip uninstall --yes xling && rm -r xling

COPY xling ./xling
COPY sweeps ./sweeps
RUN pip install --no-cache-dir --no-deps . && mkdir /data && chown xling /data

USER xling
WORKDIR /data
ENTRYPOINT ["xling"]
CMD ["--help"]
