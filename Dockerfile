# The command line with CPU torch:
#   docker build --tag hornet-convert .
#   docker run --rm --user "$(id -u)" --volume hornet-cache:/cache --volume "$PWD:/work" \
#     hornet-convert fetch tiny-gf --out .
FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/hornet-convert
ENV PATH=/opt/hornet-convert/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt ./
# On its own, from the index of the builds without CUDA: gigabytes less, and a layer that is kept.
RUN pip install --no-deps --constraint constraints.txt \
    --index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md LICENSE ./
COPY hornet_convert hornet_convert
RUN pip install --constraint constraints.txt '.[hub,images,onnx,sign]'

FROM python:3.13-slim
RUN useradd --create-home --uid 1000 hornet && mkdir --mode 1777 /cache /work
COPY --from=build /opt/hornet-convert /opt/hornet-convert
ENV PATH=/opt/hornet-convert/bin:$PATH XDG_CACHE_HOME=/cache
USER 1000
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["hornet-convert"]
CMD ["--help"]
