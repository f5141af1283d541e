"""Kernels in C++ for what PyTorch is slow at on a CPU, compiled where they are first needed."""
