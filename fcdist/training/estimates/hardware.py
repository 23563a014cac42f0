"""GPUs by name: memory and peak. From the vendors' data sheets; dense rates, without sparsity.

Memory is what torch reports on such a device (`total_memory`), which is less than the name says where the driver or ECC
keep some.
"""

from dataclasses import dataclass

from fcdist.config.types import GpuName

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device."""

    memory_gib: float
    bf16_tflops: float
    """Dense peak of matrix products in bf16 with fp32 accumulation."""
    source: str

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.memory_gib * GIB)

    @property
    def bf16_flops(self) -> float:
        """Peak FLOPs a second."""
        return self.bf16_tflops * 1e12


GPUS: dict[GpuName, Gpu] = {
    "a10": Gpu(22.0, 125.0, "NVIDIA A10 data sheet: 24 GB GDDR6 with ECC"),
    "a100-40": Gpu(39.4, 312.0, "NVIDIA A100 data sheet: 40 GB HBM2"),
    "a100-80": Gpu(79.2, 312.0, "NVIDIA A100 data sheet: 80 GB HBM2e"),
    "b200": Gpu(178.0, 2250.0, "NVIDIA DGX B200 data sheet: 1,440 GB for 8 GPUs, 4,500 with sparsity each"),
    "h100": Gpu(79.1, 989.0, "NVIDIA H100 SXM data sheet: 80 GB HBM3, 1,979 with sparsity"),
    "h100-pcie": Gpu(79.1, 756.0, "NVIDIA H100 PCIe data sheet: 80 GB HBM2e, 1,513 with sparsity"),
    "h200": Gpu(139.8, 989.0, "NVIDIA H200 SXM data sheet: 141 GB HBM3e, 1,979 with sparsity"),
    "l4": Gpu(22.0, 121.0, "NVIDIA L4 data sheet: 24 GB GDDR6 with ECC, 242 with sparsity"),
    "l40s": Gpu(44.4, 362.0, "NVIDIA L40S data sheet: 48 GB GDDR6 with ECC, 733 with sparsity"),
    "mi250x": Gpu(64.0, 191.5, "AMD MI250X data sheet: 128 GB and 383 for its two devices"),
    "mi300x": Gpu(191.5, 1307.0, "AMD MI300X data sheet: 192 GB HBM3"),
    "rtx4090": Gpu(23.5, 165.0, "NVIDIA Ada whitepaper: 24 GB, bf16 with fp32 accumulation"),
}
