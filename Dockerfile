# supcrd on a CPU:
#   docker build -t supcrd .
#   docker run --rm --user "$(id -u):$(id -g)" -e HOME=/tmp -v "$PWD:/work" supcrd train digits-joint
FROM python:3.12-slim

WORKDIR /src
COPY constraints.txt ./
# torch without CUDA is a tenth of the size: --build-arg TORCH_INDEX=<the address of PyTorch's CPU wheels>
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile --constraint constraints.txt torch torchvision ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}

COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-compile --constraint constraints.txt ".[figures,export]" && rm -rf /src

RUN useradd --create-home --uid 1000 supcrd
USER 1000
WORKDIR /work
ENTRYPOINT ["supcrd"]
CMD ["--help"]
