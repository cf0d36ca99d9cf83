"""Compare base models, and run public benchmarks."""
