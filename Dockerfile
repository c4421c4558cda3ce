# supcrd on a CPU: docker build -t supcrd . && docker run --rm -v "$PWD:/work" supcrd train digits-joint
FROM python:3.12-slim

# torch without CUDA is a tenth of the size: --build-arg TORCH_INDEX=<the address of PyTorch's CPU wheels>
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-compile torch torchvision ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-compile ".[figures,export]" && rm -rf /src

RUN useradd --create-home supcrd
USER supcrd
WORKDIR /work
ENTRYPOINT ["supcrd"]
CMD ["--help"]
