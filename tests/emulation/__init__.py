"""CUDA on the CPU, for tests: the very `.cu` sources, built by the C++ compiler and run thread by thread."""
