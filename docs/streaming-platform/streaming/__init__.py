"""The parts of the streaming-platform paper that run: capacity model, simulations, diagrams, checks."""
